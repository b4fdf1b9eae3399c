//! What a call tells its agent. Audio is apart: [`super::Dialect::hear`].

use std::collections::BTreeMap;
use std::time::Duration;

use crate::vocab::{CallId, HandoffId, HandoffKey};

/// One thing the agent should know. Times are on the call's media clock, from the answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// The call: first and once, before any audio.
    Start(Box<Start>),
    /// The caller began to speak.
    SpeechStarted {
        /// Media time.
        at: Duration,
    },
    /// The caller fell silent (after the hangover).
    SpeechStopped {
        /// Media time of the last speech, the hangover not counted.
        at: Duration,
    },
    /// The caller pressed a key; once per press.
    Dtmf {
        /// `0-9 * # A-D`.
        digit: char,
        /// How long it was held.
        duration: Duration,
        /// Media time of its start.
        at: Duration,
    },
    /// A mark was reached, or its audio was cleared.
    Mark {
        /// As the agent named it; names may repeat.
        name: String,
        /// `true` once everything queued before it was sent to the caller.
        heard: bool,
        /// Media time.
        at: Duration,
    },
    /// The queue was emptied (by the agent's `clear` or by barge-in).
    Cleared {
        /// What the caller heard of the turn that was cut.
        heard: Duration,
    },
    /// The far end put us on hold.
    Hold,
    /// The far end took us back.
    Resume,
    /// How a handoff goes.
    Handoff(HandoffUpdate),
    /// The last word: the call is over, or this agent's part of it.
    Stop {
        /// For people.
        reason: String,
    },
    /// What the agent sent could not be used; said to it so that its author can mend it.
    Error {
        /// What, where, and what to do.
        message: String,
    },
}

/// Everything an agent is told about its call.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// Who, from where, to where.
    pub call: CallInfo,
    /// The key under which this session's history is kept.
    pub key: HandoffKey,
    /// The route's `variables`, and what the caller's platform passed in.
    pub input_context: BTreeMap<String, String>,
}

/// The identities of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct CallInfo {
    /// Ours.
    pub id: CallId,
    /// The Call-ID of the INVITE.
    pub sip_call_id: String,
    /// `X-Twilio-CallSid`, where the trunk sends one.
    pub twilio_call_sid: Option<String>,
    /// The caller: user part of From, a number as a rule.
    pub from: String,
    /// The called user part.
    pub to: String,
    /// Name of the trunk it came by.
    pub trunk: String,
    /// Name of the route that chose this agent.
    pub route: String,
    /// INVITE headers on the agent's `forward_headers` list, in order.
    pub headers: Vec<(String, String)>,
}

/// One step of a handoff, as the agent is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandoffUpdate {
    /// Which.
    pub id: HandoffId,
    /// A state of docs/glossary.md: `requested`, `committed`, `trying`, `ringing`, `transferred`, `failed`, `resumed`, …
    pub state: &'static str,
    /// `refer`, `bridge`, …
    pub style: &'static str,
    /// The SIP status that says so, where there is one.
    pub sip_status: Option<u16>,
    /// For people, and for an agent that wants to say it in words.
    pub reason: Option<String>,
}
