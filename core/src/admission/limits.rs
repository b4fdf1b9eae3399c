//! How many calls at once, how many a second, how many from one source. What is beyond is told to come back later.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::vocab::Entropy;

/// The limits, with the defaults of `[sip]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Calls at once.
    pub max_calls: usize,
    /// New calls per second, on the average; a second's worth may come in one burst.
    pub max_calls_per_second: u32,
    /// Calls at once from one source address; 0: no limit of its own.
    pub max_calls_per_source: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_calls: 1000,
            max_calls_per_second: 200,
            max_calls_per_source: 0,
        }
    }
}

/// What becomes of a new call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Taken, and counted until [`Limits::release`].
    Admit,
    /// 503 with Retry-After.
    Busy {
        /// When to try again. Spread, so that the refused do not come back as one wave.
        retry_after: Duration,
    },
}

/// What was decided so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Calls taken.
    pub admitted: u64,
    /// Refused: too many at once.
    pub over_calls: u64,
    /// Refused: too many a second.
    pub over_rate: u64,
    /// Refused: too many from one source.
    pub over_source: u64,
}

/// Nanoseconds of credit one call costs at one call a second.
const SECOND: u64 = 1_000_000_000;

/// The gate.
#[derive(Debug)]
pub struct Limits {
    config: Config,
    calls: usize,
    /// Calls of each source that has any: as many entries as calls at most.
    sources: BTreeMap<IpAddr, usize>,
    /// The token bucket: nanocalls of credit, and when they were counted.
    credit: u64,
    counted_at: Instant,
    entropy: Entropy,
    counters: Counters,
}

impl Limits {
    /// An empty node with a full bucket.
    pub fn new(now: Instant, config: Config, entropy: Entropy) -> Self {
        Self {
            config,
            calls: 0,
            sources: BTreeMap::new(),
            credit: u64::from(config.max_calls_per_second) * SECOND,
            counted_at: now,
            entropy,
            counters: Counters::default(),
        }
    }

    /// New limits; calls that run are kept even when they are more than may be.
    pub fn set_config(&mut self, now: Instant, config: Config) {
        self.refill(now);
        self.config = config;
        self.credit = self
            .credit
            .min(u64::from(config.max_calls_per_second) * SECOND);
    }

    /// Whether there are as many calls as may be, and when to ask again. A rate or a source that is over its limit
    /// does not make the node full: the next call may still be taken.
    pub fn full(&mut self) -> Option<Duration> {
        (self.calls >= self.config.max_calls).then(|| self.retry_after())
    }

    /// A call wants in.
    pub fn admit(&mut self, now: Instant, source: IpAddr) -> Verdict {
        self.refill(now);
        let of_source = self.sources.get(&source).copied().unwrap_or_default();
        let per_source = self.config.max_calls_per_source;
        if self.calls >= self.config.max_calls {
            self.counters.over_calls += 1;
        } else if per_source > 0 && of_source >= per_source {
            self.counters.over_source += 1;
        } else if self.credit < SECOND {
            self.counters.over_rate += 1;
        } else {
            self.credit -= SECOND;
            self.calls += 1;
            *self.sources.entry(source).or_default() += 1;
            self.counters.admitted += 1;
            return Verdict::Admit;
        }
        Verdict::Busy {
            retry_after: self.retry_after(),
        }
    }

    /// 5 to 30 s.
    fn retry_after(&mut self) -> Duration {
        Duration::from_secs(5 + self.entropy.below(26))
    }

    /// An admitted call of this source is over.
    pub fn release(&mut self, source: IpAddr) {
        let Some(of_source) = self.sources.get_mut(&source) else {
            return; // released twice
        };
        *of_source -= 1;
        if *of_source == 0 {
            self.sources.remove(&source);
        }
        self.calls -= 1;
    }

    /// Calls at the moment.
    pub const fn calls(&self) -> usize {
        self.calls
    }

    /// What was decided so far.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    fn refill(&mut self, now: Instant) {
        let rate = u64::from(self.config.max_calls_per_second);
        let passed = now.saturating_duration_since(self.counted_at);
        let passed = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        self.credit = self
            .credit
            .saturating_add(passed.saturating_mul(rate))
            .min(rate * SECOND);
        self.counted_at = self.counted_at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::t0;

    fn limits(config: Config) -> (Limits, Instant) {
        let now = t0();
        (Limits::new(now, config, Entropy::from_number(1)), now)
    }

