#![expect(
    clippy::disallowed_methods,
    reason = "shell: a new configuration is taken at a time of its own"
)]
//! Admission where calls arrive: signalling asks it before anything is remembered of an INVITE, and each call holds its
//! [`Place`] until its task is gone, however it goes.
//!
//! The limits are the core's ([`Limits`]). They are behind a lock because every way in and every call's end share them;
//! it is held for a few comparisons and never across an `.await`.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use baton_core::admission::{Config, Counters, Limits, Verdict};
use baton_core::sip::endpoint::{Busy, Gate};
use baton_core::vocab::Entropy;
use tokio::sync::watch;

/// The node's one admission; clone it freely.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Mutex<Limits>,
    calls: watch::Sender<usize>,
}

/// One call's place; it is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    admission: Admission,
    source: IpAddr,
}

impl Admission {
    /// An empty node.
    pub fn new(config: Config, entropy: Entropy) -> Self {
        Self(Arc::new(Shared {
            limits: Mutex::new(Limits::new(Instant::now(), config, entropy)),
            calls: watch::Sender::new(0),
        }))
    }

    /// New limits; calls that run are kept.
    pub fn set_config(&self, config: Config) {
        self.limits().set_config(Instant::now(), config);
    }

    /// The place of a call that [`Gate::admit`] has counted already.
    pub fn place(&self, source: IpAddr) -> Place {
        Place {
            admission: self.clone(),
            source,
        }
    }

    /// How many places are taken, now and whenever that changes.
    pub fn calls(&self) -> watch::Receiver<usize> {
        self.0.calls.subscribe()
    }

    /// What was decided so far.
    pub fn counters(&self) -> Counters {
        self.limits().counters()
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        // Each change to the limits is complete before the next thing that could panic.
        self.0.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate for Admission {
    fn admit(&mut self, now: Instant, source: IpAddr) -> Result<(), Busy> {
        let mut limits = self.limits();
        match limits.admit(now, source) {
            Verdict::Admit => {
                self.0.calls.send_replace(limits.calls());
                Ok(())
            }
            Verdict::Busy { retry_after } => Err(Busy { retry_after }),
        }
    }

    fn full(&mut self, _now: Instant) -> Option<Busy> {
        let retry_after = self.limits().full()?;
        Some(Busy { retry_after })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut limits = self.admission.limits();
        limits.release(self.source);
        // Under the lock, so that the last word is the newest count.
        self.admission.0.calls.send_replace(limits.calls());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max_calls: usize) -> Admission {
        let config = Config {
            max_calls,
            ..Config::default()
        };
        Admission::new(config, Entropy::from_number(1))
    }

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_place_is_taken_until_it_is_dropped() {
        let mut admission = admission(1);
        let calls = admission.calls();
        assert_eq!(admission.full(Instant::now()), None);
        admission.admit(Instant::now(), SOURCE).unwrap();
        let place = admission.place(SOURCE);
        assert!(admission.admit(Instant::now(), SOURCE).is_err());
        assert!(admission.full(Instant::now()).is_some());
        assert_eq!(*calls.borrow(), 1);
        drop(place);
        assert_eq!(*calls.borrow(), 0);
        assert!(admission.admit(Instant::now(), SOURCE).is_ok());
    }

    #[test]
    fn a_thread_that_panics_with_a_place_gives_it_back() {
        let mut admission = admission(1);
        admission.admit(Instant::now(), SOURCE).unwrap();
        let place = admission.place(SOURCE);
        let broken = std::thread::spawn(move || {
            let _held = place;
            panic!("a test's own");
        });
        assert!(broken.join().is_err());
        assert!(admission.admit(Instant::now(), SOURCE).is_ok());
    }

    #[test]
    fn new_limits_hold_from_the_next_call_on() {
        let mut admission = admission(1);
        admission.admit(Instant::now(), SOURCE).unwrap();
        admission.set_config(Config {
            max_calls: 2,
            ..Config::default()
        });
        assert!(admission.admit(Instant::now(), SOURCE).is_ok());
        assert!(admission.admit(Instant::now(), SOURCE).is_err());
        assert_eq!(admission.counters().over_calls, 1);
    }
}
