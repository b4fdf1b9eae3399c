//! Two endpoints and a wire between them, in virtual time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::{
    Command, Config, DialogEvent, DialogId, Endpoint, Event, Flow, Invited, OutgoingInvite,
    Transport,
};
use crate::testing::t0;
use crate::vocab::Entropy;

pub(super) const LATENCY: Duration = Duration::from_millis(5);

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// Calls.
    Alice,
    /// Is called.
    Bob,
}

impl End {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Alice => Self::Bob,
            Self::Bob => Self::Alice,
        }
    }
}

/// What is lost: messages that hold a text, so many of them.
struct Drop {
    from: End,
    text: String,
    times: usize,
}

pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) alice: Endpoint,
    pub(super) bob: Endpoint,
    transport: Transport,
    /// By arrival and number.
    air: BTreeMap<(Instant, u64), (End, Bytes)>,
    sent: u64,
    drops: Vec<Drop>,
    weather: Entropy,
    loss_percent: u64,
    pub(super) events: Vec<(End, Event)>,
    /// `A INVITE`, `B 100`, ... as sent, lost ones included.
    pub(super) ladder: Vec<String>,
    /// The same messages whole.
    pub(super) messages: Vec<(End, String)>,
}

impl Pair {
    pub(super) fn new() -> Self {
        Self::over(Transport::Udp, Config::default(), Config::default())
    }

