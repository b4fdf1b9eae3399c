//! Comfort noise (RFC 3389): soft noise where nothing is sent, so that a line never sounds dead.
//!
//! Only the level of a silence descriptor is used, not its spectrum: the noise is low-passed a little, as a room is.
#![expect(
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "noise of a few steps, made from random bits"
)]

use super::levels::{dbfs_to_rms, quantise};

/// No descriptor makes it louder.
pub const LOUDEST_DBFS: f32 = -45.0;
/// What the caller hears while nothing is queued: just above one step of G.711.
pub const QUIET_DBFS: f32 = -66.0;

/// A generator of noise at a level.
#[derive(Debug, Clone)]
pub struct ComfortNoise {
    state: u32,
    last: f32,
    gain: f32,
}

impl ComfortNoise {
    /// Noise at `dbfs`.
    ///
    /// * `seed`: any; two lines need not sound alike.
    pub fn new(seed: u32, dbfs: f32) -> Self {
        let mut noise = Self {
            state: seed | 1,
            last: 0.0,
            gain: 0.0,
        };
        noise.set_dbfs(dbfs);
        noise
    }

    /// The level from here on, never above [`LOUDEST_DBFS`].
    pub fn set_dbfs(&mut self, dbfs: f32) {
        // Uniform noise through y = (x + x')/2 has an rms of amplitude / sqrt(6).
        self.gain = dbfs_to_rms(dbfs.min(LOUDEST_DBFS)) * 6.0_f32.sqrt();
    }

    /// The level of a silence descriptor.
    ///
    /// * `level`: -dBov, the low seven bits of its first octet.
    pub fn set_dbov(&mut self, level: u8) {
        self.set_dbfs(-f32::from(level & 0x7f));
    }

    /// The next sample.
    pub fn sample(&mut self) -> f32 {
        // Knuth's constants; the high bits of a linear congruence are the random ones.
        self.state = self
            .state
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        let white = (self.state as i32 >> 8) as f32 / 8_388_608.0;
        let soft = (white + self.last) * 0.5;
        self.last = white;
        soft * self.gain
    }

    /// Overwrites `samples` with noise.
    pub fn fill(&mut self, samples: &mut [i16]) {
        for sample in samples {
            *sample = quantise(self.sample());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::levels::dbfs;

    fn level_of(noise: &mut ComfortNoise) -> f32 {
        let mut samples = [0; 8000];
        noise.fill(&mut samples);
        dbfs(&samples)
    }

    #[test]
    fn the_level_is_the_descriptors() {
        let mut noise = ComfortNoise::new(5, -70.0);
        for level in [48, 55, 60] {
            noise.set_dbov(level);
            let got = level_of(&mut noise);
            assert!((got + f32::from(level)).abs() < 1.0, "{level}: {got}");
        }
    }

    #[test]
    fn a_hostile_level_is_not_loud_and_silence_is_silent() {
        let mut noise = ComfortNoise::new(5, 0.0);
        assert!(level_of(&mut noise) < LOUDEST_DBFS + 1.0);
        noise.set_dbov(127);
        assert!(level_of(&mut noise) < -90.0);
    }
}
