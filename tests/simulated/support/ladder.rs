//! The test language: one call, told as its ladder, seen from the bridge.
//!
//! `sends` waits for the bridge's next message and fails when it is another one. `receives` makes the trunk say
//! something and waits until the bridge has it. `agent_..`, `store_..` and `caller_..` play the others. Waiting is
//! virtual time passing; repeats of a message, and answers that go without saying, are not told.
//!
//! Every ladder ends in [`Ladder::ends`], which also holds what is true of all calls: RTP left every 20 ms, the
//! history says how it ended, and neither end remembers anything when all timers are over.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use baton_core::agent::prompts::Prompt;
use baton_core::agent::{self, HandoffRequest};
use baton_core::call::Operator;
use baton_core::history::{BackendError, EndBy, EndKind, FailureKind, HandoffState, Session};
use baton_core::sdp::Direction;
use baton_core::sip::endpoint::{Command, DialogId};
use baton_core::vocab::PTIME;

use super::agent::Line;
use super::bridge::{House, Task};
use super::clock::{ms, secs};
use super::far_end::{Placing, Step};
use super::phone::Mouth;
use super::store::Mood;
use super::wire::{Fate, Message, Weather};
use super::world::World;

/// How long the next message may take, unless a test says otherwise.
const PATIENCE: Duration = secs(5);
/// Longer than every timer of both ends.
const LINGER: Duration = secs(200);

/// One call between the trunk and the bridge.
pub(crate) struct Ladder {
    pub(crate) world: World,
    pub(crate) dialog: DialogId,
    /// Messages of the bridge that have been told.
    told: usize,
    /// The message told last.
    last: usize,
    /// What the agent was told and the test has told.
    agent_told: usize,
    patience: Duration,
}

impl Ladder {
    /// An INVITE leaves the trunk.
    pub(crate) fn calls() -> Self {
        Self::calls_with(|_| {})
    }

    pub(crate) fn calls_with(change: impl FnOnce(&mut House)) -> Self {
        Self::calls_in(Weather::FINE, 1, change, &Placing::default())
    }

    pub(crate) fn places(placing: &Placing) -> Self {
        Self::calls_in(Weather::FINE, 1, |_| {}, placing)
    }

    pub(crate) fn calls_in(
        weather: Weather,
        seed: u64,
        change: impl FnOnce(&mut House),
        placing: &Placing,
    ) -> Self {
        let mut house = House::default();
        change(&mut house);
        let mut world = World::new(house, weather, seed);
        let dialog = world.place(placing);
        Self {
            world,
            dialog,
            told: 0,
            last: 0,
            agent_told: 0,
            patience: PATIENCE,
        }
    }

    /// Answered, acknowledged, the agent open, a second of silence behind us.
    pub(crate) fn answered() -> Self {
        Self::answered_with(|_| {})
    }

    pub(crate) fn answered_with(change: impl FnOnce(&mut House)) -> Self {
        let mut call = Self::calls_with(change);
        call.sends("180 Ringing").sends("200 OK (INVITE)");
        call.receives("ACK").passes(secs(1));
        call
    }

    /// The agent has asked for a handoff, the history is durable, the REFER has reached the trunk.
    pub(crate) fn referred() -> Self {
        Self::referred_with(|_| {})
    }

    pub(crate) fn referred_with(change: impl FnOnce(&mut House)) -> Self {
        let mut call = Self::answered_with(change);
        call.agent_wants_handoff()
            .agent_is_told("handoff requested")
            .agent_is_told("handoff committed");
        call.sends("REFER").refer_arrives();
        call
    }

    /// The trunk has accepted.
    pub(crate) fn accepted() -> Self {
        let mut call = Self::referred();
        call.receives("202 Accepted")
            .agent_is_told("handoff trying 202");
        call
    }

    // What the bridge says.

