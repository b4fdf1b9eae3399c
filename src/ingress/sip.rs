//! From an INVITE to a call: routed, given a port, and left to its task. It was admitted before it came here, and its
//! place is free again when its task is gone, also when that breaks.

use std::sync::Arc;

use baton_core::sip::endpoint::{Command, Invited};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Config, Current};
use crate::bridge::{Bridge, call_task, plan};
use crate::net::sip_task::Arrived;

/// Takes calls until the node is stopped or signalling is, and waits for the last one to end.
pub async fn serve(bridge: Arc<Bridge>, current: Current, mut arrivals: mpsc::Receiver<Arrived>) {
    let mut calls = JoinSet::new();
    // Calls hold on to signalling, so that its end cannot be what ends them.
    let mut lifecycle = bridge.lifecycle.clone();
    loop {
        tokio::select! {
            arrived = arrivals.recv() => {
                let Some(arrived) = arrived else { break };
                // Boxed: a call is planned with more in hand than it keeps.
                calls.spawn(Box::pin(take(bridge.clone(), current.get(), arrived)));
            }
            changed = lifecycle.changed() => {
                if changed.is_err() || lifecycle.borrow_and_update().is_stopped() {
                    break;
                }
            }
            Some(ended) = calls.join_next(), if !calls.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a call's task broke");
                }
            }
        }
    }
    // What was admitted a moment ago and has no task yet goes elsewhere.
    arrivals.close();
    while let Ok(late) = arrivals.try_recv() {
        let headers = vec![("Retry-After".into(), "5".into())];
        reject(&bridge, &late.invited, 503, headers).await;
    }
    while calls.join_next().await.is_some() {}
}

/// One call: planned here, then run to its end.
async fn take(bridge: Arc<Bridge>, config: Arc<Config>, arrived: Arrived) {
    let Arrived {
        invited,
        events,
        place: _held,
    } = arrived;
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
