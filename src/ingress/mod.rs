//! Ways in: an INVITE becomes a call task.

pub mod route;
pub mod sip;

use std::sync::{Arc, PoisonError, RwLock};

use baton_core::admission;

/// What new calls are taken by.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// How many.
    pub limits: admission::Config,
    /// Who answers them.
    pub routes: route::Table,
}

/// The configuration that new calls are taken by; replaced as a whole on reload.
#[derive(Debug, Clone)]
pub struct Current(Arc<RwLock<Arc<Config>>>);

impl Current {
    /// The first one.
    pub fn new(config: Config) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(config))))
    }

    /// As it is now.
    pub fn get(&self) -> Arc<Config> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// For the calls from here on.
    pub fn set(&self, config: Config) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }
}
