//! The events of a session, in the form in which they are kept. The JSON of this file is a promise: a store
//! outlives the program that wrote it, and several versions may share one.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{BackendError, EndBy, EndKind, FailureKind, HandoffState, Turn, UnixMillis};
use crate::vocab::{CallId, HandoffId};

/// Version written into each event. It goes up only when an old reader would misread a new event;
/// new kinds and new fields do not need it.
pub const VERSION: u64 = 1;

/// Something that happened, and when.
///
/// As JSON: `{"v":1,"at":<unix ms>,"event":"<kind>", ..fields}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When.
    pub at: UnixMillis,
    /// What.
    pub kind: Kind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Kind {
    /// A call came in.
    SessionStarted(Box<CallFacts>),
    /// It was answered; the media clock starts here.
    Answered,
    /// Somebody said something.
    Turn(Turn),
    /// The caller pressed a key.
    Dtmf {
        /// Which; `None` while the agent had asked for masking.
        digit: Option<char>,
        /// Media time, ms.
        at_ms: u64,
    },
    /// The agent told us something about the caller.
    Context {
        /// Merged into `referenceVariables`.
        #[serde(default, skip_serializing_if = "Map::is_empty")]
        set: Map<String, Value>,
        /// Replaces `currentTaskName`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        current_task: Option<String>,
        /// Merged into `transferVariables`.
        #[serde(default, skip_serializing_if = "Map::is_empty")]
        transfer: Map<String, Value>,
    },
    /// The recording began, paused, went on or got its final name.
    Recording {
        /// Whether it runs from here on.
        on: bool,
        /// Where it is, as the shell names it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
    },
    /// A handoff took a step.
    Handoff(Box<HandoffStep>),
    /// The refer-handler asked for this session's key: the far end is carrying the transfer out.
    RedirectedByHandler {
        /// `CallSid` of the asking call, where the platform names it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call_sid: Option<String>,
    },
    /// The call is over.
    Ended {
        /// How.
        kind: EndKind,
        /// By whom.
        by: EndBy,
        /// For people.
        reason: String,
    },
    /// Written by a version that knows more than this one; kept as it is.
    #[serde(skip)]
    Unrecognized(Map<String, Value>),
}

/// The identities of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFacts {
    /// Ours.
    pub id: CallId,
    /// The Call-ID of the INVITE.
    pub sip_call_id: String,
    /// `X-Twilio-CallSid`, where the trunk sends one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twilio_call_sid: Option<String>,
    /// The caller's user part.
    pub from: String,
    /// The called user part.
    pub to: String,
    /// Name of the trunk.
    pub trunk: String,
    /// Name of the route.
    pub route: String,
    /// Name of the agent.
    pub agent: String,
    /// Name of the node that serves it.
    pub node: String,
}

/// One step of one handoff, with the evidence for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoffStep {
    /// Which handoff.
    pub id: HandoffId,
    /// What it has come to.
    pub state: HandoffState,
    /// By which style.
    pub style: String,
    /// To whom.
    pub target: String,
    /// The SIP status that says so: of the REFER's answer, or of the sipfrag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sip_status: Option<u16>,
    /// What went wrong, or why it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The status line the far end sent in its NOTIFY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sipfrag: Option<String>,
    /// What the human should know; on the first step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// With `failed`: the kind of failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureKind>,
}

impl Event {
    /// An event.
    pub const fn new(at: UnixMillis, kind: Kind) -> Self {
        Self { at, kind }
    }

