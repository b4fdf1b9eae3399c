//! What a leg counts, and when it says so: once a second while the call is up, and at its end.

use std::time::{Duration, Instant};

use crate::media::rtp::rtcp;
use crate::media::uplink::Uplink;

use super::event::Summary;
use super::line::Line;

const EVERY: Duration = Duration::from_secs(1);

/// Counters of one leg.
#[derive(Debug, Default)]
pub(super) struct Reporter {
    refused: u64,
    sent: u64,
    behind: u64,
    reports: u64,
    far_lost: u64,
    next: Option<Instant>,
    media: Media,
}

/// Whether media is due from the caller, and when it last came.
#[derive(Debug, Default)]
enum Media {
    /// Before the answer, on hold, or already reported as lost.
    #[default]
    NotExpected,
    /// Due since, or last seen.
    Expected(Instant),
}

impl Reporter {
    pub(super) fn refused(&mut self) {
        self.refused += 1;
    }

    pub(super) fn sent(&mut self) {
        self.sent += 1;
    }

    /// The agent's socket did not keep up: so many frames were dropped.
    pub(super) fn behind(&mut self, frames: u64) {
        self.behind += frames;
    }

    /// The far end reported by RTCP. We have one stream, so its blocks are about that one, whatever source they name.
    pub(super) fn heard_report(&mut self, compound: rtcp::Compound<'_>) {
        self.reports += 1;
        if let Some(block) = compound.reports().last() {
            self.far_lost = u64::try_from(block.lost).unwrap_or(0);
        }
    }

    /// A packet came. One that was under way when the far end put us on hold expects no other.
    pub(super) fn received(&mut self, now: Instant) {
        if let Media::Expected(last) = &mut self.media {
            *last = now;
        }
    }

    pub(super) fn expect_media(&mut self, now: Instant, expected: bool) {
        self.media = if expected {
            Media::Expected(now)
        } else {
            Media::NotExpected
        };
    }

    /// `true` once, when nothing came for `timeout` though it was due.
    pub(super) fn media_lost(&mut self, now: Instant, timeout: Duration) -> bool {
        let lost = matches!(self.media, Media::Expected(last) if now.saturating_duration_since(last) >= timeout);
        if lost {
            self.media = Media::NotExpected;
        }
        lost
    }

    /// `true` once a second.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = *self.next.get_or_insert(now + EVERY) <= now;
        if due {
            self.next = Some(now + EVERY);
        }
        due
    }

    pub(super) fn summary(&self, uplink: &Uplink, line: &Line) -> Summary {
        let stats = uplink.stats();
        Summary {
            packets_received: stats.received,
            packets_sent: self.sent,
            packets_lost: stats.lost,
            packets_late: stats.late,
            packets_refused: self.refused,
            rtcp_received: self.reports,
            far_end_lost: self.far_lost,
            concealed_ms: millis(stats.concealed),
            jitter_ms: rounded_ms(stats.jitter),
            level_dbfs: uplink.level_dbfs(),
            overflow_ms: millis(line.overflow()),
            link_dropped_ms: self.behind * 20,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds to the microsecond: more digits are noise to whoever reads them.
fn rounded_ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
