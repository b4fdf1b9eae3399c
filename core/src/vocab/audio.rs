//! Audio as values: rates and the frame everything is counted in.

use std::time::Duration;

/// One frame, the unit of both clocks: 20 ms.
pub const PTIME: Duration = Duration::from_millis(20);

/// Samples of one frame on the caller's side: G.711 is always 8 kHz (RFC 3551 §4.5.14).
pub const WIRE_FRAME: usize = 160;

/// A sample rate that an agent may hear and speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum SampleRate {
    /// 8 kHz: the wire's own rate, no resampler in the path.
    Hz8000,
    /// 16 kHz: what most recognisers take.
    #[default]
    Hz16000,
    /// 24 kHz: realtime speech models.
    Hz24000,
    /// 48 kHz.
    Hz48000,
}

impl SampleRate {
    /// From a number of samples per second; `None` for rates Baton does not speak.
    pub fn from_hz(hz: u32) -> Option<Self> {
        match hz {
            8_000 => Some(Self::Hz8000),
            16_000 => Some(Self::Hz16000),
            24_000 => Some(Self::Hz24000),
            48_000 => Some(Self::Hz48000),
            _ => None,
        }
    }

    /// Samples per second.
    pub const fn hz(self) -> u32 {
        match self {
            Self::Hz8000 => 8_000,
            Self::Hz16000 => 16_000,
            Self::Hz24000 => 24_000,
            Self::Hz48000 => 48_000,
        }
    }

    /// Samples in one 20 ms frame.
    pub const fn frame_len(self) -> usize {
        (self.hz() / 50) as usize
    }

    /// How long `samples` of this rate last.
    pub fn duration_of(self, samples: u64) -> Duration {
        Duration::from_nanos(samples * 1_000_000_000 / u64::from(self.hz()))
    }
}
