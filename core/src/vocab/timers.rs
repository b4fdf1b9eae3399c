//! Named deadlines: a core's timers are an enum, and this is the table of when each is due.

use std::time::Instant;

/// A few named deadlines. `K` is a small `Copy` enum with one line of meaning per variant.
#[derive(Debug, Clone)]
pub struct Timers<K> {
    due: Vec<(K, Instant)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { due: Vec::new() }
    }
}

impl<K: Copy + PartialEq> Timers<K> {
    /// Sets (or moves) a deadline.
    pub fn set(&mut self, timer: K, at: Instant) {
        match self.due.iter_mut().find(|(k, _)| *k == timer) {
            Some((_, due)) => *due = at,
            None => self.due.push((timer, at)),
        }
    }

    /// Forgets a deadline; none set is fine.
    pub fn cancel(&mut self, timer: K) {
        self.due.retain(|(k, _)| *k != timer);
    }

    /// When `timer` is due, if it is set.
    pub fn deadline(&self, timer: K) -> Option<Instant> {
        self.due
            .iter()
            .find(|(k, _)| *k == timer)
            .map(|(_, at)| *at)
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.due.iter().map(|(_, at)| *at).min()
    }

    /// Takes the earliest timer that is due at `now`; call until `None`.
    pub fn expire(&mut self, now: Instant) -> Option<K> {
        let (index, _) = self
            .due
            .iter()
            .enumerate()
            .filter(|(_, (_, at))| *at <= now)
            .min_by_key(|(_, (_, at))| *at)?;
        Some(self.due.swap_remove(index).0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::t0;

    #[test]
    fn timers_fire_in_order_and_once() {
        let t0 = t0();
        let at = |ms| t0 + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.set('b', at(20));
        timers.set('a', at(10));
        timers.set('c', at(30));
        timers.set('c', at(15));
        timers.cancel('x');
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.expire(at(9)), None);
        let fired: String = std::iter::from_fn(|| timers.expire(at(20))).collect();
        assert_eq!(fired, "acb");
        assert_eq!(timers.next(), None);
    }
}
