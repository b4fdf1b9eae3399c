//! How calls end, for the log and for the metrics.

use std::sync::Arc;

use baton_core::call::{Final, Milestone};
use baton_core::history::CallFacts;

use crate::bridge::CallObserver;
use crate::observe::call_log::CallLine;
use crate::observe::metrics::Metrics;

/// Writes the summary line of each call and counts it.
#[derive(Debug)]
pub(super) struct Observer {
    metrics: Arc<Metrics>,
}

impl Observer {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }
}

impl CallObserver for Observer {
    fn call_ended(&self, call: &CallFacts, last: &Final) {
        let steps = &last.milestones;
        let handoff = steps.ladder().iter().rev().find_map(|(_, what)| {
            if let Milestone::Handoff { state, style, .. } = what {
                Some((*style, *state))
            } else {
                None
            }
        });
        let ended = steps.ladder().last().map(|(at, _)| *at);
        CallLine {
            call: &call.id,
            sip_call_id: &call.sip_call_id,
            trunk: &call.trunk,
            route: &call.route,
            agent: &call.agent,
            from: &call.from,
            to: &call.to,
            setup: steps.answer_delay(),
            first_audio: steps.first_agent_audio(),
            talked: ended
                .zip(steps.answer_delay())
                .map(|(end, answered)| end.saturating_sub(answered)),
            end: last.ended.kind.as_str(),
            by: last.ended.by.as_str(),
            reason: &last.ended.reason,
            handoff: handoff.map(|(_, state)| state.as_str()),
            media: &last.media,
        }
        .log();
        let kind = last.ended.kind.as_str();
        self.metrics.call_ended(
            kind,
            steps.answer_delay(),
            steps.first_agent_audio(),
            &last.media,
        );
        if let Some((style, state)) = handoff {
            self.metrics.handoff_ended(style, state.as_str());
        }
    }
}
