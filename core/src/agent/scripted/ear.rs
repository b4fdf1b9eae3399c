//! What the scripted agent remembers of the caller's voice: one turn, bounded, and the moment before it.

use std::time::Duration;

use crate::vocab::SampleRate;

/// Octets of a caller's turn that are played back: 10 s.
pub(super) const MAX_TURN: usize = 80_000;
/// Octets kept of what came before speech was noticed: 300 ms. A detector needs a few frames to be sure.
const PREROLL: usize = 2_400;

/// The caller's last turn, or the last moments before it.
#[derive(Debug, Default)]
pub(super) struct Ear {
    octets: Vec<u8>,
    /// Media time of the end of `octets`; they have no holes worth minding.
    end: Duration,
}

impl Ear {
    /// Keeps a frame: of a turn the first 10 s, otherwise the last 300 ms.
    pub(super) fn hear(&mut self, at: Duration, frame: &[u8], taking: bool) {
        if taking && self.octets.len() + frame.len() > MAX_TURN {
            return;
        }
        self.octets.extend_from_slice(frame);
        self.end = at + length(frame.len());
        if !taking && self.octets.len() > 2 * PREROLL {
            self.octets.drain(..self.octets.len() - PREROLL);
        }
    }

    /// A turn begins at `from`; what was heard before goes.
    pub(super) fn begin(&mut self, from: Duration) {
        let keep = octets(self.end.saturating_sub(from)).min(self.octets.len());
        self.octets.drain(..self.octets.len() - keep);
    }

    /// The turn ended at `until`; what was heard after goes.
    pub(super) fn end(&mut self, until: Duration) {
        let keep = self
            .octets
            .len()
            .saturating_sub(octets(self.end.saturating_sub(until)));
        self.octets.truncate(keep);
    }

    /// What was kept, as it was heard.
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// How long that is.
    pub(super) fn duration(&self) -> Duration {
        length(self.octets.len())
    }
}

fn length(octets: usize) -> Duration {
    SampleRate::Hz8000.duration_of(octets as u64)
}

/// Octets of μ-law in `time`; one per 125 µs.
fn octets(time: Duration) -> usize {
    usize::try_from(time.as_micros() / 125).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn heard(frames: u64, taking: bool) -> Ear {
        let mut ear = Ear::default();
        for n in 0..frames {
            ear.hear(ms(n * 20), &[u8::try_from(n % 256).unwrap(); 160], taking);
        }
        ear
    }

    #[test]
    fn waiting_keeps_the_last_moments_only() {
        let ear = heard(10_000, false);
        assert!((PREROLL..=2 * PREROLL).contains(&ear.octets().len()));
        assert_eq!(
            ear.octets().last(),
            Some(&u8::try_from(9_999 % 256).unwrap())
        );
    }

    #[test]
    fn a_turn_keeps_its_beginning_and_its_bound() {
        let ear = heard(10_000, true);
        assert_eq!((ear.octets().len(), ear.octets()[0]), (MAX_TURN, 0));
        assert_eq!(ear.duration(), Duration::from_secs(10));
    }

    #[test]
    fn a_turn_is_cut_at_both_ends() {
        let mut ear = heard(10, true);
        ear.begin(ms(40));
        ear.end(ms(160));
        assert_eq!((ear.duration(), ear.octets()[0]), (ms(120), 2));
        ear.end(Duration::ZERO);
        assert!(ear.octets().is_empty());
    }
}
