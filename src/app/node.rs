#![expect(clippy::disallowed_methods, reason = "shell: the lifecycle's clock")]
//! A running node: what it says of itself, reload, drain and stop.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use baton_core::admission::{Lifecycle, Patience};
use baton_core::sip::endpoint;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::StartError;
use crate::bridge::registry::Registry;
use crate::config::{Config, StoreUrl};
use crate::ingress;
use crate::net::admission::Admission;
use crate::net::listen::Listening;
use crate::net::sip_task::SipHandle;
use crate::store::embedded::Embedded;

/// When no timer runs.
const IDLE: Duration = Duration::from_hours(1);

/// A running node. [`Node::start`] is in [`super::build`].
#[derive(Debug)]
pub struct Node {
    pub(super) sip: SipHandle,
    pub(super) http: SocketAddr,
    pub(super) registry: Arc<Registry>,
    pub(super) config: RwLock<Arc<Config>>,
    pub(super) ingress: ingress::Current,
    pub(super) admission: Admission,
    pub(super) lifecycle: watch::Sender<Lifecycle>,
    pub(super) stop_http: watch::Sender<bool>,
    pub(super) calls: JoinHandle<()>,
    pub(super) web: JoinHandle<()>,
    pub(super) store: Arc<Embedded>,
}

impl Node {
    /// Where SIP is listened for.
    pub fn sip(&self) -> &[Listening] {
        self.sip.addresses()
    }

    /// Where HTTP is served.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Live and recent calls.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Calls at the moment.
    pub fn live_calls(&self) -> usize {
        self.registry.live_count()
    }

    /// The agent of a call that no route sends elsewhere, for people.
    pub fn describe_agent(&self) -> String {
        let config = self.config();
        config.agents.first().map_or_else(
            || "scripted (embedded)".into(),
            |agent| {
                format!(
                    "{} {}",
                    agent.name,
                    agent.url.as_deref().unwrap_or("(embedded)")
                )
            },
        )
    }

    /// Where callers are handed over, for people.
    pub fn describe_handoff(&self) -> String {
        let config = self.config();
        let target = config
            .handoffs
            .iter()
            .find_map(|handoff| handoff.target.clone());
        target.unwrap_or_else(|| {
            "none: callers who want a human are told that nobody is there".into()
        })
    }

    /// Where histories are kept, for people.
    pub fn describe_store(&self) -> String {
        let StoreUrl::Embedded(dir) = &self.config().store.url;
        format!("embedded:{}", dir.display())
    }

    /// Routes, agents, handoffs, limits, trunks and certificates for the calls from here on. Addresses, ports and the
    /// store stay, and open connections keep the certificate they were opened with.
    ///
    /// # Errors
    /// A node would not start with it, and so this one keeps what it has.
    pub async fn reload(&self, config: Config) -> Result<(), StartError> {
        super::build::refuse_what_cannot_work(&config)?;
        let streams = config.streams()?;
        // Signalling that has stopped needs no trunks.
        let _ = self.sip.set_trunks(config.trunk_table()).await;
        if let Some(tls) = streams.tls {
            let _ = self.sip.set_tls(tls).await;
        }
        let ingress = config.ingress();
        self.admission.set_config(ingress.limits);
        self.ingress.set(ingress);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(())
    }

    /// The node must stop: new calls get 503 and `/readyz` says so. What becomes of the others is [`Node::next_stage`]'s
    /// to tell; told a second time, they are hung up at once.
    pub async fn tell_to_stop(&self) {
        let patience = Patience {
            drain: self.config().sip.drain_timeout,
            ..Patience::default()
        };
        self.lifecycle
            .send_modify(|state| state.handle_stop(Instant::now(), patience));
        // Signalling that has stopped takes no calls either.
        let _ = self.sip.set_readiness(endpoint::Readiness::Draining).await;
    }

    /// Waits until the lifecycle moves on by itself: with the last call, or because its time is over.
    pub async fn next_stage(&self) -> Lifecycle {
        let mut calls = self.admission.calls();
        loop {
            let count = *calls.borrow_and_update();
            let moved = self.lifecycle.send_if_modified(|state| {
                let before = *state;
                state.handle_calls(count);
                state.handle_timeout(Instant::now());
                *state != before
            });
            let state = *self.lifecycle.borrow();
            if moved || state.is_stopped() {
                return state;
            }
            let wake = state.poll_timeout().unwrap_or(Instant::now() + IDLE);
            tokio::select! {
                // Admission lives as long as the node.
                _ = calls.changed() => {}
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    /// Stops what is left: calls get `last_words` to write their histories, and requests to be answered.
    ///
    /// * returns whether everything ended in that time.
    pub async fn stop(self, last_words: Duration) -> bool {
        let Self {
            sip,
            lifecycle,
            stop_http,
            calls,
            web,
            store,
            ..
        } = self;
        lifecycle.send_replace(Lifecycle::Stopped);
        let ended = tokio::time::timeout(last_words, calls).await.is_ok();
        if !ended {
            tracing::warn!("some calls did not end in time");
        }
        // A BYE that is lost is said again only by a process that is still there.
        let answered = tokio::time::timeout(last_words, sip.settled());
        if answered.await.is_err() {
            tracing::warn!("some requests were not answered in time");
        }
        drop(sip);
        stop_http.send_replace(true);
        let _ = tokio::time::timeout(last_words, web).await;
        // The last owner flushes the store and frees its lock.
        drop(store);
        ended
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }
}
