//! For unit tests only: one dialect between a recorded call and a recorded socket, in virtual time.

use std::time::{Duration, Instant};

use crate::agent::command::{CallInfo, Command, Start};
use crate::agent::{Audio, Dialect, Event, Message, MessageKind, Outbox};
use crate::vocab::{CallId, PTIME};

/// What a dialect said, in order per kind.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    texts: Vec<String>,
    binaries: Vec<Vec<u8>>,
    kinds: Vec<MessageKind>,
    played: Vec<u8>,
    events: Vec<Event>,
}

impl Outbox for Recorded {
    fn send(&mut self, message: Message<'_>, kind: MessageKind) {
        self.kinds.push(kind);
        match message {
            Message::Text(text) => self.texts.push(text.to_owned()),
            Message::Binary(octets) => self.binaries.push(octets.to_vec()),
        }
    }

    fn play(&mut self, audio: Audio<'_>) {
        match audio {
            Audio::Ulaw(octets) | Audio::PcmBytes(octets) => self.played.extend_from_slice(octets),
            Audio::Pcm(samples) => self
                .played
                .extend(samples.iter().flat_map(|sample| sample.to_le_bytes())),
        }
    }

    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
}

/// A dialect under test. What it said is taken by the getters, each of which empties its list.
#[derive(Debug)]
pub(crate) struct Ladder<D> {
    pub(crate) dialect: D,
    pub(crate) now: Instant,
    /// The media clock.
    pub(crate) at: Duration,
    out: Recorded,
}

impl<D: Dialect> Ladder<D> {
    pub(crate) fn new(dialect: D) -> Self {
        Self {
            dialect,
            now: crate::testing::t0(),
            at: Duration::ZERO,
            out: Recorded::default(),
        }
    }

    pub(crate) fn opens(&mut self) {
        self.dialect.handle_open(self.now, &mut self.out);
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.dialect
            .handle_command(self.now, command, &mut self.out);
    }

    pub(crate) fn hears(&mut self, audio: Audio<'_>) {
        self.dialect.hear(self.now, self.at, audio, &mut self.out);
        self.at += PTIME;
    }

    pub(crate) fn receives(&mut self, text: &str) {
        self.dialect
            .handle_message(self.now, Message::Text(text), &mut self.out);
    }

    pub(crate) fn receives_binary(&mut self, octets: &[u8]) {
        self.dialect
            .handle_message(self.now, Message::Binary(octets), &mut self.out);
    }

    /// Virtual time passes; every deadline on the way fires at its own instant.
    pub(crate) fn advance(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.dialect.poll_timeout().filter(|due| *due <= until) {
            self.now = due.max(self.now);
            self.dialect.handle_timeout(self.now, &mut self.out);
        }
        self.now = until;
    }

    pub(crate) fn texts(&mut self) -> Vec<String> {
        std::mem::take(&mut self.out.texts)
    }

    pub(crate) fn binaries(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.out.binaries)
    }

    pub(crate) fn kinds(&mut self) -> Vec<MessageKind> {
        std::mem::take(&mut self.out.kinds)
    }

    pub(crate) fn played(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out.played)
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.out.events)
    }
}

/// The call that golden frames are about.
pub(crate) fn start() -> Command {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Command::Start(Box::new(Start {
        call: CallInfo {
            id: CallId::from("call-0123456789abcdef"),
            sip_call_id: "7f0c1d2e@0.0.0.0".into(),
            twilio_call_sid: Some("CA00000000000000000000000000000002".into()),
            from: "+15559870000".into(),
            to: "+15551230000".into(),
            trunk: "twilio".into(),
            route: "support".into(),
            headers: vec![
                pair("X-Tenant", "a1"),
                pair("User-to-User", "beef;encoding=hex"),
                pair("x-tenant", "a2"),
            ],
        },
        key: "0123456789ABCDEFGHIJKL".parse().unwrap(),
        input_context: [pair("language", "en-GB"), pair("project", "p1")].into(),
    }))
}
