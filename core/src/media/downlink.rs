//! The downlink: the agent's audio in, at any speed and in any chunks; one RTP packet out at every frame tick.
//!
//! ```text
//! push_* ─► resample ─► g711 ─► playout ─► tick ─► rtp::sender ─► one packet, always
//!                                  ▲ marks, clear, pause      └─ digits, or comfort noise when nothing is queued
//! ```
//!
//! The wire's timestamps keep to the wall clock: a tick that comes a whole frame late skips, it never bursts.

use std::time::{Duration, Instant};

use super::comfort_noise::{ComfortNoise, QUIET_DBFS};
use super::dtmf;
use super::g711::{self, Codec};
use super::jitter::wire_duration;
pub use super::playout::Event;
use super::playout::{Playout, Taken};
use super::resample::Resampler;
use super::rtp::packet::{HEADER_LEN, RtpTimestamp, SeqNo};
use super::rtp::sender::Sender;
use crate::vocab::audio::WIRE_FRAME;
use crate::vocab::{PTIME, SampleRate};

/// Agent samples resampled at a time: bounds the scratch memory whatever the agent pushes.
const CHUNK: usize = 480;

/// What the two ends agreed on.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// The caller's codec.
    pub codec: Codec,
    /// What the agent speaks.
    pub rate: SampleRate,
    /// How far ahead of the caller's ear the agent may be.
    pub playout_max: Duration,
    /// Our synchronisation source, random.
    pub ssrc: u32,
    /// First sequence number, random.
    pub seq: SeqNo,
    /// First timestamp, random.
    pub timestamp: RtpTimestamp,
    /// Payload type of telephone events; without it digits go out as tones.
    pub telephone_event: Option<u8>,
}

/// What became of pushed audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct Pushed {
    /// Samples of 8 kHz dropped because more than `playout_max` would have been queued.
    pub dropped: usize,
}

impl Pushed {
    /// How long the dropped audio would have lasted.
    pub fn dropped_duration(self) -> Duration {
        wire_duration(self.dropped as u64)
    }
}

/// The agent's direction of one call.
#[derive(Debug)]
pub struct Downlink {
    config: Config,
    resampler: Resampler,
    /// Samples at the agent's rate, read from octets.
    input: Vec<i16>,
    resampled: Vec<i16>,
    octets: Vec<u8>,
    playout: Playout,
    digits: dtmf::Sender,
    /// Timestamp of the press under way.
    press: RtpTimestamp,
    sender: Sender,
    clock: Clock,
    noise: ComfortNoise,
    /// A tail shorter than a frame waits one tick for more of it.
    tail_waited: bool,
    frame: [u8; WIRE_FRAME],
    pcm: [i16; WIRE_FRAME],
    packet: Vec<u8>,
}

/// Ticks on the wall clock.
#[derive(Debug, Clone, Copy, Default)]
struct Clock {
    start: Option<Instant>,
    /// When frame 0 would have been sent at the pace of the ticks: they need not be in phase with the answer.
    first: Option<Instant>,
    /// Frames since the start that the next tick stands for.
    next: u64,
}

impl Downlink {
    /// A downlink that waits for its first [`Self::tick`].
    pub fn new(config: Config) -> Self {
        Self {
            config,
            resampler: Resampler::new(config.rate, SampleRate::Hz8000),
            input: Vec::with_capacity(CHUNK),
            resampled: Vec::with_capacity(CHUNK),
            octets: Vec::with_capacity(CHUNK),
            playout: Playout::new(config.playout_max),
            digits: dtmf::Sender::default(),
            press: config.timestamp,
            sender: Sender::new(config.ssrc, config.seq, config.timestamp),
            clock: Clock::default(),
            noise: ComfortNoise::new(config.ssrc, QUIET_DBFS),
            tail_waited: false,
            frame: [config.codec.silence(); WIRE_FRAME],
            pcm: [0; WIRE_FRAME],
            packet: Vec::with_capacity(HEADER_LEN + WIRE_FRAME),
        }
    }

