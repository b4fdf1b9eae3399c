//! One call as `GET /v1/calls/{id}` shows it.

use serde::{Serialize, Serializer};

use baton_core::history::UnixMillis;
use baton_core::leg::event::Summary;
use baton_core::vocab::{CallId, HandoffId, HandoffKey};

/// Steps of a ladder that are kept: its first ones (how the call came to be) and its last (how it ends). A call that
/// talks all day must not grow.
const LADDER_HEAD: usize = 64;
const LADDER_MAX: usize = 256;

/// Attempts to hand over that are kept, the newest.
const HANDOFFS_MAX: usize = 32;

/// Where a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// INVITE came, nothing said yet.
    Offered,
    /// 180 sent, the agent is being connected.
    Ringing,
    /// 200 sent, ACK awaited.
    Answering,
    /// The agent has the caller.
    Talking,
    /// On the way to a human.
    HandingOff,
    /// Joined to a human by us.
    Bridged,
    /// BYE sent.
    Ending,
    /// Over.
    Ended,
}

impl CallState {
    /// As in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Ringing => "ringing",
            Self::Answering => "answering",
            Self::Talking => "talking",
            Self::HandingOff => "handing_off",
            Self::Bridged => "bridged",
            Self::Ending => "ending",
            Self::Ended => "ended",
        }
    }
}

/// One arrow of a call's ladder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LadderStep {
    /// Since the call began, ms.
    pub at_ms: u64,
    /// `trunk`, `baton`, `agent`, `store`, `target`, `webhook`.
    pub from: String,
    /// The same names.
    pub to: String,
    /// `INVITE`, `200 OK`, `REFER`, `NOTIFY 100`, `history committed`, …
    pub what: String,
}

/// When what happened, ms since the call began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Timings {
    /// 180 sent.
    pub ringing_ms: Option<u64>,
    /// The agent was ready.
    pub agent_ready_ms: Option<u64>,
    /// 200 sent.
    pub answered_ms: Option<u64>,
    /// The caller heard the agent for the first time.
    pub agent_heard_ms: Option<u64>,
}

/// One attempt to hand over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HandoffView {
    /// Which.
    pub id: HandoffId,
    /// `requested`, `committed`, `trying`, `ringing`, `transferred`, `bridged`, `returned`, `failed`, `unconfirmed`, `resumed`.
    pub state: String,
    /// `refer`, `bridge`, …
    pub style: String,
    /// Where to.
    pub target: Option<String>,
    /// The SIP status that says so.
    pub sip_status: Option<u16>,
    /// For people.
    pub reason: Option<String>,
    /// Last change, ms since the call began.
    pub at_ms: u64,
}

