//! What an agent tells its call. Audio is apart: [`super::Outbox::play`].

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Who spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The caller.
    Caller,
    /// The agent.
    Agent,
}

/// One thing the agent says, in the order it said it, audio included (see [`super::Outbox`]).
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The agent is ready for the call (its socket is open and its hello was understood).
    Ready,
    /// Tell me when the caller has heard everything I queued so far.
    Mark {
        /// Echoed back with `heard`.
        name: String,
    },
    /// Silence the caller's ear within 20 ms.
    Clear,
    /// Words for the history.
    Transcript {
        /// Who said them.
        role: Role,
        /// Them.
        text: String,
        /// `false`: a guess that a later one replaces; only final ones are kept.
        is_final: bool,
    },
    /// Context for the human.
    Context {
        /// Merged into `referenceVariables`.
        set: serde_json::Map<String, serde_json::Value>,
        /// Replaces the current task.
        current_task: Option<String>,
        /// Merged into `transferVariables`.
        transfer: serde_json::Map<String, serde_json::Value>,
    },
    /// Hand the caller to a human.
    Handoff(HandoffRequest),
    /// End the call.
    Hangup {
        /// Header fields for our BYE.
        headers: Vec<(String, String)>,
        /// For the history.
        reason: Option<String>,
    },
    /// Mask digits and turns from here on, or stop masking.
    Sensitive(bool),
    /// Pause (`false`) or resume (`true`) the recording.
    Recording(bool),
    /// After a pausing barge-in: a false alarm, go on where it stopped.
    ResumePlayout,
    /// Send digits to the caller's side.
    SendDtmf {
        /// `0-9 * # A-D`.
        digits: String,
        /// Each; default 160 ms.
        duration: Option<Duration>,
        /// Between two; default 80 ms.
        gap: Option<Duration>,
    },
    /// Before the answer: go on.
    Accept,
    /// Before the answer: no.
    Reject {
        /// 486 or 603.
        status: u16,
    },
    /// Before the answer: 302 to this target, with the key.
    Redirect {
        /// A SIP or tel URI.
        target: String,
    },
    /// The agent broke its protocol; the dialect has answered it already.
    Fault {
        /// What, for the log and the history.
        what: String,
        /// Close the socket with this code (1008, 1009), and the failure policy holds.
        close: Option<u16>,
    },
}

/// An agent's wish to hand over. Everything is optional: the route's handoff fills in.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HandoffRequest {
    /// A SIP or tel URI.
    pub target: Option<String>,
    /// `refer`, `bridge`, … tried first.
    pub style: Option<String>,
    /// Extra header fields for the target.
    pub headers: BTreeMap<String, String>,
    /// Where they travel; `None`: as the key does.
    pub headers_in: Option<HeadersIn>,
    /// With style `hangup`: the header field of our BYE that names the target.
    pub target_header: Option<String>,
    /// Why, in a word or two.
    pub reason: Option<String>,
    /// What the human should know before saying hello.
    pub summary: Option<String>,
    /// Wait until this mark was heard.
    pub say_first: Option<String>,
}

/// Where the header fields of a handoff travel in a REFER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadersIn {
    /// As headers of the URI in Refer-To: what the refer-handler and the transfer target see.
    ReferToHeader,
    /// As header fields of the REFER itself.
    CustomHeader,
    /// In the REFER's Contact.
    ContactHeader,
}
