//! The detector on speech, hum, clicks, noise and echo.

use std::f32::consts::TAU;

use super::*;
use crate::media::comfort_noise::ComfortNoise;
use crate::media::levels::{dbfs, dbfs_to_rms};
use crate::vocab::Entropy;

const FRAME: usize = WIRE_FRAME;

fn vad() -> Vad {
    Vad::new(Config::default())
}

/// A vowel with a gliding pitch and syllables, `seconds` long, rms in dBFS.
fn speech(level: f32, seconds: f32) -> Vec<i16> {
    let mut phase = 0.0;
    let samples: Vec<f32> = instants(seconds)
        .map(|t| {
            phase += (120.0 + 25.0 * (TAU * 2.3 * t).sin()) / 8000.0 * TAU;
            let syllable = 0.35 + 0.65 * (TAU * 4.0 * t - 1.0).sin().max(0.0);
            (1..12_u8)
                .map(f32::from)
                .map(|k| (k * phase).sin() / k.sqrt())
                .sum::<f32>()
                * syllable
        })
        .collect();
    scaled(&samples, level)
}

/// The time of each sample.
fn instants(seconds: f32) -> impl Iterator<Item = f32> {
    (0..80_000_u32)
        .map(|n| n as f32 / 8000.0)
        .take_while(move |t| *t < seconds)
}

fn noise(level: f32, seconds: f32) -> Vec<i16> {
    let mut entropy = Entropy::from_number(11);
    let samples: Vec<f32> = instants(seconds)
        .map(|_| f32::from(u16::try_from(entropy.below(65_536)).unwrap_or(0)) - 32_768.0)
        .collect();
    scaled(&samples, level)
}

#[expect(clippy::cast_possible_truncation, reason = "saturates")]
fn scaled(samples: &[f32], level: f32) -> Vec<i16> {
    let power = samples.iter().map(|s| s * s).sum::<f32>() / samples.len() as f32;
    let gain = dbfs_to_rms(level) / power.sqrt();
    samples.iter().map(|s| (s * gain) as i16).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "saturates")]
fn tone(hz: f32, level: f32, seconds: f32) -> Vec<i16> {
    let amplitude = dbfs_to_rms(level) * 2.0_f32.sqrt();
    instants(seconds)
        .map(|t| (amplitude * (TAU * hz * t).sin()) as i16)
        .collect()
}

fn mixed(a: &[i16], b: &[i16]) -> Vec<i16> {
    a.iter().zip(b).map(|(a, b)| a.saturating_add(*b)).collect()
}

/// Plays on from `from`; returns the events and the time behind.
fn play(vad: &mut Vad, from: Duration, samples: &[i16]) -> (Vec<Event>, Duration) {
    let mut at = from;
    let mut events = Vec::new();
    for frame in samples.chunks_exact(FRAME) {
        events.extend(vad.handle_frame(at, frame));
        at += PTIME;
    }
    (events, at)
}

#[test]
fn an_onset_is_seen_within_sixty_milliseconds() {
    for level in [-15.0, -30.0, -40.0] {
        let mut vad = vad();
        let (events, at) = play(&mut vad, Duration::ZERO, &noise(-62.0, 2.0));
        assert_eq!(events, [], "quiet noise");
        let (events, _) = play(&mut vad, at, &speech(level, 1.0)[..FRAME * 3]);
        let Some(Event::Started { at: onset }) = events.first() else {
            panic!("{level}: no onset in 60 ms");
        };
        assert!(*onset >= at && *onset <= at + PTIME);
    }
}

#[test]
fn speech_stops_once_after_its_hangover_at_its_last_sound() {
    let mut vad = vad();
    let (_, at) = play(&mut vad, Duration::ZERO, &noise(-60.0, 1.0));
    let (events, end) = play(&mut vad, at, &speech(-25.0, 2.0));
    assert_eq!(
        events.len(),
        1,
        "one turn, however its syllables rise and fall: {events:?}"
    );
    assert!(vad.is_speaking());
    let (events, _) = play(&mut vad, end, &noise(-60.0, 2.0));
    let [Event::Stopped { at: stopped }] = events[..] else {
        panic!("{events:?}");
    };
    assert!(stopped + Duration::from_millis(120) > end && stopped <= end + PTIME);
    assert!(!vad.is_speaking());
}

