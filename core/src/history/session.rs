//! A session as people and programs read it: the JSON of `GET /v1/sessions/{key}`, folded from the events.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    CallFacts, EndBy, EndKind, Event, FailureKind, HandoffState, HandoffStep, Kind, Turn,
    UnixMillis,
};
use crate::vocab::{HandoffId, HandoffKey};

/// One session. Times are RFC 3339 in UTC; `_ms` fields count from the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Its key.
    pub key: HandoffKey,
    /// Who called whom; `None` only when the beginning of the log is lost.
    pub call: Option<CallFacts>,
    /// When the INVITE came.
    #[serde(
        serialize_with = "UnixMillis::as_rfc3339",
        deserialize_with = "UnixMillis::from_rfc3339"
    )]
    pub started_at: Option<UnixMillis>,
    /// When it was answered.
    #[serde(
        serialize_with = "UnixMillis::as_rfc3339",
        deserialize_with = "UnixMillis::from_rfc3339"
    )]
    pub answered_at: Option<UnixMillis>,
    /// When it ended.
    #[serde(
        serialize_with = "UnixMillis::as_rfc3339",
        deserialize_with = "UnixMillis::from_rfc3339"
    )]
    pub ended_at: Option<UnixMillis>,
    /// What was said, in order.
    pub turns: Vec<Turn>,
    /// Keys the caller pressed, in order.
    pub dtmf: Vec<Digit>,
    /// What the agent found out.
    pub context: Context,
    /// Whether and where there is audio.
    pub recording: Option<Recording>,
    /// Handoffs, newest last.
    pub handoffs: Vec<Handoff>,
    /// How it ended; `None` while it runs.
    pub end: Option<End>,
}

/// A key press.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digit {
    /// Which; `null` when masked.
    pub digit: Option<char>,
    /// Media time.
    pub at_ms: u64,
}

/// What the agent told for the human.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Context {
    /// Facts about the caller and the matter.
    pub reference_variables: Map<String, Value>,
    /// What the agent was busy with.
    pub current_task_name: Option<String>,
    /// What travels with a transfer.
    pub transfer_variables: Map<String, Value>,
}

/// The session's audio.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// Whether it ran at the last event.
    pub on: bool,
    /// Where it is, once known.
    pub file: Option<String>,
}

/// One handoff with all its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handoff {
    /// Which.
    pub id: HandoffId,
    /// Its outcome, or how far it is. Stays `failed` when the caller was given back to the agent.
    pub state: HandoffState,
    /// The style of its last step.
    pub style: String,
    /// To whom.
    pub target: String,
    /// Why it was asked for.
    pub reason: Option<String>,
    /// What the human should know.
    pub summary: Option<String>,
    /// With `failed`: the kind.
    pub failure: Option<FailureKind>,
    /// The SIP status that decided it.
    pub sip_status: Option<u16>,
    /// After `failed`: whether the caller was given back to the agent.
    pub resumed: bool,
    /// Every step in order: what the far end said, and when.
    pub steps: Vec<Step>,
}

/// One step of a handoff.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    #[serde(
        serialize_with = "UnixMillis::as_rfc3339",
        deserialize_with = "UnixMillis::from_rfc3339"
    )]
    pub at: Option<UnixMillis>,
    /// What it had come to.
    pub state: HandoffState,
    /// By which style.
    pub style: String,
    /// SIP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sip_status: Option<u16>,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The status line of the NOTIFY's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sipfrag: Option<String>,
    /// The kind of failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureKind>,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How.
    pub kind: EndKind,
    /// By whom.
    pub by: EndBy,
    /// For people.
    pub reason: String,
}

impl Session {
    /// Reads a log. Any list of events gives a session: what is unrecognized is skipped, what is missing is absent.
    pub fn fold(key: HandoffKey, events: &[Event]) -> Self {
        let mut session = Self {
            key,
            call: None,
            started_at: None,
            answered_at: None,
            ended_at: None,
            turns: Vec::new(),
            dtmf: Vec::new(),
            context: Context::default(),
            recording: None,
            handoffs: Vec::new(),
            end: None,
        };
        let mut witnesses = Vec::new();
        for event in events {
            session.apply(event, &mut witnesses);
        }
        for at in witnesses {
            session.confirm(at);
        }
        session
    }

