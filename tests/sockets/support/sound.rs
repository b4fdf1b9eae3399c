//! A sound that can be recognised, and how alike two sounds are.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    reason = "samples and their sums, all far from the bounds"
)]

/// Louder than this is no line noise and no codec's idle noise.
const LOUD: i16 = 1000;
/// How far apart two sounds may lie, in samples.
const SHIFT: i64 = 400;

/// A sweep from 300 to 700 Hz, half full scale.
pub(crate) fn sweep(rate: u32, ms: u32) -> Vec<i16> {
    let seconds = f64::from(ms) / 1000.0;
    let sample = |n: u32| {
        let t = f64::from(n) / f64::from(rate);
        let turns = 300.0 * t + 200.0 * t * t / seconds;
        (16_000.0 * (std::f64::consts::TAU * turns).sin()) as i16
    };
    (0..rate / 1000 * ms).map(sample).collect()
}

/// How much of `said` is in `heard`, wherever it begins: 1.0 is all of it at the same pitch and pace. A longer or
/// shorter delay between caller and agent costs nothing, a hole or a repeated frame does.
pub(crate) fn likeness(heard: &[i16], said: &[i16]) -> f64 {
    let begin = |samples: &[i16]| samples.iter().position(|s| s.abs() > LOUD);
    let (Some(heard_at), Some(said_at)) = (begin(heard), begin(said)) else {
        return 0.0;
    };
    let offset = heard_at as i64 - said_at as i64;
    (offset - SHIFT..=offset + SHIFT)
        .map(|shift| correlation(heard, said, shift))
        .fold(0.0, f64::max)
}

fn correlation(heard: &[i16], said: &[i16], shift: i64) -> f64 {
    let (mut both, mut one, mut other) = (0.0, 0.0, 0.0);
    for (n, said) in said.iter().enumerate() {
        let at = n as i64 + shift;
        let heard = usize::try_from(at).ok().and_then(|at| heard.get(at));
        let (h, s) = (f64::from(heard.copied().unwrap_or(0)), f64::from(*said));
        both += h * s;
        one += h * h;
        other += s * s;
    }
    both / (one * other).sqrt().max(1.0)
}

/// The mean level of the loud part, relative to another's, in dB.
pub(crate) fn louder_by_db(heard: &[i16], said: &[i16]) -> f64 {
    let level = |samples: &[i16]| {
        let loud: Vec<f64> = voiced_frames(samples)
            .flatten()
            .map(|s| f64::from(*s))
            .collect();
        (loud.iter().map(|s| s * s).sum::<f64>() / (loud.len().max(1) as f64)).sqrt()
    };
    20.0 * (level(heard) / level(said).max(1.0)).log10()
}

/// How long something was heard, in ms of 8 kHz samples, to 10 ms.
pub(crate) fn voiced_ms(heard: &[i16]) -> u64 {
    voiced_frames(heard).count() as u64 * 10
}

fn voiced_frames(samples: &[i16]) -> impl Iterator<Item = &[i16]> {
    let frames = samples.chunks(80);
    frames.filter(|frame| frame.iter().any(|s| s.abs() > LOUD))
}
