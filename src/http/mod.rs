//! The HTTP side: Twilio's webhooks, the API, the page a human agent reads, the console, health and metrics.
//!
//! | file | paths |
//! |---|---|
//! | [`receive_call`] | `/twilio/receive-call` |
//! | [`refer_handler`] | `/twilio/refer-handler` |
//! | [`sessions`] | `/v1/sessions/{key}`, `/sessions/{key}`, `/sessions/{key}/audio.wav` |
//! | [`calls`] | `/v1/calls…`: look and steer |
//! | [`events`] | `/v1/events` |
//! | [`console`] | `/` and its login |
//! | [`health`] | `/healthz` `/readyz` `/metrics` |
//!
//! Who may: [`auth`]. Every answer leaves through [`answer`]: one shape of error, a request id, headers that keep
//! secrets out of caches, referrers and search engines. Everything is bounded: bodies (1 MiB), the time a request
//! may take, connections and their idleness ([`listener`]).

mod answer;
mod audio;
mod auth;
mod body;
mod calls;
mod clock;
mod config;
mod console;
mod counters;
mod events;
mod health;
mod idempotency;
mod listener;
mod receive_call;
mod refer_handler;
mod router;
mod session_page;
mod sessions;
mod state;
mod steer;
mod webhook;

pub use auth::{ApiKey, BadApiKey, Scope, Scopes};
pub use config::{Config, ConfigError, Twilio};
pub use counters::Counters;
pub use listener::{Peer, serve};
pub use router::router;
pub use state::{Ports, Readiness, State};

#[cfg(test)]
mod tests;