    fn apply(&mut self, event: &Event, witnesses: &mut Vec<UnixMillis>) {
        match &event.kind {
            Kind::SessionStarted(call) => {
                self.call = Some((**call).clone());
                self.started_at = Some(event.at);
            }
            Kind::Answered => self.answered_at = Some(event.at),
            Kind::Turn(turn) => self.turns.push(turn.clone()),
            Kind::Dtmf { digit, at_ms } => self.dtmf.push(Digit {
                digit: *digit,
                at_ms: *at_ms,
            }),
            Kind::Context {
                set,
                current_task,
                transfer,
            } => self.context.merge(set, current_task.as_ref(), transfer),
            Kind::Recording { on, file } => {
                let before = self.recording.take().and_then(|recording| recording.file);
                self.recording = Some(Recording {
                    on: *on,
                    file: file.clone().or(before),
                });
            }
            Kind::Handoff(step) => self.step(event.at, step),
            Kind::RedirectedByHandler { .. } => witnesses.push(event.at),
            Kind::Ended { kind, by, reason } => {
                self.ended_at = Some(event.at);
                self.end = Some(End {
                    kind: *kind,
                    by: *by,
                    reason: reason.clone(),
                });
            }
            Kind::Unrecognized(_) => {}
        }
    }

    fn step(&mut self, at: UnixMillis, step: &HandoffStep) {
        let known = self.handoffs.iter().position(|h| h.id == step.id);
        let index = known.unwrap_or_else(|| {
            self.handoffs.push(Handoff::begin(step));
            self.handoffs.len() - 1
        });
        self.handoffs[index].apply(at, step);
    }

    /// The refer-handler runs on any node and may be asked after the call's own node had given up waiting. What it
    /// wrote is proof all the same: a handoff that was `unconfirmed` was a transfer.
    fn confirm(&mut self, at: UnixMillis) {
        let asked_after_it_left = |handoff: &&mut Handoff| {
            let committed = handoff
                .steps
                .iter()
                .find(|s| s.state == HandoffState::Committed);
            committed.is_some_and(|step| step.at <= Some(at))
        };
        let Some(handoff) = self.handoffs.iter_mut().rev().find(asked_after_it_left) else {
            return;
        };
        if handoff.state != HandoffState::Unconfirmed {
            return;
        }
        handoff.state = HandoffState::Transferred;
        handoff.steps.push(Step {
            at: Some(at),
            state: HandoffState::Transferred,
            style: handoff.style.clone(),
            sip_status: None,
            reason: Some("the refer-handler was asked for the key".into()),
            sipfrag: None,
            failure: None,
        });
        if let Some(end) = &mut self.end
            && end.kind == EndKind::CallerHungUp
        {
            end.kind = EndKind::Transferred;
        }
    }
}

impl Context {
    fn merge(
        &mut self,
        set: &Map<String, Value>,
        current_task: Option<&String>,
        transfer: &Map<String, Value>,
    ) {
        let copy = |(name, value): (&String, &Value)| (name.clone(), value.clone());
        self.reference_variables.extend(set.iter().map(copy));
        self.transfer_variables.extend(transfer.iter().map(copy));
        if let Some(task) = current_task {
            self.current_task_name = Some(task.clone());
        }
    }
}

impl Handoff {
    fn begin(step: &HandoffStep) -> Self {
        Self {
            id: step.id.clone(),
            state: step.state,
            style: step.style.clone(),
            target: step.target.clone(),
            reason: None,
            summary: None,
            failure: None,
            sip_status: None,
            resumed: false,
            steps: Vec::new(),
        }
    }

