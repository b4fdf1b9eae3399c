//! An agent behind a socket that does what the test says, and remembers what it was told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use baton_core::agent::prompts::Prompt;
use baton_core::agent::{
    Audio, AudioFormat, Command, Dialect, Event, LinkRequest, Message, MessageKind, Outbox,
};

/// One thing the agent does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Line {
    Event(Event),
    /// Real speech.
    Speech(Prompt),
}

#[derive(Debug, Default)]
struct Mind {
    to_say: Vec<Line>,
    told: Vec<(Instant, Command)>,
    frames: u64,
}

/// The test's hand on one agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Agent(Arc<Mutex<Mind>>);

impl Agent {
    fn mind(&self) -> MutexGuard<'_, Mind> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It will say this with the next message of its socket.
    pub(crate) fn prepare(&self, line: Line) {
        self.mind().to_say.push(line);
    }

    /// Everything it was told so far, as words: `handoff failed 405`, `dtmf 0`, `stop`.
    pub(crate) fn told(&self) -> Vec<(Instant, String)> {
        self.mind()
            .told
            .iter()
            .map(|(at, command)| (*at, words(command)))
            .collect()
    }

    pub(crate) fn commands(&self) -> Vec<Command> {
        self.mind()
            .told
            .iter()
            .map(|(_, command)| command.clone())
            .collect()
    }

    /// Frames of the caller's audio it was given.
    pub(crate) fn frames(&self) -> u64 {
        self.mind().frames
    }

    pub(crate) fn dialect(&self) -> Box<dyn Dialect> {
        Box::new(Actor(self.clone()))
    }
}

fn words(command: &Command) -> String {
    match command {
        Command::Start(_) => "start".into(),
        Command::SpeechStarted { .. } => "speech started".into(),
        Command::SpeechStopped { .. } => "speech stopped".into(),
        Command::Dtmf { digit, .. } => format!("dtmf {digit}"),
        Command::Mark { name, heard, .. } => format!("mark {name} {heard}"),
        Command::Cleared { .. } => "cleared".into(),
        Command::Hold => "hold".into(),
        Command::Resume => "resume".into(),
        Command::Handoff(update) => {
            let status = update.sip_status.map(|status| format!(" {status}"));
            format!("handoff {}{}", update.state, status.unwrap_or_default())
        }
        Command::Stop { .. } => "stop".into(),
        Command::Error { .. } => "error".into(),
    }
}

#[derive(Debug)]
struct Actor(Agent);

impl Dialect for Actor {
    fn format(&self) -> AudioFormat {
        AudioFormat::Ulaw
    }

    fn link(&self) -> Option<LinkRequest> {
        Some(LinkRequest {
            url: "ws://agent.example/".into(),
            subprotocol: None,
            headers: Vec::new(),
        })
    }

    fn handle_open(&mut self, _now: Instant, out: &mut dyn Outbox) {
        out.event(Event::Ready);
    }

    fn handle_command(&mut self, now: Instant, command: Command, out: &mut dyn Outbox) {
        out.send(Message::Text(&words(&command)), MessageKind::Control);
        self.0.mind().told.push((now, command));
    }

    fn hear(&mut self, _now: Instant, _at: Duration, _audio: Audio<'_>, out: &mut dyn Outbox) {
        out.send(Message::Binary(&[0]), MessageKind::Audio);
        self.0.mind().frames += 1;
    }

    /// Whatever its socket says, it says what it was told to say.
    fn handle_message(&mut self, _now: Instant, _message: Message<'_>, out: &mut dyn Outbox) {
        let lines = std::mem::take(&mut self.0.mind().to_say);
        for line in lines {
            match line {
                Line::Event(event) => out.event(event),
                Line::Speech(prompt) => out.play(Audio::Ulaw(prompt.ulaw())),
            }
        }
    }
}
