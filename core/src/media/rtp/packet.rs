//! The RTP packet (RFC 3550 §5.1): read from a datagram without copying, written into a reused buffer.

use rtp_rs::{RtpPacketBuilder, RtpReader, RtpReaderError, Seq};

/// Octets of a header without contributing sources or extension: all that Baton ever sends.
pub const HEADER_LEN: usize = RtpReader::MIN_HEADER_LEN;

/// A 16-bit sequence number; counts packets and wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqNo(pub u16);

impl SeqNo {
    /// How far `self` is ahead of `earlier`, modulo 2^16.
    pub const fn after(self, earlier: Self) -> u16 {
        self.0.wrapping_sub(earlier.0)
    }

    /// The one behind it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// A 32-bit timestamp; counts samples at 8 kHz and wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RtpTimestamp(pub u32);

impl RtpTimestamp {
    /// Samples from `earlier` to `self`; negative when `self` is the earlier one.
    pub const fn since(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }

    /// `samples` later.
    #[must_use]
    pub const fn advanced(self, samples: u32) -> Self {
        Self(self.0.wrapping_add(samples))
    }
}

/// One packet; the payload borrows the datagram. Padding, extension and contributing sources are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// First packet of a talkspurt, or of a telephone event.
    pub marker: bool,
    /// 0-127.
    pub payload_type: u8,
    /// Counts packets.
    pub seq: SeqNo,
    /// Counts samples.
    pub timestamp: RtpTimestamp,
    /// Who sends.
    pub ssrc: u32,
    /// What is sent; may be empty.
    pub payload: &'a [u8],
}

/// Why a datagram is not an RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// Shorter than a header.
    #[error("{0} octets are no RTP packet")]
    TooShort(usize),
    /// Not version 2: STUN, DTLS, noise.
    #[error("RTP version {0}")]
    Version(u8),
    /// RTCP on the RTP port (RFC 5761 §4).
    #[error("an RTCP packet")]
    Rtcp,
    /// Contributing sources or extension reach past the end.
    #[error("header reaches past the end")]
    Truncated,
    /// The padding count is zero or reaches into the header.
    #[error("padding of {0} octets")]
    Padding(u8),
}

/// Reads a datagram.
///
/// # Errors
/// See [`PacketError`]; no input panics.
pub fn parse(datagram: &[u8]) -> Result<Packet<'_>, PacketError> {
    let reader = RtpReader::new(datagram).map_err(|error| fault(&error))?;
    // RTCP types 192-223 look like a marked packet of types 64-95, which RFC 5761 therefore forbids to RTP.
    if matches!(datagram.get(1), Some(192..=223)) {
        return Err(PacketError::Rtcp);
    }
    Ok(Packet {
        marker: reader.mark(),
        payload_type: reader.payload_type(),
        seq: SeqNo(reader.sequence_number().into()),
        timestamp: RtpTimestamp(reader.timestamp()),
        ssrc: reader.ssrc(),
        payload: reader.payload(),
    })
}

impl Packet<'_> {
    /// Appends the packet to `datagram`.
    pub fn write(&self, datagram: &mut Vec<u8>) {
        let builder = RtpPacketBuilder::new()
            .payload_type(self.payload_type & 0x7f)
            .marked(self.marker)
            .sequence(Seq::from(self.seq.0))
            .timestamp(self.timestamp.0)
            .ssrc(self.ssrc)
            .payload(self.payload);
        let start = datagram.len();
        datagram.resize(start + builder.target_length(), 0);
        builder.build_into_unchecked(&mut datagram[start..]);
    }
}

