#![expect(
    clippy::disallowed_methods,
    reason = "shell: a thread that watches the clock itself"
)]
//! Whether a gap in the voice is the far end's, or this machine's, which stood still meanwhile.
//!
//! A machine in a crowded place is stopped now and then for a few hundred milliseconds, with all that runs on it. A
//! thread that wants to run every 5 ms, and notes when it could not, proves that. Of a gap only what it proves is taken
//! off; a slow bridge on a machine that runs stays a slow bridge.
//!
//! ```text
//! packets   │  │  │                          │  │       gap 407 ms
//! watch     ┆┆┆┆┆┆┆┆┆┆                 ┆┆┆┆┆┆┆┆┆┆       stood still 350 ms
//! ```

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde::Serialize;

/// How often the thread wants to run.
const EVERY: Duration = Duration::from_millis(5);
/// Later than this is a standstill; less is what a busy scheduler does.
const LATE: Duration = Duration::from_millis(10);
/// Standstills remembered; at one every 15 ms that is the last minute.
const REMEMBERED: usize = 4096;
/// Gaps shorter than this are nobody's question.
const SHORT: Duration = Duration::from_millis(100);
/// Longer gaps kept of one call, the longest ones.
const KEPT: usize = 64;

/// When the machine stood still: from when the thread was due to when it ran.
#[derive(Debug, Default)]
struct Standstills(VecDeque<(Instant, Instant)>);

impl Standstills {
    fn woke(&mut self, due: Instant, woke: Instant) {
        if woke.saturating_duration_since(due) < LATE {
            return;
        }
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((due, woke));
    }

    /// How much of the time between these two it stood still.
    fn within(&self, from: Instant, to: Instant) -> Duration {
        let overlap = |(due, woke): &(Instant, Instant)| {
            let (begin, end) = ((*due).max(from), (*woke).min(to));
            end.saturating_duration_since(begin)
        };
        self.0.iter().map(overlap).sum()
    }
}

/// The watch. Its thread ends with the last handle.
#[derive(Debug, Clone)]
pub(super) struct Watch(Arc<Mutex<Standstills>>);

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start() -> std::io::Result<Self> {
        let seen = Arc::new(Mutex::default());
        let watched = Arc::downgrade(&seen);
        std::thread::Builder::new()
            .name("standstill".into())
            .spawn(move || watch(&watched))?;
        Ok(Self(seen))
    }

    /// The gap that is longest when standstill is taken off.
    pub(super) fn judge(&self, gaps: &Gaps) -> Gap {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gaps.judge(|from, to| seen.within(from, to))
    }
}

fn watch(seen: &Weak<Mutex<Standstills>>) {
    loop {
        let due = Instant::now() + EVERY;
        std::thread::sleep(EVERY);
        let Some(seen) = seen.upgrade() else { return };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.woke(due, Instant::now());
    }
}

/// The longest silences of one call, as they were seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Gaps {
    /// The longest that needs no excuse.
    short: Duration,
    long: Vec<(Instant, Instant)>,
}

impl Gaps {
    /// Nothing came between these two.
    pub(super) fn saw(&mut self, from: Instant, to: Instant) {
        let length = |gap: &(Instant, Instant)| gap.1.saturating_duration_since(gap.0);
        let gap = (from, to);
        if length(&gap) < SHORT {
            self.short = self.short.max(length(&gap));
            return;
        }
        self.long.push(gap);
        if self.long.len() > KEPT {
            let shortest = self.long.iter().enumerate().min_by_key(|(_, g)| length(g));
            if let Some((index, _)) = shortest {
                self.long.swap_remove(index);
            }
        }
    }

    fn judge(&self, standstill: impl Fn(Instant, Instant) -> Duration) -> Gap {
        let short = Gap::new(self.short, Duration::ZERO);
        let long = self.long.iter().map(|(from, to)| {
            let length = to.saturating_duration_since(*from);
            Gap::new(length, standstill(*from, *to))
        });
        long.fold(short, |worst, gap| {
            if gap.own_ms() >= worst.own_ms() {
                gap
            } else {
                worst
            }
        })
    }
}

/// A time without a packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Gap {
    /// From one packet to the next.
    pub gap_ms: f64,
    /// How much of it this machine stood still.
    pub standstill_ms: f64,
}

impl Gap {
    fn new(length: Duration, standstill: Duration) -> Self {
        Self {
            gap_ms: super::report::ms(length),
            standstill_ms: super::report::ms(standstill.min(length)),
        }
    }

