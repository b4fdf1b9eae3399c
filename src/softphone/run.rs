#![expect(
    clippy::disallowed_methods,
    reason = "shell: owns one call's clock and its channels"
)]
//! Driving one call of the phone, from INVITE to its end.

use std::time::{Duration, Instant};

use baton_core::sip::endpoint::DialogEvent;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;

use super::call::{Call, Phase};
use super::leg::{LegCommand, LegEvent};
use super::report::{CallReport, Outcome, WebhookReport};
use super::script::Action;
use crate::net::sip_task::WireLine;

/// How long the leg's last words may take.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// When nothing is planned.
const IDLE: Duration = Duration::from_hours(1);

/// What a call is told by others.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) dialog: mpsc::Receiver<DialogEvent>,
    pub(super) leg: mpsc::Receiver<LegEvent>,
    pub(super) wire: Option<broadcast::Receiver<WireLine>>,
}

/// Drives the call to its end.
pub(super) async fn run(mut call: Call, mut actions: mpsc::Receiver<Action>) -> CallReport {
    let Some(mut inputs) = call.inputs.take() else {
        return call.report;
    };
    while !matches!(call.phase, Phase::Over(_)) {
        let wake = call.deadline().unwrap_or_else(|| Instant::now() + IDLE);
        tokio::select! {
            event = inputs.dialog.recv() => match event {
                Some(event) => call.handle_dialog(Instant::now(), event).await,
                None => call.over(Outcome::Failed { why: "signalling has stopped".into() }),
            },
            Some(event) = inputs.leg.recv() => call.handle_leg(event).await,
            Some(action) = actions.recv() => call.act(action).await,
            report = answer(&mut call.webhook) => call.handle_webhook(report).await,
            line = next_line(&mut inputs.wire) => call.handle_line(line),
            () = tokio::time::sleep_until(wake.into()) => call.handle_timeout(Instant::now()).await,
        }
    }
    call.close(inputs).await
}

/// The webhook's answer; never, while none is asked.
async fn answer(webhook: &mut JoinSet<WebhookReport>) -> WebhookReport {
    match webhook.join_next().await {
        Some(Ok(report)) => report,
        Some(Err(error)) => WebhookReport {
            error: Some(error.to_string()),
            ..WebhookReport::default()
        },
        None => std::future::pending().await,
    }
}

/// The next line of the wire; never, while none is watched.
async fn next_line(wire: &mut Option<broadcast::Receiver<WireLine>>) -> WireLine {
    while let Some(lines) = wire {
        match lines.recv().await {
            Ok(line) => return line,
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => *wire = None,
        }
    }
    std::future::pending().await
}

impl Call {
    /// Collects what the leg saw and the last lines of the wire.
    async fn close(mut self, mut inputs: Inputs) -> CallReport {
        self.leg(LegCommand::Finish).await;
        let last = async {
            while let Some(event) = inputs.leg.recv().await {
                if let LegEvent::Finished(heard) = event {
                    self.keep(*heard);
                    return;
                }
            }
        };
        // A media thread that does not answer costs us the figures, not the report.
        let _ = tokio::time::timeout(LAST_WORDS, last).await;
        if let Some(wire) = &mut inputs.wire {
            while let Ok(line) = wire.try_recv() {
                self.handle_line(line);
            }
        }
        if let Phase::Over(outcome) = self.phase {
            self.report.outcome = outcome;
        }
        self.report
    }
}
