//! Concealment of lost samples, better than ITU-T G.711 Appendix I where it can be.
//!
//! * What comes behind the gap is known as a rule: then the gap is filled from both sides, see [`span`].
//! * Else the last pitch period goes on, softly, in the manner of the appendix: one period for 10 ms, then two, then
//!   three; from 10 ms on it fades and is gone at 60 ms, background noise takes its place, and the first real samples
//!   afterwards are cross-faded with what concealment would have said.
//!
//! Unlike the appendix nothing is delayed by 3.75 ms: what was heard last is in the agent's hands already. The
//! first period is bent instead, so that it starts where the real signal ended.
#![expect(
    clippy::cast_precision_loss,
    reason = "lengths of at most a few hundred, as weights"
)]

mod prediction;
mod repetition;
mod span;

use repetition::{HISTORY, Manner, Repetition};
use span::{KNOWN_MIN, Span};

use super::comfort_noise::ComfortNoise;
use super::levels::quantise;

/// 10 ms, the appendix' unit.
const UNIT: usize = 80;
/// Samples after which nothing of the voice is left.
const FADED: usize = 6 * UNIT;
/// Longest merge with the first real samples.
const MERGE_MAX: usize = 80;
/// The appendix' pitch search: over 20 ms.
const ONE_SIDED: Manner = Manner {
    window: 160,
    unit: UNIT,
    known: HISTORY,
};

/// Conceals one stream; every sample of it passes here.
#[derive(Debug, Clone)]
pub struct Concealer {
    history: [i16; HISTORY],
    /// Samples concealed in the current gap; 0 outside one.
    concealed: usize,
    voice: Repetition,
    span: Span,
    noise: ComfortNoise,
}

impl Concealer {
    /// A concealer that has heard nothing.
    pub fn new(seed: u32) -> Self {
        Self {
            history: [0; HISTORY],
            concealed: 0,
            voice: Repetition::default(),
            span: Span::new(),
            noise: ComfortNoise::new(seed, super::comfort_noise::QUIET_DBFS),
        }
    }

    /// The background noise that a long gap fades into.
    pub fn noise_mut(&mut self) -> &mut ComfortNoise {
        &mut self.noise
    }

    /// Real samples: merged into the end of a gap if there was one that did not know of them, and remembered.
    ///
    /// * returns how many of them, from the first, were altered.
    pub fn hear(&mut self, samples: &mut [i16]) -> usize {
        let merged = if self.concealed > 0 && !samples.is_empty() {
            self.merge(samples)
        } else {
            0
        };
        self.remember(samples);
        merged
    }

    /// A gap begins, and what comes behind it is known: [`Self::conceal`] fills it from both sides. Inside a gap, or
    /// with too little behind it to learn from, it changes nothing.
    ///
    /// * `whole`: samples of the gap.
    /// * `after`: the samples behind it, which will be heard next.
    pub fn bridge(&mut self, whole: usize, after: &[i16]) {
        if self.concealed > 0 || after.len() < KNOWN_MIN {
            return;
        }
        self.span.begin(&self.history, whole, after);
    }

    /// Makes up samples.
    pub fn conceal(&mut self, samples: &mut [i16]) {
        if samples.is_empty() {
            return;
        }
        if self.concealed == 0 && !self.span.is_open() {
            self.begin();
        }
        for sample in samples.iter_mut() {
            *sample = quantise(self.next());
        }
    }

    /// Whether a gap is being concealed.
    pub fn is_concealing(&self) -> bool {
        self.concealed > 0
    }

    fn begin(&mut self) {
        self.voice = Repetition::of(&self.history, ONE_SIDED);
    }

    fn next(&mut self) -> f32 {
        let noise = self.noise.sample();
        let concealed = self.concealed;
        self.concealed = concealed.saturating_add(1);
        if let Some(sample) = self.span.next() {
            if !self.span.is_open() {
                self.concealed = 0; // what comes now fits without a merge
            }
            return sample.voice + noise * (1.0 - sample.share);
        }
        let gain = match concealed {
            n if n < UNIT => 1.0,
            n if n < FADED => 1.0 - (n - UNIT) as f32 / (FADED - UNIT) as f32,
            _ => 0.0,
        };
        if gain > 0.0 {
            self.voice.next(&self.history) * gain + noise * (1.0 - gain)
        } else {
            noise
        }
    }