    fn apply(&mut self, at: UnixMillis, step: &HandoffStep) {
        if step.state == HandoffState::Resumed {
            self.resumed = true;
        } else {
            self.state = step.state;
            self.failure = step.failure;
            self.sip_status = step.sip_status;
        }
        if step.state == HandoffState::Requested && self.reason.is_none() {
            self.reason.clone_from(&step.reason);
        }
        if step.summary.is_some() {
            self.summary.clone_from(&step.summary);
        }
        self.style.clone_from(&step.style);
        self.steps.push(Step {
            at: Some(at),
            state: step.state,
            style: step.style.clone(),
            sip_status: step.sip_status,
            reason: step.reason.clone(),
            sipfrag: step.sipfrag.clone(),
            failure: step.failure,
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::history::Role;
    use crate::history::event::tests::{facts, step};
    use crate::vocab::Entropy;

    fn key() -> HandoffKey {
        HandoffKey::generate(&mut Entropy::from_number(1))
    }

    fn fold(kinds: Vec<Kind>) -> Session {
        let events: Vec<_> = (1000..)
            .step_by(1000)
            .zip(kinds)
            .map(|(at, kind)| Event::new(UnixMillis(at), kind))
            .collect();
        Session::fold(key(), &events)
    }

    fn handoff(id: &str, state: HandoffState) -> Kind {
        Kind::Handoff(Box::new(step(id, state)))
    }

    fn ended(kind: EndKind) -> Kind {
        Kind::Ended {
            kind,
            by: EndBy::Caller,
            reason: String::new(),
        }
    }

    #[test]
    fn a_whole_call_reads_as_documented() {
        let set = json!({"account": 7}).as_object().expect("object").clone();
        let session = fold(vec![
            Kind::SessionStarted(Box::new(facts())),
            Kind::Answered,
            Kind::Turn(Turn {
                role: Role::Agent,
                text: "Hello".into(),
                from_ms: Some(0),
                to_ms: Some(400),
                heard_ms: None,
            }),
            Kind::Dtmf {
                digit: None,
                at_ms: 900,
            },
            Kind::Context {
                set,
                current_task: Some("billing".into()),
                transfer: Map::new(),
            },
            Kind::Handoff(Box::new(HandoffStep {
                reason: Some("asked".into()),
                summary: Some("wants a refund".into()),
                ..step("ho-1", HandoffState::Requested)
            })),
            handoff("ho-1", HandoffState::Committed),
            Kind::Handoff(Box::new(HandoffStep {
                sip_status: Some(200),
                sipfrag: Some("SIP/2.0 200 OK".into()),
                ..step("ho-1", HandoffState::Transferred)
            })),
            ended(EndKind::Transferred),
        ]);
        let json = serde_json::to_value(&session).expect("serializes");
        assert_eq!(json["started_at"], "1970-01-01T00:00:01.000Z");
        assert_eq!(json["answered_at"], "1970-01-01T00:00:02.000Z");
        assert_eq!(json["call"]["from"], "+15559870000");
        assert_eq!(json["turns"][0]["text"], "Hello");
        assert_eq!(json["dtmf"][0], json!({"digit": null, "at_ms": 900}));
        assert_eq!(json["context"]["referenceVariables"]["account"], 7);
        assert_eq!(json["context"]["currentTaskName"], "billing");
        let handoff = &json["handoffs"][0];
        assert_eq!(handoff["state"], "transferred");
        assert_eq!(handoff["reason"], "asked");
        assert_eq!(handoff["summary"], "wants a refund");
        assert_eq!(handoff["steps"][2]["sipfrag"], "SIP/2.0 200 OK");
        assert_eq!(json["end"]["kind"], "transferred");
    }

    #[test]
    fn a_handoff_that_failed_stays_failed_when_the_agent_talks_on() {
        let session = fold(vec![
            handoff("ho-1", HandoffState::Requested),
            Kind::Handoff(Box::new(HandoffStep {
                sip_status: Some(603),
                failure: Some(FailureKind::Refused),
                ..step("ho-1", HandoffState::Failed)
            })),
            handoff("ho-1", HandoffState::Resumed),
            handoff("ho-2", HandoffState::Requested),
        ]);
        let first = &session.handoffs[0];
        assert_eq!(
            (first.state, first.sip_status),
            (HandoffState::Failed, Some(603))
        );
        assert!(first.resumed);
        assert_eq!(first.failure, Some(FailureKind::Refused));
        assert_eq!(session.handoffs[1].id.as_str(), "ho-2");
    }

    #[test]
    fn proof_that_another_node_saw_later_still_counts() {
        let session = fold(vec![
            handoff("ho-1", HandoffState::Requested),
            handoff("ho-1", HandoffState::Committed),
            handoff("ho-1", HandoffState::Unconfirmed),
            ended(EndKind::CallerHungUp),
            Kind::RedirectedByHandler { call_sid: None },
        ]);
        assert_eq!(session.handoffs[0].state, HandoffState::Transferred);
        assert_eq!(session.end.expect("ended").kind, EndKind::Transferred);
    }

    #[test]
    fn a_key_that_was_read_before_the_handoff_left_proves_nothing() {
        let session = fold(vec![
            Kind::RedirectedByHandler { call_sid: None },
            handoff("ho-1", HandoffState::Committed),
            handoff("ho-1", HandoffState::Unconfirmed),
            ended(EndKind::CallerHungUp),
        ]);
        assert_eq!(session.handoffs[0].state, HandoffState::Unconfirmed);
        assert_eq!(session.end.expect("ended").kind, EndKind::CallerHungUp);
    }

    #[test]
    fn a_refusal_is_not_undone_by_a_key_that_was_read() {
        let session = fold(vec![
            handoff("ho-1", HandoffState::Committed),
            handoff("ho-1", HandoffState::Failed),
            Kind::RedirectedByHandler { call_sid: None },
        ]);
        assert_eq!(session.handoffs[0].state, HandoffState::Failed);
    }

    #[test]
    fn any_log_can_be_read_even_an_empty_or_a_foreign_one() {
        assert_eq!(fold(vec![]).call, None);
        let session = fold(vec![
            Kind::Unrecognized(Map::new()),
            handoff("ho-9", HandoffState::Ringing),
            Kind::Recording {
                on: true,
                file: Some("a.wav".into()),
            },
            Kind::Recording {
                on: false,
                file: None,
            },
        ]);
        assert_eq!(session.handoffs[0].state, HandoffState::Ringing);
        let recording = session.recording.expect("recorded");
        assert_eq!(
            (recording.on, recording.file.as_deref()),
            (false, Some("a.wav"))
        );
    }
}
