//! A running node: what it says of itself, reload, drain and stop.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use baton_core::sip::endpoint;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::StartError;
use crate::bridge::registry::Registry;
use crate::config::{Config, StoreUrl};
use crate::ingress;
use crate::net::listen::Listening;
use crate::net::sip_task::SipHandle;
use crate::store::embedded::Embedded;

/// How long the end of a node waits for what is still being written.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A running node. [`Node::start`] is in [`super::build`].
#[derive(Debug)]
pub struct Node {
    pub(super) sip: SipHandle,
    pub(super) http: SocketAddr,
    pub(super) registry: Arc<Registry>,
    pub(super) config: RwLock<Arc<Config>>,
    pub(super) ingress: ingress::Current,
    pub(super) draining: Arc<watch::Sender<bool>>,
    pub(super) stop: watch::Sender<bool>,
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
        self.ingress.set(config.ingress());
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(())
    }

    /// New calls get 503 and `/readyz` says so; returns when the last running call has ended, or after
    /// `drain_timeout`.
    pub async fn drain(&self) {
        self.draining.send_replace(true);
        let _ = self.sip.set_readiness(endpoint::Readiness::Draining).await;
        let patience = self.config().sip.drain_timeout;
        let mut changes = self.registry.watch();
        let empty = async {
            while self.live_calls() > 0 {
                // Lagging behind is as good as a change: look again.
                let _ = changes.recv().await;
            }
        };
        if tokio::time::timeout(patience, empty).await.is_err() {
            tracing::warn!(
                "{} calls outlived drain_timeout and are ended",
                self.live_calls()
            );
        }
    }

    /// Ends what still runs, writes what is still to be written, and stops.
    pub async fn stop(self) {
        let Self {
            sip,
            stop,
            stop_http,
            calls,
            web,
            store,
            ..
        } = self;
        let _ = sip.set_readiness(endpoint::Readiness::Draining).await;
        stop.send_replace(true);
        drop(sip);
        if tokio::time::timeout(LAST_WORDS, calls).await.is_err() {
            tracing::warn!("some calls did not end in time");
        }
        stop_http.send_replace(true);
        let _ = tokio::time::timeout(LAST_WORDS, web).await;
        // The last owner flushes the store and frees its lock.
        drop(store);
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }
}
