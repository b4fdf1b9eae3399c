//! Linear prediction by Burg's method: what the next samples would be if the sound went on as it was.
//!
//! Close to known samples nothing guesses better; further away the prediction dies down, and [`super::repetition`] takes over.

/// Samples the prediction learns from at most: 40 ms.
pub(super) const LEARNT: usize = 320;
/// Coefficients at most: 8 ms, a pitch period of most voices.
const ORDER: usize = 64;
/// Samples made up at most.
pub(super) const REACH: usize = 480;
/// Reflections stay inside the unit circle, whatever rounding does.
const REFLECTION_MAX: f32 = 0.9995;
/// No prediction is louder than twice what a sample can hold.
const LOUDEST: f32 = 65_536.0;
/// Less energy than this is silence: there is nothing to continue.
const SILENCE: f32 = 1.0;

/// Continues `past` over `out`, at most [`REACH`] samples; what is longer is left as it is.
pub(super) fn continue_over(past: &[i16], out: &mut [f32]) {
    let past = &past[past.len().saturating_sub(LEARNT)..];
    let mut known = [0.0; LEARNT];
    for (known, heard) in known.iter_mut().zip(past) {
        *known = f32::from(*heard);
    }
    let past = &known[..past.len()];
    let order = ORDER.min(past.len() / 3);
    let len = out.len().min(REACH);
    let Some(coefficients) = coefficients(past, order) else {
        out[..len].fill(0.0);
        return;
    };
    let coefficients = &coefficients[1..=order];
    // The samples that each next one is made of stand in one row before it, the newest last.
    let mut row = [0.0; ORDER + REACH];
    row[..order].copy_from_slice(&past[past.len() - order..]);
    for n in 0..len {
        let known = &row[n..n + order];
        let next: f32 = known
            .iter()
            .rev()
            .zip(coefficients)
            .map(|(sample, a)| -a * sample)
            .sum();
        // A past that grows is not believed to grow for ever, nor rounding to be harmless.
        row[n + order] = next.clamp(-LOUDEST, LOUDEST);
    }
    out[..len].copy_from_slice(&row[order..order + len]);
}

/// The prediction error filter `1 + a1 z^-1 + ..`; `None` for silence.
fn coefficients(past: &[f32], order: usize) -> Option<[f32; ORDER + 1]> {
    let len = past.len();
    let energy: f32 = past.iter().map(|x| x * x).sum();
    if order == 0 || energy < SILENCE {
        return None;
    }
    let (mut forward, mut backward) = ([0.0; LEARNT], [0.0; LEARNT]);
    forward[..len].copy_from_slice(past);
    backward[..len].copy_from_slice(past);
    let mut filter = [0.0; ORDER + 1];
    filter[0] = 1.0;
    for stage in 0..order {
        // Forward errors from the next sample on stand against the backward errors before them.
        let ahead = stage + 1..len;
        let (mut product, mut power) = (0.0, f32::EPSILON);
        for (fore, back) in forward[ahead.clone()].iter().zip(&backward[stage..len - 1]) {
            product += fore * back;
            power += fore * fore + back * back;
        }
        let reflection = (-2.0 * product / power).clamp(-REFLECTION_MAX, REFLECTION_MAX);
        let before = filter;
        for at in 0..=stage + 1 {
            filter[at] = before[at] + reflection * before[stage + 1 - at];
        }
        for at in ahead.rev() {
            let (fore, back) = (forward[at], backward[at - 1]);
            forward[at] = fore + reflection * back;
            backward[at] = back + reflection * fore;
        }
    }
    Some(filter)
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "sample numbers as angles")]
mod tests {
    use super::*;
    use crate::media::levels::quantise;

    fn tone(n: usize) -> f32 {
        3000.0 * (n as f32 * 0.2).sin() + 1500.0 * (n as f32 * 0.61 + 1.0).cos()
    }

    #[test]
    fn tones_are_continued_almost_exactly() {
        let past: Vec<i16> = (0..LEARNT).map(tone).map(quantise).collect();
        let mut out = [0.0; 80];
        continue_over(&past, &mut out);
        for (n, got) in out.iter().enumerate() {
            let wanted = tone(LEARNT + n);
            assert!((got - wanted).abs() < 60.0, "{n}: {got} {wanted}");
        }
    }

    #[test]
    fn whatever_the_past_was_the_prediction_stays_bounded() {
        let steps = |n: usize| {
            if n.is_multiple_of(7) {
                32_767.0
            } else {
                -32_768.0
            }
        };
        let shapes: [&dyn Fn(usize) -> f32; 5] = [
            &|_| 32_767.0,
            &steps,
            &|n| if n == 319 { 32_767.0 } else { 0.0 },
            &|n| (n as f32 * 1.3).exp2().min(32_767.0),
            &|n| ((n * 7919) % 65_536) as f32 - 32_768.0,
        ];
        for (shape, past) in shapes.iter().enumerate() {
            let past: Vec<i16> = (0..LEARNT).map(past).map(quantise).collect();
            let mut out = [f32::NAN; REACH];
            continue_over(&past, &mut out);
            let loudest = out.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
            assert!(
                out.iter().all(|x| x.is_finite()) && loudest <= LOUDEST,
                "{shape}: {loudest}"
            );
        }
    }

    #[test]
    fn silence_and_hardly_any_past_are_continued_by_silence() {
        for past in [&[][..], &[5], &[0; 320]] {
            let mut out = [1.0; 40];
            continue_over(past, &mut out);
            assert!(out.iter().all(|x| *x == 0.0), "{} samples", past.len());
        }
    }
}
