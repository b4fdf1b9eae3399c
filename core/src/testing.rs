//! For unit tests only: the one place a test reads the clock.
#![expect(
    clippy::disallowed_methods,
    reason = "an epoch for virtual time has to come from somewhere"
)]

use std::time::Instant;

/// The epoch of a test's virtual time.
pub(crate) fn t0() -> Instant {
    Instant::now()
}
