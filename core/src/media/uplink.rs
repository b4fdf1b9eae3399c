//! The uplink: packets from the caller in, frames for the agent out, in order, as early as they can be known.
//!
//! ```text
//! handle_packet ─► rtp::receiver ─► jitter ─► g711 ─► conceal ─► 20 ms frames ─► vad ─► resample ─► poll_frame
//!                        └─► dtmf (events, and muting of their in-band tone)
//! ```
//!
//! Frames follow each other without a gap on the media clock, which is zero at the answer. Memory is fixed at
//! construction; nothing is allocated per packet.

mod assembly;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use assembly::Assembly;

use super::conceal::Concealer;
use super::dtmf;
use super::g711::Codec;
use super::jitter::{self, Buffer, Content, Incoming, MAX_PAYLOAD, Playout};
use super::levels;
use super::resample::Resampler;
use super::rtp::packet::{Packet, RtpTimestamp};
use super::rtp::receiver::{Receiver, Verdict};
use super::vad::{self, Vad};
use crate::vocab::SampleRate;
use crate::vocab::audio::WIRE_FRAME;

/// Events not yet taken; the oldest goes first, it is stale by then.
const EVENTS: usize = 16;
/// Static payload type of comfort noise (RFC 3551 §6).
const COMFORT_NOISE: u8 = 13;
/// Frames whose loudest is [`Uplink::level_dbfs`]: a second.
const LEVEL_FRAMES: u32 = 50;

/// What the two ends agreed on.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// The caller's codec.
    pub codec: Codec,
    /// Payload type of telephone events, if negotiated.
    pub telephone_event: Option<u8>,
    /// Payload type of comfort noise; the static 13 is understood in any case.
    pub comfort_noise: Option<u8>,
    /// What the agent hears.
    pub rate: SampleRate,
    /// The jitter buffer's.
    pub jitter: jitter::Config,
    /// The voice activity detector's.
    pub vad: vad::Config,
}

/// 20 ms of the caller.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Media time of its start.
    pub at: Duration,
    /// At the agent's rate.
    pub samples: &'a [i16],
    /// At 8 kHz, for the recording.
    pub wire: &'a [i16],
    /// The caller's own octets, when they are μ-law and nothing in the frame was made up, merged or muted.
    pub ulaw: Option<&'a [u8]>,
    /// Some of it was made up.
    pub concealed: bool,
}

/// What was heard besides audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The caller began to speak.
    SpeechStarted {
        /// Media time.
        at: Duration,
    },
    /// The caller fell silent.
    SpeechStopped {
        /// Media time of the last sound.
        at: Duration,
    },
    /// A key was pressed.
    Digit {
        /// `0-9 * # A-D`.
        digit: char,
        /// How long.
        duration: Duration,
        /// Media time of its start.
        at: Duration,
    },
}

/// What the uplink counted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stats {
    /// Packets taken.
    pub received: u64,
    /// Payload octets taken.
    pub octets: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came when their place had been filled in.
    pub late: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets that came behind a later one.
    pub reordered: u64,
    /// Packets of an unknown payload type, too long, or of a replaced source.
    pub refused: u64,
    /// Time concealed where packets were lost.
    pub concealed: Duration,
    /// Time of comfort noise where nothing was sent or nothing came.
    pub noise: Duration,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter: Duration,
    /// Changes of the synchronisation source.
    pub source_changes: u64,
    /// Keys pressed.
    pub digits: u64,
    /// How long the next hole would be waited for.
    pub reorder_wait: Duration,
}

/// The caller's direction of one call.
#[derive(Debug)]
pub struct Uplink {
    config: Config,
    receiver: Receiver,
    held: Held,
    buffer: Buffer,
    concealer: Concealer,
    assembly: Assembly,
    resampler: Resampler,
    samples: Vec<i16>,
    vad: Vad,
    dtmf: dtmf::Receiver,
    /// The answer.
    start: Option<Instant>,
    /// Samples in frames that left.
    framed: u64,
    meter: Meter,
    events: VecDeque<Event>,
    counts: Counts,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    refused: u64,
    lost_samples: u64,
    noise_samples: u64,
    digits: u64,
}

/// A packet whose source or number has to prove itself (see [`Verdict::Hold`]).
#[derive(Debug)]
struct Held {
    payload: Vec<u8>,
    what: Option<(Instant, Content, RtpTimestamp)>,
}

/// The loudest frame of the last second.
#[derive(Debug, Clone, Copy)]
struct Meter {
    shown: f32,
    loudest: f32,
    frames: u32,
}