    /// What is left when standstill is taken off: the far end's part.
    pub fn own_ms(self) -> f64 {
        self.gap_ms - self.standstill_ms
    }
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0} ms", self.gap_ms)?;
        if self.standstill_ms > 0.0 {
            let still = self.standstill_ms;
            write!(f, ", of which the machine stood still {still:.0} ms")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A machine that stood still from and to these milliseconds.
    fn stood(zero: Instant, times: &[(u64, u64)]) -> Standstills {
        let mut seen = Standstills::default();
        for (due, woke) in times {
            seen.woke(zero + ms(*due), zero + ms(*woke));
        }
        seen
    }

    fn judged(gaps: &[(u64, u64)], standstills: &[(u64, u64)]) -> Gap {
        let zero = Instant::now();
        let seen = stood(zero, standstills);
        let mut all = Gaps::default();
        for (from, to) in gaps {
            all.saw(zero + ms(*from), zero + ms(*to));
        }
        all.judge(|from, to| seen.within(from, to))
    }

    #[test]
    fn what_is_proven_is_taken_off_and_named() {
        let gap = judged(&[(100, 507)], &[(140, 490)]);
        assert_eq!(
            gap.to_string(),
            "407 ms, of which the machine stood still 350 ms"
        );
        assert!((gap.own_ms() - 57.0).abs() < 0.001, "{gap:?}");
    }

    #[test]
    fn without_proof_a_gap_is_a_gap() {
        let gap = judged(&[(100, 507)], &[]);
        assert_eq!(gap.to_string(), "407 ms");
        assert!((gap.own_ms() - 407.0).abs() < 0.001);
    }

    #[test]
    fn a_standstill_counts_only_where_it_overlaps_the_gap() {
        for (standstill, counted) in [
            ((0, 90), 0.0),
            ((600, 900), 0.0),
            ((0, 150), 50.0),
            ((450, 900), 50.0),
            ((0, 900), 400.0),
            ((200, 209), 0.0),
            ((200, 210), 10.0),
        ] {
            let gap = judged(&[(100, 500)], &[standstill]);
            assert!(
                (gap.standstill_ms - counted).abs() < 0.001,
                "{standstill:?}: {gap:?}"
            );
            assert!(gap.own_ms() >= 0.0);
        }
        let gap = judged(&[(100, 500)], &[(110, 200), (250, 300)]);
        assert!((gap.standstill_ms - 140.0).abs() < 0.001, "{gap:?}");
    }

    #[test]
    fn the_gap_that_counts_is_the_longest_one_without_an_excuse() {
        let gap = judged(&[(0, 20), (100, 600), (1_000, 1_250)], &[(110, 590)]);
        assert_eq!(gap.to_string(), "250 ms");
        let gap = judged(&[(0, 60), (100, 600)], &[(110, 590)]);
        assert_eq!(gap.to_string(), "60 ms");
        assert_eq!(judged(&[], &[(0, 500)]), Gap::default());
    }

    #[test]
    fn of_very_many_gaps_the_longest_are_kept() {
        let gaps: Vec<_> = (0..1_000)
            .map(|n| (n * 1_000, n * 1_000 + 100 + n % 500))
            .collect();
        assert_eq!(judged(&gaps, &[]).to_string(), "599 ms");
        let zero = Instant::now();
        let mut all = Gaps::default();
        for (from, to) in gaps {
            all.saw(zero + ms(from), zero + ms(to));
        }
        assert_eq!(all.long.len(), KEPT);
    }

    #[test]
    fn only_so_many_standstills_are_remembered_and_the_newest_ones() {
        let zero = Instant::now();
        let mut seen = Standstills::default();
        for n in 0..REMEMBERED as u64 * 2 {
            seen.woke(zero + ms(n * 20), zero + ms(n * 20 + 10));
        }
        assert_eq!(seen.0.len(), REMEMBERED);
        assert_eq!(seen.within(zero, zero + ms(100)), Duration::ZERO);
        let last = zero + ms((REMEMBERED as u64 * 2 - 1) * 20);
        assert_eq!(seen.within(last, last + ms(100)), ms(10));
    }

    #[test]
    fn the_watch_claims_no_standstill_before_it_began() {
        let watch = Watch::start().expect("a thread");
        let now = Instant::now();
        let mut gaps = Gaps::default();
        let before = |time| now.checked_sub(time).expect("the machine is up");
        gaps.saw(before(ms(5_000)), before(ms(1_000)));
        assert_eq!(watch.judge(&gaps).to_string(), "4000 ms");
    }
}
