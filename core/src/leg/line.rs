//! The two parties of a leg: the caller's line (what is played to it, what is told of it) and the agent's side
//! (its dialect, and whether it is there).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::agent::dialect::MessageKind;
use crate::agent::{
    Audio, AudioFormat, Command as AgentCommand, Dialect, Event as AgentEvent, LinkRequest,
    Message, Outbox, Start, prompts::Prompt,
};
use crate::media::{downlink, g711, uplink};

use super::event::{Event, Summary};
use super::link_buffer::LinkBuffer;

/// Marks of Baton's own prompts; no agent's mark can look like them, since agents' marks get [`AGENT`] in front.
const PROMPT: char = 'p';
const AGENT: char = 'a';

/// The caller's side: what an agent's dialect (and Baton itself) can do to it. Implements [`Outbox`].
#[derive(Debug)]
pub(super) struct Line {
    pub(super) downlink: downlink::Downlink,
    pub(super) link: LinkBuffer,
    pub(super) events: VecDeque<Event>,
    overflow: Duration,
    overflowing: bool,
}

impl Line {
    pub(super) fn new(downlink: downlink::Downlink) -> Self {
        Self {
            downlink,
            link: LinkBuffer::default(),
            events: VecDeque::new(),
            overflow: Duration::ZERO,
            overflowing: false,
        }
    }

    /// Plays one of Baton's own prompts behind whatever plays.
    pub(super) fn say(&mut self, prompt: Prompt) {
        // A full queue drops the prompt with the agent's audio before it; the mark behind it still comes.
        let pushed = self.downlink.push_ulaw(prompt.ulaw());
        self.dropped(pushed);
        self.downlink.mark(format!("{PROMPT}{}", prompt.name()));
    }

    /// Silences the caller's ear; marks and the cut turn are told through [`Line::observe`].
    pub(super) fn clear(&mut self) {
        self.downlink.clear();
    }

    /// Agent audio that was dropped.
    pub(super) fn overflow(&self) -> Duration {
        self.overflow
    }

    pub(super) fn report(&mut self, summary: Summary) {
        super::push_report(&mut self.events, summary);
    }

    /// Turns what the downlink saw into an event for the call, and the command that tells the agent.
    pub(super) fn observe(&mut self, event: downlink::Event) -> Option<AgentCommand> {
        match event {
            downlink::Event::Marked { name, heard, at } => self.marked(&name, heard, at),
            downlink::Event::TurnStarted { at } => {
                self.events.push_back(Event::AgentHeard { at });
                None
            }
            downlink::Event::TurnEnded { from, to } => {
                self.events.push_back(Event::AgentTurn { from, to });
                None
            }
            downlink::Event::Cleared { heard } => {
                self.events.push_back(Event::Cleared { heard });
                Some(AgentCommand::Cleared { heard })
            }
        }
    }

    fn marked(&mut self, name: &str, heard: bool, at: Duration) -> Option<AgentCommand> {
        if let Some(prompt) = name.strip_prefix(PROMPT) {
            let prompt = *Prompt::ALL.iter().find(|one| one.name() == prompt)?;
            self.events.push_back(Event::PromptEnded(prompt));
            return None;
        }
        let name = name.strip_prefix(AGENT).unwrap_or(name).to_owned();
        self.events.push_back(Event::Marked {
            name: name.clone(),
            heard,
            at,
        });
        Some(AgentCommand::Mark { name, heard, at })
    }

    /// The queue to the caller's ear is full: the newest audio is dropped, and the agent is told once per overflow.
    fn dropped(&mut self, pushed: downlink::Pushed) {
        let overflows = pushed.dropped > 0;
        self.overflow += pushed.dropped_duration();
        if overflows && !self.overflowing {
            self.events.push_back(Event::PlayoutFull);
        }
        self.overflowing = overflows;
    }
}

impl Outbox for Line {
    fn send(&mut self, message: Message<'_>, kind: MessageKind) {
        self.link.push(message, kind);
    }

