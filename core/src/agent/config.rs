//! Which agent: the table of kinds, and how each is made.

use std::fmt;

use serde::Deserialize;

use super::Dialect;
use super::native::{self, Native};
use crate::vocab::{Entropy, SampleRate};

/// A language an agent speaks. A new one is a file in this folder, a variant here and a line in [`build`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `baton.v1` over a WebSocket.
    #[default]
    Websocket,
}

/// One `[[agent]]`, as far as its dialect is concerned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Its name.
    pub name: String,
    /// Its language.
    pub kind: Kind,
    /// Where its socket is.
    pub url: String,
    /// Bearer for that socket.
    pub api_key: Option<Secret>,
    /// What it hears and speaks, where the dialect leaves a choice.
    pub sample_rate: SampleRate,
}

/// The dialect of one call with this agent; `entropy` makes the identifiers the dialect invents.
pub fn build(config: &Config, _entropy: Entropy) -> Box<dyn Dialect> {
    match config.kind {
        Kind::Websocket => Box::new(Native::new(native::Config {
            url: config.url.clone(),
            api_key: config.api_key.clone(),
            sample_rate: config.sample_rate,
        })),
    }
}

/// A key to somebody's service: never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The key itself; searchable.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// As a header field (RFC 6750).
    pub(super) fn bearer(&self) -> (String, String) {
        ("Authorization".into(), format!("Bearer {}", self.0))
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
