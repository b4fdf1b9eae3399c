//! Digest authentication (RFC 7616, RFC 8760, RFC 3261 §22; RFC 2617 where peers stayed there), both sides.
//!
//! ```text
//!  who asks                                       who is asked
//!     ├── INVITE ────────────────────────────────────►│ Authenticator: nobody proved anything
//!     │◄─ 401, one WWW-Authenticate per algorithm ────┤
//!  Authorizations: picks the strongest
//!     ├── INVITE, next CSeq, Authorization ──────────►│ Authenticator: nonce ours and fresh, hash right, number new
//! ```
//!
//! | type | is |
//! |---|---|
//! | [`Challenge`] | one digest challenge, read and written |
//! | [`Credentials`] | one answer to it, read and written |
//! | [`Account`] | a user name and its password |
//! | [`Authenticator`] | the side that asks: stateless nonces, replay check, a limit of wrong tries |
//! | [`Authorizations`] | the side that answers: one for each dialog or registration |
//!
//! Texts are unescaped when they are read and escaped when they are written, and the hashes are made of the unescaped
//! ones. Not here: which trunk an account belongs to, and when a request is said again.

mod account;
mod algorithm;
mod authenticator;
mod authorizations;
mod challenge;
mod credentials;
mod nonce;
mod params;
mod replays;
mod wrong_tries;

pub use account::{Account, Password};
pub use algorithm::{Algorithm, Hash};
pub use authenticator::{Asked, Authenticator, Verdict};
pub use authorizations::{Authorizations, Unanswerable};
pub use challenge::{Challenge, Qop};
pub use credentials::{Counted, Credentials};

/// Why a challenge or an answer cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// No scheme, no name, or an open quote.
    #[error("not a list of schemes with parameters")]
    Syntax,
    /// More schemes or parameters than anybody needs.
    #[error("too many schemes or parameters")]
    TooMany,
    /// The same parameter twice: two readers could choose differently.
    #[error("{0} is there twice")]
    Duplicate(String),
    /// Another scheme than Digest.
    #[error("not Digest")]
    NotDigest,
    /// A parameter that must be there.
    #[error("no {0}")]
    Missing(&'static str),
    /// A parameter whose value cannot be.
    #[error("{0} cannot be read")]
    Value(&'static str),
}
