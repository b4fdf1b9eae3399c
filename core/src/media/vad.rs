//! Voice activity: when the caller begins and stops to speak, frame by frame.
//!
//! A frame is active when it is well above the noise floor, and either far above it or voiced (periodic at a
//! pitch). Two active frames in a row are an onset: 40 ms, so a click is none. The floor follows the quietest
//! frames of the last 1.6 s, and a sound that does not change at all (a tone, hum) becomes floor in 200 ms.
//!
//! The energy is taken of `x[n] - x[n-2]`: deaf to mains hum and offset, most alert between 1 and 3 kHz. While the
//! agent speaks its own echo must not count: the threshold then stays 14 dB below what plays.
#![expect(
    clippy::cast_precision_loss,
    reason = "sums over one frame, compared in decibels"
)]

use std::time::Duration;

use super::levels::{SILENCE_DBFS, mean_square_dbfs};
use crate::vocab::PTIME;
use crate::vocab::audio::WIRE_FRAME;

/// Frames in a row that make an onset.
const ONSET_FRAMES: u32 = 2;
/// Below this nothing is speech.
const QUIETEST_DBFS: f32 = -55.0;
/// The floor is never taken to be lower: a digital silence is no reference.
const FLOOR_MIN_DBFS: f32 = -65.0;
/// Above the floor: needed at all, and enough without being voiced.
const ABOVE_FLOOR_DB: f32 = 7.0;
const FAR_ABOVE_FLOOR_DB: f32 = 14.0;
/// Normalised correlation from which a frame is voiced.
const VOICED: f32 = 0.55;
/// Echo of what plays is at least this much softer.
const ECHO_RETURN_LOSS_DB: f32 = 14.0;
/// How fast the memory of what played fades: echo comes back up to 300 ms later.
const ECHO_FADE_DB: f32 = 1.0;
/// A frame whose band holds less than this of its energy is rumble or hum.
const RUMBLE_DB: f32 = 13.0;
/// Frames of a sub-window, and sub-windows, of the minimum search.
const SUB_WINDOW: u32 = 10;
const SUB_WINDOWS: usize = 8;
/// A level that moves less than this for so many frames is no speech.
const STEADY_DB: f32 = 0.6;
const STEADY_FRAMES: u32 = 10;

/// How the detector behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Silence this long ends speech.
    pub hangover: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hangover: Duration::from_millis(400),
        }
    }
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Speech began.
    Started {
        /// Media time of the first active frame's start.
        at: Duration,
    },
    /// Speech ended.
    Stopped {
        /// Media time of the last active frame's end.
        at: Duration,
    },
}

/// The detector of one caller.
#[derive(Debug, Clone)]
pub struct Vad {
    config: Config,
    /// The last two samples of the frame before.
    before: [i16; 2],
    pitch: PitchHistory,
    floor: Floor,
    echo: f32,
    playing_before: [i16; 2],
    active_frames: u32,
    active: bool,
    onset: Duration,
    last_active_end: Duration,
    speaking: bool,
}

impl Vad {
    /// A detector that has heard nothing.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            before: [0; 2],
            pitch: PitchHistory::default(),
            floor: Floor::default(),
            echo: SILENCE_DBFS,
            playing_before: [0; 2],
            active_frames: 0,
            active: false,
            onset: Duration::ZERO,
            last_active_end: Duration::ZERO,
            speaking: false,
        }
    }

    /// One frame of 20 ms at 8 kHz.
    ///
    /// * `at`: media time of its start.
    pub fn handle_frame(&mut self, at: Duration, frame: &[i16]) -> Option<Event> {
        let level = banded_dbfs(&mut self.before, frame);
        self.pitch.push(frame);
        self.active = level > full_dbfs(frame) - RUMBLE_DB && self.is_voice(level);
        self.floor.observe(level);
        self.echo -= ECHO_FADE_DB;
        if self.active {
            if self.active_frames == 0 {
                self.onset = at;
            }
            self.active_frames += 1;
            self.last_active_end = at + PTIME;
        } else {
            self.active_frames = 0;
        }
        self.turn(at + PTIME)
    }

    /// A frame that plays to the caller now: its echo is not speech.
    pub fn handle_playing(&mut self, frame: &[i16]) {
        let level = banded_dbfs(&mut self.playing_before, frame);
        self.echo = self.echo.max(level);
    }

    /// Between an onset and the end of its hangover.
    pub fn is_speaking(&self) -> bool {
        self.speaking
    }

    /// Whether the last frame itself was active; no hangover.
    pub fn was_active(&self) -> bool {
        self.active
    }

    /// The noise floor, in the detector's band.
    pub fn floor_dbfs(&self) -> f32 {
        self.floor.dbfs()
    }

    fn is_voice(&self, level: f32) -> bool {
        let above = level - self.floor.dbfs();
        let echo = level < self.echo - ECHO_RETURN_LOSS_DB;
        if level < QUIETEST_DBFS || above < ABOVE_FLOOR_DB || echo {
            return false;
        }
        above > FAR_ABOVE_FLOOR_DB || self.pitch.voicing() > VOICED
    }

    fn turn(&mut self, now: Duration) -> Option<Event> {
        if !self.speaking && self.active_frames >= ONSET_FRAMES {
            self.speaking = true;
            return Some(Event::Started { at: self.onset });
        }
        if self.speaking && now.saturating_sub(self.last_active_end) >= self.config.hangover {
            self.speaking = false;
            return Some(Event::Stopped {
                at: self.last_active_end,
            });
        }
        None
    }
}

