//! Packets by their place in the endless numbering: a window of slots whose memory is reused.

use std::time::Instant;

use crate::media::rtp::packet::RtpTimestamp;

/// Packets that fit: 640 ms of 20 ms packets.
const SLOTS: usize = 32;
/// Octets of the longest packet: 120 ms of G.711.
pub const MAX_PAYLOAD: usize = 960;
/// Octets each slot has from the start: a usual packet.
const USUAL_PAYLOAD: usize = 160;

/// What a packet holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// So many samples.
    Audio {
        /// One octet each.
        samples: usize,
    },
    /// A silence descriptor (RFC 3389).
    Noise {
        /// -dBov.
        level: u8,
    },
    /// A telephone event: a place in the numbering, no sound.
    Event,
}

impl Content {
    /// Samples of the sender's clock that it takes.
    pub(super) fn samples(self) -> u32 {
        match self {
            Self::Audio { samples } => u32::try_from(samples).unwrap_or(0),
            Self::Noise { .. } | Self::Event => 0,
        }
    }

    pub(super) fn is_timed(self) -> bool {
        !matches!(self, Self::Event)
    }
}

/// A packet as the buffer takes it.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// Place in the endless numbering.
    pub sequence: u64,
    /// The sender's clock.
    pub timestamp: RtpTimestamp,
    /// What it holds.
    pub content: Content,
    /// Audio only.
    pub payload: &'a [u8],
    /// The sender's clock has nothing to do with what came before.
    pub discontinuity: bool,
}

impl Incoming<'_> {
    pub(super) fn fits(&self) -> bool {
        self.payload.len() <= MAX_PAYLOAD
    }
}

#[derive(Debug)]
struct Slot {
    sequence: u64,
    timestamp: RtpTimestamp,
    content: Content,
    discontinuity: bool,
    arrived: Option<Instant>,
    payload: Vec<u8>,
}

/// What stands in front, without its payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) arrived: Instant,
    pub(super) timestamp: RtpTimestamp,
    pub(super) content: Content,
    pub(super) discontinuity: bool,
}

#[derive(Debug)]
pub(super) struct Store {
    slots: Vec<Slot>,
    held: usize,
}

impl Store {
    pub(super) fn new() -> Self {
        let slot = || Slot {
            sequence: 0,
            timestamp: RtpTimestamp(0),
            content: Content::Event,
            discontinuity: false,
            arrived: None,
            payload: Vec::with_capacity(USUAL_PAYLOAD),
        };
        Self {
            slots: (0..SLOTS).map(|_| slot()).collect(),
            held: 0,
        }
    }

    /// Whether both fit the window at once.
    pub(super) fn reaches(next: u64, sequence: u64) -> bool {
        sequence - next < SLOTS as u64
    }

    /// Keeps a packet; one that is here already stays.
    pub(super) fn insert(&mut self, now: Instant, incoming: &Incoming<'_>) {
        let slot = &mut self.slots[index(incoming.sequence)];
        if slot.arrived.is_some() {
            return;
        }
        slot.sequence = incoming.sequence;
        slot.timestamp = incoming.timestamp;
        slot.content = incoming.content;
        slot.discontinuity = incoming.discontinuity;
        slot.arrived = Some(now);
        slot.payload.clear();
        slot.payload.extend_from_slice(incoming.payload);
        self.held += 1;
    }

    pub(super) fn holds(&self, sequence: u64) -> bool {
        let slot = &self.slots[index(sequence)];
        slot.arrived.is_some() && slot.sequence == sequence
    }

    pub(super) fn peek(&self, sequence: u64) -> Option<Head> {
        let slot = &self.slots[index(sequence)];
        let arrived = slot.arrived.filter(|_| slot.sequence == sequence)?;
        Some(Head {
            arrived,
            timestamp: slot.timestamp,
            content: slot.content,
            discontinuity: slot.discontinuity,
        })
    }

    /// The discontinuity before a packet has been dealt with.
    pub(super) fn settle(&mut self, sequence: u64) {
        self.slots[index(sequence)].discontinuity = false;
    }

    /// What a packet holds.
    pub(super) fn payload(&self, sequence: u64) -> Option<&[u8]> {
        self.holds(sequence)
            .then(|| &*self.slots[index(sequence)].payload)
    }

    /// Frees a slot; its payload stays readable until the slot is used again.
    pub(super) fn take(&mut self, sequence: u64) -> Option<&[u8]> {
        if !self.holds(sequence) {
            return None;
        }
        let slot = &mut self.slots[index(sequence)];
        slot.arrived = None;
        self.held -= 1;
        Some(&slot.payload)
    }

    pub(super) fn lowest(&self) -> Option<u64> {
        self.occupied().map(|slot| slot.sequence).min()
    }

    /// When the first of those that wait came: that is when the hole before them was seen.
    pub(super) fn oldest_arrival(&self) -> Option<Instant> {
        self.occupied().filter_map(|slot| slot.arrived).min()
    }

    /// When the first packet behind `sequence` came: its hole was seen then.
    pub(super) fn overtaken_at(&self, sequence: u64) -> Option<Instant> {
        self.occupied()
            .filter(|slot| slot.sequence > sequence)
            .filter_map(|slot| slot.arrived)
            .min()
    }

    fn occupied(&self) -> impl Iterator<Item = &Slot> {
        let slots = if self.held == 0 { &[][..] } else { &self.slots };
        slots.iter().filter(|slot| slot.arrived.is_some())
    }
}

fn index(sequence: u64) -> usize {
    usize::try_from(sequence % SLOTS as u64).unwrap_or(0)
}