    /// The bridge's next message is this one.
    #[track_caller]
    pub(crate) fn sends(&mut self, pattern: &str) -> &mut Self {
        let from = self.world.bridge.address;
        let told = self.told;
        let next = |world: &World| next_of(world, from, told, pattern);
        self.world
            .awaits(self.patience, |world| next(world).is_some());
        match next(&self.world) {
            Some(index) if self.message(index).is(pattern) => {
                self.told = index + 1;
                self.last = index;
                self
            }
            Some(index) => {
                let other = self.message(index).label.clone();
                self.fails(&format!("{pattern} was due, {other} was sent"))
            }
            None => self.fails(&format!("{pattern} was due and not sent")),
        }
    }

    /// The message told last holds this text.
    #[track_caller]
    pub(crate) fn with(&mut self, text: &str) -> &mut Self {
        if !self.message(self.last).text.contains(text) {
            let message = self.message(self.last).text.clone();
            self.fails(&format!("{text:?} is not in\n{message}"));
        }
        self
    }

    /// For so long the bridge says nothing that matters.
    #[track_caller]
    pub(crate) fn sends_nothing_for(&mut self, time: Duration) -> &mut Self {
        self.world.passes(time);
        let from = self.world.bridge.address;
        if let Some(index) = next_of(&self.world, from, self.told, "") {
            let label = self.message(index).label.clone();
            self.fails(&format!("nothing was due, {label} was sent"));
        }
        self
    }

    /// Every request of this kind that the bridge ever sent, repeats included.
    pub(crate) fn count_sent(&self, pattern: &str) -> usize {
        let from = self.world.bridge.address;
        let sent = |message: &&Message| message.from == from && message.is(pattern);
        self.world.wire.ladder().iter().filter(sent).count()
    }