#[test]
fn silence_hum_noise_and_clicks_are_no_speech() {
    let mut click = vec![0; FRAME * 100];
    for at in (0..click.len()).step_by(FRAME * 10) {
        click[at + 5] = 20_000;
        click[at + 6] = -20_000;
    }
    let hum = mixed(&tone(50.0, -20.0, 4.0), &tone(150.0, -45.0, 4.0));
    for (what, sound) in [
        ("digital silence", vec![0; FRAME * 200]),
        ("quiet noise", noise(-60.0, 4.0)),
        ("an offset", vec![3000; FRAME * 200]),
        ("mains hum", hum),
        ("clicks", click),
    ] {
        let mut vad = vad();
        let (_, at) = play(&mut vad, Duration::ZERO, &noise(-62.0, 0.4));
        let (events, _) = play(&mut vad, at, &sound);
        assert_eq!(events, [], "{what}");
    }
}

#[test]
fn the_floor_follows_a_noisy_line_and_speech_above_it_is_heard() {
    let mut vad = vad();
    let (_, at) = play(&mut vad, Duration::ZERO, &noise(-38.0, 4.0));
    assert!(
        !vad.is_speaking(),
        "noise became floor: {}",
        vad.floor_dbfs()
    );
    let (events, _) = play(
        &mut vad,
        at,
        &mixed(&speech(-20.0, 1.0), &noise(-38.0, 1.0)),
    );
    assert!(matches!(events[..], [Event::Started { .. }]), "{events:?}");
}

#[test]
fn a_dial_tone_does_not_hold_the_line_for_long() {
    let mut vad = vad();
    let (_, at) = play(&mut vad, Duration::ZERO, &noise(-60.0, 1.0));
    let (_, at) = play(
        &mut vad,
        at,
        &mixed(&tone(440.0, -20.0, 3.0), &noise(-60.0, 3.0)),
    );
    assert!(!vad.is_speaking());
    let (events, _) = play(&mut vad, at, &tone(440.0, -20.0, 3.0));
    assert_eq!(events, []);
}

#[test]
fn the_prompts_own_echo_is_not_the_caller_but_the_caller_is() {
    let prompt = speech(-20.0, 3.0);
    let echo: Vec<i16> = prompt.iter().map(|s| s / 10).collect();
    let mut vad = vad();
    let (_, mut at) = play(&mut vad, Duration::ZERO, &noise(-60.0, 1.0));
    for n in 0..prompt.len() / FRAME {
        vad.handle_playing(&prompt[n * FRAME..(n + 1) * FRAME]);
        let back = n.saturating_sub(3) * FRAME; // 60 ms round trip
        assert_eq!(
            vad.handle_frame(at, &echo[back..back + FRAME]),
            None,
            "frame {n}"
        );
        at += PTIME;
    }
    let caller = mixed(&speech(-22.0, 1.0), &echo);
    let mut heard = None;
    for n in 0..20 {
        vad.handle_playing(&prompt[n * FRAME..(n + 1) * FRAME]);
        heard = heard.or(vad.handle_frame(at, &caller[n * FRAME..(n + 1) * FRAME]));
        at += PTIME;
    }
    assert!(
        matches!(heard, Some(Event::Started { .. })),
        "barge-in is heard"
    );
}

#[test]
fn comfort_noise_and_odd_frames_are_harmless() {
    let mut vad = vad();
    let mut frame = [0; FRAME];
    ComfortNoise::new(3, -50.0).fill(&mut frame);
    assert!(dbfs(&frame) < -45.0);
    assert_eq!(vad.handle_frame(Duration::ZERO, &frame), None);
    for odd in [&[][..], &[1], &[1, 2], &[1, 2, 3], &[0; 1000]] {
        assert_eq!(vad.handle_frame(Duration::ZERO, odd), None);
    }
}
