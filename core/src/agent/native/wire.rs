//! The frames of `baton.v1`, both directions. These types are the protocol's source: its schema and its golden
//! frames follow from them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::agent::handoff_frame::{HandoffFault, HandoffFrame};
use crate::agent::{CallInfo, Command, Role};

/// The version in `start`.
pub const VERSION: &str = "1";

/// A text frame to the agent.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToAgent<'a> {
    /// The call; first.
    Start {
        /// [`VERSION`].
        version: &'static str,
        /// Who calls whom.
        call: Call<'a>,
        /// The key of the session history.
        session_history_key: &'a str,
        /// What the binary frames hold.
        audio: AudioInfo,
        /// The route's variables; absent when there are none.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        input_context: &'a BTreeMap<String, String>,
    },
    /// The caller began to speak.
    SpeechStarted {
        /// Media clock, ms.
        at_ms: u64,
    },
    /// The caller fell silent.
    SpeechStopped {
        /// Media clock, ms: the end of speech, the hangover not counted.
        at_ms: u64,
    },
    /// A key was pressed.
    Dtmf {
        /// `0-9 * # A-D`.
        digit: char,
        /// How long.
        duration_ms: u64,
        /// Media clock, ms.
        at_ms: u64,
    },
    /// A mark of the agent came up.
    Mark {
        /// Its name.
        name: &'a str,
        /// `true`: the caller heard everything before it; `false`: it was cleared.
        heard: bool,
        /// Media clock, ms.
        at_ms: u64,
    },
    /// The agent's audio was cut.
    Cleared {
        /// What the caller heard of the turn.
        heard_ms: u64,
    },
    /// The far end put us on hold.
    Hold,
    /// And took us back.
    Resume,
    /// A step of a handoff.
    Handoff {
        /// Which.
        id: &'a str,
        /// Its state.
        state: &'a str,
        /// How it is tried.
        style: &'a str,
        /// The SIP status that says so.
        #[serde(skip_serializing_if = "Option::is_none")]
        sip_status: Option<u16>,
        /// In words.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    },
    /// The last frame.
    Stop {
        /// For people.
        reason: &'a str,
    },
    /// A frame of the agent's could not be used.
    Error {
        /// What to mend.
        message: &'a str,
    },
}

/// `start.call`.
#[derive(Debug, Serialize)]
pub struct Call<'a> {
    /// Ours.
    pub id: &'a str,
    /// Call-ID of the INVITE.
    pub sip_call_id: &'a str,
    /// `X-Twilio-CallSid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub twilio_call_sid: Option<&'a str>,
    /// The caller.
    pub from: &'a str,
    /// The called.
    pub to: &'a str,
    /// The trunk's name.
    pub trunk: &'a str,
    /// The route's name.
    pub route: &'a str,
    /// Forwarded header fields, in order; repeated ones joined by a comma (RFC 3261 §7.3.1).
    #[serde(serialize_with = "joined")]
    pub headers: &'a [(String, String)],
}

/// `start.audio`.
#[derive(Debug, Serialize)]
pub struct AudioInfo {
    /// `pcm_s16le`.
    pub encoding: &'static str,
    /// Samples per second.
    pub sample_rate: u32,
    /// What one of our frames holds.
    pub frame_ms: u32,
}

/// A text frame from the agent. Unknown fields are passed over.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromAgent {
    /// Tell me when the caller heard everything before this.
    Mark {
        /// May repeat.
        name: String,
    },
    /// Silence.
    Clear,
    /// Words for the history.
    Transcript {
        /// Who said them.
        role: Role,
        /// Them.
        text: String,
        /// Whether they stand; `true` when absent.
        #[serde(rename = "final", default = "yes")]
        is_final: bool,
    },
    /// Context for the human.
    Context {
        /// Into `referenceVariables`.
        set: Option<Map<String, Value>>,
        /// The task at hand.
        current_task: Option<String>,
        /// Into `transferVariables`.
        transfer: Option<Map<String, Value>>,
    },
    /// Hand the caller over.
    Handoff(Box<HandoffFrame>),
    /// End the call.
    Hangup {
        /// For our BYE.
        headers: Option<BTreeMap<String, String>>,
        /// For the history.
        reason: Option<String>,
    },
    /// Before the answer: go on.
    Accept,
    /// Before the answer: no.
    Reject {
        /// 486 or 603; 603 when absent.
        #[serde(default = "decline")]
        status: u16,
    },
    /// Before the answer: elsewhere.
    Redirect {
        /// A SIP or tel URI.
        target: String,
    },
    /// Mask what comes, or stop masking.
    Sensitive {
        /// Which.
        on: bool,
    },
    /// Resume or pause the recording.
    Recording {
        /// Which.
        on: bool,
    },
    /// The barge-in was a false alarm.
    ResumePlayout,
    /// Digits to the caller's side.
    Dtmf {
        /// `0-9 * # A-D`.
        digits: String,
        /// Each.
        duration_ms: Option<u64>,
        /// Between two.
        gap_ms: Option<u64>,
    },
    /// A type of tomorrow.
    #[serde(other)]
    Unknown,
}

