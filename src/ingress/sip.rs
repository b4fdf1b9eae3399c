#![expect(
    clippy::disallowed_methods,
    reason = "shell: reads the clock for admission"
)]
//! From an INVITE to a call: admitted, routed, given a port, and left to its task.

use std::sync::Arc;
use std::time::Instant;

use baton_core::admission::{Limits, Verdict};
use baton_core::sip::endpoint::{Command, Invited};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Config, Current};
use crate::bridge::{Bridge, call_task, plan};
use crate::net::sip_task::Arrived;

/// Takes calls until it is told to stop or signalling does, and waits for the last one to end.
pub async fn serve(bridge: Arc<Bridge>, current: Current, mut arrivals: mpsc::Receiver<Arrived>) {
    let mut config = current.get();
    let mut limits = Limits::new(Instant::now(), config.limits, bridge.fork_entropy());
    let mut calls = JoinSet::new();
    // Calls hold on to signalling, so that its end cannot be what ends them.
    let mut stop = bridge.stop.clone();
    loop {
        tokio::select! {
            arrived = arrivals.recv() => {
                let Some(arrived) = arrived else { break };
                let now = Instant::now();
                let newest = current.get();
                if !Arc::ptr_eq(&config, &newest) {
                    limits.set_config(now, newest.limits);
                    config = newest;
                }
                let source = arrived.invited.flow.remote.ip();
                let call = match limits.admit(now, source) {
                    Verdict::Admit => take(bridge.clone(), config.clone(), arrived),
                    Verdict::Busy { retry_after } => {
                        let seconds = retry_after.as_secs().max(1).to_string();
                        reject(&bridge, &arrived.invited, 503, vec![("Retry-After".into(), seconds)]).await;
                        continue;
                    }
                };
                calls.spawn(async move {
                    // Boxed: a call is planned with more in hand than it keeps.
                    Box::pin(call).await;
                    source
                });
            }
            changed = stop.changed() => {
                if changed.is_err() || *stop.borrow_and_update() {
                    break;
                }
            }
            Some(ended) = calls.join_next(), if !calls.is_empty() => match ended {
                Ok(source) => limits.release(source),
                Err(error) => tracing::error!(%error, "a call's task broke"),
            },
        }
    }
    while calls.join_next().await.is_some() {}
}

/// One call: planned here, then run to its end.
async fn take(bridge: Arc<Bridge>, config: Arc<Config>, arrived: Arrived) {
    let Arrived { invited, events } = arrived;
    let Some(terms) = config.routes.choose(&invited) else {
        tracing::info!("no route: 404");
        return reject(&bridge, &invited, 404, Vec::new()).await;
    };
    let rtp = match bridge.ports.bind() {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(%error, "no RTP port: 503");
            return reject(
                &bridge,
                &invited,
                503,
                vec![("Retry-After".into(), "10".into())],
            )
            .await;
        }
    };
    match plan::plan(&bridge, &terms, invited, rtp) {
        Ok(plan) => call_task::run(bridge, plan, events).await,
        Err(fault) => {
            tracing::error!(%fault, "this call cannot be planned: 500");
            reject(&bridge, &fault.invited, 500, Vec::new()).await;
        }
    }
}

async fn reject(bridge: &Bridge, invited: &Invited, status: u16, headers: Vec<(String, String)>) {
    let refusal = Command::Reject { status, headers };
    // A dialog that is gone already needs no refusal.
    let _ = bridge.sip.command(invited.dialog, refusal).await;
}
