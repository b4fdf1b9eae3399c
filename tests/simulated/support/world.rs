//! One simulated world: a clock, a wire, a bridge, a trunk. Whatever is due next happens next, and nothing else does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use baton_core::sip::endpoint::DialogId;
use baton_core::vocab::Entropy;
use bytes::Bytes;

use super::bridge::{Bridge, House};
use super::clock::Clock;
use super::far_end::{FarEnd, Placing, Step};
use super::registrar::Registrar;
use super::wire::{Datagram, SIP_PORT, Weather, Wire};

/// Steps without time passing, after which somebody's deadline must be broken.
const SPINS: u32 = 100_000;

pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) wire: Wire,
    pub(crate) bridge: Bridge,
    pub(crate) far: FarEnd,
    /// What the trunk will do by itself, and when.
    plans: BTreeMap<(Instant, u64), (DialogId, Step)>,
    planned: u64,
    /// Where the bridge registers.
    pub(crate) registrar: Option<Registrar>,
    /// Other SIP servers, and how they answer an INVITE at once: `503 Service Unavailable`.
    pub(crate) servers: BTreeMap<SocketAddr, &'static str>,
    /// What reached somebody who is neither.
    pub(crate) strangers_heard: Vec<String>,
    spins: (Instant, u32),
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

impl World {
    pub(crate) fn new(house: House, weather: Weather, seed: u64) -> Self {
        let mut entropy = Entropy::from_number(seed);
        let wire_entropy = entropy.fork();
        let (bridge_entropy, far_entropy) = (entropy.fork(), entropy.fork());
        let clock = Clock::new();
        let (bridge, far) = (address("10.0.0.2:5060"), address("10.0.0.1:5060"));
        Self {
            wire: Wire::new(weather, wire_entropy),
            far: FarEnd::new(
                house.trunk.clone(),
                far,
                bridge,
                weather.transport(),
                far_entropy,
            ),
            bridge: Bridge::new(house, bridge, weather.transport(), bridge_entropy),
            servers: BTreeMap::new(),
            plans: BTreeMap::new(),
            planned: 0,
            registrar: None,
            strangers_heard: Vec::new(),
            spins: (clock.now(), 0),
            clock,
        }
    }

    pub(crate) const fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(crate) fn place(&mut self, placing: &Placing) -> DialogId {
        let dialog = self.far.places(self.clock.now(), placing);
        self.settle();
        dialog
    }

    /// The trunk does this later, if the call still lets it.
    pub(crate) fn plan(&mut self, after: Duration, dialog: DialogId, step: Step) {
        self.planned += 1;
        let at = self.clock.now() + after;
        self.plans.insert((at, self.planned), (dialog, step));
    }

    /// Somebody sends octets to the bridge.
    pub(crate) fn inject(&mut self, from: SocketAddr, text: &str) {
        let payload = Bytes::copy_from_slice(text.replace('\n', "\r\n").as_bytes());
        let to = self.bridge.address;
        self.wire
            .send(self.clock.now(), &Datagram { from, to, payload });
    }

    /// A server answers a request that it got.
    pub(crate) fn answer(
        &mut self,
        server: SocketAddr,
        to: SocketAddr,
        request: &str,
        status: &str,
    ) {
        let copied = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
        let copied = |line: &&str| copied.iter().any(|name| line.starts_with(name));
        let lines: Vec<_> = request.lines().filter(copied).collect();
        let text = format!(
            "SIP/2.0 {status}\r\n{}\r\nContact: <sip:{server}>\r\nContent-Length: 0\r\n\r\n",
            lines.join("\r\n")
        );
        let tagged = text.replace("\r\nCall-ID:", ";tag=server\r\nCall-ID:");
        self.post(server, to, Bytes::from(tagged));
    }

    pub(crate) fn passes(&mut self, time: Duration) {
        let until = self.clock.now() + time;
        while self.step(until) {}
    }

