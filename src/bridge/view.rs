//! How a call's steps become what the registry shows: milestones as arrows of a ladder, handoff steps as attempts.

use std::time::Duration;

use baton_core::call::Milestone;
use baton_core::history::HandoffStep;

use super::registry::{CallState, CallView, HandoffView, LadderStep};

/// Writes one milestone into a call's view.
pub(super) fn reached(view: &mut CallView, at: Duration, what: &Milestone) {
    let at_ms = millis(at);
    let first = |slot: &mut Option<u64>| {
        slot.get_or_insert(at_ms);
    };
    match what {
        Milestone::Ringing => first(&mut view.timings.ringing_ms),
        Milestone::AgentOpen => first(&mut view.timings.agent_ready_ms),
        Milestone::Answered => first(&mut view.timings.answered_ms),
        Milestone::FirstAgentAudio => first(&mut view.timings.agent_heard_ms),
        Milestone::Invited
        | Milestone::Acknowledged
        | Milestone::FirstCallerSpeech
        | Milestone::Held
        | Milestone::Retrieved
        | Milestone::AgentLost
        | Milestone::Referred
        | Milestone::Handoff { .. }
        | Milestone::ByeReceived
        | Milestone::ByeSent
        | Milestone::Rejected(_) => {}
    }
    let (from, to) = between(what);
    view.push_step(LadderStep {
        at_ms,
        from: from.into(),
        to: to.into(),
        what: what.to_string(),
    });
}

/// Writes one step of a handoff into a call's view.
pub(super) fn handed(view: &mut CallView, at: Duration, step: &HandoffStep) {
    let known = view
        .handoffs
        .iter_mut()
        .find(|handoff| handoff.id == step.id);
    let mut handoff = known
        .as_deref()
        .cloned()
        .unwrap_or_else(|| HandoffView::new(step.id.clone(), &step.style, millis(at)));
    handoff.state = step.state.as_str().into();
    handoff.style.clone_from(&step.style);
    handoff.target = Some(step.target.clone());
    handoff.sip_status = step.sip_status.or(handoff.sip_status);
    handoff.reason = step.reason.clone().or(handoff.reason);
    handoff.at_ms = millis(at);
    match known {
        Some(slot) => *slot = handoff,
        None => view.push_handoff(handoff),
    }
}

/// The registry's word for a call's phase.
pub(super) fn state_of(phase: &str) -> CallState {
    match phase {
        "offered" => CallState::Offered,
        "ringing" => CallState::Ringing,
        "answering" => CallState::Answering,
        "handing_off" => CallState::HandingOff,
        "leaving" | "ending" => CallState::Ending,
        "ended" => CallState::Ended,
        _ => CallState::Talking,
    }
}

/// Whose arrow it is.
fn between(what: &Milestone) -> (&'static str, &'static str) {
    match what {
        Milestone::Invited
        | Milestone::Acknowledged
        | Milestone::Held
        | Milestone::Retrieved
        | Milestone::FirstCallerSpeech
        | Milestone::ByeReceived => ("trunk", "baton"),
        Milestone::AgentOpen | Milestone::AgentLost => ("agent", "baton"),
        Milestone::Handoff { state, .. } => match state.as_str() {
            "requested" => ("agent", "baton"),
            "committed" => ("store", "baton"),
            "resumed" => ("baton", "agent"),
            _ => ("trunk", "baton"),
        },
        Milestone::Ringing
        | Milestone::Answered
        | Milestone::FirstAgentAudio
        | Milestone::Referred
        | Milestone::ByeSent
        | Milestone::Rejected(_) => ("baton", "trunk"),
    }
}

fn millis(at: Duration) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}
