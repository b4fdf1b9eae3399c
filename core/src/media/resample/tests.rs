//! Gain, alias, delay and flush of the resampler.

use std::f32::consts::TAU;

use super::*;
use crate::media::levels::dbfs;

const RATES: [SampleRate; 3] = [
    SampleRate::Hz16000,
    SampleRate::Hz24000,
    SampleRate::Hz48000,
];

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a second of samples counted in f32"
)]
fn tone(hz: f32, rate: SampleRate, samples: usize) -> Vec<i16> {
    let step = hz * TAU / rate.hz() as f32;
    (0..samples)
        .map(|n| (10_000.0 * (step * n as f32).sin()) as i16)
        .collect()
}

fn through(resampler: &mut Resampler, input: &[i16], chunk: usize) -> Vec<i16> {
    let mut output = Vec::new();
    for piece in input.chunks(chunk) {
        resampler.process(piece, &mut output);
    }
    output
}

#[test]
fn a_frame_in_is_exactly_a_frame_out() {
    for rate in RATES {
        let mut up = Resampler::new(SampleRate::Hz8000, rate);
        let mut down = Resampler::new(rate, SampleRate::Hz8000);
        for _ in 0..5 {
            assert_eq!(through(&mut up, &[1; 160], 160).len(), rate.frame_len());
            assert_eq!(
                through(&mut down, &vec![1; rate.frame_len()], 9999).len(),
                160
            );
        }
    }
}

#[test]
fn any_chunking_gives_the_same_samples() {
    for rate in RATES {
        let input = tone(700.0, rate, rate.frame_len() * 10);
        let whole = through(
            &mut Resampler::new(rate, SampleRate::Hz8000),
            &input,
            input.len(),
        );
        for chunk in [1, 7, 100, 333, 960] {
            let mut resampler = Resampler::new(rate, SampleRate::Hz8000);
            assert_eq!(through(&mut resampler, &input, chunk), whole, "{chunk}");
        }
    }
}

#[test]
fn telephone_tones_pass_unchanged_and_what_would_alias_is_gone() {
    for rate in RATES {
        for hz in [300.0, 1000.0, 2000.0, 3000.0, 3400.0] {
            let input = tone(hz, SampleRate::Hz8000, 4000);
            let up = through(&mut Resampler::new(SampleRate::Hz8000, rate), &input, 160);
            let gain = dbfs(&up[up.len() / 2..]) - dbfs(&input);
            assert!(gain.abs() < 1.0, "{hz} Hz up to {rate:?}: {gain} dB");
            let input = tone(hz, rate, rate.frame_len() * 25);
            let down = through(&mut Resampler::new(rate, SampleRate::Hz8000), &input, 160);
            let gain = dbfs(&down[down.len() / 2..]) - dbfs(&input);
            assert!(gain.abs() < 1.0, "{hz} Hz down from {rate:?}: {gain} dB");
        }
        let above = tone(5_500.0, rate, rate.frame_len() * 25);
        let down = through(&mut Resampler::new(rate, SampleRate::Hz8000), &above, 160);
        assert!(dbfs(&down[down.len() / 2..]) < -60.0, "{rate:?}");
    }
}

#[test]
fn the_delay_is_five_milliseconds() {
    for rate in RATES {
        let mut up = Resampler::new(SampleRate::Hz8000, rate);
        let mut click = vec![0; 320];
        click[40] = 20_000;
        let output = through(&mut up, &click, 160);
        let peak = (0..output.len()).max_by_key(|n| output[*n]).unwrap();
        let expected = 40 * output.len() / 320 + up.delay();
        assert!(peak.abs_diff(expected) <= 1, "{peak} {expected}");
        assert_eq!(up.delay(), rate.frame_len() / 4);
    }
}

#[test]
fn flush_brings_out_the_tail_and_reset_forgets_it() {
    for rate in RATES {
        let mut down = Resampler::new(rate, SampleRate::Hz8000);
        assert_eq!(down.pending(), 0);
        let input = tone(1000.0, rate, rate.frame_len() + 5);
        let mut output = Vec::new();
        down.process(&input, &mut output);
        let pending = down.pending();
        assert!((40..=46).contains(&pending), "{pending}");
        let before = output.len();
        down.flush(&mut output);
        assert_eq!(output.len(), before + pending);
        assert!(dbfs(&output[before..]) > -20.0);
        assert_eq!(down.pending(), 0);
        down.process(&input, &mut Vec::new());
        down.reset();
        assert_eq!(down.pending(), 0);
        let mut quiet = Vec::new();
        down.process(&vec![0; rate.frame_len()], &mut quiet);
        assert!(quiet.iter().all(|sample| *sample == 0));
    }
}

#[test]
fn equal_rates_are_a_copy() {
    let mut same = Resampler::new(SampleRate::Hz8000, SampleRate::Hz8000);
    assert_eq!(through(&mut same, &[5; 33], 10), [5; 33]);
    assert_eq!((same.pending(), same.delay()), (0, 0));
    let mut tail = Vec::new();
    same.flush(&mut tail);
    assert!(tail.is_empty());
}

#[test]
fn extremes_clip_and_do_not_wrap() {
    let mut up = Resampler::new(SampleRate::Hz8000, SampleRate::Hz16000);
    let square: Vec<i16> = (0..1600)
        .map(|n| if n / 8 % 2 == 0 { i16::MAX } else { i16::MIN })
        .collect();
    let output = through(&mut up, &square, 160);
    assert!(output.contains(&i16::MAX));
    assert!(output.windows(2).all(|w| w[0].abs_diff(w[1]) < 60_000));
}

#[test]
fn whole_recordings_of_any_rate_become_wire_audio() {
    for hz in [8_000, 11_025, 22_050, 44_100, 48_000, 96_000] {
        let samples = usize::try_from(hz).unwrap() / 2;
        let converted = whole(&vec![1000; samples], hz, SampleRate::Hz8000);
        assert!(
            converted.len().abs_diff(4000) <= 1,
            "{hz}: {}",
            converted.len()
        );
        assert!(converted[1000..3000].iter().all(|s| s.abs_diff(1000) < 20));
    }
    assert!(whole(&[], 44_100, SampleRate::Hz8000).is_empty());
    assert!(whole(&[1; 100], 0, SampleRate::Hz8000).is_empty());
}
