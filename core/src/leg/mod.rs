//! One call's media: the caller's RTP to the agent's dialect and back, without a socket.
//!
//! ```text
//!  RTP in ─► latch ─► uplink (jitter, conceal, resample, VAD, digits) ─► dialect ─► agent's socket
//!  RTP out ◄──────── downlink (playout, marks, resample, encode) ◄────── dialect ◄─ agent's socket
//! ```
//!
//! A leg is driven by packets, by its agent's messages and by the frame clock; whoever owns the sockets
//! (a media shard, or a test with none) hands it all three and drains what it wants sent.
//! Decisions belong to [`crate::call`]; a leg only carries them out.

pub mod event;
mod line;
mod link_buffer;
mod report;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::agent::{self, Dialect, LinkOutput, LinkRequest, Message, Start};
use crate::media::g711::Codec;
use crate::media::recording::Recorder;
use crate::media::rtp::packet::{self, RtpTimestamp, SeqNo};
use crate::media::rtp::rtcp;
use crate::media::rtp::source::{Admission, Latch, LatchPolicy};
use crate::media::{downlink, jitter, uplink, vad};
use crate::sdp;

pub use event::{Command, Event, Renegotiated, Summary};

use line::{AgentSide, Line};

/// What a leg is made from: what the SDP settled, and what the configuration says.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where our RTP goes: the SDP's address.
    pub remote: SocketAddr,
    /// The signalling peer's address, from which media may also come.
    pub signalling: IpAddr,
    /// Which other sources may be learned.
    pub latch: LatchPolicy,
    /// G.711 μ or A.
    pub codec: Codec,
    /// Payload type of telephone-event, when negotiated.
    pub telephone_event: Option<u8>,
    /// Payload type of comfort noise, when negotiated.
    pub comfort_noise: Option<u8>,
    /// Whether we may send.
    pub send: bool,
    /// Whether silence from the far end means that something is wrong: it does not on hold.
    pub receive: bool,
    /// How the caller's packets are put in order.
    pub jitter: jitter::Config,
    /// When the caller speaks.
    pub vad: vad::Config,
    /// Whether the agent is told when the caller begins and ceases to speak.
    pub announce_speech: bool,
    /// Agent audio queued ahead of the caller's ear.
    pub playout_max: Duration,
    /// Silence on the wire after which the call is lost.
    pub no_rtp_timeout: Duration,
    /// SSRC of what we send.
    pub ssrc: u32,
    /// First sequence number of what we send, random (RFC 3550 §5.1).
    pub seq: SeqNo,
    /// First timestamp of what we send, random.
    pub timestamp: RtpTimestamp,
}

/// Where a recording goes. Never blocks: what cannot be taken is lost, and the call goes on.
pub trait Tape: Send {
    /// Interleaved stereo, 8 kHz, caller left, agent right.
    fn write(&mut self, chunk: Vec<i16>);
}

/// One call's media.
pub struct Leg {
    config: Config,
    state: State,
    latch: Latch,
    uplink: uplink::Uplink,
    line: Line,
    agent: AgentSide,
    recorder: Option<(Recorder, Box<dyn Tape>)>,
    report: report::Reporter,
    transmit: Option<SocketAddr>,
}

/// Where the leg is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Ringing: the agent may be connected, no RTP either way.
    Early,
    /// Answered at this instant: a packet every 20 ms.
    Live { since: Instant },
    /// Told to close; nothing leaves any more.
    Closed,
}

impl Leg {
    /// A leg whose agent is told `start` as soon as it can hear it: one that lives inside Baton at once, others
    /// when their socket is open.
    pub fn new(
        now: Instant,
        config: Config,
        dialect: Box<dyn Dialect>,
        start: Start,
        tape: Option<Box<dyn Tape>>,
    ) -> Self {
        let rate = dialect.format().rate();
        let uplink = uplink::Uplink::new(uplink::Config {
            codec: config.codec,
            telephone_event: config.telephone_event,
            comfort_noise: config.comfort_noise,
            rate,
            jitter: config.jitter,
            vad: config.vad,
        });
        let downlink = downlink::Downlink::new(downlink::Config {
            codec: config.codec,
            rate,
            playout_max: config.playout_max,
            ssrc: config.ssrc,
            seq: config.seq,
            timestamp: config.timestamp,
            telephone_event: config.telephone_event,
        });
        let mut leg = Self {
            latch: Latch::new(config.latch, config.remote, config.signalling),
            state: State::Early,
            uplink,
            line: Line::new(downlink),
            agent: AgentSide::new(dialect, start),
            recorder: tape.map(|tape| (Recorder::new(), tape)),
            report: report::Reporter::default(),
            transmit: None,
            config,
        };
        if leg.link().is_none() {
            leg.handle_link_open(now);
        }
        leg
    }

