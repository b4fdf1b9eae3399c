//! A gap whose far side is known: the sound goes on from before it and leads back from behind it, and the two are
//! cross-faded.
//!
//! ```text
//!  heard │ continued ─────────►╲╱◄───────── led back │ heard
//!        │ predicted, then     ╱╲     the same, on   │
//!        │ repeated           ╱  ╲  reversed time    │
//! ```
//!
//! The packet behind a hole is always in the buffer when the hole is filled, or nobody would know of the hole. So both
//! ends meet real samples without a merge, and what follows the gap stays as it was sent.
#![expect(
    clippy::cast_precision_loss,
    reason = "lengths of at most a few thousand, as weights"
)]

use std::f32::consts::PI;

use super::prediction::{self, REACH};
use super::repetition::{HISTORY, Manner, Repetition};
use crate::media::g711::{self, Codec};
use crate::media::levels::quantise;

/// Samples from either end at full loudness: 60 ms.
const LOUD: usize = 480;
/// Samples from either end after which nothing is left of the voice: 105 ms.
const VOICED: usize = 840;
/// Samples in which prediction gives way to repetition by a factor of e: 20 ms.
const PREDICTED: f32 = 160.0;
/// Samples after which a repetition takes in one more period.
const UNIT: usize = 160;
/// μ-law's zero.
const SILENCE: u8 = 0xff;
/// Fewer known samples behind the gap teach nothing: 10 ms.
pub(super) const KNOWN_MIN: usize = 80;

/// Both sides of one gap.
#[derive(Debug, Clone)]
pub(super) struct Span {
    whole: usize,
    done: usize,
    /// From the gap's first sample on.
    onward: Side,
    /// From the gap's last sample back.
    back: Side,
}

/// What one side makes of the gap, by distance from it; as G.711, which is what stands around the gap, and half the size.
#[derive(Debug, Clone)]
struct Side([u8; VOICED]);

/// A sample of the gap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    pub(super) voice: f32,
    /// How much of a sample the voice is; the rest is noise.
    pub(super) share: f32,
}

impl Side {
    fn learn(&mut self, history: &[i16; HISTORY], manner: Manner, len: usize) {
        let len = len.min(VOICED);
        let known = manner.known.min(HISTORY);
        let mut predicted = [0.0; REACH];
        let reach = len.min(REACH);
        prediction::continue_over(&history[HISTORY - known..], &mut predicted[..reach]);
        let mut repetition = Repetition::of(history, manner);
        let decay = (-1.0 / PREDICTED).exp();
        let mut trust = 1.0;
        for (n, sample) in self.0.iter_mut().take(len).enumerate() {
            let repeated = repetition.next(history);
            let guess = match predicted.get(n) {
                Some(predicted) => predicted * trust + repeated * (1.0 - trust),
                None => repeated,
            };
            *sample = g711::encode(Codec::Pcmu, quantise(guess));
            trust *= decay;
        }
    }

    fn at(&self, distance: usize) -> (f32, f32) {
        let loudness = match distance {
            n if n < LOUD => 1.0,
            n => (1.0 - (n - LOUD) as f32 / (VOICED - LOUD) as f32).max(0.0),
        };
        let sample = self.0.get(distance).copied().unwrap_or(SILENCE);
        (f32::from(g711::decode(Codec::Pcmu, sample)), loudness)
    }
}

impl Span {
    pub(super) const fn new() -> Self {
        Self {
            whole: 0,
            done: 0,
            onward: Side([SILENCE; VOICED]),
            back: Side([SILENCE; VOICED]),
        }
    }

    /// A gap of `whole` samples between what was heard and what comes `after`, at least [`KNOWN_MIN`] samples.
    pub(super) fn begin(&mut self, history: &[i16; HISTORY], whole: usize, after: &[i16]) {
        self.whole = whole;
        self.done = 0;
        let before = Manner {
            window: 80,
            unit: UNIT,
            known: HISTORY,
        };
        self.onward.learn(history, before, whole);
        let known = after.len().min(HISTORY);
        let mut reversed = [0; HISTORY];
        for (sample, heard) in reversed.iter_mut().rev().zip(&after[..known]) {
            *sample = *heard;
        }
        let behind = Manner {
            window: 50,
            unit: UNIT,
            known,
        };
        self.back.learn(&reversed, behind, whole);
    }

    /// Whether a gap is under way.
    pub(super) const fn is_open(&self) -> bool {
        self.done < self.whole
    }

    /// Forgets the rest of the gap.
    pub(super) fn close(&mut self) {
        self.done = self.whole;
    }

    /// The next sample of the gap.
    pub(super) fn next(&mut self) -> Option<Sample> {
        let n = self.done;
        let left = self.whole.checked_sub(n + 1)?;
        self.done += 1;
        let (onward, loudness) = self.onward.at(n);
        let (back, loudness_back) = self.back.at(left);
        let turned = 0.5 - 0.5 * (PI * (n as f32 + 0.5) / self.whole as f32).cos();
        let (a, b) = (loudness * (1.0 - turned), loudness_back * turned);
        Some(Sample {
            voice: onward * a + back * b,
            share: a + b,
        })
    }
}
