//! Numbers the packets we send: the sequence counts packets, the timestamp keeps to the wall clock.
//!
//! Nothing resets either over hold, re-INVITE or a change of address, so that a receiver never starts anew.

use super::packet::{Packet, RtpTimestamp, SeqNo};

/// One outgoing synchronisation source.
#[derive(Debug, Clone)]
pub struct Sender {
    ssrc: u32,
    next: SeqNo,
    base: RtpTimestamp,
    packets: u64,
    octets: u64,
}

impl Sender {
    /// A source that starts at random numbers (RFC 3550 §5.1), given by the caller.
    pub fn new(ssrc: u32, seq: SeqNo, timestamp: RtpTimestamp) -> Self {
        Self {
            ssrc,
            next: seq,
            base: timestamp,
            packets: 0,
            octets: 0,
        }
    }

    /// The timestamp of media position `samples`, counted from the first.
    pub fn timestamp_at(&self, samples: u64) -> RtpTimestamp {
        let [a, b, c, d, ..] = samples.to_le_bytes();
        self.base.advanced(u32::from_le_bytes([a, b, c, d]))
    }

    /// Appends the next packet to `datagram`.
    pub fn send(
        &mut self,
        payload_type: u8,
        marker: bool,
        timestamp: RtpTimestamp,
        payload: &[u8],
        datagram: &mut Vec<u8>,
    ) {
        Packet {
            marker,
            payload_type,
            seq: self.next,
            timestamp,
            ssrc: self.ssrc,
            payload,
        }
        .write(datagram);
        self.next = self.next.next();
        self.packets += 1;
        self.octets += payload.len() as u64;
    }

    /// Our synchronisation source.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Packets sent.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Payload octets sent.
    pub fn octets(&self) -> u64 {
        self.octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::rtp::packet::parse;

    #[test]
    fn numbers_wrap_and_timestamps_follow_the_position() {
        let mut sender = Sender::new(7, SeqNo(u16::MAX), RtpTimestamp(u32::MAX - 159));
        let mut datagram = Vec::new();
        sender.send(0, true, sender.timestamp_at(0), &[1; 160], &mut datagram);
        let first = parse(&datagram).unwrap();
        assert_eq!(
            (first.seq, first.timestamp.0, first.ssrc),
            (SeqNo(u16::MAX), u32::MAX - 159, 7)
        );
        assert!(first.marker);
        let mut datagram = Vec::new();
        sender.send(0, false, sender.timestamp_at(160), &[1; 160], &mut datagram);
        let second = parse(&datagram).unwrap();
        assert_eq!((second.seq, second.timestamp.0), (SeqNo(0), 0));
        assert_eq!(
            (sender.packets(), sender.octets(), sender.ssrc()),
            (2, 320, 7)
        );
        // 149 hours of samples do not fit 32 bits.
        assert_eq!(sender.timestamp_at((1 << 32) + 160), RtpTimestamp(0));
    }
}