    fn play(&mut self, audio: Audio<'_>) {
        let pushed = match audio {
            Audio::Ulaw(octets) => self.downlink.push_ulaw(octets),
            Audio::Pcm(samples) => self.downlink.push_pcm(samples),
            Audio::PcmBytes(octets) => self.downlink.push_pcm_bytes(octets),
        };
        self.dropped(pushed);
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all else is the call's to decide"
    )]
    fn event(&mut self, event: AgentEvent) {
        match event {
            AgentEvent::Mark { name } => self.downlink.mark(format!("{AGENT}{name}")),
            AgentEvent::Clear => self.clear(),
            AgentEvent::ResumePlayout => self.downlink.resume(),
            AgentEvent::Ready => self.events.push_back(Event::AgentOpen),
            AgentEvent::Fault { what, close } => {
                if let Some(code) = close {
                    self.link.close(code);
                }
                self.events
                    .push_back(Event::Agent(AgentEvent::Fault { what, close }));
            }
            other => self.events.push_back(Event::Agent(other)),
        }
    }
}

/// The agent's side: its dialect while it is there.
#[derive(Debug)]
pub(super) struct AgentSide {
    dialect: Box<dyn Dialect>,
    format: AudioFormat,
    presence: Presence,
    scratch: Vec<u8>,
}

/// Whether the agent is there.
#[derive(Debug)]
enum Presence {
    /// Its socket is being opened; it will be told this first.
    Connecting(Box<Start>),
    /// It hears and speaks.
    Open,
    /// It was stopped, or left.
    Gone,
}

impl AgentSide {
    pub(super) fn new(dialect: Box<dyn Dialect>, start: Start) -> Self {
        let format = dialect.format();
        let presence = Presence::Connecting(Box::new(start));
        Self {
            dialect,
            format,
            presence,
            scratch: Vec::new(),
        }
    }

    pub(super) fn link(&self) -> Option<LinkRequest> {
        self.dialect.link()
    }

    pub(super) fn open(&mut self, now: Instant, line: &mut Line) {
        if let Presence::Connecting(start) = std::mem::replace(&mut self.presence, Presence::Open) {
            self.dialect.handle_open(now, line);
            self.dialect
                .handle_command(now, AgentCommand::Start(start), line);
        }
    }

    pub(super) fn tell(&mut self, now: Instant, command: AgentCommand, line: &mut Line) {
        if matches!(self.presence, Presence::Open) {
            self.dialect.handle_command(now, command, line);
        }
    }

    pub(super) fn handle_message(&mut self, now: Instant, message: Message<'_>, line: &mut Line) {
        if matches!(self.presence, Presence::Open) {
            self.dialect.handle_message(now, message, line);
        }
    }

    /// The caller's next frame, in the shape the agent wants; the wire's own octets where they are the same thing.
    pub(super) fn hear(&mut self, now: Instant, frame: &uplink::Frame<'_>, line: &mut Line) {
        if !matches!(self.presence, Presence::Open) {
            return;
        }
        let audio = match (self.format, frame.ulaw) {
            (AudioFormat::Ulaw, Some(octets)) => Audio::Ulaw(octets),
            (AudioFormat::Ulaw, None) => {
                self.scratch.clear();
                g711::encode_into(g711::Codec::Pcmu, frame.samples, &mut self.scratch);
                Audio::Ulaw(&self.scratch)
            }
            (AudioFormat::Pcm16(_), _) => Audio::Pcm(frame.samples),
        };
        self.dialect.hear(now, frame.at, audio, line);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, line: &mut Line) {
        if matches!(self.presence, Presence::Open)
            && self.dialect.poll_timeout().is_some_and(|at| at <= now)
        {
            self.dialect.handle_timeout(now, line);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if matches!(self.presence, Presence::Open) {
            self.dialect.poll_timeout()
        } else {
            None
        }
    }

    /// Its last word, then its socket closes.
    pub(super) fn stop(&mut self, now: Instant, reason: String, line: &mut Line) {
        self.tell(now, AgentCommand::Stop { reason }, line);
        line.link.close(1000);
        self.presence = Presence::Gone;
    }

    /// Its socket is gone. `true` when that is news.
    pub(super) fn close(&mut self) -> bool {
        !matches!(
            std::mem::replace(&mut self.presence, Presence::Gone),
            Presence::Gone
        )
    }
}
