//! What both sides said last about the media, as octets: what a refresh repeats, and how a repeat is known.

use bytes::Bytes;

/// The descriptions in force.
#[derive(Debug, Default)]
pub(super) struct Described {
    ours: Bytes,
    theirs: Bytes,
    /// They asked and we answered, not the other way round.
    asked_by_peer: bool,
}

impl Described {
    /// Their offer got our answer.
    pub(super) fn answered(&mut self, theirs: Bytes, ours: Bytes) {
        *self = Self {
            ours,
            theirs,
            asked_by_peer: true,
        };
    }

    /// Our offer got their answer.
    pub(super) fn offered(&mut self, ours: Bytes, theirs: Bytes) {
        *self = Self {
            ours,
            theirs,
            asked_by_peer: false,
        };
    }

    /// Our side. With its `o=` line unchanged it says that nothing changes (RFC 3264 §8).
    pub(super) fn ours(&self) -> Bytes {
        self.ours.clone()
    }

    /// Whether this offer is, octet for octet, the one our side answers already: a mere refresh.
    pub(super) fn is_repeated_by(&self, offer: &Bytes) -> bool {
        self.asked_by_peer && !offer.is_empty() && !self.ours.is_empty() && *offer == self.theirs
    }
}