    fn merge(&mut self, samples: &mut [i16]) -> usize {
        if self.span.is_open() {
            self.span.close(); // not the end that was announced
            self.begin();
        }
        let length = if self.concealed >= FADED {
            UNIT / 4 // out of noise a talkspurt starts; a long fade would eat its onset
        } else {
            let units = (self.concealed - 1).div_euclid(UNIT);
            (self.voice.pitch() / 4 + 32 * units).min(MERGE_MAX)
        }
        .min(samples.len());
        for (n, sample) in samples.iter_mut().take(length).enumerate() {
            let new = (n + 1) as f32 / (length + 1) as f32;
            *sample = quantise(self.next() * (1.0 - new) + f32::from(*sample) * new);
        }
        self.concealed = 0;
        length
    }

    fn remember(&mut self, samples: &[i16]) {
        let new = &samples[samples.len().saturating_sub(HISTORY)..];
        self.history.copy_within(new.len().., 0);
        self.history[HISTORY - new.len()..].copy_from_slice(new);
    }
}

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use super::*;
    use crate::media::levels::{dbfs, rms};

    /// A voiced sound: a fundamental and two overtones.
    #[expect(clippy::cast_possible_truncation, reason = "well inside 16 bits")]
    fn voiced(hz: f32, from: usize, samples: &mut [i16]) {
        for (n, sample) in samples.iter_mut().enumerate() {
            let t = (from + n) as f32 / 8000.0 * TAU * hz;
            *sample =
                (6000.0 * t.sin() + 2500.0 * (2.0 * t).sin() + 1200.0 * (3.0 * t).cos()) as i16;
        }
    }

    fn primed(hz: f32) -> (Concealer, usize) {
        let mut concealer = Concealer::new(1);
        let mut samples = [0; 800];
        voiced(hz, 0, &mut samples);
        assert_eq!(concealer.hear(&mut samples), 0);
        (concealer, 800)
    }

    fn error_db(got: &[i16], wanted: &[i16]) -> f32 {
        let error: Vec<i16> = got
            .iter()
            .zip(wanted)
            .map(|(a, b)| a.saturating_sub(*b))
            .collect();
        dbfs(&error) - dbfs(wanted)
    }

    #[test]
    fn ten_milliseconds_of_a_vowel_are_guessed_almost_exactly() {
        for hz in [80.0, 100.0, 125.0, 160.0] {
            let (mut concealer, at) = primed(hz);
            let (mut guess, mut truth) = ([0; 80], [0; 80]);
            concealer.conceal(&mut guess);
            voiced(hz, at, &mut truth);
            assert!(
                error_db(&guess, &truth) < -15.0,
                "{hz}: {}",
                error_db(&guess, &truth)
            );
        }
    }

    /// A vowel whose pitch rises and whose loudness falls, as in a question's last word.
    #[expect(clippy::cast_possible_truncation, reason = "well inside 16 bits")]
    fn gliding(from: f32, samples: &mut [i16]) {
        let mut phase = 0.0_f32;
        for (n, sample) in samples.iter_mut().enumerate() {
            let t = n as f32 / 8000.0;
            phase += TAU * (from + 200.0 * t) / 8000.0;
            let loud = 6000.0 * (1.0 - 2.5 * t);
            *sample = (loud * (phase.sin() + 0.4 * (2.0 * phase).sin() + 0.2 * (3.0 * phase).cos()))
                as i16;
        }
    }

    #[test]
    fn a_gap_with_a_known_end_is_guessed_better_from_both_sides() {
        for hz in [83.0, 110.0, 150.0] {
            for gap in [160, 320] {
                let mut truth = vec![0; 800 + gap + 160];
                gliding(hz, &mut truth);
                let guess = |known: bool| {
                    let mut concealer = Concealer::new(1);
                    concealer.hear(&mut truth[..800].to_vec());
                    let mut after = truth[800 + gap..].to_vec();
                    if known {
                        concealer.bridge(gap, &after);
                    }
                    let mut line = vec![0; gap];
                    concealer.conceal(&mut line);
                    let merged = concealer.hear(&mut after);
                    assert_eq!(merged == 0, known, "real samples stay as they were sent");
                    error_db(&line, &truth[800..800 + gap])
                };
                let (one, two) = (guess(false), guess(true));
                assert!(two < one - 3.0, "{hz} Hz, {gap}: {two} {one}");
            }
        }
    }

    #[test]
    fn a_long_gap_between_two_vowels_is_quiet_in_its_middle() {
        let (mut concealer, at) = primed(110.0);
        let (mut line, mut after) = ([0; 8000], [0; 160]);
        voiced(110.0, at + 8000, &mut after);
        concealer.bridge(8000, &after);
        concealer.conceal(&mut line);
        assert!(rms(&line[..400]) > 3000.0 && rms(&line[7600..]) > 3000.0);
        let middle = dbfs(&line[1000..7000]);
        assert!(
            (-75.0..-60.0).contains(&middle),
            "{middle}: noise, not dead air"
        );
    }

    #[test]
    fn a_gap_that_ends_otherwise_than_announced_is_merged_as_ever() {
        let (mut concealer, at) = primed(110.0);
        let mut after = [0; 160];
        voiced(110.0, at + 480, &mut after);
        concealer.bridge(480, &after);
        concealer.conceal(&mut [0; 160]);
        assert!(concealer.is_concealing());
        assert!(concealer.hear(&mut after) > 0);
        assert!(!concealer.is_concealing());
        // Too little behind the gap teaches nothing: the old way.
        concealer.bridge(160, &[1; 79]);
        concealer.conceal(&mut [0; 160]);
        assert!(concealer.hear(&mut after) > 0);
    }

    #[test]
    fn a_long_gap_fades_to_noise_by_sixty_milliseconds() {
        let (mut concealer, _) = primed(110.0);
        let mut gap = [0; 1600];
        concealer.conceal(&mut gap);
        assert!(rms(&gap[..80]) > 3000.0);
        assert!(rms(&gap[320..400]) < rms(&gap[..80]) * 0.5);
        assert!(dbfs(&gap[480..]) < -60.0);
        assert!(dbfs(&gap[480..]) > -75.0, "noise, not dead air");
        assert!(concealer.is_concealing());
    }

    #[test]
    fn neither_end_of_a_gap_clicks() {
        let (mut concealer, at) = primed(110.0);
        let mut line = [0; 480];
        voiced(110.0, at - 160, &mut line[..160]);
        concealer.conceal(&mut line[160..320]);
        voiced(110.0, at + 160, &mut line[320..]);
        let merged = concealer.hear(&mut line[320..]);
        assert!((10..=80).contains(&merged), "{merged}");
        assert!(!concealer.is_concealing());
        let steepest = |part: &[i16]| {
            part.windows(2)
                .map(|w| (w[1] - w[0]).abs())
                .max()
                .unwrap_or(0)
        };
        let natural = steepest(&line[..160]);
        assert!(
            steepest(&line[150..]) < natural * 3 / 2,
            "{} {natural}",
            steepest(&line[150..])
        );
    }

    #[test]
    fn merged_samples_are_counted_and_the_rest_is_untouched() {
        let (mut concealer, _) = primed(110.0);
        concealer.conceal(&mut [0; 160]);
        let mut real = [777; 160];
        let merged = concealer.hear(&mut real);
        assert!(merged < 160 && real[merged..].iter().all(|s| *s == 777));
        let mut tiny = [5; 3];
        concealer.conceal(&mut [0; 10]);
        assert_eq!(concealer.hear(&mut tiny), 3);
        assert_eq!(concealer.hear(&mut []), 0);
    }

    #[test]
    fn silence_stays_silent_and_extremes_do_not_wrap() {
        let mut concealer = Concealer::new(1);
        let mut gap = [1; 480];
        concealer.conceal(&mut gap);
        assert!(dbfs(&gap) < -60.0);
        for level in [i16::MIN, i16::MAX] {
            let mut concealer = Concealer::new(1);
            concealer.hear(&mut [level; 400]);
            let mut gap = [0; 80];
            concealer.conceal(&mut gap);
            assert!(gap.iter().all(|s| s.signum() == level.signum()));
        }
    }
}
