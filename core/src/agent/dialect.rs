//! The seam between a call and any agent: commands and audio in, messages for the agent's socket, events and
//! audio out. A dialect is a sans-IO core; it owns neither its socket nor a clock.

use std::time::{Duration, Instant};

use crate::vocab::SampleRate;

use super::{Command, Event};

/// What an agent hears and speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AudioFormat {
    /// G.711 μ-law, 8 kHz: the wire's own octets when the caller's codec agrees.
    Ulaw,
    /// Linear PCM, signed 16 bit little-endian, mono.
    Pcm16(SampleRate),
}

impl AudioFormat {
    /// Samples per second.
    pub const fn rate(self) -> SampleRate {
        match self {
            Self::Ulaw => SampleRate::Hz8000,
            Self::Pcm16(rate) => rate,
        }
    }
}

/// A run of audio in a dialect's [`AudioFormat`]; any length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audio<'a> {
    /// One octet per sample.
    Ulaw(&'a [u8]),
    /// One i16 per sample.
    Pcm(&'a [i16]),
    /// Two octets per sample, little-endian, as they came from the socket; an odd last octet is ignored.
    PcmBytes(&'a [u8]),
}

/// One WebSocket message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text frame.
    Text(&'a str),
    /// A binary frame.
    Binary(&'a [u8]),
}

/// Where a dialect's socket goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRequest {
    /// `ws://` or `wss://`.
    pub url: String,
    /// `Sec-WebSocket-Protocol`.
    pub subprotocol: Option<&'static str>,
    /// Further header fields of the upgrade request.
    pub headers: Vec<(String, String)>,
}

/// Where a dialect puts what it has to say, in order. Calls are cheap and never block: implementations queue.
pub trait Outbox {
    /// To the agent's socket. Audio may be dropped oldest-first when the socket is a second behind.
    fn send(&mut self, message: Message<'_>, kind: MessageKind);
    /// To the caller's ear, behind what is queued already.
    fn play(&mut self, audio: Audio<'_>);
    /// To the call.
    fn event(&mut self, event: Event);
}

/// Whether a message to the agent may be dropped when its socket does not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// Audio: the oldest goes first.
    Audio,
    /// Everything else is kept.
    Control,
}

/// What is wanted of an agent's socket. Borrowed from whoever wants it, so that buffers are reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkOutput<'a> {
    /// Send this.
    Send {
        /// What.
        message: Message<'a>,
        /// Whether it may be dropped when the agent does not keep up.
        kind: MessageKind,
    },
    /// Say goodbye, after everything before it.
    Close {
        /// RFC 6455 §7.4.1.
        code: u16,
        /// For the agent's author.
        reason: &'a str,
    },
}

/// One agent's language.
pub trait Dialect: std::fmt::Debug + Send {
    /// What the agent hears and speaks; constant over a call.
    fn format(&self) -> AudioFormat;

    /// Where its socket goes; `None` for an agent that lives inside Baton.
    fn link(&self) -> Option<LinkRequest>;

    /// The socket is open. Agents without one are opened at once.
    fn handle_open(&mut self, now: Instant, out: &mut dyn Outbox);

    /// Something happened in the call.
    fn handle_command(&mut self, now: Instant, command: Command, out: &mut dyn Outbox);

    /// The caller's next frame, in [`Dialect::format`], 20 ms as a rule; `at` is the media time of its first sample.
    fn hear(&mut self, now: Instant, at: Duration, audio: Audio<'_>, out: &mut dyn Outbox);

    /// A message from the agent's socket.
    fn handle_message(&mut self, now: Instant, message: Message<'_>, out: &mut dyn Outbox);

    /// Fires what is due.
    fn handle_timeout(&mut self, _now: Instant, _out: &mut dyn Outbox) {}

    /// The earliest deadline.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
