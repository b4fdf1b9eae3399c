//! How long nothing at all may come before the timeline moves on without the caller.
//!
//! A recogniser does not mind silence on the socket, it minds silence in the middle of a word. So in speech the
//! patience is long: a stall usually ends with all that was missing, and when it does not, nothing is late. In a pause it is short: there the far end
//! may have stopped sending (DTX), and the agent should notice the silence at once.

use std::time::{Duration, Instant};

/// Never less: two packets and the scheduling of both ends.
const PAUSE_MIN: Duration = Duration::from_millis(60);
/// A pause is never waited for longer.
const PAUSE_MAX: Duration = Duration::from_millis(240);
/// Patience in speech beyond what was seen on this call.
const SPEECH_EXTRA: Duration = Duration::from_secs(1);
/// Patience in speech at most.
const SPEECH_MAX: Duration = Duration::from_millis(1_200);
/// What each packet leaves of the longest gap seen: half of it after seven seconds.
const KEEP: f64 = 0.998;

/// The gaps between packets that followed each other without a pause of the sender.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drought {
    last: Option<Instant>,
    longest: f64,
}

impl Drought {
    /// A packet that is ahead of all others came.
    ///
    /// * `pause`: the sender's clock shows that it had been silent on purpose.
    pub(crate) fn arrived(&mut self, now: Instant, pause: bool) {
        if let (Some(last), false) = (self.last, pause) {
            let gap = now.saturating_duration_since(last).as_secs_f64();
            self.longest = gap.max(self.longest * KEEP);
        }
        self.last = Some(now);
    }

    /// How far the made-up timeline stays behind the clock, and the patience in a pause.
    pub(crate) fn lag(&self) -> Duration {
        (self.longest() + Duration::from_millis(20)).clamp(PAUSE_MIN, PAUSE_MAX)
    }

    /// How long nothing may come.
    pub(crate) fn patience(&self, in_speech: bool) -> Duration {
        if in_speech {
            (self.longest() * 2 + SPEECH_EXTRA).min(SPEECH_MAX)
        } else {
            self.lag()
        }
    }

    fn longest(&self) -> Duration {
        Duration::try_from_secs_f64(self.longest).map_or(PAUSE_MAX, |gap| gap.min(SPEECH_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::t0;

    #[test]
    fn a_steady_stream_is_missed_soon_in_a_pause_and_late_in_speech() {
        let (mut drought, t0) = (Drought::default(), t0());
        for n in 0..50 {
            drought.arrived(t0 + Duration::from_millis(n * 20), false);
        }
        assert_eq!(drought.patience(false), PAUSE_MIN);
        let patience = drought.patience(true).as_millis();
        assert!((1_035..=1_045).contains(&patience), "{patience}");
    }

    #[test]
    fn stalls_that_were_seen_are_expected_again_and_forgotten_slowly() {
        let (mut drought, t0) = (Drought::default(), t0());
        drought.arrived(t0, false);
        drought.arrived(t0 + Duration::from_millis(150), false);
        assert_eq!(drought.patience(false).as_millis(), 170);
        assert_eq!(drought.patience(true), SPEECH_MAX);
        for n in 0..2_000 {
            drought.arrived(t0 + Duration::from_millis(150 + n * 20), false);
        }
        assert_eq!(drought.patience(false), PAUSE_MIN);
    }

    #[test]
    fn a_pause_of_the_sender_is_no_stall_and_an_outage_is_bounded() {
        let (mut drought, t0) = (Drought::default(), t0());
        drought.arrived(t0, false);
        drought.arrived(t0 + Duration::from_secs(9), true);
        assert_eq!(drought.patience(false), PAUSE_MIN);
        drought.arrived(t0 + Duration::from_mins(15), false);
        assert_eq!(drought.patience(false), PAUSE_MAX);
        assert_eq!(drought.patience(true), SPEECH_MAX);
    }
}