    /// The answer: media clock zero. Without it the first tick is.
    pub fn start(&mut self, now: Instant) {
        self.clock.start.get_or_insert(now);
    }

    /// A re-INVITE changed the codec or the payload type of digits; what is queued is carried over.
    pub fn renegotiate(&mut self, codec: Codec, telephone_event: Option<u8>) {
        self.playout.transcode(self.config.codec, codec);
        self.config.codec = codec;
        self.config.telephone_event = telephone_event;
    }

    /// Agent audio at the agent's rate.
    pub fn push_pcm(&mut self, samples: &[i16]) -> Pushed {
        let mut dropped = 0;
        for chunk in samples.chunks(CHUNK) {
            self.resampled.clear();
            self.resampler.process(chunk, &mut self.resampled);
            dropped += self.enqueue();
        }
        Pushed { dropped }
    }

    /// Agent audio as s16le octets at the agent's rate; an odd last octet is ignored.
    pub fn push_pcm_bytes(&mut self, octets: &[u8]) -> Pushed {
        let mut dropped = 0;
        for chunk in octets.chunks(2 * CHUNK) {
            self.input.clear();
            let samples = chunk.as_chunks::<2>().0;
            self.input
                .extend(samples.iter().map(|sample| i16::from_le_bytes(*sample)));
            self.resampled.clear();
            self.resampler.process(&self.input, &mut self.resampled);
            dropped += self.enqueue();
        }
        Pushed { dropped }
    }

    /// Agent audio as μ-law octets at 8 kHz, whatever the agent's rate is.
    pub fn push_ulaw(&mut self, octets: &[u8]) -> Pushed {
        if self.config.codec == Codec::Pcmu {
            return Pushed {
                dropped: self.playout.push(octets),
            };
        }
        let mut dropped = 0;
        for chunk in octets.chunks(CHUNK) {
            self.octets.clear();
            self.octets.extend_from_slice(chunk);
            g711::transcode(Codec::Pcmu, self.config.codec, &mut self.octets);
            dropped += self.playout.push(&self.octets);
        }
        Pushed { dropped }
    }

    /// Marks this place in the agent's audio.
    pub fn mark(&mut self, name: String) {
        let at = self.clock.position();
        self.playout.mark(name, self.resampler.pending(), at);
    }

    /// Silences the caller's ear from the next tick on; digits under way go on.
    ///
    /// * returns what the caller heard of the interrupted turn.
    pub fn clear(&mut self) -> Duration {
        self.resampler.reset();
        self.tail_waited = false;
        self.playout.clear(self.clock.position())
    }

    /// Holds the agent's audio back; nothing is lost.
    pub fn pause(&mut self) {
        self.playout.pause();
    }

    /// Goes on where [`Self::pause`] stopped.
    pub fn resume(&mut self) {
        self.playout.resume();
    }

    /// Sends digits, ahead of the agent's audio, which waits meanwhile.
    ///
    /// * returns how many characters were refused: no digits, or too many waiting.
    pub fn send_digits(&mut self, digits: &str, duration: Duration, gap: Duration) -> usize {
        self.digits.push(digits, duration, gap)
    }

    /// Agent audio queued ahead of the caller's ear.
    pub fn queued(&self) -> Duration {
        wire_duration((self.playout.len() + self.resampler.pending()) as u64)
    }

    /// Whether agent audio waits or digits go out.
    pub fn is_busy(&self) -> bool {
        !self.queued().is_zero() || self.digits.is_sending()
    }

    /// One tick of the frame clock: the packet to send, always.
    pub fn tick(&mut self, now: Instant) -> &[u8] {
        let (position, skipped) = self.clock.tick(now);
        let timestamp = self.sender.timestamp_at(position);
        let at = wire_duration(position);
        self.packet.clear();
        let marker = skipped || self.sender.packets() == 0;
        match self.digits.step(self.config.telephone_event.is_some()) {
            Some(dtmf::Step::Event { first, payload }) => {
                self.send_event(first, timestamp, payload);
            }
            Some(dtmf::Step::Tone { tones, phase }) => {
                dtmf::write_tones(tones, phase, &mut self.pcm);
                g711::encode_over(self.config.codec, &self.pcm, &mut self.frame);
                self.send_audio(marker, timestamp);
            }
            Some(dtmf::Step::Gap) => {
                self.fill_noise(0);
                self.send_audio(marker, timestamp);
            }
            None => {
                self.fill_frame(at);
                self.send_audio(marker, timestamp);
            }
        }
        &self.packet
    }

