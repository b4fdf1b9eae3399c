//! Concealment of lost samples in the manner of ITU-T G.711 Appendix I: the last pitch period goes on, softly.
//!
//! * 0-10 ms: the last period is repeated; 10-20 ms: the last two; then the last three, so that it does not buzz.
//! * From 10 ms on it fades by a fifth each 10 ms and is gone at 60 ms; background noise takes its place.
//! * The first real samples afterwards are cross-faded with what concealment would have said.
//!
//! Unlike the appendix nothing is delayed by 3.75 ms: what was heard last is in the agent's hands already. The
//! first period is bent instead, so that it starts where the real signal ended.
#![expect(
    clippy::cast_precision_loss,
    reason = "lengths of at most a few hundred, as weights"
)]

use super::comfort_noise::ComfortNoise;
use super::levels::quantise;

/// Samples remembered: three of the longest periods and a quarter (48.75 ms, as the appendix).
const HISTORY: usize = 390;
/// Shortest and longest pitch period, in samples: 200 Hz to 66 Hz.
const PITCH: std::ops::RangeInclusive<usize> = 40..=120;
/// Samples compared in the pitch search: 20 ms.
const WINDOW: usize = 160;
/// 10 ms, the appendix' unit.
const UNIT: usize = 80;
/// Samples after which nothing of the voice is left.
const FADED: usize = 6 * UNIT;
/// Longest merge with the first real samples.
const MERGE_MAX: usize = 80;

/// Conceals one stream; every sample of it passes here.
#[derive(Debug, Clone)]
pub struct Concealer {
    history: [i16; HISTORY],
    /// Samples concealed in the current gap; 0 outside one.
    concealed: usize,
    voice: Voice,
    noise: ComfortNoise,
}

/// The repeated periods, while a gap lasts.
#[derive(Debug, Clone, Copy, Default)]
struct Voice {
    pitch: usize,
    periods: usize,
    phase: usize,
    /// Phase in the fewer periods of the unit before, while it fades out.
    before: Option<(usize, usize)>,
    /// The first sample's distance from the last real one; decays over a quarter period.
    step: f32,
}

impl Concealer {
    /// A concealer that has heard nothing.
    pub fn new(seed: u32) -> Self {
        Self {
            history: [0; HISTORY],
            concealed: 0,
            voice: Voice::default(),
            noise: ComfortNoise::new(seed, super::comfort_noise::QUIET_DBFS),
        }
    }

    /// The background noise that a long gap fades into.
    pub fn noise_mut(&mut self) -> &mut ComfortNoise {
        &mut self.noise
    }

    /// Real samples: merged into the end of a gap if there was one, and remembered.
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

    /// Makes up samples.
    pub fn conceal(&mut self, samples: &mut [i16]) {
        if samples.is_empty() {
            return;
        }
        if self.concealed == 0 {
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
        let pitch = self.pitch();
        let last = f32::from(self.history[HISTORY - 1]);
        self.voice = Voice {
            pitch,
            periods: 1,
            phase: 0,
            before: None,
            step: last - f32::from(self.history[HISTORY - 1 - pitch]),
        };
    }

    fn next(&mut self) -> f32 {
        let gain = match self.concealed {
            n if n < UNIT => 1.0,
            n if n < FADED => 1.0 - (n - UNIT) as f32 / (FADED - UNIT) as f32,
            _ => 0.0,
        };
        let noise = self.noise.sample();
        let sample = if gain > 0.0 {
            self.speak() * gain + noise * (1.0 - gain)
        } else {
            noise
        };
        self.concealed = self.concealed.saturating_add(1);
        sample
    }

    /// The next sample of the repeated voice, at full loudness.
    fn speak(&mut self) -> f32 {
        if self.concealed > 0 && self.concealed.is_multiple_of(UNIT) && self.voice.periods < 3 {
            let voice = &mut self.voice;
            voice.before = Some((voice.periods, voice.phase));
            voice.periods += 1;
            voice.phase %= voice.pitch;
        }
        let quarter = self.voice.pitch / 4;
        let mut sample = self.voice_at(self.voice.periods, self.voice.phase);
        if let Some((periods, phase)) = self.voice.before {
            let into = self.concealed % UNIT;
            if into < quarter {
                let new = (into + 1) as f32 / (quarter + 1) as f32;
                sample = sample * new + self.voice_at(periods, phase) * (1.0 - new);
                let phase = (phase + 1) % (periods * self.voice.pitch);
                self.voice.before = Some((periods, phase));
            } else {
                self.voice.before = None;
            }
        }
        if self.concealed < quarter {
            sample += self.voice.step * (1.0 - (self.concealed + 1) as f32 / (quarter + 1) as f32);
        }
        self.voice.phase = (self.voice.phase + 1) % (self.voice.periods * self.voice.pitch);
        sample
    }

    /// The last `periods` periods as a loop; its end is cross-faded with what came before its start.
    fn voice_at(&self, periods: usize, phase: usize) -> f32 {
        let length = periods * self.voice.pitch;
        let quarter = self.voice.pitch / 4;
        let sample = f32::from(self.history[HISTORY - length + phase]);
        let left = length - phase;
        if left > quarter {
            return sample;
        }
        let before = f32::from(self.history[HISTORY - length - left]);
        let fade = (quarter - left + 1) as f32 / (quarter + 1) as f32;
        sample * (1.0 - fade) + before * fade
    }

    fn merge(&mut self, samples: &mut [i16]) -> usize {
        let length = if self.concealed >= FADED {
            UNIT / 4 // out of noise a talkspurt starts; a long fade would eat its onset
        } else {
            (self.voice.pitch / 4 + 32 * (self.concealed - 1).div_euclid(UNIT)).min(MERGE_MAX)
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

    /// The lag at which the last 20 ms resemble what came before: coarse on every other sample, then fine.
    fn pitch(&self) -> usize {
        let mut x = [0.0; HISTORY];
        for (x, sample) in x.iter_mut().zip(self.history) {
            *x = f32::from(sample);
        }
        let coarse = PITCH
            .step_by(2)
            .max_by(|a, b| likeness(&x, *a, 2).total_cmp(&likeness(&x, *b, 2)))
            .unwrap_or(*PITCH.end());
        let near = (coarse - 1).max(*PITCH.start())..=(coarse + 1).min(*PITCH.end());
        near.max_by(|a, b| likeness(&x, *a, 1).total_cmp(&likeness(&x, *b, 1)))
            .unwrap_or(coarse)
    }
}

/// Normalised correlation of the last window with the one `lag` before it.
fn likeness(x: &[f32; HISTORY], lag: usize, step: usize) -> f32 {
    let now = &x[HISTORY - WINDOW..];
    let then = &x[HISTORY - WINDOW - lag..HISTORY - lag];
    let (mut product, mut energy) = (0.0, 1.0);
    for (a, b) in now.iter().zip(then).step_by(step) {
        product += a * b;
        energy += b * b;
    }
    product / f32::sqrt(energy)
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
