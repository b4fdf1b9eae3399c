//! How long a hole is worth waiting for: learned from what became of the holes before it on this call.
//!
//! Each missing packet either came, some time after its hole was seen, or never did. Both are remembered with a
//! forgetting factor. Where hardly any hole is ever filled (loss), waiting only delays; where most are (several
//! paths, a mobile hand-over), the wait covers nearly all of the lateness really seen, and no more.

use std::time::Duration;

/// Lateness is remembered in steps this wide.
const STEP: Duration = Duration::from_millis(5);
/// Steps; what came later than all of them is beyond any wait.
const STEPS: usize = 16;
/// What one more hole leaves of the memory: half of it is the last 13 holes.
const KEEP: f32 = 0.95;
/// Share of filled holes below which waiting is not worth it.
const WORTHWHILE: f32 = 0.1;
/// Share of the filled holes that the wait covers.
const COVER: f32 = 0.99;
/// Before anything is known: a neighbour that overtook within one packet's time is waited for.
const PRIOR_WEIGHT: f32 = 0.25;
const PRIOR_STEP: usize = 2;

/// The memory of one call's holes.
#[derive(Debug, Clone)]
pub(crate) struct Reordering {
    came: [f32; STEPS],
    never: f32,
    bound: Duration,
}

impl Reordering {
    /// * `bound`: no wait is ever longer.
    pub(crate) fn new(bound: Duration) -> Self {
        let mut came = [0.0; STEPS];
        came[PRIOR_STEP] = PRIOR_WEIGHT;
        Self {
            came,
            never: PRIOR_WEIGHT,
            bound,
        }
    }

    /// A packet came `lateness` after its hole was seen, while it was waited for.
    pub(crate) fn filled(&mut self, lateness: Duration) {
        self.forget();
        self.note(lateness);
    }

    /// A hole was given up.
    pub(crate) fn given_up(&mut self) {
        self.forget();
        self.never += 1.0;
    }

    /// A packet came after its hole was given up: it was reordering after all.
    pub(crate) fn came_too_late(&mut self, lateness: Duration) {
        self.never = (self.never - 1.0).max(0.0);
        self.note(lateness);
    }

    /// How long the next hole is waited for.
    pub(crate) fn wait(&self) -> Duration {
        let filled: f32 = self.came.iter().sum();
        if filled < WORTHWHILE * (filled + self.never) {
            return Duration::ZERO;
        }
        let mut covered = 0.0;
        for (step, share) in (1_u32..).zip(self.came) {
            covered += share;
            if covered >= COVER * filled {
                return (STEP * (step + 1)).min(self.bound);
            }
        }
        self.bound
    }

    fn note(&mut self, lateness: Duration) {
        let step = lateness.as_micros() / STEP.as_micros();
        match usize::try_from(step)
            .ok()
            .and_then(|n| self.came.get_mut(n))
        {
            Some(share) => *share += 1.0,
            None => self.never += 1.0, // no wait would have helped
        }
    }

    fn forget(&mut self) {
        for share in &mut self.came {
            *share *= KEEP;
        }
        self.never *= KEEP;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_fresh_call_waits_one_packet() {
        assert_eq!(Reordering::new(MS(80)).wait(), MS(20));
        assert_eq!(Reordering::new(MS(10)).wait(), MS(10));
    }

    #[test]
    fn pure_loss_turns_waiting_off_within_three_holes() {
        let mut reordering = Reordering::new(MS(80));
        for _ in 0..3 {
            reordering.given_up();
        }
        assert_eq!(reordering.wait(), Duration::ZERO);
    }

    #[test]
    fn reordering_is_waited_for_as_long_as_it_was_seen_to_take_and_a_step_more() {
        let mut reordering = Reordering::new(MS(80));
        for n in 0..60 {
            reordering.filled(MS(25 + n % 15));
        }
        assert_eq!(reordering.wait(), MS(45));
    }

    #[test]
    fn late_arrivals_turn_waiting_on_again() {
        let mut reordering = Reordering::new(MS(80));
        for _ in 0..30 {
            reordering.given_up();
        }
        for _ in 0..3 {
            reordering.given_up();
            reordering.came_too_late(MS(33));
        }
        assert_eq!(reordering.wait(), MS(40));
    }

    #[test]
    fn what_no_wait_would_save_is_loss() {
        let mut reordering = Reordering::new(MS(80));
        for _ in 0..20 {
            reordering.given_up();
            reordering.came_too_late(MS(400));
        }
        assert_eq!(reordering.wait(), Duration::ZERO);
    }
}
