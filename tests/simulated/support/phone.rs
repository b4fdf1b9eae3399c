//! The caller's telephone: a packet of G.711 every 20 ms, digits as RFC 4733 events, and an ear that remembers.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use baton_core::agent::prompts::Prompt;
use baton_core::media::dtmf;
use baton_core::media::g711::{self, Codec};
use baton_core::media::rtp::packet::{self, Packet, RtpTimestamp, SeqNo};
use baton_core::vocab::audio::WIRE_FRAME;
use bytes::Bytes;

use super::wire::Datagram;

/// Loud enough to be somebody's voice; comfort noise is far below.
const LOUD: i16 = 1000;
/// μ-law silence.
const SILENCE: u8 = 0xff;
const SAMPLES: u32 = 160;
/// Payload type of our telephone events.
const EVENT: u8 = 101;
/// The E bit of an event, and how loud it is: -10 dBm0.
const END: u8 = 0x80;
const VOLUME: u8 = 0x0a;
/// Frames of one key press.
const PRESS_FRAMES: u16 = 5;

/// What the mouthpiece picks up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mouth {
    Silent,
    /// Real speech, so that a voice detector has something to detect: from this octet of it on.
    Speaks(usize),
    /// No packets at all.
    Dead,
}

#[derive(Debug)]
pub(crate) struct Phone {
    local: SocketAddr,
    remote: Option<SocketAddr>,
    mouth: Mouth,
    seq: SeqNo,
    timestamp: RtpTimestamp,
    ssrc: u32,
    press: VecDeque<(bool, [u8; 4])>,
    pub(crate) ear: Ear,
}

/// What came to the caller's ear.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    pub(crate) packets: u64,
    pub(crate) last: Option<Instant>,
    pub(crate) last_loud: Option<Instant>,
    /// The longest silence on the wire between two packets.
    pub(crate) longest_gap: Duration,
}

impl Phone {
    pub(crate) fn new(local: SocketAddr, ssrc: u32) -> Self {
        Self {
            local,
            remote: None,
            mouth: Mouth::Silent,
            seq: SeqNo(1),
            timestamp: RtpTimestamp(ssrc),
            ssrc,
            press: VecDeque::new(),
            ear: Ear::default(),
        }
    }

    /// Where packets go; known from the answer on.
    pub(crate) fn connect(&mut self, remote: SocketAddr) {
        self.remote = Some(remote);
    }

    pub(crate) fn hang_up(&mut self) {
        self.remote = None;
    }

    pub(crate) fn set_mouth(&mut self, mouth: Mouth) {
        self.mouth = mouth;
    }

    pub(crate) const fn is_live(&self) -> bool {
        self.remote.is_some()
    }

    pub(crate) fn presses(&mut self, digit: char) {
        let event = dtmf::event_of(digit).expect("a key of a telephone");
        let frame = |n: u16, end: bool| {
            let [high, low] = (n * 160).to_be_bytes();
            [event, if end { END | VOLUME } else { VOLUME }, high, low]
        };
        self.press
            .extend((1..=PRESS_FRAMES).map(|n| (n == 1, frame(n, false))));
        self.press
            .extend((0..3).map(|_| (false, frame(PRESS_FRAMES, true))));
    }

    /// The packet of this frame.
    pub(crate) fn tick(&mut self) -> Option<Datagram> {
        let remote = self.remote?;
        if self.mouth == Mouth::Dead {
            return None;
        }
        let mut octets = Vec::new();
        if let Some((marker, payload)) = self.press.pop_front() {
            self.packet(EVENT, marker, &payload).write(&mut octets);
            // All packets of one event bear its first timestamp (RFC 4733 §2.5.1.2).
            if self.press.is_empty() {
                self.timestamp.0 = self.timestamp.0.wrapping_add(SAMPLES * 8);
            }
        } else {
            let payload = self.speech();
            self.packet(0, false, &payload).write(&mut octets);
            self.timestamp.0 = self.timestamp.0.wrapping_add(SAMPLES);
        }
        self.seq = self.seq.next();
        Some(Datagram {
            from: self.local,
            to: remote,
            payload: Bytes::from(octets),
        })
    }

    fn packet<'a>(&self, payload_type: u8, marker: bool, payload: &'a [u8]) -> Packet<'a> {
        Packet {
            marker,
            payload_type,
            seq: self.seq,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
            payload,
        }
    }

    fn speech(&mut self) -> [u8; WIRE_FRAME] {
        let mut frame = [SILENCE; WIRE_FRAME];
        if let Mouth::Speaks(at) = &mut self.mouth {
            let speech = Prompt::Greeting.ulaw();
            for octet in &mut frame {
                *octet = speech[*at % speech.len()];
                *at += 1;
            }
        }
        frame
    }

    pub(crate) fn hears(&mut self, now: Instant, datagram: &[u8]) {
        let packet = packet::parse(datagram).expect("the bridge sends RTP");
        self.ear.packets += 1;
        if let Some(last) = self.ear.last {
            self.ear.longest_gap = self.ear.longest_gap.max(now - last);
        }
        self.ear.last = Some(now);
        let is_loud = |octet: &u8| g711::decode(Codec::Pcmu, *octet).saturating_abs() > LOUD;
        if packet.payload_type == 0 && packet.payload.iter().any(is_loud) {
            self.ear.last_loud = Some(now);
        }
    }
}