    /// Where the agent's socket goes; `None` for an agent that lives inside Baton.
    pub fn link(&self) -> Option<LinkRequest> {
        self.agent.link()
    }

    /// A datagram arrived on the call's RTP port.
    pub fn handle_rtp(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        if !matches!(self.state, State::Live { .. }) {
            return;
        }
        if rtcp::is_rtcp(datagram) {
            return self.handle_rtcp(now, from, datagram);
        }
        let Ok(packet) = packet::parse(datagram) else {
            return self.report.refused();
        };
        let plausible = self.expects(packet.payload_type);
        if self.latch.admit(now, from, plausible) == Admission::Refuse || !plausible {
            return self.report.refused();
        }
        self.report.received(now);
        self.uplink.handle_packet(now, &packet);
        self.drain_uplink(now);
    }

    /// RTCP that came by the RTP port (RFC 5761), which peers send without asking. From the caller's address it is counted,
    /// and what it reports of our packets is kept; it is no sign of media and teaches no address.
    fn handle_rtcp(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let admission = self.latch.admit(now, from, false);
        match rtcp::parse(datagram) {
            Ok(compound) if admission == Admission::Take => self.report.heard_report(compound),
            _ => self.report.refused(),
        }
    }

    /// The agent's socket is open.
    pub fn handle_link_open(&mut self, now: Instant) {
        self.agent.open(now, &mut self.line);
    }

    /// The agent's socket said something.
    pub fn handle_link_message(&mut self, now: Instant, message: Message<'_>) {
        self.agent.handle_message(now, message, &mut self.line);
        self.drain_downlink(now);
    }

    /// The agent's socket is gone; `clean` when it closed with 1000 or 1001.
    pub fn handle_link_closed(&mut self, _now: Instant, clean: bool, why: String) {
        self.line.link.forget();
        if self.agent.close() {
            self.line
                .events
                .push_back(Event::AgentClosed { clean, why });
        }
    }

    /// The agent's socket did not keep up: its owner dropped so many frames of the caller's audio.
    pub fn handle_link_behind(&mut self, frames: u64) {
        self.report.behind(frames);
    }

