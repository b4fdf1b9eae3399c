//! The last pitch periods of a voice, said again: one at first, then two, then three, so that it does not buzz
//! (ITU-T G.711 Appendix I).
#![expect(
    clippy::cast_precision_loss,
    reason = "lengths of at most a few hundred, as weights"
)]

/// Samples that repetition may look at: three of the longest periods and a quarter (48.75 ms, as the appendix).
pub(super) const HISTORY: usize = 390;
/// Shortest and longest pitch period, in samples: 200 Hz to 66 Hz.
const PITCH: std::ops::RangeInclusive<usize> = 40..=120;

/// How a repetition is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// Samples compared in the pitch search.
    pub(super) window: usize,
    /// Samples after which one more period is taken in.
    pub(super) unit: usize,
    /// Samples at the end of the history that were really heard.
    pub(super) known: usize,
}

/// The repeated periods, while a gap lasts. The history is lent with each call and must stay the same.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Repetition {
    pitch: usize,
    unit: usize,
    /// As many periods as the known samples allow.
    periods_max: usize,
    periods: usize,
    phase: usize,
    /// Samples said.
    said: usize,
    /// Phase in the fewer periods of the unit before, while it fades out.
    before: Option<(usize, usize)>,
    /// The first sample's distance from the last real one; decays over a quarter period.
    step: f32,
}

impl Repetition {
    /// What `history` ends with, to be repeated.
    pub(super) fn of(history: &[i16; HISTORY], manner: Manner) -> Self {
        let pitch = pitch(history, manner);
        let periods_max = (1..=3)
            .rev()
            .find(|periods| periods * pitch + pitch / 4 <= manner.known)
            .unwrap_or(1);
        Self {
            pitch,
            unit: manner.unit,
            periods_max,
            periods: 1,
            phase: 0,
            said: 0,
            before: None,
            step: f32::from(history[HISTORY - 1]) - f32::from(history[HISTORY - 1 - pitch]),
        }
    }

    /// The period's length in samples.
    pub(super) fn pitch(&self) -> usize {
        self.pitch
    }

    /// The next sample, at full loudness.
    pub(super) fn next(&mut self, history: &[i16; HISTORY]) -> f32 {
        if self.said > 0 && self.said.is_multiple_of(self.unit) && self.periods < self.periods_max {
            self.before = Some((self.periods, self.phase));
            self.periods += 1;
            self.phase %= self.pitch;
        }
        let quarter = self.pitch / 4;
        let mut sample = self.at(history, self.periods, self.phase);
        if let Some((periods, phase)) = self.before {
            let into = self.said % self.unit;
            if into < quarter {
                let new = (into + 1) as f32 / (quarter + 1) as f32;
                sample = sample * new + self.at(history, periods, phase) * (1.0 - new);
                self.before = Some((periods, (phase + 1) % (periods * self.pitch)));
            } else {
                self.before = None;
            }
        }
        if self.said < quarter {
            sample += self.step * (1.0 - (self.said + 1) as f32 / (quarter + 1) as f32);
        }
        self.phase = (self.phase + 1) % (self.periods * self.pitch);
        self.said = self.said.saturating_add(1);
        sample
    }

    /// The last `periods` periods as a loop; its end is cross-faded with what came before its start.
    fn at(&self, history: &[i16; HISTORY], periods: usize, phase: usize) -> f32 {
        let length = periods * self.pitch;
        let quarter = self.pitch / 4;
        let sample = f32::from(history[HISTORY - length + phase]);
        let left = length - phase;
        if left > quarter {
            return sample;
        }
        let before = f32::from(history[HISTORY - length - left]);
        let fade = (quarter - left + 1) as f32 / (quarter + 1) as f32;
        sample * (1.0 - fade) + before * fade
    }
}

/// The lag at which the last window resembles what came before: coarse on every other sample, then fine.
fn pitch(history: &[i16; HISTORY], manner: Manner) -> usize {
    let x = &history.map(f32::from);
    let longest = manner
        .known
        .saturating_sub(manner.window)
        .clamp(*PITCH.start(), *PITCH.end());
    let window = manner
        .window
        .min(manner.known.saturating_sub(*PITCH.start()))
        .max(1);
    let likeness = |lag: usize, step: usize| likeness(x, window, lag, step);
    let coarse = (*PITCH.start()..=longest)
        .step_by(2)
        .max_by(|a, b| likeness(*a, 2).total_cmp(&likeness(*b, 2)))
        .unwrap_or(longest);
    let near = (coarse - 1).max(*PITCH.start())..=(coarse + 1).min(longest);
    near.max_by(|a, b| likeness(*a, 1).total_cmp(&likeness(*b, 1)))
        .unwrap_or(coarse)
}

/// Normalised correlation of the last window with the one `lag` before it.
fn likeness(x: &[f32; HISTORY], window: usize, lag: usize, step: usize) -> f32 {
    let now = &x[HISTORY - window..];
    let then = &x[HISTORY - window - lag..HISTORY - lag];
    let (mut product, mut energy) = (0.0, 1.0);
    for (a, b) in now.iter().zip(then).step_by(step) {
        product += a * b;
        energy += b * b;
    }
    product / f32::sqrt(energy)
}