    /// As kept in a store.
    #[expect(
        clippy::missing_panics_doc,
        reason = "strings, numbers and string-keyed maps always serialize"
    )]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self)
            .expect("an event holds only strings, numbers and maps with string keys")
    }

    /// From a store. A kind that is not known here, or one with fields we cannot read, becomes
    /// [`Kind::Unrecognized`] and still encodes to what it was.
    ///
    /// # Errors
    /// [`BackendError::Corrupt`] when it is no JSON object with a time.
    pub fn decode(octets: &[u8]) -> Result<Self, BackendError> {
        serde_json::from_slice(octets).map_err(|error| BackendError::Corrupt {
            why: error.to_string(),
        })
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Known<'a> {
            v: u64,
            at: UnixMillis,
            #[serde(flatten)]
            kind: &'a Kind,
        }
        if let Kind::Unrecognized(fields) = &self.kind {
            return fields.serialize(serializer);
        }
        let (v, at, kind) = (VERSION, self.at, &self.kind);
        Known { v, at, kind }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Map::deserialize(deserializer)?;
        let at = fields
            .get("at")
            .and_then(Value::as_u64)
            .map(UnixMillis)
            .ok_or_else(|| serde::de::Error::missing_field("at"))?;
        let kind = if fields.get("v").and_then(Value::as_u64).unwrap_or(VERSION) > VERSION {
            Kind::Unrecognized(fields)
        } else {
            Kind::deserialize(&Value::Object(fields.clone())).unwrap_or(Kind::Unrecognized(fields))
        };
        Ok(Self { at, kind })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;
    use crate::history::Role;

    pub(crate) fn facts() -> CallFacts {
        CallFacts {
            id: "call-1".into(),
            sip_call_id: "c1@192.0.2.60".into(),
            twilio_call_sid: Some("CA1".into()),
            from: "+15559870000".into(),
            to: "+15551230000".into(),
            trunk: "twilio".into(),
            route: "support".into(),
            agent: "scripted".into(),
            node: "n1".into(),
        }
    }

    pub(crate) fn step(id: &str, state: HandoffState) -> HandoffStep {
        HandoffStep {
            id: id.into(),
            state,
            style: "refer".into(),
            target: "sip:q@h".into(),
            sip_status: None,
            reason: None,
            sipfrag: None,
            summary: None,
            failure: None,
        }
    }

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    fn one_of_each() -> Vec<Kind> {
        vec![
            Kind::SessionStarted(Box::new(facts())),
            Kind::Answered,
            Kind::Turn(Turn {
                role: Role::Caller,
                text: "größe \"x\"".into(),
                from_ms: Some(1),
                to_ms: None,
                heard_ms: None,
            }),
            Kind::Dtmf {
                digit: Some('#'),
                at_ms: 7,
            },
            Kind::Dtmf {
                digit: None,
                at_ms: 8,
            },
            Kind::Context {
                set: object(&json!({"account": 7})),
                current_task: Some("billing".into()),
                transfer: Map::new(),
            },
            Kind::Recording {
                on: true,
                file: Some("call-1.wav".into()),
            },
            Kind::Handoff(Box::new(HandoffStep {
                sip_status: Some(486),
                sipfrag: Some("SIP/2.0 486 Busy Here".into()),
                failure: Some(FailureKind::TargetFailed),
                ..step("ho-1", HandoffState::Failed)
            })),
            Kind::RedirectedByHandler { call_sid: None },
            Kind::Ended {
                kind: EndKind::Transferred,
                by: EndBy::Bridge,
                reason: "NOTIFY 200".into(),
            },
        ]
    }

    #[test]
    fn every_kind_of_event_survives_the_store() {
        for kind in one_of_each() {
            let event = Event::new(UnixMillis(12), kind);
            assert_eq!(Event::decode(&event.encode()).expect("decodes"), event);
        }
    }

    #[test]
    fn the_json_is_what_other_programs_were_promised() {
        let event = Event::new(
            UnixMillis(12),
            Kind::Dtmf {
                digit: Some('5'),
                at_ms: 7,
            },
        );
        assert_eq!(
            String::from_utf8(event.encode()).expect("text"),
            r#"{"v":1,"at":12,"event":"dtmf","digit":"5","at_ms":7}"#
        );
    }

    #[test]
    fn what_a_newer_node_wrote_is_kept_as_it_is() {
        for text in [
            r#"{"v":1,"at":5,"event":"mood","value":"cross"}"#,
            r#"{"v":2,"at":5,"event":"answered"}"#,
            r#"{"v":1,"at":5,"event":"handoff","state":"teleported"}"#,
            r#"{"at":5}"#,
        ] {
            let event = Event::decode(text.as_bytes()).expect("tolerated");
            assert!(matches!(event.kind, Kind::Unrecognized(_)), "{text}");
            let again: Value = serde_json::from_slice(&event.encode()).expect("JSON");
            assert_eq!(again, serde_json::from_str::<Value>(text).expect("JSON"));
        }
    }

    #[test]
    fn what_is_no_event_at_all_is_corrupt() {
        for text in ["", "[]", "{}", "{\"at\":-1}", "{\"at\":\"x\"}", "\u{0}"] {
            let error = Event::decode(text.as_bytes()).expect_err(text);
            assert!(matches!(error, BackendError::Corrupt { .. }), "{text}");
        }
    }
}