fn fault(error: &RtpReaderError) -> PacketError {
    match *error {
        RtpReaderError::BufferTooShort(len) => PacketError::TooShort(len),
        RtpReaderError::UnsupportedVersion(version) => PacketError::Version(version),
        RtpReaderError::HeadersTruncated { .. } => PacketError::Truncated,
        RtpReaderError::PaddingLengthInvalid(len) => PacketError::Padding(len),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: [u8; 16] = [
        0x80, 0x80, 0xff, 0xfe, 0x00, 0x00, 0x00, 0xa0, 0x11, 0x22, 0x33, 0x44, 1, 2, 3, 4,
    ];

    #[test]
    fn a_plain_packet_is_read_field_by_field() {
        let packet = parse(&PLAIN).unwrap();
        assert!(packet.marker);
        assert_eq!(packet.payload_type, 0);
        assert_eq!(packet.seq, SeqNo(0xfffe));
        assert_eq!(packet.timestamp, RtpTimestamp(160));
        assert_eq!(packet.ssrc, 0x1122_3344);
        assert_eq!(packet.payload, [1, 2, 3, 4]);
    }

    #[test]
    fn sources_extension_and_padding_are_not_payload() {
        let mut datagram = vec![0xb2, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9]; // padding, extension, two sources
        datagram.extend([0; 8]);
        datagram.extend([0xbe, 0xde, 0, 1, 9, 9, 9, 9]);
        datagram.extend([5, 6, 7, 0, 2]);
        let packet = parse(&datagram).unwrap();
        assert_eq!(packet.payload, [5, 6, 7]);
        assert_eq!(packet.payload_type, 8);
    }

    #[test]
    fn a_packet_may_have_no_payload() {
        assert!(parse(&PLAIN[..12]).unwrap().payload.is_empty());
    }

    #[test]
    fn bad_datagrams_are_named_by_their_fault() {
        assert_eq!(parse(&[]), Err(PacketError::TooShort(0)));
        assert_eq!(parse(&PLAIN[..11]), Err(PacketError::TooShort(11)));
        let with = |index: usize, octet: u8| {
            let mut datagram = PLAIN;
            datagram[index] = octet;
            parse(&datagram).map(|packet| packet.payload.len())
        };
        assert_eq!(with(0, 0x00), Err(PacketError::Version(0)));
        assert_eq!(with(0, 0x8f), Err(PacketError::Truncated));
        assert_eq!(with(0, 0x90), Err(PacketError::Truncated));
        assert_eq!(with(0, 0xa0), Ok(0)); // last octet 4: four octets of padding
        assert_eq!(with(1, 200), Err(PacketError::Rtcp));
        let mut padded = PLAIN;
        padded[0] = 0xa0;
        padded[15] = 0;
        assert_eq!(parse(&padded), Err(PacketError::Padding(0)));
        padded[15] = 5;
        assert_eq!(parse(&padded), Err(PacketError::Padding(5)));
    }

    #[test]
    fn numbers_wrap() {
        assert_eq!(SeqNo(1).after(SeqNo(0xffff)), 2);
        assert_eq!(SeqNo(0xffff).next(), SeqNo(0));
        assert_eq!(
            RtpTimestamp(0xffff_ffff)
                .advanced(161)
                .since(RtpTimestamp(0xffff_ffff)),
            161
        );
        assert_eq!(RtpTimestamp(5).since(RtpTimestamp(165)), -160);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            marker: bool, payload_type in 0_u8..64, seq: u16, timestamp: u32, ssrc: u32, payload: Vec<u8>
        ) {
            let packet = Packet {
                marker, payload_type, seq: SeqNo(seq), timestamp: RtpTimestamp(timestamp), ssrc, payload: &payload,
            };
            let mut datagram = vec![7];
            packet.write(&mut datagram);
            prop_assert_eq!(parse(&datagram[1..]), Ok(packet));
        }

        #[test]
        fn noise_never_panics(datagram: Vec<u8>) {
            if let Ok(packet) = parse(&datagram) {
                prop_assert!(packet.payload.len() + HEADER_LEN <= datagram.len());
            }
        }

        #[test]
        fn noise_behind_a_version_never_panics(mut datagram in proptest::collection::vec(any::<u8>(), 12..80)) {
            datagram[0] = datagram[0] & 0x3f | 0x80;
            if let Ok(packet) = parse(&datagram) {
                prop_assert!(packet.payload_type < 128);
            }
        }
    }
}
