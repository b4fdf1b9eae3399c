//! Keys to other people's services.

use std::fmt;

use serde::Deserialize;

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