impl Uplink {
    /// An uplink that waits for its [`Self::start`].
    pub fn new(config: Config) -> Self {
        Self {
            config,
            receiver: Receiver::default(),
            held: Held {
                payload: Vec::with_capacity(MAX_PAYLOAD),
                what: None,
            },
            buffer: Buffer::new(config.jitter),
            concealer: Concealer::new(0x5eed),
            assembly: Assembly::new(config.codec),
            resampler: Resampler::new(SampleRate::Hz8000, config.rate),
            samples: Vec::with_capacity(2 * config.rate.frame_len()),
            vad: Vad::new(config.vad),
            dtmf: dtmf::Receiver::default(),
            start: None,
            framed: 0,
            meter: Meter {
                shown: levels::SILENCE_DBFS,
                loudest: levels::SILENCE_DBFS,
                frames: 0,
            },
            events: VecDeque::with_capacity(EVENTS),
            counts: Counts::default(),
        }
    }

    /// A re-INVITE changed the codec or the payload type of digits.
    pub fn renegotiate(&mut self, codec: Codec, telephone_event: Option<u8>) {
        self.config.codec = codec;
        self.config.telephone_event = telephone_event;
        self.assembly.set_codec(codec);
    }

    /// The answer: media clock zero. Packets before it are only counted.
    pub fn start(&mut self, now: Instant) {
        if self.start.is_none() {
            self.start = Some(now);
            self.buffer.start(now);
        }
    }

    /// A packet of the caller (the latch has admitted its source).
    pub fn handle_packet(&mut self, now: Instant, packet: &Packet<'_>) {
        let Some(content) = self.classify(packet) else {
            self.counts.refused += 1;
            return;
        };
        let payload = match content {
            Content::Audio { .. } => packet.payload,
            Content::Noise { .. } | Content::Event => &[],
        };
        let mut incoming = Incoming {
            sequence: 0,
            timestamp: packet.timestamp,
            content,
            payload,
            discontinuity: false,
        };
        match self.receiver.handle(now, packet, content != Content::Event) {
            Verdict::Accept { sequence } => incoming.sequence = sequence,
            Verdict::Restarted { sequence } => {
                incoming.sequence = sequence;
                incoming.discontinuity = !self.release_held(sequence - 1);
            }
            Verdict::Hold => {
                self.held.payload.clear();
                self.held.payload.extend_from_slice(payload);
                self.held.what = Some((now, content, packet.timestamp));
                return;
            }
            Verdict::Duplicate | Verdict::Stale => return,
        }
        if content == Content::Event {
            let at = self.clock(now);
            self.dtmf.handle(now, at, packet);
            self.take_digits();
        }
        self.buffer.handle(now, &incoming);
    }