/// A text frame that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Not a JSON object.
    #[error("a text frame must be a JSON object")]
    NotAnObject,
    /// No `type`, and not IBM's object either.
    #[error("a frame needs a type")]
    NoType,
    /// JSON or its fields; the text says where.
    #[error("{0}")]
    Fields(String),
    /// A handoff, a hangup or a redirect that cannot be done.
    #[error(transparent)]
    Handoff(#[from] HandoffFault),
    /// A value beyond its bound.
    #[error("{0}")]
    Value(&'static str),
}

/// What tells which frame it is.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    response_type: Option<Cow<'a, str>>,
    generic: Option<serde::de::IgnoredAny>,
}

impl FromAgent {
    /// Reads a text frame.
    ///
    /// # Errors
    /// What its author should mend.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        // Serde would read a struct from an array too.
        if !text.trim_start().starts_with('{') {
            return Err(Malformed::NotAnObject);
        }
        let head: Head<'_> = read(text)?;
        if head.kind.is_some() {
            return read(text);
        }
        if head.response_type.is_some() || head.generic.is_some() {
            return Ok(Self::Handoff(Box::new(read(text)?)));
        }
        Err(Malformed::NoType)
    }
}

impl<'a> ToAgent<'a> {
    /// The frame that says `command`, to an agent that speaks `sample_rate`.
    pub fn from_command(command: &'a Command, sample_rate: u32) -> Self {
        match command {
            Command::Start(start) => Self::Start {
                version: VERSION,
                call: Call::from(&start.call),
                session_history_key: start.key.as_str(),
                audio: AudioInfo {
                    encoding: "pcm_s16le",
                    sample_rate,
                    frame_ms: 20,
                },
                input_context: &start.input_context,
            },
            Command::SpeechStarted { at } => Self::SpeechStarted { at_ms: ms(*at) },
            Command::SpeechStopped { at } => Self::SpeechStopped { at_ms: ms(*at) },
            Command::Dtmf {
                digit,
                duration,
                at,
            } => Self::Dtmf {
                digit: *digit,
                duration_ms: ms(*duration),
                at_ms: ms(*at),
            },
            Command::Mark { name, heard, at } => Self::Mark {
                name,
                heard: *heard,
                at_ms: ms(*at),
            },
            Command::Cleared { heard } => Self::Cleared {
                heard_ms: ms(*heard),
            },
            Command::Hold => Self::Hold,
            Command::Resume => Self::Resume,
            Command::Handoff(update) => Self::Handoff {
                id: update.id.as_str(),
                state: update.state,
                style: update.style,
                sip_status: update.sip_status,
                reason: update.reason.as_deref(),
            },
            Command::Stop { reason } => Self::Stop { reason },
            Command::Error { message } => Self::Error { message },
        }
    }
}

impl<'a> From<&'a CallInfo> for Call<'a> {
    fn from(call: &'a CallInfo) -> Self {
        Self {
            id: call.id.as_str(),
            sip_call_id: &call.sip_call_id,
            twilio_call_sid: call.twilio_call_sid.as_deref(),
            from: &call.from,
            to: &call.to,
            trunk: &call.trunk,
            route: &call.route,
            headers: &call.headers,
        }
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Malformed> {
    serde_json::from_str(text).map_err(|error| {
        // Serde repeats the offending value; an error frame and a log line need only its beginning.
        Malformed::Fields(error.to_string().chars().take(200).collect())
    })
}

fn joined<S: Serializer>(headers: &&[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut merged: Vec<(&str, Cow<'_, str>)> = Vec::with_capacity(headers.len());
    for (name, value) in *headers {
        match merged
            .iter_mut()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
        {
            Some((_, values)) => {
                let values = values.to_mut();
                values.push_str(", ");
                values.push_str(value);
            }
            None => merged.push((name, value.as_str().into())),
        }
    }
    serializer.collect_map(merged)
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const fn yes() -> bool {
    true
}

const fn decline() -> u16 {
    603
}
