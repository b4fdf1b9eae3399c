//! What every handler can reach: the ports it was given, and the little it remembers itself.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use baton_core::history::Backend;
use baton_core::vocab::Entropy;

use super::auth::ConsoleLogins;
use super::idempotency::Idempotency;
use super::{Config, Counters};
use crate::bridge::registry::Registry;

/// Whether this node takes calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// Not yet, or not any more: why, in a word or two (`starting`, `draining`, …).
    NotReady(String),
}

/// What the rest of the program gives to the HTTP side.
pub struct Ports {
    /// Where histories are.
    pub history: Arc<dyn Backend>,
    /// The calls of this node.
    pub registry: Arc<Registry>,
    /// Asked by `/readyz`.
    pub readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// Renders the program's metrics in `OpenMetrics` text for `/metrics`.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Tokens: request ids and console logins.
    pub entropy: Entropy,
}

/// The HTTP side's state; clones share it.
#[derive(Clone)]
pub struct State {
    pub(super) config: Arc<Config>,
    pub(super) history: Arc<dyn Backend>,
    pub(super) registry: Arc<Registry>,
    pub(super) readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
    pub(super) metrics: Arc<dyn Fn() -> String + Send + Sync>,
    pub(super) counters: Arc<Counters>,
    pub(super) logins: Arc<ConsoleLogins>,
    pub(super) idempotency: Arc<Idempotency>,
    entropy: Arc<Mutex<Entropy>>,
}

impl State {
    /// Puts it together.
    pub fn new(config: Config, ports: Ports) -> Self {
        Self {
            config: Arc::new(config),
            history: ports.history,
            registry: ports.registry,
            readiness: ports.readiness,
            metrics: ports.metrics,
            counters: Arc::default(),
            logins: Arc::default(),
            idempotency: Arc::default(),
            entropy: Arc::new(Mutex::new(ports.entropy)),
        }
    }

    /// What was counted; `/metrics` shows it already.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// A random token in hexadecimal.
    pub(super) fn token(&self, octets: usize) -> String {
        self.entropy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .hex(octets)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
