//! Frames of 20 ms from pieces of any length, and what in them is the caller's own.

use crate::media::conceal::Concealer;
use crate::media::g711::{self, Codec};
use crate::media::jitter::MAX_PAYLOAD;
use crate::vocab::audio::WIRE_FRAME;

/// A frame short of one sample, and the longest packet.
const ROOM: usize = WIRE_FRAME + MAX_PAYLOAD;

/// Where a sample comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The caller's octet, unaltered.
    Genuine,
    /// The caller's, cross-faded with concealment.
    Merged,
    /// Made up.
    MadeUp,
}

#[derive(Debug)]
pub(super) struct Assembly {
    codec: Codec,
    samples: Box<[i16; ROOM]>,
    octets: Box<[u8; ROOM]>,
    origins: Box<[Origin; ROOM]>,
    /// The frame that left last ends here; what follows is the next one's beginning.
    start: usize,
    end: usize,
}

/// A frame, its samples still writable.
pub(super) struct Frame<'a> {
    pub(super) wire: &'a mut [i16],
    /// The caller's octets, when each of them is unaltered.
    pub(super) genuine: Option<&'a [u8]>,
    pub(super) concealed: bool,
}

impl Assembly {
    /// Another law from the next payload on.
    pub(super) fn set_codec(&mut self, codec: Codec) {
        self.codec = codec;
    }

    pub(super) fn new(codec: Codec) -> Self {
        Self {
            codec,
            samples: Box::new([0; ROOM]),
            octets: Box::new([0; ROOM]),
            origins: Box::new([Origin::Genuine; ROOM]),
            start: 0,
            end: 0,
        }
    }

    /// Whether [`Self::take_frame`] has one.
    pub(super) fn is_full(&self) -> bool {
        self.end - self.start >= WIRE_FRAME
    }

    /// A packet's payload, at most [`MAX_PAYLOAD`] octets.
    pub(super) fn hear(&mut self, payload: &[u8], concealer: &mut Concealer) {
        let place = self.place(payload.len());
        g711::decode_into(self.codec, payload, &mut self.samples[place.clone()]);
        self.octets[place.clone()].copy_from_slice(payload);
        let merged = concealer.hear(&mut self.samples[place.clone()]);
        let origins = &mut self.origins[place];
        origins.fill(Origin::Genuine);
        origins[..merged].fill(Origin::Merged);
    }

    /// A hole of `whole` samples opens, and the payload behind it is known.
    pub(super) fn bridge(&self, whole: usize, after: &[u8], concealer: &mut Concealer) {
        let mut samples = [0; MAX_PAYLOAD];
        let after = &after[..after.len().min(MAX_PAYLOAD)];
        let samples = &mut samples[..after.len()];
        g711::decode_into(self.codec, after, samples);
        concealer.bridge(whole, samples);
    }

    /// So many samples made up, at most a frame.
    pub(super) fn conceal(&mut self, samples: usize, concealer: &mut Concealer) {
        let place = self.place(samples);
        concealer.conceal(&mut self.samples[place.clone()]);
        self.origins[place].fill(Origin::MadeUp);
    }

    /// The next frame; only when [`Self::is_full`].
    pub(super) fn take_frame(&mut self) -> Frame<'_> {
        let range = self.start..(self.start + WIRE_FRAME).min(self.end);
        self.start = range.end;
        let origins = &self.origins[range.clone()];
        let genuine = origins.iter().all(|origin| *origin == Origin::Genuine);
        Frame {
            genuine: genuine.then_some(&self.octets[range.clone()]),
            concealed: origins.contains(&Origin::MadeUp),
            wire: &mut self.samples[range],
        }
    }

    /// Makes room for a piece behind the frame under way. Full frames are always taken before more is added.
    fn place(&mut self, len: usize) -> std::ops::Range<usize> {
        if self.start > 0 {
            self.samples.copy_within(self.start..self.end, 0);
            self.octets.copy_within(self.start..self.end, 0);
            self.origins.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let place = self.end..(self.end + len).min(ROOM);
        self.end = place.end;
        place
    }
}
