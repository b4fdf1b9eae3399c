//! The one place of the HTTP side that reads the wall clock.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: a webhook's time of arrival has to come from somewhere"
)]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use baton_core::history::UnixMillis;

/// Wall time now.
pub(super) fn unix_millis() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixMillis(since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }))
}

/// Monotonic time now.
pub(super) fn instant() -> Instant {
    Instant::now()
}
