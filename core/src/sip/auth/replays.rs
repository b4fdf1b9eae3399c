//! Which counts of which nonces have been used (RFC 7616 §5.12). Only right answers get here, so only holders of an
//! account can fill the table; when it is full, the oldest nonce goes and every other of its age with it.

use std::collections::BTreeMap;

use super::nonce::Minted;

/// Nonces remembered.
const NONCES: usize = 8192;
/// Counts behind the highest that may still come: requests overtake each other.
const WINDOW: u32 = 64;

/// The counts of every nonce that was used lately.
#[derive(Debug, Default)]
pub(super) struct Replays {
    used: BTreeMap<Minted, Window>,
    /// What is not in the table and not younger than this was used, or may have been.
    floor: Option<Minted>,
}

/// The highest count seen, and which of those before it.
#[derive(Debug, Clone, Copy)]
struct Window {
    highest: u32,
    seen: u64,
}

impl Replays {
    /// Takes note of a count.
    ///
    /// * `oldest`: when the oldest nonce that is still good was made.
    /// * returns `false` when it was used before, or nobody knows.
    pub(super) fn take(&mut self, oldest: u64, nonce: Minted, nc: u32) -> bool {
        while let Some(entry) = self.used.first_entry() {
            if entry.key().at >= oldest {
                break;
            }
            entry.remove();
        }
        if nc == 0 {
            return false;
        }
        if let Some(window) = self.used.get_mut(&nonce) {
            return window.take(nc);
        }
        if self.used.len() >= NONCES
            && let Some((forgotten, _)) = self.used.pop_first()
        {
            self.floor = self.floor.max(Some(forgotten));
        }
        if self.floor.is_some_and(|floor| nonce <= floor) {
            return false;
        }
        let window = Window {
            highest: nc,
            seen: 1,
        };
        self.used.insert(nonce, window);
        true
    }
}

impl Window {
    fn take(&mut self, nc: u32) -> bool {
        if nc > self.highest {
            let by = nc - self.highest;
            self.seen = if by < WINDOW { self.seen << by } else { 0 } | 1;
            self.highest = nc;
            return true;
        }
        let behind = self.highest - nc;
        if behind >= WINDOW || self.seen >> behind & 1 == 1 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonce(at: u64) -> Minted {
        Minted { at, serial: 1 }
    }

    #[test]
    fn a_count_is_good_once_in_whatever_order_they_come() {
        let mut replays = Replays::default();
        for nc in [1, 3, 2, 70, 69, 7] {
            assert!(replays.take(0, nonce(1), nc), "{nc}");
        }
        for nc in [1, 2, 3, 69, 70, 6, 0] {
            assert!(!replays.take(0, nonce(1), nc), "{nc}");
        }
        assert!(replays.take(0, nonce(1), u32::MAX));
        assert!(!replays.take(0, nonce(1), 71));
        assert!(replays.take(0, nonce(2), 1), "each nonce has its own");
    }

    #[test]
    fn nonces_that_are_too_old_are_forgotten() {
        let mut replays = Replays::default();
        for at in 0..100 {
            assert!(replays.take(at, nonce(at), 1));
            assert_eq!(replays.used.len(), 1);
        }
    }

    #[test]
    fn a_full_table_forgets_the_oldest_and_lets_nobody_say_it_again() {
        let mut replays = Replays::default();
        let many = u64::try_from(NONCES).unwrap();
        for at in 1..=many + 5 {
            assert!(replays.take(0, nonce(at), 1));
        }
        assert_eq!(replays.used.len(), NONCES);
        for at in 1..=5 {
            assert!(!replays.take(0, nonce(at), 1), "{at} was used");
            assert!(!replays.take(0, nonce(at), 2), "{at} is too old now");
        }
        assert!(replays.take(0, nonce(many + 5), 2));
        assert!(replays.take(0, nonce(many + 6), 1), "new ones still work");
        assert_eq!(replays.used.len(), NONCES);
    }
}