    /// The packet of the last tick, once more.
    pub fn packet(&self) -> &[u8] {
        &self.packet
    }

    /// The 20 ms of 8 kHz that the last tick sent, for the recording and for echo; silence under telephone events.
    pub fn last_frame(&self) -> &[i16] {
        &self.pcm
    }

    /// What became of the agent's audio; call until `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.playout.poll_event()
    }

    /// Packets sent.
    pub fn packets_sent(&self) -> u64 {
        self.sender.packets()
    }

    /// Payload octets sent.
    pub fn octets_sent(&self) -> u64 {
        self.sender.octets()
    }

    fn enqueue(&mut self) -> usize {
        self.octets.clear();
        g711::encode_into(self.config.codec, &self.resampled, &mut self.octets);
        self.playout.push(&self.octets)
    }

    fn fill_frame(&mut self, at: Duration) {
        let pending = self.resampler.pending();
        let queued = self.playout.len();
        if queued >= WIRE_FRAME || self.playout.is_paused() || queued + pending == 0 {
            self.tail_waited = false;
        } else if self.tail_waited {
            // Nothing came behind the tail within a tick: it is the end of what was said.
            self.tail_waited = false;
            self.resampled.clear();
            self.resampler.flush(&mut self.resampled);
            self.enqueue();
        } else {
            self.tail_waited = true;
            self.fill_noise(0);
            return;
        }
        let pending = self.resampler.pending();
        let ours = match self.playout.take(at, pending, &mut self.frame) {
            Taken::Full => WIRE_FRAME,
            Taken::Partial(octets) => octets,
            Taken::Nothing => 0,
        };
        g711::decode_into(self.config.codec, &self.frame, &mut self.pcm);
        if ours < WIRE_FRAME {
            self.fill_noise(ours);
        }
    }

    /// Noise from sample `from` on: the line never sounds dead.
    fn fill_noise(&mut self, from: usize) {
        self.noise.fill(&mut self.pcm[from..]);
        g711::encode_over(
            self.config.codec,
            &self.pcm[from..],
            &mut self.frame[from..],
        );
    }

    fn send_audio(&mut self, marker: bool, timestamp: RtpTimestamp) {
        self.sender.send(
            self.config.codec.payload_type(),
            marker,
            timestamp,
            &self.frame,
            &mut self.packet,
        );
    }

    fn send_event(&mut self, first: bool, timestamp: RtpTimestamp, payload: [u8; 4]) {
        if first {
            self.press = timestamp;
        }
        self.pcm.fill(0);
        let payload_type = self.config.telephone_event.unwrap_or_default();
        self.sender
            .send(payload_type, first, self.press, &payload, &mut self.packet);
    }
}

impl Clock {
    /// The position of this tick's frame in samples, and whether frames were skipped before it.
    fn tick(&mut self, now: Instant) -> (u64, bool) {
        let start = *self.start.get_or_insert(now);
        let first = *self.first.get_or_insert_with(|| {
            let passed = now.saturating_duration_since(start);
            self.next = frames(passed);
            start + passed.saturating_sub(wire_duration(self.next * WIRE_FRAME as u64))
        });
        let due = frames(now.saturating_duration_since(first));
        let skipped = due > self.next;
        let frame = due.max(self.next);
        self.next = frame + 1;
        (frame * WIRE_FRAME as u64, skipped)
    }

    fn position(&self) -> Duration {
        wire_duration(self.next * WIRE_FRAME as u64)
    }
}

fn frames(passed: Duration) -> u64 {
    u64::try_from(passed.as_nanos() / PTIME.as_nanos()).unwrap_or(u64::MAX >> 8)
}

#[cfg(test)]
mod tests;
