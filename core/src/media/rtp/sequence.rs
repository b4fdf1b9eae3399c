//! Sequence numbers made endless (RFC 3550 appendix A.1): wraps, reordering, duplicates, jumps.
//!
//! The extended number counts on without a break over everything, restarts of the sender included: a restart
//! continues at the number behind the highest. So whoever orders packets by it never has to look back.

use super::packet::SeqNo;

/// A gap this wide is a restart, not loss.
const MAX_DROPOUT: u16 = 3000;
/// This far behind the highest a packet is late; farther is a restart.
const MAX_MISORDER: u16 = 100;

/// Where a packet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Ahead of all others, by `skipped` packets more than one.
    Newest {
        /// Extended sequence number.
        sequence: u64,
        /// Missing before it, so far.
        skipped: u64,
    },
    /// Behind the highest, seen for the first time.
    Reordered {
        /// Extended sequence number.
        sequence: u64,
    },
    /// Seen before (or too far behind to know).
    Duplicate,
    /// Far off. It counts when its successor comes next (RFC 3550 A.1): hold it until then.
    Jumped,
    /// The successor of the one that jumped: the numbering starts anew, the held packet at `sequence - 1`.
    Restarted {
        /// Extended sequence number of this packet.
        sequence: u64,
    },
}

/// The numbering of one synchronisation source.
#[derive(Debug, Clone, Default)]
pub struct Sequence {
    highest: Option<(SeqNo, u64)>,
    /// Bit n: the packet n behind the highest was seen.
    seen: u128,
    /// The only number that would confirm a jump.
    restart_at: Option<SeqNo>,
}

impl Sequence {
    /// Places a packet.
    pub fn place(&mut self, seq: SeqNo) -> Order {
        let Some((highest, extended)) = self.highest else {
            let first = u64::from(MAX_MISORDER); // room for packets that overtook nothing but come behind it
            return self.advance(seq, first, 1, 0);
        };
        let ahead = seq.after(highest);
        if ahead == 0 {
            return Order::Duplicate;
        }
        if ahead < MAX_DROPOUT {
            let sequence = extended + u64::from(ahead);
            return self.advance(seq, sequence, u32::from(ahead), u64::from(ahead) - 1);
        }
        let behind = highest.after(seq);
        if behind <= MAX_MISORDER {
            return self.reordered(extended, behind);
        }
        if self.restart_at == Some(seq) {
            self.restart(seq)
        } else {
            self.restart_at = Some(seq.next());
            Order::Jumped
        }
    }

    /// Begins anew at `seq`, one number after the next free one: the packet before it was held.
    pub fn restart(&mut self, seq: SeqNo) -> Order {
        let next = self.highest.map_or(u64::from(MAX_MISORDER), |(_, n)| n + 1);
        let sequence = next + 1;
        self.highest = Some((seq, sequence));
        // Everything of the old numbering counts as seen: it can only come late.
        self.seen = u128::MAX;
        self.restart_at = None;
        Order::Restarted { sequence }
    }

    fn advance(&mut self, seq: SeqNo, sequence: u64, by: u32, skipped: u64) -> Order {
        self.highest = Some((seq, sequence));
        self.seen = self.seen.checked_shl(by).unwrap_or(0) | 1;
        self.restart_at = None;
        Order::Newest { sequence, skipped }
    }

    fn reordered(&mut self, highest: u64, behind: u16) -> Order {
        let bit = 1_u128 << behind;
        if self.seen & bit != 0 {
            return Order::Duplicate;
        }
        self.seen |= bit;
        match highest.checked_sub(u64::from(behind)) {
            Some(sequence) => Order::Reordered { sequence },
            None => Order::Duplicate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newest(sequence: u64, skipped: u64) -> Order {
        Order::Newest { sequence, skipped }
    }

    #[test]
    fn numbers_count_on_over_the_wrap() {
        let mut sequence = Sequence::default();
        for n in 0..200_000_u64 {
            let seq = SeqNo(u16::try_from((65_500 + n) % 65_536).unwrap());
            assert_eq!(sequence.place(seq), newest(100 + n, 0));
        }
    }

    #[test]
    fn a_hole_is_counted_and_filled_once() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.place(SeqNo(65_535)), newest(100, 0));
        assert_eq!(sequence.place(SeqNo(2)), newest(103, 2));
        assert_eq!(sequence.place(SeqNo(0)), Order::Reordered { sequence: 101 });
        assert_eq!(sequence.place(SeqNo(0)), Order::Duplicate);
        assert_eq!(sequence.place(SeqNo(2)), Order::Duplicate);
        assert_eq!(sequence.place(SeqNo(1)), Order::Reordered { sequence: 102 });
        assert_eq!(sequence.place(SeqNo(3)), newest(104, 0));
    }

    #[test]
    fn a_packet_before_the_first_is_reordered_not_a_wrap() {
        let mut sequence = Sequence::default();
        sequence.place(SeqNo(5));
        assert_eq!(sequence.place(SeqNo(4)), Order::Reordered { sequence: 99 });
        assert_eq!(sequence.place(SeqNo(6)), newest(101, 0));
    }

    #[test]
    fn a_jump_needs_two_in_a_row() {
        let mut sequence = Sequence::default();
        sequence.place(SeqNo(10));
        assert_eq!(sequence.place(SeqNo(20_000)), Order::Jumped);
        assert_eq!(
            sequence.place(SeqNo(11)),
            newest(101, 0),
            "a stray changes nothing"
        );
        assert_eq!(
            sequence.place(SeqNo(20_001)),
            Order::Jumped,
            "the stray was forgotten"
        );
        assert_eq!(
            sequence.place(SeqNo(20_002)),
            Order::Restarted { sequence: 103 }
        );
        assert_eq!(sequence.place(SeqNo(20_003)), newest(104, 0));
        assert_eq!(
            sequence.place(SeqNo(20_001)),
            Order::Duplicate,
            "it was held, not lost"
        );
    }

    #[test]
    fn a_jump_backwards_is_a_restart_too() {
        let mut sequence = Sequence::default();
        sequence.place(SeqNo(10_000));
        assert_eq!(sequence.place(SeqNo(5_000)), Order::Jumped);
        assert_eq!(
            sequence.place(SeqNo(5_001)),
            Order::Restarted { sequence: 102 }
        );
    }

    #[test]
    fn almost_a_jump_is_loss() {
        let mut sequence = Sequence::default();
        sequence.place(SeqNo(0));
        assert_eq!(sequence.place(SeqNo(2_999)), newest(3_099, 2_998));
        assert_eq!(
            sequence.place(SeqNo(2_899)),
            Order::Reordered { sequence: 2_999 }
        );
        assert_eq!(sequence.place(SeqNo(2_898)), Order::Jumped);
    }
}