    /// The next 20 ms, if they are known; call until `None` after every packet and timeout.
    pub fn poll_frame(&mut self, now: Instant) -> Option<Frame<'_>> {
        while !self.assembly.is_full() {
            self.fill(now)?;
        }
        let at = jitter::wire_duration(self.framed);
        self.framed += WIRE_FRAME as u64;
        let mut frame = self.assembly.take_frame();
        if self.dtmf.mutes(now) {
            // The key's own tone, sent in the audio as well: the agent would hear the digit twice.
            self.concealer.noise_mut().fill(frame.wire);
            frame.genuine = None;
        }
        let heard = self.vad.handle_frame(at, frame.wire);
        self.buffer.set_in_speech(self.vad.was_active());
        if !frame.concealed {
            // White noise is 3 dB louder in the detector's band. Made-up noise must not teach itself.
            let floor = self.vad.floor_dbfs() - 3.0;
            self.concealer.noise_mut().set_dbfs(floor);
        }
        self.meter.observe(frame.wire);
        self.samples.clear();
        self.resampler.process(frame.wire, &mut self.samples);
        if let Some(event) = heard {
            push_event(&mut self.events, event.into());
        }
        Some(Frame {
            at,
            samples: &self.samples,
            wire: frame.wire,
            ulaw: frame.genuine.filter(|_| self.config.codec == Codec::Pcmu),
            concealed: frame.concealed,
        })
    }

    /// What was heard besides audio; call until `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Fires what is due; frames it makes possible come from [`Self::poll_frame`].
    pub fn handle_timeout(&mut self, now: Instant) {
        self.dtmf.handle_timeout(now);
        self.take_digits();
    }

    /// When to call [`Self::handle_timeout`] and [`Self::poll_frame`] though no packet came.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = [self.buffer.poll_timeout(), self.dtmf.poll_timeout()];
        deadlines.into_iter().flatten().min()
    }

    /// A frame that plays to the caller now, so that its echo is not taken for speech.
    pub fn handle_playing(&mut self, wire: &[i16]) {
        self.vad.handle_playing(wire);
    }

    /// Loudest frame of the last second.
    pub fn level_dbfs(&self) -> f32 {
        self.meter.shown.max(self.meter.loudest)
    }

    /// Whether the caller speaks, hangover included.
    pub fn is_speaking(&self) -> bool {
        self.vad.is_speaking()
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        let (received, buffer) = (self.receiver.stats(), self.buffer.stats());
        Stats {
            received: received.received,
            octets: received.octets,
            lost: received.lost,
            late: buffer.late,
            duplicates: received.duplicates,
            reordered: received.reordered,
            refused: self.counts.refused + received.stale + buffer.overflow,
            concealed: jitter::wire_duration(self.counts.lost_samples),
            noise: jitter::wire_duration(self.counts.noise_samples),
            jitter: self.receiver.jitter(),
            source_changes: received.source_changes,
            digits: self.counts.digits,
            reorder_wait: self.buffer.reorder_wait(),
        }
    }

    fn classify(&self, packet: &Packet<'_>) -> Option<Content> {
        let payload_type = packet.payload_type;
        if payload_type == self.config.codec.payload_type() {
            let samples = packet.payload.len();
            (samples <= MAX_PAYLOAD).then_some(Content::Audio { samples })
        } else if Some(payload_type) == self.config.telephone_event {
            Some(Content::Event)
        } else if payload_type == COMFORT_NOISE || Some(payload_type) == self.config.comfort_noise {
            let level = packet.payload.first().copied().unwrap_or(0x7f);
            Some(Content::Noise { level })
        } else {
            None
        }
    }

    /// The held packet has proved itself; `false` when there was none.
    fn release_held(&mut self, sequence: u64) -> bool {
        let Some((arrived, content, timestamp)) = self.held.what.take() else {
            return false;
        };
        self.buffer.handle(
            arrived,
            &Incoming {
                sequence,
                timestamp,
                content,
                payload: &self.held.payload,
                discontinuity: true,
            },
        );
        true
    }

    /// Takes the next piece of the timeline into the frame under way.
    fn fill(&mut self, now: Instant) -> Option<()> {
        match self.buffer.poll(now)? {
            Playout::Audio(payload) => self.assembly.hear(payload, &mut self.concealer),
            Playout::Lost {
                samples,
                whole,
                after,
            } => {
                self.counts.lost_samples += samples as u64;
                if let Some(after) = after.filter(|_| !self.concealer.is_concealing()) {
                    self.assembly.bridge(whole, after, &mut self.concealer);
                }
                self.assembly.conceal(samples, &mut self.concealer);
            }
            Playout::Silence(samples) => {
                self.counts.noise_samples += samples as u64;
                self.assembly.conceal(samples, &mut self.concealer);
            }
            Playout::Noise(level) => self.concealer.noise_mut().set_dbov(level),
        }
        Some(())
    }

    fn take_digits(&mut self) {
        while let Some(press) = self.dtmf.poll() {
            self.counts.digits += 1;
            push_event(
                &mut self.events,
                Event::Digit {
                    digit: press.digit,
                    duration: press.duration,
                    at: press.at,
                },
            );
        }
    }

    fn clock(&self, now: Instant) -> Duration {
        self.start
            .map_or(Duration::ZERO, |start| now.saturating_duration_since(start))
    }
}

impl From<vad::Event> for Event {
    fn from(event: vad::Event) -> Self {
        match event {
            vad::Event::Started { at } => Self::SpeechStarted { at },
            vad::Event::Stopped { at } => Self::SpeechStopped { at },
        }
    }
}

impl Meter {
    fn observe(&mut self, frame: &[i16]) {
        self.loudest = self.loudest.max(levels::dbfs(frame));
        self.frames += 1;
        if self.frames == LEVEL_FRAMES {
            self.shown = self.loudest;
            self.loudest = levels::SILENCE_DBFS;
            self.frames = 0;
        }
    }
}

fn push_event(events: &mut VecDeque<Event>, event: Event) {
    if events.len() == EVENTS {
        events.pop_front();
    }
    events.push_back(event);
}

#[cfg(test)]
mod tests;
