//! Digits out: one step per frame, as RFC 4733 packets or, for a peer without them, as tones in the audio.
//!
//! ```text
//! frame      1       2   ...  8       9      10      11      12 ...
//! event    M d=160  d=320    d=1280  E 1280  E 1280  E 1280   (gap: the end packets are its beginning)
//! ```
#![expect(clippy::cast_possible_truncation, reason = "tones well inside 16 bits")]

use std::collections::VecDeque;
use std::f32::consts::TAU;
use std::time::Duration;

use super::event_of;
use crate::vocab::PTIME;
use crate::vocab::audio::WIRE_FRAME;

/// Digits waiting; more are refused.
const WAITING: usize = 64;
/// The end is sent this often (RFC 4733 §2.5.1.4).
const ENDS: u32 = 3;
/// -10 dBm0: what exchanges send.
const VOLUME: u8 = 10;
/// Frames a digit lasts, at least 40 ms and at most 8 s (one RFC 4733 segment).
const FRAMES: std::ops::RangeInclusive<u32> = 2..=400;
/// Sample units of each of the two tones, about -10 dBFS together.
const TONE: f32 = 7_300.0;

/// What this frame sends instead of the agent's audio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// A telephone event packet.
    Event {
        /// First of its press: marker, and the press' timestamp is this frame's.
        first: bool,
        /// RFC 4733 §2.3.
        payload: [u8; 4],
    },
    /// In-band: two tones, radians per sample.
    Tone {
        /// The pair.
        tones: [f32; 2],
        /// Samples since the press began.
        phase: u32,
    },
    /// Between two digits.
    Gap,
}

/// Digits on their way out.
#[derive(Debug, Clone, Default)]
pub struct Sender {
    waiting: VecDeque<Digit>,
    frame: u32,
}

#[derive(Debug, Clone, Copy)]
struct Digit {
    event: u8,
    frames: u32,
    gap: u32,
}

impl Sender {
    /// Queues digits; what is no digit is skipped.
    ///
    /// * returns how many were refused: no digits, or too many waiting.
    pub fn push(&mut self, digits: &str, duration: Duration, gap: Duration) -> usize {
        let mut refused = 0;
        for digit in digits.chars() {
            match event_of(digit) {
                Some(event) if self.waiting.len() < WAITING => self.waiting.push_back(Digit {
                    event,
                    frames: frames(duration).clamp(*FRAMES.start(), *FRAMES.end()),
                    gap: frames(gap).clamp(ENDS, *FRAMES.end()),
                }),
                _ => refused += 1,
            }
        }
        refused
    }

    /// Whether the next frame is ours.
    pub fn is_sending(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What the next frame sends, if digits are due.
    ///
    /// * `as_events`: the peer takes telephone events.
    pub fn step(&mut self, as_events: bool) -> Option<Step> {
        let digit = *self.waiting.front()?;
        let frame = self.frame;
        self.frame += 1;
        if self.frame >= digit.frames + digit.gap {
            self.waiting.pop_front();
            self.frame = 0;
        }
        Some(if as_events {
            digit.event_step(frame)
        } else {
            digit.tone_step(frame)
        })
    }
}

impl Digit {
    fn event_step(self, frame: u32) -> Step {
        if frame >= self.frames + ENDS {
            return Step::Gap;
        }
        let end = frame >= self.frames;
        let samples = (frame + 1).min(self.frames) * 160;
        let [high, low] = u16::try_from(samples).unwrap_or(u16::MAX).to_be_bytes();
        let flags = if end { 0x80 | VOLUME } else { VOLUME };
        Step::Event {
            first: frame == 0,
            payload: [self.event, flags, high, low],
        }
    }

    fn tone_step(self, frame: u32) -> Step {
        if frame >= self.frames {
            return Step::Gap;
        }
        Step::Tone {
            tones: tones(self.event),
            phase: frame * 160,
        }
    }
}

/// Writes a frame of the two tones.
pub(crate) fn write_tones(tones: [f32; 2], phase: u32, frame: &mut [i16; WIRE_FRAME]) {
    for (n, sample) in (0_u16..).zip(frame) {
        let at = f32::from(n);
        let sum: f32 = tones
            .iter()
            .map(|step| {
                let start = f64::from(*step) * f64::from(phase) % f64::from(TAU);
                (start as f32 + step * at).sin()
            })
            .sum();
        *sample = (sum * TONE) as i16;
    }
}

/// The row and the column of a key (ITU-T Q.23), radians per sample.
fn tones(event: u8) -> [f32; 2] {
    const ROWS: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
    const COLUMNS: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
    let (row, column) = match event {
        0 => (3, 1),
        1..=9 => (usize::from((event - 1) / 3), usize::from((event - 1) % 3)),
        10 => (3, 0),
        11 => (3, 2),
        _ => (usize::from(event.saturating_sub(12)).min(3), 3),
    };
    [ROWS[row], COLUMNS[column]].map(|hz| hz * TAU / 8000.0)
}

fn frames(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis().div_ceil(PTIME.as_millis())).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::levels::dbfs;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn steps(sender: &mut Sender, as_events: bool) -> Vec<Step> {
        std::iter::from_fn(|| sender.step(as_events)).collect()
    }

    #[test]
    fn a_press_grows_and_ends_three_times() {
        let mut sender = Sender::default();
        assert_eq!(sender.push("5", MS(160), MS(80)), 0);
        let steps = steps(&mut sender, true);
        let event = |first, payload| Step::Event { first, payload };
        assert_eq!(steps.len(), 12);
        assert_eq!(steps[0], event(true, [0x05, 0x0a, 0x00, 0xa0]));
        assert_eq!(steps[1], event(false, [0x05, 0x0a, 0x01, 0x40]));
        assert_eq!(steps[7], event(false, [0x05, 0x0a, 0x05, 0x00]));
        for end in &steps[8..11] {
            assert_eq!(*end, event(false, [0x05, 0x8a, 0x05, 0x00]));
        }
        assert_eq!(steps[11], Step::Gap);
        assert!(!sender.is_sending());
    }

    #[test]
    fn tones_are_those_of_the_key_and_moderately_loud() {
        let mut sender = Sender::default();
        sender.push("0", MS(40), MS(60));
        let steps = steps(&mut sender, false);
        assert_eq!(steps.len(), 5);
        let Step::Tone { tones, phase } = steps[1] else {
            panic!("{:?}", steps[1]);
        };
        assert_eq!(phase, 160);
        let hz = tones.map(|step| (step * 8000.0 / TAU).round());
        assert!((hz[0] - 941.0).abs() < 1.0 && (hz[1] - 1336.0).abs() < 1.0);
        let mut frame = [0; WIRE_FRAME];
        write_tones(tones, phase, &mut frame);
        assert!((-14.0..-8.0).contains(&dbfs(&frame)), "{}", dbfs(&frame));
        assert_eq!(steps[2], Step::Gap);
    }

    #[test]
    fn strangers_and_floods_are_refused_and_lengths_are_bounded() {
        let mut sender = Sender::default();
        assert_eq!(sender.push("1x2 ", MS(0), MS(0)), 2);
        assert_eq!(steps(&mut sender, true).len(), 2 * (2 + 3));
        assert_eq!(
            sender.push(&"1".repeat(1000), MS(40), MS(60)),
            1000 - WAITING
        );
        let mut sender = Sender::default();
        sender.push("1", Duration::MAX, Duration::MAX);
        assert_eq!(steps(&mut sender, true).len(), 800);
    }
}
