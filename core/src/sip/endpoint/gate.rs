//! Whether another call is taken: asked before anything is remembered of it, so that a refusal costs an answer and
//! nothing else.

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Who decides how many calls there are: admission, in the shell that owns it. It cannot be an event that the shell
/// answers later, because what waits for an answer must be remembered.
pub trait Gate: std::fmt::Debug + Send {
    /// A new call, which passed every other check, wants in.
    ///
    /// * returns `Ok` when it is taken: an [`Event::Invited`](super::Event::Invited) follows for each.
    ///
    /// # Errors
    /// [`Busy`]: it is answered 503 and forgotten.
    fn admit(&mut self, now: Instant, source: IpAddr) -> Result<(), Busy>;

    /// Whether the node is full, so that nobody's call would be taken: what OPTIONS is told.
    fn full(&mut self, now: Instant) -> Option<Busy>;
}

/// Not now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy {
    /// What Retry-After says, in whole seconds; at least one.
    pub retry_after: Duration,
}

impl Busy {
    pub(super) fn seconds(self) -> String {
        self.retry_after.as_secs().max(1).to_string()
    }
}