    /// Lets time pass until something is so, at most `patience`.
    pub(crate) fn awaits(&mut self, patience: Duration, is_so: impl Fn(&Self) -> bool) -> bool {
        let until = self.clock.now() + patience;
        self.settle();
        loop {
            if is_so(self) {
                return true;
            }
            if !self.step(until) {
                return is_so(self);
            }
        }
    }

    /// The next thing that happens; `false` when nothing does before `until`, which is then now.
    fn step(&mut self, until: Instant) -> bool {
        self.settle();
        let tick = (self.bridge.is_live() || self.far.is_live()).then(|| self.clock.next_tick());
        let next = [
            self.wire.poll_timeout(),
            self.bridge.poll_timeout(),
            self.far.endpoint.poll_timeout(),
            self.plans.keys().next().map(|(at, _)| *at),
            tick,
        ];
        let Some(at) = next.into_iter().flatten().min().filter(|at| *at <= until) else {
            self.clock.advance_to(until);
            return false;
        };
        self.clock.advance_to(at);
        self.look_out_for_spinning();
        let now = self.clock.now();
        while let Some(datagram) = self.wire.arrived(now) {
            self.deliver(now, &datagram);
        }
        self.bridge.handle_timeout(now);
        self.far.endpoint.handle_timeout(now);
        self.carry_out_plans(now);
        if tick == Some(at) {
            let packets = self.bridge.tick(now).into_iter().chain(self.far.tick());
            packets.for_each(|packet| self.wire.send(now, &packet));
        }
        self.settle();
        true
    }

    fn look_out_for_spinning(&mut self) {
        let now = self.clock.now();
        let (at, spins) = self.spins;
        self.spins = (now, if at == now { spins + 1 } else { 0 });
        assert!(spins < SPINS, "a deadline in the past is never served");
    }

    fn carry_out_plans(&mut self, now: Instant) {
        while let Some(entry) = self.plans.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let (dialog, step) = entry.remove();
            // The call may have ended meanwhile; a real trunk would not have done it either.
            let _ = self.far.does(now, dialog, step);
        }
    }

    fn deliver(&mut self, now: Instant, datagram: &Datagram) {
        let is_sip = datagram.to.port() == SIP_PORT;
        if datagram.to == self.bridge.address {
            self.bridge.receives(now, datagram);
        } else if datagram.to == self.far.address {
            if let Some(refusal) = self.far.receives(now, datagram) {
                self.post(datagram.to, datagram.from, refusal);
            }
        } else if let Some(registrar) = &mut self.registrar
            && datagram.to == registrar.address
        {
            if let Some(answer) = registrar.receives(now, datagram) {
                self.post(datagram.to, datagram.from, answer);
            }
        } else if is_sip {
            let text = String::from_utf8_lossy(&datagram.payload).into_owned();
            if let Some(status) = self.servers.get(&datagram.to)
                && text.starts_with("INVITE ")
            {
                self.answer(datagram.to, datagram.from, &text, status);
            }
            self.strangers_heard.push(text);
        } else if datagram.to.ip() == self.bridge.address.ip() {
            self.bridge.hears(now, datagram);
        } else {
            self.far.hears(now, datagram);
        }
    }

    /// What both ends have to do and to say at this instant.
    pub(crate) fn settle(&mut self) {
        let now = self.clock.now();
        self.bridge.settle(now);
        self.far.settle(now);
        while let Some(sent) = self.bridge.endpoint.poll_transmit() {
            self.post(sent.flow.local, sent.flow.remote, sent.payload);
        }
        while let Some(sent) = self.far.endpoint.poll_transmit() {
            self.post(sent.flow.local, sent.flow.remote, sent.payload);
        }
    }

    fn post(&mut self, from: SocketAddr, to: SocketAddr, payload: Bytes) {
        let now = self.clock.now();
        self.wire.send(now, &Datagram { from, to, payload });
    }

    /// Nothing is remembered any more: the first sign of a leak is that this stays false.
    pub(crate) fn is_forgotten(&self) -> bool {
        [&self.bridge.endpoint, &self.far.endpoint]
            .into_iter()
            .all(|end| end.dialogs() == 0 && end.transactions() == 0)
    }
}
