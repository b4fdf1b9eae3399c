//! How often each source was wrong lately: passwords are not to be guessed.
//!
//! Only an answer to a nonce that we sent to that very address counts, so nobody can lock another one out by forging
//! its address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Wrong answers after which no more are looked at.
const TRIES: u32 = 10;
/// For so long after the first of them.
const PAUSE: Duration = Duration::from_mins(1);
/// Sources remembered; the one that began first is forgotten.
const SOURCES: usize = 1024;

/// Who was wrong, how often, since when.
#[derive(Debug, Default)]
pub(super) struct WrongTries(BTreeMap<IpAddr, (u32, Instant)>);

impl WrongTries {
    /// Whether this source has to wait.
    pub(super) fn is_barred(&self, now: Instant, source: IpAddr) -> bool {
        let found = self.0.get(&network(source));
        found.is_some_and(|(tries, since)| *tries >= TRIES && now < *since + PAUSE)
    }

    /// It was wrong.
    pub(super) fn add(&mut self, now: Instant, source: IpAddr) {
        let source = network(source);
        if !self.0.contains_key(&source) && self.0.len() >= SOURCES {
            self.0.retain(|_, (_, since)| now < *since + PAUSE);
            if self.0.len() >= SOURCES
                && let Some(first) = self.0.iter().min_by_key(|(_, (_, since))| *since)
            {
                let first = *first.0;
                self.0.remove(&first);
            }
        }
        let (tries, since) = self.0.entry(source).or_insert((0, now));
        if now >= *since + PAUSE {
            (*tries, *since) = (0, now);
        }
        *tries += 1;
    }
}

/// Whoever has one IPv6 address has the 2^64 beside it.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::t0;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn after_ten_wrong_answers_a_source_waits_and_others_do_not() {
        let (t0, mut wrong) = (t0(), WrongTries::default());
        for _ in 0..10 {
            assert!(!wrong.is_barred(t0, ip("192.0.2.1")));
            wrong.add(t0, ip("192.0.2.1"));
        }
        assert!(wrong.is_barred(t0, ip("192.0.2.1")));
        assert!(wrong.is_barred(t0, ip("::ffff:192.0.2.1")));
        assert!(!wrong.is_barred(t0, ip("192.0.2.2")));
        let later = t0 + PAUSE;
        assert!(!wrong.is_barred(later, ip("192.0.2.1")));
        wrong.add(later, ip("192.0.2.1"));
        assert!(!wrong.is_barred(later, ip("192.0.2.1")));
    }

    #[test]
    fn neighbours_in_ipv6_are_one_source() {
        let (t0, mut wrong) = (t0(), WrongTries::default());
        for n in 0..10 {
            wrong.add(t0, ip(&format!("2001:db8::{n}")));
        }
        assert!(wrong.is_barred(t0, ip("2001:db8::ffff")));
        assert!(!wrong.is_barred(t0, ip("2001:db8:0:1::1")));
    }

    #[test]
    fn there_is_an_end_to_the_sources_and_the_newest_are_kept() {
        let (mut now, mut wrong) = (t0(), WrongTries::default());
        for n in 0..5000_u32 {
            now += Duration::from_millis(1);
            for _ in 0..10 {
                wrong.add(now, IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
            }
        }
        assert_eq!(wrong.0.len(), SOURCES);
        assert!(wrong.is_barred(now, IpAddr::from((0x0a00_0000_u32 + 4999).to_be_bytes())));
    }
}