    fn source(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn calls_beyond_the_limit_are_told_to_come_back() {
        let (mut limits, now) = limits(Config {
            max_calls: 2,
            ..Config::default()
        });
        assert_eq!(limits.admit(now, source(1)), Verdict::Admit);
        assert_eq!(limits.admit(now, source(1)), Verdict::Admit);
        let Verdict::Busy { retry_after } = limits.admit(now, source(1)) else {
            panic!("a third call was taken");
        };
        assert!((5..=30).contains(&retry_after.as_secs()));
        limits.release(source(1));
        assert_eq!(limits.admit(now, source(2)), Verdict::Admit);
        assert_eq!(limits.counters().over_calls, 1);
    }

    #[test]
    fn the_refused_come_back_spread_over_half_a_minute() {
        let (mut limits, now) = limits(Config {
            max_calls: 0,
            ..Config::default()
        });
        let mut seconds = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            let Verdict::Busy { retry_after } = limits.admit(now, source(1)) else {
                panic!("a call was taken");
            };
            seconds.insert(retry_after.as_secs());
        }
        assert_eq!(seconds, (5..=30).collect());
    }

    #[test]
    fn a_node_is_full_when_nobody_would_be_taken_and_not_for_one_source_or_one_burst() {
        let (mut limits, now) = limits(Config {
            max_calls: 2,
            max_calls_per_second: 1,
            max_calls_per_source: 1,
        });
        assert_eq!(limits.full(), None);
        assert_eq!(limits.admit(now, source(1)), Verdict::Admit);
        assert_ne!(limits.admit(now, source(1)), Verdict::Admit);
        assert_ne!(limits.admit(now, source(2)), Verdict::Admit);
        assert_eq!(limits.full(), None);
        let later = now + Duration::from_secs(1);
        assert_eq!(limits.admit(later, source(2)), Verdict::Admit);
        assert!(limits.full().is_some());
        limits.release(source(2));
        assert_eq!(limits.full(), None);
    }

    #[test]
    fn a_burst_of_one_second_passes_and_then_the_rate_holds() {
        let (mut limits, now) = limits(Config {
            max_calls_per_second: 10,
            ..Config::default()
        });
        let mut taken = |at: Duration| {
            (0..100)
                .filter(|_| limits.admit(now + at, source(1)) == Verdict::Admit)
                .count()
        };
        assert_eq!(taken(Duration::ZERO), 10);
        assert_eq!(taken(Duration::from_millis(99)), 0);
        assert_eq!(taken(Duration::from_millis(100)), 1);
        assert_eq!(taken(Duration::from_millis(600)), 5);
        assert_eq!(taken(Duration::from_hours(1)), 10);
        assert!(limits.counters().over_rate > 400);
    }

    #[test]
    fn one_source_cannot_take_all_lines() {
        let (mut limits, now) = limits(Config {
            max_calls_per_source: 1,
            ..Config::default()
        });
        assert_eq!(limits.admit(now, source(1)), Verdict::Admit);
        assert_ne!(limits.admit(now, source(1)), Verdict::Admit);
        assert_eq!(limits.admit(now, source(2)), Verdict::Admit);
        assert_eq!(limits.counters().over_source, 1);
    }

    #[test]
    fn a_refused_call_costs_nothing_and_a_double_release_changes_nothing() {
        let (mut limits, now) = limits(Config {
            max_calls: 1,
            max_calls_per_second: 2,
            ..Config::default()
        });
        assert_eq!(limits.admit(now, source(1)), Verdict::Admit);
        for _ in 0..50 {
            assert_ne!(limits.admit(now, source(2)), Verdict::Admit);
        }
        limits.release(source(2));
        limits.release(source(1));
        limits.release(source(1));
        assert_eq!(limits.calls(), 0);
        assert_eq!(limits.admit(now, source(1)), Verdict::Admit);
    }

    #[test]
    fn time_that_stands_still_or_runs_backwards_gives_no_credit() {
        let (mut limits, now) = limits(Config {
            max_calls_per_second: 1,
            ..Config::default()
        });
        let later = now + Duration::from_secs(5);
        assert_eq!(limits.admit(later, source(1)), Verdict::Admit);
        assert_ne!(limits.admit(now, source(1)), Verdict::Admit);
        assert_ne!(limits.admit(later, source(1)), Verdict::Admit);
    }

    #[test]
    fn lower_limits_keep_running_calls_and_refuse_new_ones() {
        let (mut limits, now) = limits(Config::default());
        for _ in 0..5 {
            assert_eq!(limits.admit(now, source(1)), Verdict::Admit);
        }
        limits.set_config(
            now,
            Config {
                max_calls: 3,
                ..Config::default()
            },
        );
        assert_eq!(limits.calls(), 5);
        assert_ne!(limits.admit(now, source(1)), Verdict::Admit);
    }
}