/// Energy of x[n] - x[n-2] in dBFS.
fn banded_dbfs(before: &mut [i16; 2], frame: &[i16]) -> f32 {
    let [.., a, b] = frame else {
        return SILENCE_DBFS;
    };
    let edge = |now: i16, then: i16| {
        let d = f32::from(now) - f32::from(then);
        d * d
    };
    let head = edge(frame[0], before[0]) + edge(frame[1], before[1]);
    let mut lanes = [0.0_f32; 8];
    for (now, then) in frame[2..].chunks(8).zip(frame.chunks(8)) {
        for (lane, (now, then)) in lanes.iter_mut().zip(now.iter().zip(then)) {
            *lane += edge(*now, *then);
        }
    }
    *before = [*a, *b];
    mean_square_dbfs((head + lanes.iter().sum::<f32>()) / frame.len() as f32)
}

/// Energy of the whole frame in dBFS, less its offset.
fn full_dbfs(frame: &[i16]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let mut squares = [0.0_f32; 8];
    for part in frame.chunks(8) {
        for ((sum, square), sample) in sums.iter_mut().zip(&mut squares).zip(part) {
            let sample = f32::from(*sample);
            *sum += sample;
            *square += sample * sample;
        }
    }
    let len = frame.len().max(1) as f32;
    let mean = sums.iter().sum::<f32>() / len;
    mean_square_dbfs(squares.iter().sum::<f32>() / len - mean * mean)
}

/// Minimum statistics with a shortcut for sounds that stand still.
#[derive(Debug, Clone)]
struct Floor {
    minima: [f32; SUB_WINDOWS],
    current: f32,
    frames: u32,
    place: usize,
    last: f32,
    steady: u32,
}

impl Default for Floor {
    fn default() -> Self {
        Self {
            minima: [f32::INFINITY; SUB_WINDOWS],
            current: f32::INFINITY,
            frames: 0,
            place: 0,
            last: SILENCE_DBFS,
            steady: 0,
        }
    }
}

impl Floor {
    fn observe(&mut self, level: f32) {
        self.current = self.current.min(level);
        self.frames += 1;
        if self.frames == SUB_WINDOW {
            self.minima[self.place] = self.current;
            self.place = (self.place + 1) % SUB_WINDOWS;
            self.current = f32::INFINITY;
            self.frames = 0;
        }
        self.steady = if (level - self.last).abs() < STEADY_DB {
            self.steady + 1
        } else {
            0
        };
        self.last = level;
        if self.steady >= STEADY_FRAMES {
            self.minima = [f32::INFINITY; SUB_WINDOWS];
            self.current = level;
            self.steady = 0;
        }
    }

    fn dbfs(&self) -> f32 {
        let lowest = self.minima.iter().copied().fold(self.current, f32::min);
        if lowest.is_finite() {
            lowest.max(FLOOR_MIN_DBFS)
        } else {
            FLOOR_MIN_DBFS
        }
    }
}

/// Two frames at 4 kHz: enough to see a period of 60 Hz twice.
#[derive(Debug, Clone)]
struct PitchHistory([f32; WIRE_FRAME]);

impl Default for PitchHistory {
    fn default() -> Self {
        Self([0.0; WIRE_FRAME])
    }
}

impl PitchHistory {
    fn push(&mut self, frame: &[i16]) {
        let half = frame.len() / 2;
        if half > self.0.len() {
            return;
        }
        self.0.copy_within(half.., 0);
        let start = self.0.len() - half;
        for (slot, pair) in self.0[start..].iter_mut().zip(frame.chunks_exact(2)) {
            *slot = (f32::from(pair[0]) + f32::from(pair[1])) * 0.5;
        }
    }

    /// The best normalised correlation at a pitch lag, 60-400 Hz; 1 is perfectly periodic.
    fn voicing(&self) -> f32 {
        const LEN: usize = WIRE_FRAME / 2;
        let now = &self.0[LEN..];
        let energy = dot(now, now) + 1.0;
        let mut best = 0.0_f32;
        let mut then_energy = dot(
            &self.0[LEN - 10..2 * LEN - 10],
            &self.0[LEN - 10..2 * LEN - 10],
        );
        for lag in 10..=66 {
            let then = &self.0[LEN - lag..2 * LEN - lag];
            if lag > 10 {
                let (gone, come) = (self.0[2 * LEN - lag], then[0]);
                then_energy += come * come - gone * gone;
            }
            let product = dot(now, then);
            if product > 0.0 {
                best = best.max(product * product / (energy * (then_energy.max(0.0) + 1.0)));
            }
        }
        best.sqrt()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests;
