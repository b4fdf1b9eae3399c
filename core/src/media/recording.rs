//! The recording: two legs on one timeline, caller left, agent right, 8 kHz.
//!
//! Each leg writes at its media time. What both have written leaves in chunks; a leg that falls behind by more
//! than a second is not waited for: its place stays silent.

use std::time::Duration;

/// Instants kept until both legs have written them: 1 s.
const WINDOW: usize = 8_000;
/// Instants of a chunk: 250 ms.
const CHUNK: usize = 2_000;
/// A leg's clock may wobble this much (10 ms) before a gap is left or samples are dropped.
const SNAP: u64 = 80;
/// Chunks' worth of instants kept for a slow writer: 4 s.
const READY: usize = 16 * CHUNK;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leg {
    Caller = 0,
    Agent = 1,
}

/// One call's recording.
#[derive(Debug)]
pub struct Recorder {
    /// From `base` on, one pair for each instant.
    window: Vec<[i16; 2]>,
    base: u64,
    ends: [u64; 2],
    ready: Vec<i16>,
    paused: bool,
    dropped: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder {
    /// An empty recording that begins at the answer.
    pub fn new() -> Self {
        Self {
            window: vec![[0; 2]; WINDOW],
            base: 0,
            ends: [0; 2],
            ready: Vec::with_capacity(4 * CHUNK),
            paused: false,
            dropped: 0,
        }
    }

    /// The caller's samples at 8 kHz, from media time `at` on.
    pub fn caller(&mut self, at: Duration, samples: &[i16]) {
        self.write(Leg::Caller, at, samples);
    }

    /// The agent's.
    pub fn agent(&mut self, at: Duration, samples: &[i16]) {
        self.write(Leg::Agent, at, samples);
    }

    /// From here on silence is written: what is said now must not be kept.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Ends [`Self::pause`].
    pub fn resume(&mut self) {
        self.paused = false;
    }

    /// Whether [`Self::pause`] holds.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// The next 250 ms, interleaved, once both legs have written them.
    pub fn poll_chunk(&mut self) -> Option<Vec<i16>> {
        let both = self.ends[0].min(self.ends[1]);
        let have = self.ready.len() / 2;
        if have < CHUNK && both >= self.base + (CHUNK - have) as u64 {
            self.release(both);
        }
        (self.ready.len() >= 2 * CHUNK).then(|| {
            let rest = self.ready.split_off(2 * CHUNK);
            std::mem::replace(&mut self.ready, rest)
        })
    }

    /// All that is left, at the end of the call.
    pub fn finish(&mut self) -> Vec<i16> {
        self.release(self.ends[0].max(self.ends[1]));
        std::mem::take(&mut self.ready)
    }

    /// Instants that were thrown away because nobody took the chunks.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn write(&mut self, leg: Leg, at: Duration, samples: &[i16]) {
        let side = leg as usize;
        let at = u64::try_from(at.as_micros() / 125).unwrap_or(u64::MAX / 2);
        let end = self.ends[side];
        let from = if at.abs_diff(end) <= SNAP { end } else { at };
        // What lies before the window, or was written already, is too late.
        let skip = end.max(self.base).saturating_sub(from);
        let samples = samples
            .get(usize::try_from(skip).unwrap_or(usize::MAX)..)
            .unwrap_or_default();
        let mut place = from + skip;
        for part in samples.chunks(WINDOW / 2) {
            let after = place + part.len() as u64;
            if after > self.base + WINDOW as u64 {
                self.release(after - WINDOW as u64);
            }
            let first = usize::try_from(place - self.base).unwrap_or(0);
            for (pair, sample) in self.window[first..].iter_mut().zip(part) {
                pair[side] = if self.paused { 0 } else { *sample };
            }
            place = after;
            self.ends[side] = after;
        }
    }

