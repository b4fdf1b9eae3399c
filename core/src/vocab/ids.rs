//! Names of things: a call, a handoff, and the key under which a session's history is kept.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Entropy;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// One call on one node: what logs, the console and `/v1/calls/{id}` name it by. Not the SIP Call-ID.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CallId(Arc<str>);

/// One attempt to hand a caller over; unique within its session.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HandoffId(Arc<str>);

macro_rules! text_id {
    ($name:ident, $prefix:literal) => {
        impl $name {
            /// A fresh one: 64 random bits behind a prefix that tells people what they look at.
            pub fn generate(entropy: &mut Entropy) -> Self {
                Self(format!(concat!($prefix, "{}"), entropy.hex(8)).into())
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(CallId, "call-");
text_id!(HandoffId, "ho-");

/// The key of a session history: 128 random bits in 22 characters `A-Za-z0-9`.
///
/// Who holds it may read the whole conversation, so it is a secret: `Debug` shows only its first four
/// characters. Nothing in it needs escaping in a URI, a SIP header, a form or a URL.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HandoffKey([u8; HandoffKey::LEN]);

impl HandoffKey {
    /// Characters in a key: the fewest that hold 128 bits in an alphabet of 62.
    pub const LEN: usize = 22;

    /// A fresh key.
    pub fn generate(entropy: &mut Entropy) -> Self {
        let mut bits = entropy.next_u128();
        let mut text = [0; Self::LEN];
        for octet in &mut text {
            *octet = ALPHABET[(bits % 62) as usize];
            bits /= 62;
        }
        Self(text)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        // Only ASCII letters and digits get in, so the default is never seen.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Not a history key: wrong length, or a character outside `A-Za-z0-9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session history key is 22 characters A-Z a-z 0-9")]
pub struct NotAKey;

impl FromStr for HandoffKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let octets: [u8; Self::LEN] = text.as_bytes().try_into().map_err(|_| NotAKey)?;
        if octets.iter().all(u8::is_ascii_alphanumeric) {
            Ok(Self(octets))
        } else {
            Err(NotAKey)
        }
    }
}

impl fmt::Display for HandoffKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for HandoffKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandoffKey({}…)", &self.as_str()[..4])
    }
}

impl Serialize for HandoffKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for HandoffKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_being_read_back_and_needs_no_escaping() {
        let mut entropy = Entropy::from_number(3);
        for _ in 0..1000 {
            let key = HandoffKey::generate(&mut entropy);
            assert!(key.as_str().bytes().all(|b| b.is_ascii_alphanumeric()));
            assert_eq!(key.as_str().parse(), Ok(key));
        }
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        for text in [
            "",
            "short",
            "0123456789012345678901x",
            "012345678901234567890/",
            "undefined",
        ] {
            assert_eq!(text.parse::<HandoffKey>(), Err(NotAKey), "{text}");
        }
    }

    #[test]
    fn debug_does_not_tell_the_secret() {
        let key = HandoffKey::generate(&mut Entropy::from_number(3));
        assert!(!format!("{key:?}").contains(key.as_str()));
    }
}
