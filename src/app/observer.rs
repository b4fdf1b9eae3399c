//! One line per call in the log.

use baton_core::call::Final;
use baton_core::history::CallFacts;
use baton_core::vocab::Pii;

use crate::bridge::CallObserver;

/// Writes the summary line of each call.
#[derive(Debug, Default)]
pub(super) struct Observer;

impl CallObserver for Observer {
    fn call_ended(&self, call: &CallFacts, last: &Final) {
        tracing::info!(
            call = %call.id,
            from = %Pii(&call.from),
            to = %Pii(&call.to),
            agent = call.agent,
            kind = %last.ended.kind,
            by = %last.ended.by,
            "call ended"
        );
    }
}