    pub(super) fn over(transport: Transport, alice: Config, bob: Config) -> Self {
        Self {
            now: t0(),
            alice: Endpoint::new(alice, Entropy::from_number(1)),
            bob: Endpoint::new(bob, Entropy::from_number(2)),
            transport,
            air: BTreeMap::new(),
            sent: 0,
            drops: Vec::new(),
            weather: Entropy::from_number(3),
            loss_percent: 0,
            events: Vec::new(),
            ladder: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// Every message is lost with this chance, by this seed.
    pub(super) fn lossy(mut self, percent: u64, seed: u64) -> Self {
        self.loss_percent = percent;
        self.weather = Entropy::from_number(seed);
        self
    }

    /// The next `times` messages from `from` that hold `text` are lost.
    pub(super) fn lose(&mut self, from: End, text: &str, times: usize) {
        self.drops.push(Drop {
            from,
            text: text.to_owned(),
            times,
        });
    }

    pub(super) fn flow(&self, of: End) -> Flow {
        let (alice, bob) = (
            "10.0.0.1:5060".parse().unwrap(),
            "10.0.0.2:5060".parse().unwrap(),
        );
        let (local, remote) = match of {
            End::Alice => (alice, bob),
            End::Bob => (bob, alice),
        };
        Flow {
            transport: self.transport,
            local,
            remote,
        }
    }

    pub(super) fn end(&mut self, end: End) -> &mut Endpoint {
        match end {
            End::Alice => &mut self.alice,
            End::Bob => &mut self.bob,
        }
    }

    /// Alice calls Bob.
    pub(super) fn invite(&mut self, offer: &'static str) -> DialogId {
        self.invite_with(offer, &[("X-Key", "1")])
    }

    /// The same with these header fields.
    pub(super) fn invite_with(
        &mut self,
        offer: &'static str,
        headers: &[(&str, &str)],
    ) -> DialogId {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let invite = OutgoingInvite {
            ways: self.flow(End::Alice).into(),
            target: "sip:bob@10.0.0.2".into(),
            from: "\"Alice\" <sip:alice@10.0.0.1>".into(),
            to: String::new(),
            call_id: String::new(),
            account: None,
            headers: headers.iter().map(own).collect(),
            body: Bytes::from_static(offer.as_bytes()),
        };
        let id = self.alice.invite(self.now, invite).unwrap();
        self.collect();
        id
    }

    pub(super) fn command(&mut self, end: End, dialog: DialogId, command: Command) {
        let now = self.now;
        self.end(end).command(now, dialog, command).unwrap();
        self.collect();
    }

    /// The same where the state may forbid it.
    pub(super) fn try_command(&mut self, end: End, dialog: DialogId, command: Command) {
        let now = self.now;
        let _ = self.end(end).command(now, dialog, command);
        self.collect();
    }

    pub(super) fn bye(&mut self, end: End, dialog: DialogId) {
        self.command(
            end,
            dialog,
            Command::Bye {
                headers: Vec::new(),
            },
        );
    }

    pub(super) fn answer(&mut self, dialog: DialogId) {
        let command = Command::Answer {
            body: Bytes::from_static(b"v=0 answer"),
            headers: Vec::new(),
        };
        self.command(End::Bob, dialog, command);
    }

    /// A call that is up, acknowledged, its events forgotten.
    pub(super) fn talking() -> (Self, DialogId, DialogId) {
        Self::new().talk()
    }

    pub(super) fn talk(mut self) -> (Self, DialogId, DialogId) {
        let a = self.invite("v=0 offer");
        self.run(ms(20));
        let b = self.invited().dialog;
        self.answer(b);
        self.run(ms(100));
        self.events.clear();
        self.ladder.clear();
        self.messages.clear();
        (self, a, b)
    }

    /// The call Bob was offered last.
    pub(super) fn invited(&self) -> Invited {
        self.find_invited().expect("Bob was invited")
    }

    pub(super) fn find_invited(&self) -> Option<Invited> {
        self.events.iter().rev().find_map(|(_, event)| match event {
            Event::Invited(invited) => Some((**invited).clone()),
            Event::Dialog { .. } | Event::Locate { .. } | Event::Registration { .. } => None,
        })
    }

    pub(super) fn dialog_events(&self, of: End) -> Vec<DialogEvent> {
        self.events
            .iter()
            .filter(|(end, _)| *end == of)
            .filter_map(|(_, event)| match event {
                Event::Dialog { event, .. } => Some(event.clone()),
                Event::Invited(_) | Event::Locate { .. } | Event::Registration { .. } => None,
            })
            .collect()
    }

    fn collect(&mut self) {
        for end in [End::Alice, End::Bob] {
            while let Some(event) = self.end(end).poll_event() {
                self.events.push((end, event));
            }
            while let Some(transmit) = self.end(end).poll_transmit() {
                assert_eq!(
                    transmit.flow,
                    self.flow(end),
                    "every message goes to the other end"
                );
                self.post(end, transmit.payload);
            }
        }
    }

    fn post(&mut self, from: End, payload: Bytes) {
        let text = String::from_utf8(payload.to_vec()).unwrap();
        let first = text.lines().next().unwrap();
        let word = match first.strip_prefix("SIP/2.0 ") {
            Some(status) => status[..3].to_owned(),
            None => first.split(' ').next().unwrap().to_owned(),
        };
        let side = if from == End::Alice { 'A' } else { 'B' };
        self.ladder.push(format!("{side} {word}"));
        self.messages.push((from, text.clone()));
        let dropped = self
            .drops
            .iter_mut()
            .find(|drop| drop.from == from && drop.times > 0 && text.contains(&drop.text));
        if let Some(drop) = dropped {
            drop.times -= 1;
            return;
        }
        if self.weather.below(100) < self.loss_percent {
            return;
        }
        self.sent += 1;
        self.air
            .insert((self.now + LATENCY, self.sent), (from.other(), payload));
    }

    /// Lets virtual time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.collect();
            let arrival = self.air.keys().next().map(|(at, _)| *at);
            let next = [arrival, self.alice.poll_timeout(), self.bob.poll_timeout()]
                .into_iter()
                .flatten()
                .min();
            match next {
                Some(at) if at <= until => self.now = self.now.max(at),
                _ => break,
            }
            let now = self.now;
            while let Some(entry) = self.air.first_entry() {
                if entry.key().0 > now {
                    break;
                }
                let (to, payload) = entry.remove();
                let flow = self.flow(to);
                self.end(to).handle_datagram(now, flow, &payload);
            }
            self.alice.handle_timeout(now);
            self.bob.handle_timeout(now);
        }
        self.now = until;
    }

    /// Long enough for every timer; then nothing may be left.
    pub(super) fn run_out(&mut self) {
        self.run(Duration::from_secs(200));
        assert_eq!(
            self.alice.dialogs() + self.bob.dialogs(),
            0,
            "dialogs are left"
        );
        assert_eq!(
            self.alice.transactions() + self.bob.transactions(),
            0,
            "transactions are left"
        );
        assert_eq!(self.alice.poll_timeout(), None);
        assert_eq!(self.bob.poll_timeout(), None);
    }
}