    /// Moves everything before `to` out of the window; instants that nobody wrote are silent.
    fn release(&mut self, to: u64) {
        let count = usize::try_from(to.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let written = count.min(WINDOW);
        let room = READY.saturating_sub(self.ready.len() / 2);
        let kept = count.min(room);
        self.dropped += (count - kept) as u64;
        self.ready
            .extend(self.window[..written.min(kept)].as_flattened());
        self.ready
            .resize(self.ready.len() + 2 * (kept - written.min(kept)), 0);
        self.window.copy_within(written.., 0);
        self.window[WINDOW - written..].fill([0; 2]);
        self.base = self.base.max(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// All of it, as pairs.
    fn taken(recorder: &mut Recorder) -> Vec<[i16; 2]> {
        let mut samples: Vec<i16> = std::iter::from_fn(|| recorder.poll_chunk())
            .flatten()
            .collect();
        samples.extend(recorder.finish());
        samples.as_chunks::<2>().0.to_vec()
    }

    #[test]
    fn both_legs_stand_side_by_side() {
        let mut recorder = Recorder::new();
        let mut pairs = Vec::new();
        for n in 0..200 {
            recorder.caller(MS(n * 20), &[1; 160]);
            recorder.agent(MS(n * 20), &[2; 160]);
            while let Some(chunk) = recorder.poll_chunk() {
                assert_eq!(chunk.len(), 2 * CHUNK);
                pairs.extend(chunk);
            }
        }
        assert_eq!(pairs.len(), 2 * 32_000);
        assert!(pairs.as_chunks::<2>().0.iter().all(|pair| *pair == [1, 2]));
        assert_eq!((recorder.finish().len(), recorder.dropped()), (0, 0));
    }

    #[test]
    fn a_gap_is_silent_and_a_wobbling_clock_leaves_none() {
        let mut recorder = Recorder::new();
        for (ms, wobble) in [(0, 0), (20, 7), (40, 0), (60, 3)] {
            recorder.agent(MS(ms + wobble), &[2; 160]);
        }
        recorder.agent(MS(200), &[3; 160]);
        let pairs = taken(&mut recorder);
        assert_eq!(pairs.len(), 1_760);
        assert!(pairs[..640].iter().all(|pair| *pair == [0, 2]));
        assert!(pairs[640..1_600].iter().all(|pair| *pair == [0, 0]));
        assert!(pairs[1_600..].iter().all(|pair| *pair == [0, 3]));
    }

    #[test]
    fn a_leg_that_falls_behind_is_not_waited_for() {
        let mut recorder = Recorder::new();
        recorder.caller(MS(0), &[1; 160]);
        let mut pairs = Vec::new();
        for n in 0..150 {
            recorder.agent(MS(n * 20), &[2; 160]);
            pairs.extend(std::iter::from_fn(|| recorder.poll_chunk()).flatten());
        }
        assert!(pairs.len() >= 2 * 14_000, "{}", pairs.len());
        recorder.caller(MS(100), &[9; 160]); // far too late
        pairs.extend(recorder.finish());
        assert_eq!(pairs.len(), 2 * 24_000);
        assert!(!pairs.contains(&9));
    }

    #[test]
    fn a_pause_is_silence_of_the_same_length() {
        let mut recorder = Recorder::new();
        for n in 0..30 {
            match n {
                10 => recorder.pause(),
                20 => recorder.resume(),
                _ => {}
            }
            recorder.caller(MS(n * 20), &[1; 160]);
            recorder.agent(MS(n * 20), &[2; 160]);
        }
        let pairs = taken(&mut recorder);
        assert_eq!(pairs.len(), 4_800);
        assert_eq!((pairs[1_599], pairs[1_600]), ([1, 2], [0, 0]));
        assert_eq!((pairs[3_199], pairs[3_200]), ([0, 0], [1, 2]));
    }

    #[test]
    fn what_was_written_is_not_overwritten() {
        let mut recorder = Recorder::new();
        recorder.caller(MS(0), &[1; 1_600]);
        recorder.caller(MS(100), &[5; 1_600]);
        let pairs = taken(&mut recorder);
        assert_eq!(pairs.len(), 2_400);
        assert_eq!((pairs[1_599][0], pairs[1_600][0]), (1, 5));
    }

    #[test]
    fn a_writer_that_sleeps_and_a_clock_that_leaps_are_bounded() {
        let mut recorder = Recorder::new();
        for n in 0..1_000 {
            recorder.caller(MS(n * 20), &[1; 160]);
        }
        recorder.caller(Duration::from_secs(1 << 40), &[1; 160]);
        recorder.agent(Duration::MAX, &[1; 160]);
        assert!(recorder.dropped() > 0);
        assert!(taken(&mut recorder).len() <= READY + WINDOW);
    }
}
