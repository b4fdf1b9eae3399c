//! Audio as values: every stage takes packets or frames and the time, none knows a socket or a clock.
//!
//! [`uplink`] and [`downlink`] are the two compositions that a leg drives; the rest are their stages. The two are
//! not mirror images: the uplink feeds a recogniser and is driven by packets, the downlink feeds a loudspeaker
//! and is driven by the frame clock.

pub mod comfort_noise;
pub mod conceal;
pub mod downlink;
pub mod dtmf;
pub mod g711;
pub mod jitter;
pub mod levels;
pub mod playout;
pub mod recording;
pub mod resample;
pub mod rtp;
pub mod uplink;
pub mod vad;
pub mod wav;