impl HandoffView {
    /// One that was just asked for.
    pub fn new(id: HandoffId, style: &str, at_ms: u64) -> Self {
        Self {
            id,
            state: "requested".into(),
            style: style.into(),
            target: None,
            sip_status: None,
            reason: None,
            at_ms,
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndView {
    /// `transferred`, `bridged`, `returned`, `caller_hung_up`, `agent_hung_up`, `rejected`, `cancelled`, `lost`, `failed`.
    pub kind: String,
    /// `caller`, `agent`, `operator`, `trunk`, `bridge`.
    pub by: String,
    /// For people.
    pub reason: Option<String>,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallView {
    /// Ours.
    pub id: CallId,
    /// The Call-ID of the INVITE.
    pub sip_call_id: String,
    /// `X-Twilio-CallSid`, where the trunk sends one.
    pub twilio_call_sid: Option<String>,
    /// Where its history is.
    pub session_history_key: HandoffKey,
    /// The caller.
    pub from: String,
    /// The called user part.
    pub to: String,
    /// Which trunk it came by.
    pub trunk: String,
    /// Which route was taken.
    pub route: String,
    /// Which agent has it.
    pub agent: String,
    /// Where it is.
    pub state: CallState,
    /// INVITE received.
    #[serde(serialize_with = "rfc3339")]
    pub started: UnixMillis,
    /// 200 sent.
    #[serde(serialize_with = "UnixMillis::as_rfc3339")]
    pub answered: Option<UnixMillis>,
    /// Over.
    #[serde(serialize_with = "UnixMillis::as_rfc3339")]
    pub ended: Option<UnixMillis>,
    /// What was said on the wire, oldest first.
    pub ladder: Vec<LadderStep>,
    /// Steps left out of the middle of a very long ladder.
    pub ladder_left_out: u64,
    /// Milestones.
    pub timings: Timings,
    /// Media figures; while the call lives, as of the last sample.
    pub quality: Option<Summary>,
    /// Every attempt to hand over, newest last.
    pub handoffs: Vec<HandoffView>,
    /// How it ended.
    pub end: Option<EndView>,
}

impl CallView {
    /// A call that was just offered; the rest is filled in as it becomes known.
    pub fn new(id: CallId, session_history_key: HandoffKey, started: UnixMillis) -> Self {
        Self {
            id,
            sip_call_id: String::new(),
            twilio_call_sid: None,
            session_history_key,
            from: String::new(),
            to: String::new(),
            trunk: String::new(),
            route: String::new(),
            agent: String::new(),
            state: CallState::Offered,
            started,
            answered: None,
            ended: None,
            ladder: Vec::new(),
            ladder_left_out: 0,
            timings: Timings::default(),
            quality: None,
            handoffs: Vec::new(),
            end: None,
        }
    }

    /// Whether one of its names is `name`.
    pub fn is_called(&self, name: &str) -> bool {
        !name.is_empty()
            && (self.id.as_str() == name
                || self.sip_call_id == name
                || self.twilio_call_sid.as_deref() == Some(name))
    }

    /// One more arrow; from a very long ladder the middle is left out.
    pub fn push_step(&mut self, step: LadderStep) {
        if self.ladder.len() >= LADDER_MAX {
            self.ladder.remove(LADDER_HEAD);
            self.ladder_left_out += 1;
        }
        self.ladder.push(step);
    }

    /// One more attempt to hand over; the oldest of very many is left out.
    pub fn push_handoff(&mut self, handoff: HandoffView) {
        if self.handoffs.len() >= HANDOFFS_MAX {
            self.handoffs.remove(0);
        }
        self.handoffs.push(handoff);
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn rfc3339<S: Serializer>(time: &UnixMillis, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_core::vocab::Entropy;

    fn call() -> CallView {
        let mut entropy = Entropy::from_number(1);
        CallView::new(
            CallId::generate(&mut entropy),
            HandoffKey::generate(&mut entropy),
            UnixMillis(1_700_000_000_123),
        )
    }

    #[test]
    fn times_are_rfc_3339_and_states_are_the_contracts_words() {
        let json = serde_json::to_value(call()).unwrap();
        assert_eq!(json["started"], "2023-11-14T22:13:20.123Z");
        assert_eq!(json["state"], "offered");
        assert_eq!(json["end"], serde_json::Value::Null);
    }

    #[test]
    fn every_state_is_spelled_the_same_in_json_and_in_words() {
        for state in [
            CallState::Offered,
            CallState::Ringing,
            CallState::Answering,
            CallState::Talking,
            CallState::HandingOff,
            CallState::Bridged,
            CallState::Ending,
            CallState::Ended,
        ] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }

    #[test]
    fn a_ladder_keeps_its_beginning_and_its_end() {
        let mut call = call();
        for at_ms in 0..1_000 {
            call.push_step(LadderStep {
                at_ms,
                from: "trunk".into(),
                to: "baton".into(),
                what: "OPTIONS".into(),
            });
        }
        assert_eq!(call.ladder.len(), LADDER_MAX);
        assert_eq!(call.ladder_left_out, 1_000 - LADDER_MAX as u64);
        assert_eq!(call.ladder[LADDER_HEAD - 1].at_ms, LADDER_HEAD as u64 - 1);
        assert_eq!(call.ladder[LADDER_MAX - 1].at_ms, 999);
    }

    #[test]
    fn endless_handoffs_keep_the_newest() {
        let mut call = call();
        for number in 0..100 {
            call.push_handoff(HandoffView::new(
                HandoffId::from(format!("ho-{number}").as_str()),
                "refer",
                number,
            ));
        }
        assert_eq!(call.handoffs.len(), HANDOFFS_MAX);
        assert_eq!(call.handoffs[HANDOFFS_MAX - 1].at_ms, 99);
    }
}