    /// The value of a header field in the message told last.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> String {
        let text = &self.message(self.last).text;
        let value = text.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        });
        value
            .unwrap_or_else(|| panic!("no {name} in\n{text}"))
            .to_owned()
    }

    fn message(&self, index: usize) -> &Message {
        &self.world.wire.ladder()[index]
    }

    // What the trunk says.

    /// The trunk says this, and the bridge has it: a response to its REFER, a NOTIFY, BYE, CANCEL, a re-INVITE; or
    /// what it says by itself (ACK, 200).
    #[track_caller]
    pub(crate) fn receives(&mut self, what: &str) -> &mut Self {
        let start = self.world.wire.ladder().len();
        let label = self.trunk_says(what);
        // What a trunk says by itself may have been said already.
        let start = if label.is_some() { start } else { 0 };
        let label = label.unwrap_or_else(|| what.to_owned());
        let far = self.world.far.address;
        let arrived = |world: &World| {
            let since = &world.wire.ladder()[start..];
            since
                .iter()
                .any(|m| m.from == far && m.is(&label) && m.fate == Fate::Arrived)
        };
        if !self.world.awaits(secs(40), arrived) {
            self.fails(&format!("{what} never reached the bridge"));
        }
        self
    }

    /// The trunk says this; it is on its way.
    #[track_caller]
    pub(crate) fn trunk_sends(&mut self, what: &str) -> &mut Self {
        self.trunk_says(what);
        self.world.settle();
        self
    }

    /// Its label on the wire; `None` when nothing had to be done about it.
    #[track_caller]
    fn trunk_says(&mut self, what: &str) -> Option<String> {
        let mut words = what.split(' ');
        let first = words.next().unwrap_or_default();
        let status = |word: Option<&str>| word.and_then(|word| word.parse::<u16>().ok());
        let is_referred = self.world.far.caller(self.dialog).is_referred;
        let (step, label) = match (first, words.next()) {
            ("NOTIFY", Some("sipfrag")) => {
                let status = status(words.next()).expect("a status");
                let label = format!("NOTIFY sipfrag {status}");
                match words.next() {
                    Some("terminated") => (Step::NotifyLast(status), label),
                    _ => (Step::Notify(status), label),
                }
            }
            ("BYE", _) => (Step::HangUp, "BYE".into()),
            ("CANCEL", _) => (Step::GiveUp, "CANCEL".into()),
            ("INVITE", Some("sendonly")) => (Step::Reinvite(Direction::SendOnly), "INVITE".into()),
            ("INVITE", Some("inactive")) => (Step::Reinvite(Direction::Inactive), "INVITE".into()),
            ("INVITE", Some("sendrecv")) => (Step::Reinvite(Direction::SendRecv), "INVITE".into()),
            _ => match status(Some(first)) {
                Some(status) if is_referred => (Step::AnswerRefer(status), format!("{status}")),
                _ => return None,
            },
        };
        if let Err(error) = self.trunk_does(step) {
            self.fails(&format!("the trunk cannot say {what}: {error}"));
        }
        Some(label)
    }

    pub(crate) fn trunk_does(
        &mut self,
        step: Step,
    ) -> Result<(), baton_core::sip::endpoint::CommandError> {
        let now = self.world.now();
        let done = self.world.far.does(now, self.dialog, step);
        self.world.settle();
        done
    }

    /// The REFER is with the trunk.
    #[track_caller]
    pub(crate) fn refer_arrives(&mut self) -> &mut Self {
        let dialog = self.dialog;
        if !self
            .world
            .awaits(secs(40), |world| world.far.caller(dialog).is_referred)
        {
            self.fails("the REFER never reached the trunk");
        }
        self
    }

    /// Somebody else sends octets to the bridge's SIP port; returns the answers that came back.
    pub(crate) fn stranger_sends(&mut self, from: &str, text: &str) -> Vec<String> {
        let from: SocketAddr = from.parse().expect("an address");
        self.world.strangers_heard.clear();
        self.world.inject(from, text);
        self.world.passes(ms(100));
        std::mem::take(&mut self.world.strangers_heard)
    }

    /// The bridge makes another offer, as its softphone and the bridging of two legs do.
    #[track_caller]
    pub(crate) fn bridge_offers(&mut self, direction: &str) -> &mut Self {
        let now = self.world.now();
        let endpoint = &mut self.world.bridge.endpoint;
        let body = format!(
            "v=0\r\no=- 7 8 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\n\
             m=audio 10000 RTP/AVP 0\r\na={direction}\r\n"
        );
        let command = Command::Reinvite { body: body.into() };
        // The only dialog of this bridge.
        let offered = endpoint.command(now, DialogId(1), command);
        offered.expect("an offer can be made");
        self.world.settle();
        self
    }

    // The wire.

    /// The trunk's next message of this kind takes so much longer.
    pub(crate) fn wire_delays(&mut self, pattern: &str, by: Duration) -> &mut Self {
        let far = self.world.far.address;
        self.world.wire.delay(far, pattern, by);
        self
    }

    /// The trunk's next messages of this kind are lost.
    pub(crate) fn wire_loses_from_trunk(&mut self, pattern: &str, times: usize) -> &mut Self {
        let far = self.world.far.address;
        self.world.wire.lose(far, pattern, times);
        self
    }

    /// The bridge's next messages of this kind are lost.
    pub(crate) fn wire_loses_from_bridge(&mut self, pattern: &str, times: usize) -> &mut Self {
        let bridge = self.world.bridge.address;
        self.world.wire.lose(bridge, pattern, times);
        self
    }

    /// Nothing the trunk signals arrives any more.
    pub(crate) fn trunk_goes_dark(&mut self) -> &mut Self {
        let far = self.world.far.address;
        self.world.wire.cut(far);
        self
    }

    // The agent.

    pub(crate) fn agent(&mut self, event: agent::Event) -> &mut Self {
        self.agent_does(vec![Line::Event(event)])
    }

    pub(crate) fn agent_does(&mut self, lines: Vec<Line>) -> &mut Self {
        let now = self.world.now();
        self.world.bridge.agent_does(now, 0, lines);
        self.world.settle();
        self
    }

    pub(crate) fn agent_wants_handoff(&mut self) -> &mut Self {
        self.agent(agent::Event::Handoff(HandoffRequest {
            reason: Some("billing".into()),
            summary: Some("wants a refund".into()),
            ..HandoffRequest::default()
        }))
    }

    pub(crate) fn agent_speaks(&mut self, prompt: Prompt) -> &mut Self {
        self.agent_does(vec![Line::Speech(prompt)])
    }

    pub(crate) fn agent_breaks(&mut self) -> &mut Self {
        let now = self.world.now();
        self.world.bridge.agent_goes(now, 0, false);
        self.world.settle();
        self
    }

    pub(crate) fn agent_closes(&mut self) -> &mut Self {
        let now = self.world.now();
        self.world.bridge.agent_goes(now, 0, true);
        self.world.settle();
        self
    }

    /// The next thing of its kind that the agent is told is this. Steps of a handoff may not be passed over.
    #[track_caller]
    pub(crate) fn agent_is_told(&mut self, what: &str) -> &mut Self {
        let from = self.agent_told;
        let next = |world: &World| {
            let told = world.bridge.call(0).agent.told();
            told.iter()
                .enumerate()
                .skip(from)
                .find(|(_, (_, said))| {
                    said == what || (what.starts_with("handoff") && said.starts_with("handoff"))
                })
                .map(|(index, (_, said))| (index, said.clone()))
        };
        self.world
            .awaits(self.patience, |world| next(world).is_some());
        match next(&self.world) {
            Some((index, said)) if said == what => self.agent_told = index + 1,
            Some((_, said)) => self.fails(&format!("the agent was told {said:?}, not {what:?}")),
            None => self.fails(&format!("the agent was not told {what:?}")),
        }
        self
    }

    /// The agent has been told nothing of this kind since the last thing that a test told.
    #[track_caller]
    pub(crate) fn agent_is_not_told(&mut self, what: &str) -> &mut Self {
        let told = self.call().agent.told();
        if told
            .iter()
            .skip(self.agent_told)
            .any(|(_, said)| said.starts_with(what))
        {
            self.fails(&format!("the agent was told {what:?}"));
        }
        self
    }

    /// The reason that came with the last failed handoff.
    #[track_caller]
    pub(crate) fn agent_is_told_why(&self) -> String {
        let commands = self.call().agent.commands();
        let reason = commands.iter().rev().find_map(|command| {
            let agent::Command::Handoff(update) = command else {
                return None;
            };
            (update.state == "failed").then(|| update.reason.clone())?
        });
        reason.expect("a failed handoff has its reason")
    }

    /// The agent has the caller again: it is told so, it speaks, the caller hears it, and nothing was sent for it.
    #[track_caller]
    pub(crate) fn resumes(&mut self) -> &mut Self {
        self.agent_is_told("handoff resumed");
        self.agent_speaks(Prompt::WhatElse).caller_hears_the_agent();
        let frames = self.call().agent.frames();
        self.passes(secs(1));
        if self.call().agent.frames() < frames + 45 {
            self.fails("the agent does not hear the caller");
        }
        if self.call().phase() != "talking" {
            let phase = self.call().phase();
            self.fails(&format!("the call is {phase}"));
        }
        self
    }

    // The store, the refer-handler, the operator.

    pub(crate) fn store_hangs(&mut self) -> &mut Self {
        self.store_is(Mood::Hangs)
    }

    pub(crate) fn store_works(&mut self) -> &mut Self {
        self.store_is(Mood::Works)
    }

    pub(crate) fn store_fails(&mut self, error: BackendError) -> &mut Self {
        self.store_is(Mood::Fails(error))
    }

    fn store_is(&mut self, mood: Mood) -> &mut Self {
        self.world.bridge.store.set_mood(mood);
        self.world.settle();
        self
    }

    pub(crate) fn key_is_read(&mut self) -> &mut Self {
        let now = self.world.now();
        self.world.bridge.key_is_read(now, 0);
        self.world.settle();
        self
    }

    pub(crate) fn operator(&mut self, wish: Operator) -> &mut Self {
        let now = self.world.now();
        self.world.bridge.operator(now, 0, wish);
        self.world.settle();
        self
    }

    /// SIGTERM.
    pub(crate) fn node_is_told_to_stop(&mut self) -> &mut Self {
        let now = self.world.now();
        self.world.bridge.is_told_to_stop(now);
        self.world.settle();
        self
    }

    /// SIGTERM, and all of `drain_timeout` has passed.
    #[track_caller]
    pub(crate) fn node_is_drained(&mut self) -> &mut Self {
        let patience = self.world.bridge.patience().drain;
        self.node_is_told_to_stop().sends_nothing_for(patience)
    }

    /// The process may exit.
    #[track_caller]
    pub(crate) fn node_stops_within(&mut self, patience: Duration) {
        let stopped = |world: &World| world.bridge.lifecycle.is_stopped();
        if !self.world.awaits(patience, stopped) {
            let state = self.world.bridge.lifecycle;
            self.fails(&format!("the node is {state:?}"));
        }
    }

    /// How the history says the call ended.
    pub(crate) fn end_reason(&self) -> String {
        let end = self.history().end;
        end.expect("the history has an end").reason
    }

    // The caller.

    pub(crate) fn caller_speaks(&mut self) -> &mut Self {
        self.mouth(Mouth::Speaks(0))
    }

    pub(crate) fn caller_is_silent(&mut self) -> &mut Self {
        self.mouth(Mouth::Silent)
    }

    /// The telephone sends no packets any more.
    pub(crate) fn caller_goes_dead(&mut self) -> &mut Self {
        self.mouth(Mouth::Dead)
    }

    fn mouth(&mut self, mouth: Mouth) -> &mut Self {
        let caller = self.world.far.caller_mut(self.dialog);
        caller.phone.set_mouth(mouth);
        self
    }

    pub(crate) fn presses(&mut self, digit: char) -> &mut Self {
        let caller = self.world.far.caller_mut(self.dialog);
        caller.phone.presses(digit);
        self
    }

    #[track_caller]
    pub(crate) fn caller_hears_the_agent(&mut self) -> &mut Self {
        let (since, dialog) = (self.world.now(), self.dialog);
        let loud = |world: &World| {
            let ear = &world.far.caller(dialog).phone.ear;
            ear.last_loud.is_some_and(|at| at > since)
        };
        if !self.world.awaits(PATIENCE, loud) {
            self.fails("the caller does not hear the agent");
        }
        self
    }

    /// Nothing loud came to the caller's ear during the last `time`.
    #[track_caller]
    pub(crate) fn caller_hears_nothing_loud_for(&mut self, time: Duration) -> &mut Self {
        let since = self.world.now();
        self.passes(time);
        let ear = &self.world.far.caller(self.dialog).phone.ear;
        if ear.last_loud.is_some_and(|at| at > since) {
            self.fails("something loud came to the caller's ear");
        }
        self
    }

    // Time.

    pub(crate) fn passes(&mut self, time: Duration) -> &mut Self {
        self.world.passes(time);
        self
    }

    /// What follows may take so long.
    pub(crate) fn within(&mut self, patience: Duration) -> &mut Self {
        self.patience = patience;
        self
    }

    // How it stands, and how it ends.

    pub(crate) fn call(&self) -> &Task {
        self.world.bridge.call(0)
    }

    pub(crate) fn key(&self) -> String {
        self.call().key().as_str().to_owned()
    }

    /// What a human would read now.
    pub(crate) fn history(&self) -> Session {
        let history = self.call().history(&self.world.bridge.store);
        history.expect("the history has begun")
    }

    /// The last handoff came to this.
    #[track_caller]
    pub(crate) fn handoff_is(&mut self, state: HandoffState) -> &mut Self {
        let handoffs = self.history().handoffs;
        let is = handoffs.last().map(|handoff| handoff.state);
        if is != Some(state) {
            self.fails(&format!("the handoff is {is:?}, not {state:?}"));
        }
        self
    }

    /// The last handoff failed in this way.
    #[track_caller]
    pub(crate) fn handoff_failed(&mut self, kind: FailureKind, status: Option<u16>) -> &mut Self {
        self.handoff_is(HandoffState::Failed);
        let handoffs = self.history().handoffs;
        let last = handoffs.last().map(|h| (h.failure, h.sip_status));
        if last != Some((Some(kind), status)) {
            self.fails(&format!("it failed with {last:?}, not {kind:?} {status:?}"));
        }
        self
    }

    /// The caller has had a packet every 20 ms, from the answer on.
    #[track_caller]
    pub(crate) fn rtp_never_paused(&mut self) -> &mut Self {
        let pace = self.call().pace;
        if pace.longest_gap > PTIME {
            self.fails(&format!("no RTP for {:?}", pace.longest_gap));
        }
        self
    }

    /// The call is over in this way; the history says so, nobody remembers anything, and nothing was left untold.
    #[track_caller]
    pub(crate) fn ends(&mut self, kind: EndKind, by: EndBy) {
        if !self
            .world
            .awaits(secs(60), |world| world.bridge.call(0).ended.is_some())
        {
            let phase = self.call().phase();
            self.fails(&format!("the call does not end, it is {phase}"));
        }
        self.rtp_never_paused();
        let ended = self.call().ended.as_ref().map(|last| last.ended.clone());
        let ended = ended.expect("it has just ended");
        if (ended.kind, ended.by) != (kind, by) {
            self.fails(&format!("it ended {ended:?}, not {kind:?} by {by:?}"));
        }
        let from = self.world.bridge.address;
        if let Some(index) = next_of(&self.world, from, self.told, "") {
            let label = self.message(index).label.clone();
            self.fails(&format!("{label} was sent and not told"));
        }
        self.is_forgotten();
        if self.world.bridge.store.is_well() {
            let written = |world: &World| world.bridge.call(0).is_written();
            assert!(self.world.awaits(PATIENCE, written), "the last words");
            let end = self.history().end.expect("the history has an end");
            assert_eq!((end.kind, end.by), (kind, by), "as the history tells it");
        }
    }

    /// When all timers are over neither end remembers anything.
    #[track_caller]
    pub(crate) fn is_forgotten(&mut self) {
        if !self.world.awaits(LINGER, World::is_forgotten) {
            let (bridge, far) = (&self.world.bridge.endpoint, &self.world.far.endpoint);
            let left = [bridge, far].map(|end| (end.dialogs(), end.transactions()));
            self.fails(&format!(
                "dialogs and transactions left, bridge and trunk: {left:?}"
            ));
        }
    }

    #[track_caller]
    fn fails(&self, why: &str) -> ! {
        let mut ladder = String::new();
        for message in self.world.wire.ladder() {
            let at = self.world.clock.since_epoch(message.at).as_secs_f64();
            let arrow = if message.from == self.world.bridge.address {
                "◄──"
            } else {
                "──►"
            };
            let lost = if message.fate == Fate::Lost {
                "  (lost)"
            } else {
                ""
            };
            // Writing to a String cannot fail.
            let _ = writeln!(ladder, "{at:9.3} {arrow} {}{lost}", message.label);
        }
        let now = self.world.clock.since_epoch(self.world.now());
        let agent: Vec<String> = self
            .world
            .bridge
            .calls()
            .flat_map(|task| task.agent.told())
            .map(|(_, said)| said)
            .collect();
        panic!("{why}\n\n{ladder}at {now:?}; the agent was told {agent:?}");
    }
}

/// The bridge's next message that matters, or one that goes without saying but is the one asked for.
fn next_of(world: &World, from: SocketAddr, told: usize, pattern: &str) -> Option<usize> {
    let mut messages = world.wire.ladder().iter().enumerate().skip(told);
    messages
        .find(|(_, message)| {
            message.from == from
                && !message.is_repeat
                && (message.is(pattern) || !goes_without_saying(message))
        })
        .map(|(index, _)| index)
}

/// What every endpoint says by itself.
fn goes_without_saying(message: &Message) -> bool {
    ["100 Trying", "ACK"].iter().any(|one| message.is(one))
        || [
            "NOTIFY", "BYE", "CANCEL", "INFO", "OPTIONS", "UPDATE", "PRACK",
        ]
        .iter()
        .any(|method| message.is(&format!("200 OK ({method})")))
}