    /// The call wants something.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Answered => self.answered(now),
            Command::Agent(command) => self.agent.tell(now, command, &mut self.line),
            Command::Prompt(prompt) => self.line.say(prompt),
            // With nothing to interrupt, nothing is interrupted: what the agent says next is its answer.
            Command::Clear if self.line.downlink.is_busy() => self.line.clear(),
            Command::PausePlayout if self.line.downlink.is_busy() => self.line.downlink.pause(),
            Command::Clear | Command::PausePlayout => {}
            Command::ResumePlayout => self.line.downlink.resume(),
            Command::SendDigits {
                digits,
                duration,
                gap,
            } => {
                self.line.downlink.send_digits(&digits, duration, gap);
            }
            Command::Renegotiated(change) => self.renegotiated(now, &change),
            Command::DetachAgent { reason } => {
                self.agent.stop(now, reason, &mut self.line);
                self.line.clear();
            }
            Command::Recording(on) => match &mut self.recorder {
                Some((recorder, _)) if on => recorder.resume(),
                Some((recorder, _)) => recorder.pause(),
                None => {}
            },
            Command::Close { reason } => self.close(now, reason),
        }
        self.drain_downlink(now);
    }

    /// The frame clock: every 20 ms from the answer to the end.
    pub fn handle_tick(&mut self, now: Instant) {
        let State::Live { since } = self.state else {
            return;
        };
        self.uplink.handle_timeout(now);
        self.drain_uplink(now);
        if self.config.send {
            self.line.downlink.tick(now);
            self.transmit = Some(self.latch.destination());
            self.uplink.handle_playing(self.line.downlink.last_frame());
            if let Some((recorder, _)) = &mut self.recorder {
                recorder.agent(
                    now.saturating_duration_since(since),
                    self.line.downlink.last_frame(),
                );
            }
        }
        self.drain_downlink(now);
        self.roll_tape();
        self.watch(now);
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if matches!(self.state, State::Live { .. })
            && self.uplink.poll_timeout().is_some_and(|at| at <= now)
        {
            self.uplink.handle_timeout(now);
            self.drain_uplink(now);
        }
        self.agent.handle_timeout(now, &mut self.line);
        self.drain_downlink(now);
    }

    /// The earliest deadline.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let uplink = match self.state {
            State::Live { .. } => self.uplink.poll_timeout(),
            State::Early | State::Closed => None,
        };
        [uplink, self.agent.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// A packet to send: at most one, after each tick.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, &[u8])> {
        let to = self.transmit.take()?;
        self.report.sent();
        Some((to, self.line.downlink.packet()))
    }

    /// What the agent's socket should send.
    pub fn poll_link(&mut self) -> Option<LinkOutput<'_>> {
        self.line.link.pop()
    }

    /// What the call should know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.line.events.pop_front()
    }

    /// The last event was [`Event::Closed`], and the agent has been told.
    pub fn is_finished(&self) -> bool {
        self.state == State::Closed && self.line.events.is_empty()
    }

    fn expects(&self, payload_type: u8) -> bool {
        payload_type == self.config.codec.payload_type()
            || Some(payload_type) == self.config.telephone_event
            || Some(payload_type) == self.config.comfort_noise
    }

    fn answered(&mut self, now: Instant) {
        if self.state == State::Early {
            self.state = State::Live { since: now };
            self.uplink.start(now);
            self.line.downlink.start(now);
            self.report.expect_media(now, self.config.receive);
        }
    }

    fn renegotiated(&mut self, now: Instant, change: &Renegotiated) {
        self.latch.renegotiated(change.remote);
        self.config.remote = change.remote;
        self.config.send = change.send;
        let codec = match change.codec {
            sdp::Codec::Pcmu => Codec::Pcmu,
            sdp::Codec::Pcma => Codec::Pcma,
        };
        if (codec, change.telephone_event) != (self.config.codec, self.config.telephone_event) {
            self.config.codec = codec;
            self.config.telephone_event = change.telephone_event;
            self.uplink.renegotiate(codec, change.telephone_event);
            self.line
                .downlink
                .renegotiate(codec, change.telephone_event);
        }
        self.report.expect_media(now, change.receive);
    }

    fn close(&mut self, now: Instant, reason: String) {
        if self.state == State::Closed {
            return;
        }
        self.agent.stop(now, reason, &mut self.line);
        self.state = State::Closed;
        self.transmit = None;
        self.finish_tape();
        let summary = self.summary();
        self.line.events.push_back(Event::Closed(Box::new(summary)));
    }

    /// Frames to the agent, digits and speech to the agent and to the call.
    fn drain_uplink(&mut self, now: Instant) {
        while let Some(frame) = self.uplink.poll_frame(now) {
            if let Some((recorder, _)) = &mut self.recorder {
                recorder.caller(frame.at, frame.wire);
            }
            self.agent.hear(now, &frame, &mut self.line);
        }
        while let Some(event) = self.uplink.poll_event() {
            if self.config.announce_speech || matches!(event, uplink::Event::Digit { .. }) {
                self.agent.tell(now, for_agent(&event), &mut self.line);
            }
            self.line.events.push_back(for_call(event));
        }
    }

    /// Marks, cleared turns and finished prompts to the agent and to the call.
    fn drain_downlink(&mut self, now: Instant) {
        while let Some(event) = self.line.downlink.poll_event() {
            if let Some(command) = self.line.observe(event) {
                self.agent.tell(now, command, &mut self.line);
            }
        }
    }

    fn roll_tape(&mut self) {
        if let Some((recorder, tape)) = &mut self.recorder {
            while let Some(chunk) = recorder.poll_chunk() {
                tape.write(chunk);
            }
        }
    }

    fn finish_tape(&mut self) {
        self.roll_tape();
        if let Some((mut recorder, mut tape)) = self.recorder.take() {
            tape.write(recorder.finish());
        }
    }

    /// Media lost, and the report that is due.
    fn watch(&mut self, now: Instant) {
        if self.report.media_lost(now, self.config.no_rtp_timeout) {
            self.line.events.push_back(Event::MediaLost);
        }
        if self.report.is_due(now) {
            let summary = self.summary();
            self.line.report(summary);
        }
    }

    fn summary(&self) -> Summary {
        self.report.summary(&self.uplink, &self.line)
    }
}

fn for_agent(event: &uplink::Event) -> agent::Command {
    match *event {
        uplink::Event::SpeechStarted { at } => agent::Command::SpeechStarted { at },
        uplink::Event::SpeechStopped { at } => agent::Command::SpeechStopped { at },
        uplink::Event::Digit {
            digit,
            duration,
            at,
        } => agent::Command::Dtmf {
            digit,
            duration,
            at,
        },
    }
}

fn for_call(event: uplink::Event) -> Event {
    match event {
        uplink::Event::SpeechStarted { at } => Event::SpeechStarted { at },
        uplink::Event::SpeechStopped { at } => Event::SpeechStopped { at },
        uplink::Event::Digit {
            digit,
            duration,
            at,
        } => Event::Digit {
            digit,
            duration,
            at,
        },
    }
}

impl std::fmt::Debug for Leg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leg")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// Events wait for the call's task; what is alike coalesces, so that a slow call cannot make a leg grow.
fn push_report(events: &mut VecDeque<Event>, summary: Summary) {
    let waiting = events.iter_mut().find_map(|event| {
        if let Event::Report(report) = event {
            Some(report)
        } else {
            None
        }
    });
    match waiting {
        Some(report) => **report = summary,
        None => events.push_back(Event::Report(Box::new(summary))),
    }
}
