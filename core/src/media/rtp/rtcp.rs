//! RTCP (RFC 3550 §6), read: what the far end reports of what it sends and hears.
//!
//! A datagram holds a *compound* of packets, the first of them a report (§6.1, appendix A.2). [`parse`] checks all of it
//! before anything is believed; reading on from there cannot fail, copies nothing and allocates nothing.
//!
//! ```text
//! datagram ─► parse ─► Compound ─► packets(): SR | RR | SDES | BYE | APP | XR | other
//!                                             └─ reports(): a block per source it hears
//! ```
//!
//! Reduced-size RTCP (RFC 5506) is read by nobody who did not negotiate it, and we do not. Not here: when and what we
//! send ourselves, and SRTCP.

use super::packet::RtpTimestamp;

/// Packets in one datagram; honest compounds hold a handful.
pub const MAX_PACKETS: usize = 32;

const HEADER: usize = 4;
const SENDER_INFO: usize = 20;
const REPORT_BLOCK: usize = 24;

const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const APP: u8 = 204;
const XR: u8 = 207;

/// Is it RTCP, as far as RTP and RTCP on one port are told apart (RFC 5761 §4)?
pub const fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [0x80..=0xbf, 192..=223, ..])
}

/// Why a datagram is no RTCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RtcpError {
    /// Less than a header where a packet must be.
    #[error("{0} octets are no RTCP packet")]
    TooShort(usize),
    /// Not version 2.
    #[error("RTCP version {0}")]
    Version(u8),
    /// A length that reaches past the datagram.
    #[error("a packet reaches past the end")]
    Truncated,
    /// The first packet is neither SR nor RR, or it is padded (appendix A.2).
    #[error("begins with no report")]
    NotCompound,
    /// Padding anywhere but at the end, or of a size that cannot be.
    #[error("wrong padding")]
    Padding,
    /// More packets than [`MAX_PACKETS`].
    #[error("more than {MAX_PACKETS} packets")]
    TooMany,
    /// What a packet says of its contents does not fit its length.
    #[error("a packet of type {0} does not hold what it says")]
    Contents(u8),
}

/// A datagram that was checked as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compound<'a>(&'a [u8]);

/// One packet of a compound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// SR (§6.4.1).
    SenderReport {
        /// Who sends.
        ssrc: u32,
        /// What it has sent.
        info: SenderInfo,
        /// What it hears.
        reports: Reports<'a>,
    },
    /// RR (§6.4.2).
    ReceiverReport {
        /// Who hears.
        ssrc: u32,
        /// What it hears.
        reports: Reports<'a>,
    },
    /// SDES (§6.5).
    SourceDescription(Chunks<'a>),
    /// BYE (§6.6).
    Bye {
        /// Who leaves.
        sources: Sources<'a>,
        /// Why, in octets that should be UTF-8.
        reason: Option<&'a [u8]>,
    },
    /// APP (§6.7).
    App {
        /// Who says so.
        ssrc: u32,
        /// Meaning depends on the name.
        subtype: u8,
        /// Four octets of ASCII.
        name: [u8; 4],
        /// Whatever the application means.
        data: &'a [u8],
    },
    /// XR (RFC 3611).
    ExtendedReport {
        /// Who says so.
        ssrc: u32,
        /// Its blocks.
        blocks: Blocks<'a>,
    },
    /// Feedback (RFC 4585) and types yet unknown.
    Other {
        /// Its packet type.
        kind: u8,
        /// The five bits behind version and padding.
        count: u8,
        /// All behind its header.
        body: &'a [u8],
    },
}

/// What a sender has sent so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderInfo {
    /// Wall clock in NTP's 32.32 format.
    pub ntp: u64,
    /// The same instant in RTP time.
    pub rtp: RtpTimestamp,
    /// Packets, modulo 2^32.
    pub packets: u32,
    /// Payload octets, modulo 2^32.
    pub octets: u32,
}

/// What a receiver hears of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source.
    pub ssrc: u32,
    /// Lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Lost since the beginning; negative when duplicates outnumber losses.
    pub lost: i32,
    /// Highest extended sequence number.
    pub highest_sequence: u32,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
    /// Middle 32 bits of the last SR's NTP time; 0 for none.
    pub last_sr: u32,
    /// Time since that SR in 65,536ths of a second.
    pub since_last_sr: u32,
}

/// `VoIP` metrics (RFC 3611 §4.7), those that tell how a call sounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoipMetrics {
    /// The source they are about.
    pub ssrc: u32,
    /// Lost on the way, in 256ths.
    pub loss_rate: u8,
    /// Come too late to be played, in 256ths.
    pub discard_rate: u8,
    /// Round trip, ms.
    pub round_trip_ms: u16,
    /// Delay within the far end, ms.
    pub end_system_ms: u16,
    /// 0-100; 127 for unknown.
    pub r_factor: u8,
    /// MOS times ten; 127 for unknown.
    pub mos_lq: u8,
}

/// Reads a datagram.
///
/// # Errors
/// See [`RtcpError`]; no input panics.
pub fn parse(datagram: &[u8]) -> Result<Compound<'_>, RtcpError> {
    let mut rest = datagram;
    let mut packets = 0;
    loop {
        let raw = Raw::split(rest)?;
        rest = &rest[raw.whole..];
        if packets == 0 && (!matches!(raw.kind, SR | RR) || raw.is_padded) {
            return Err(RtcpError::NotCompound);
        }
        if raw.is_padded && !rest.is_empty() {
            return Err(RtcpError::Padding);
        }
        raw.read().ok_or(RtcpError::Contents(raw.kind))?;
        packets += 1;
        if rest.is_empty() {
            return Ok(Compound(datagram));
        }
        if packets == MAX_PACKETS {
            return Err(RtcpError::TooMany);
        }
    }
}

impl<'a> Compound<'a> {
    /// Its packets in order; at least one.
    pub fn packets(self) -> impl Iterator<Item = Packet<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let raw = Raw::split(rest).ok()?;
            rest = &rest[raw.whole..];
            raw.read()
        })
    }

    /// Every report about a source that it hears.
    pub fn reports(self) -> impl Iterator<Item = ReportBlock> {
        self.packets().flat_map(|packet| match packet {
            Packet::SenderReport { reports, .. } | Packet::ReceiverReport { reports, .. } => {
                reports
            }
            Packet::SourceDescription(_)
            | Packet::Bye { .. }
            | Packet::App { .. }
            | Packet::ExtendedReport { .. }
            | Packet::Other { .. } => Reports(&[]),
        })
    }
}

/// One packet as it lies there: its length was checked, its contents were not.
struct Raw<'a> {
    kind: u8,
    count: u8,
    is_padded: bool,
    /// Behind the header, without padding.
    body: &'a [u8],
    /// Octets of all of it.
    whole: usize,
}

impl<'a> Raw<'a> {
    fn split(octets: &'a [u8]) -> Result<Self, RtcpError> {
        let [first, kind, high, low, ..] = *octets else {
            return Err(RtcpError::TooShort(octets.len()));
        };
        if first >> 6 != 2 {
            return Err(RtcpError::Version(first >> 6));
        }
        let whole = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
        let packet = octets.get(..whole).ok_or(RtcpError::Truncated)?;
        let mut body = &packet[HEADER..];
        let is_padded = first & 0x20 != 0;
        if is_padded {
            let padding = usize::from(body.last().copied().unwrap_or(0));
            if padding == 0 || padding % 4 != 0 || padding > body.len() {
                return Err(RtcpError::Padding);
            }
            body = &body[..body.len() - padding];
        }
        Ok(Self {
            kind,
            count: first & 0x1f,
            is_padded,
            body,
            whole,
        })
    }

    /// What it says; `None` when its contents do not fit its length.
    fn read(&self) -> Option<Packet<'a>> {
        let (count, body) = (usize::from(self.count), self.body);
        Some(match self.kind {
            SR => Packet::SenderReport {
                ssrc: be32(body, 0)?,
                info: SenderInfo::read(body.get(4..)?)?,
                reports: Reports::read(body.get(4 + SENDER_INFO..)?, count)?,
            },
            RR => Packet::ReceiverReport {
                ssrc: be32(body, 0)?,
                reports: Reports::read(body.get(4..)?, count)?,
            },
            SDES => Packet::SourceDescription(Chunks::read(body, count)?),
            BYE => Packet::Bye {
                sources: Sources(body.get(..count * 4)?),
                reason: match body.get(count * 4..)? {
                    [] => None,
                    [len, text @ ..] => Some(text.get(..usize::from(*len))?),
                },
            },
            APP => Packet::App {
                ssrc: be32(body, 0)?,
                subtype: self.count,
                name: body.get(4..8)?.try_into().ok()?,
                data: &body[8..],
            },
            XR => Packet::ExtendedReport {
                ssrc: be32(body, 0)?,
                blocks: Blocks::read(body.get(4..)?)?,
            },
            kind => Packet::Other {
                kind,
                count: self.count,
                body,
            },
        })
    }
}

impl SenderInfo {
    fn read(octets: &[u8]) -> Option<Self> {
        Some(Self {
            ntp: u64::from(be32(octets, 0)?) << 32 | u64::from(be32(octets, 4)?),
            rtp: RtpTimestamp(be32(octets, 8)?),
            packets: be32(octets, 12)?,
            octets: be32(octets, 16)?,
        })
    }
}

/// The report blocks of one SR or RR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reports<'a>(&'a [u8]);

impl<'a> Reports<'a> {
    /// What follows them is a profile's extension, which nobody here speaks.
    fn read(octets: &'a [u8], count: usize) -> Option<Self> {
        octets.get(..count * REPORT_BLOCK).map(Self)
    }
}

impl Iterator for Reports<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let block = self.0.get(..REPORT_BLOCK)?;
        self.0 = &self.0[REPORT_BLOCK..];
        let loss = be32(block, 4)?;
        Some(ReportBlock {
            ssrc: be32(block, 0)?,
            fraction_lost: block[4],
            // A signed number of 24 bits: up to the top, then down again with its sign.
            lost: (loss << 8).cast_signed() >> 8,
            highest_sequence: be32(block, 8)?,
            jitter: be32(block, 12)?,
            last_sr: be32(block, 16)?,
            since_last_sr: be32(block, 20)?,
        })
    }
}

/// Synchronisation sources, four octets each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources<'a>(&'a [u8]);

impl Iterator for Sources<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let ssrc = be32(self.0, 0)?;
        self.0 = &self.0[4..];
        Some(ssrc)
    }
}

/// The chunks of an SDES: a source and what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunks<'a> {
    octets: &'a [u8],
    left: usize,
}

impl<'a> Chunks<'a> {
    fn read(octets: &'a [u8], count: usize) -> Option<Self> {
        let all = Self {
            octets,
            left: count,
        };
        (all.clone().count() == count).then_some(all)
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = (u32, Items<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let ssrc = be32(self.octets, 0)?;
        let items = &self.octets[4..];
        let mut at = 0;
        while *items.get(at)? != 0 {
            at += 2 + usize::from(*items.get(at + 1)?);
        }
        // The item list ends with a zero, and the chunk at the next multiple of four.
        self.octets = items.get((at / 4 + 1) * 4..)?;
        Some((ssrc, Items(&items[..at])))
    }
}

/// Items of one chunk: type (1 is CNAME) and octets that should be UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items<'a>(&'a [u8]);

impl<'a> Iterator for Items<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [kind, len, rest @ ..] = self.0 else {
            return None;
        };
        let text = rest.get(..usize::from(*len))?;
        self.0 = &rest[text.len()..];
        Some((*kind, text))
    }
}

/// The blocks of an extended report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks<'a>(&'a [u8]);

/// One block of an extended report (RFC 3611 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    /// 7 is `VoIP` metrics.
    pub kind: u8,
    /// Meaning depends on the kind.
    pub specific: u8,
    /// All behind its header.
    pub contents: &'a [u8],
}

impl<'a> Blocks<'a> {
    fn read(octets: &'a [u8]) -> Option<Self> {
        let mut all = Self(octets);
        while all.next().is_some() {}
        all.0.is_empty().then_some(Self(octets))
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        let [kind, specific, high, low, rest @ ..] = self.0 else {
            return None;
        };
        let len = usize::from(u16::from_be_bytes([*high, *low])) * 4;
        let contents = rest.get(..len)?;
        self.0 = &rest[len..];
        Some(Block {
            kind: *kind,
            specific: *specific,
            contents,
        })
    }
}

impl Block<'_> {
    /// As `VoIP` metrics, when it is that.
    pub fn voip_metrics(&self) -> Option<VoipMetrics> {
        let octets = self.contents;
        if self.kind != 7 || octets.len() != 32 {
            return None;
        }
        Some(VoipMetrics {
            ssrc: be32(octets, 0)?,
            loss_rate: octets[4],
            discard_rate: octets[5],
            round_trip_ms: u16::from_be_bytes([octets[12], octets[13]]),
            end_system_ms: u16::from_be_bytes([octets[14], octets[15]]),
            r_factor: octets[20],
            mos_lq: octets[22],
        })
    }
}

fn be32(octets: &[u8], at: usize) -> Option<u32> {
    let four = octets.get(at..at + 4)?;
    Some(u32::from_be_bytes(four.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A packet of this type with these words behind its header.
    fn packet(kind: u8, count: u8, words: &[u32]) -> Vec<u8> {
        let len = u16::try_from(words.len()).unwrap();
        let mut octets = vec![0x80 | count, kind];
        octets.extend(len.to_be_bytes());
        octets.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        octets
    }

    fn rr() -> Vec<u8> {
        packet(RR, 0, &[7])
    }

    fn second(packet: &[u8]) -> Result<(), RtcpError> {
        parse(&[&rr(), packet].concat()).map(drop)
    }

    #[test]
    fn a_sender_report_is_read_field_by_field() {
        let sr = packet(
            SR,
            1,
            &[
                1,
                0xe000_0000,
                0x8000_0000,
                160,
                50,
                8000, // who, when, how much
                2,
                0x40ff_fffe,
                0x0001_0005,
                33,
                44,
                55, // one block
            ],
        );
        let compound = parse(&sr).unwrap();
        let block = ReportBlock {
            ssrc: 2,
            fraction_lost: 0x40,
            lost: -2,
            highest_sequence: 0x0001_0005,
            jitter: 33,
            last_sr: 44,
            since_last_sr: 55,
        };
        let Some(Packet::SenderReport {
            ssrc,
            info,
            mut reports,
        }) = compound.packets().next()
        else {
            panic!("a sender report");
        };
        assert_eq!(
            (ssrc, reports.next(), reports.next()),
            (1, Some(block), None)
        );
        assert_eq!(info.ntp, 0xe000_0000_8000_0000);
        assert_eq!((info.rtp, info.packets), (RtpTimestamp(160), 50));
        assert_eq!(info.octets, 8000);
        assert_eq!(compound.reports().collect::<Vec<_>>(), [block]);
    }

    #[test]
    fn a_compound_of_every_type_is_read_in_order() {
        let mut sdes = packet(SDES, 1, &[9, 0, 0]);
        sdes[8..16].copy_from_slice(&[1, 3, b'a', b'@', b'h', 0, 0, 0]);
        let mut bye = packet(BYE, 1, &[9, 0]);
        bye[8..12].copy_from_slice(&[2, b'o', b'k', 0]);
        let app = packet(APP, 5, &[9, 0x6261_746e, 1]);
        let mut metrics = vec![9, 0x0700_0008, 9];
        metrics.extend([0x0a14_0000, 0, 0x0064_0032, 0, 0x5d00_2a00, 0, 0]);
        let xr = packet(XR, 0, &metrics);
        let other = packet(206, 1, &[9, 8]);
        let datagram = [rr(), sdes, bye, app, xr, other].concat();
        let packets: Vec<_> = parse(&datagram).unwrap().packets().collect();
        assert_eq!(packets.len(), 6);
        let Packet::SourceDescription(mut chunks) = packets[1].clone() else {
            panic!("SDES");
        };
        let (ssrc, items) = chunks.next().unwrap();
        assert_eq!((ssrc, chunks.next()), (9, None));
        assert_eq!(items.collect::<Vec<_>>(), [(1, &b"a@h"[..])]);
        let Packet::Bye { sources, reason } = packets[2].clone() else {
            panic!("BYE");
        };
        assert_eq!(
            (sources.collect::<Vec<_>>(), reason),
            (vec![9], Some(&b"ok"[..]))
        );
        assert!(matches!(
            packets[3],
            Packet::App {
                subtype: 5,
                name: [0x62, 0x61, 0x74, 0x6e],
                data: [0, 0, 0, 1],
                ..
            }
        ));
        let Packet::ExtendedReport { mut blocks, .. } = packets[4].clone() else {
            panic!("XR");
        };
        let voip = blocks.next().unwrap().voip_metrics().unwrap();
        assert_eq!((voip.loss_rate, voip.discard_rate), (10, 20));
        assert_eq!((voip.round_trip_ms, voip.end_system_ms), (100, 50));
        assert_eq!((voip.r_factor, voip.mos_lq), (93, 42));
        assert!(matches!(
            packets[5],
            Packet::Other {
                kind: 206,
                count: 1,
                ..
            }
        ));
    }

    #[test]
    fn what_is_no_compound_is_named_by_its_fault() {
        assert_eq!(parse(&[]), Err(RtcpError::TooShort(0)));
        assert_eq!(parse(&rr()[..3]), Err(RtcpError::TooShort(3)));
        assert_eq!(parse(&rr()[..7]), Err(RtcpError::Truncated));
        let mut version = rr();
        version[0] = 0x40;
        assert_eq!(parse(&version), Err(RtcpError::Version(1)));
        assert_eq!(parse(&packet(BYE, 1, &[1])), Err(RtcpError::NotCompound));
        let mut padded = packet(RR, 0, &[7, 4]);
        padded[0] |= 0x20;
        assert_eq!(parse(&padded), Err(RtcpError::NotCompound));
        assert_eq!(second(&[0x81]), Err(RtcpError::TooShort(1)));
        assert_eq!(parse(&packet(RR, 1, &[7])), Err(RtcpError::Contents(RR)));
        assert_eq!(
            parse(&packet(SR, 0, &[7, 0, 0])),
            Err(RtcpError::Contents(SR))
        );
    }

    #[test]
    fn contents_that_reach_past_their_packet_are_refused() {
        for (kind, count, words) in [
            (SDES, 1, &[9, 0x01ff_6161][..]), // an item longer than the chunk
            (SDES, 1, &[9, 0x0102_6161]),     // no end of the items
            (SDES, 2, &[9, 0]),               // a chunk too few
            (BYE, 3, &[1, 2]),                // a source too few
            (BYE, 0, &[0x0961_6161]),         // a reason longer than the packet
            (APP, 0, &[1]),                   // no name
            (XR, 0, &[1, 0x0700_0009, 0]),    // a block longer than the packet
            (XR, 0, &[]),                     // nobody
        ] {
            assert_eq!(
                second(&packet(kind, count, words)),
                Err(RtcpError::Contents(kind)),
                "{kind} {words:?}"
            );
        }
        assert_eq!(second(&packet(BYE, 0, &[])), Ok(()), "legal, if useless");
        assert_eq!(second(&packet(SDES, 0, &[])), Ok(()), "legal, if useless");
    }

    #[test]
    fn padding_stands_at_the_end_only_and_is_no_contents() {
        let mut bye = packet(BYE, 1, &[9, 4]);
        bye[0] |= 0x20;
        let last = [rr(), bye.clone()].concat();
        let packets: Vec<_> = parse(&last).unwrap().packets().collect();
        assert!(matches!(packets[1], Packet::Bye { reason: None, .. }));
        let early = [rr(), bye.clone(), rr()].concat();
        assert_eq!(parse(&early), Err(RtcpError::Padding));
        for count in [0, 3, 8, 200] {
            let end = bye.len() - 1;
            bye[end] = count;
            let expected = if count == 8 {
                Err(RtcpError::Contents(BYE))
            } else {
                Err(RtcpError::Padding)
            };
            assert_eq!(second(&bye), expected, "{count}");
        }
    }

    #[test]
    fn a_flood_of_empty_packets_is_refused() {
        let flood = |packets| [rr(), packet(BYE, 0, &[]).repeat(packets)].concat();
        assert!(parse(&flood(MAX_PACKETS - 1)).is_ok());
        assert_eq!(parse(&flood(MAX_PACKETS)), Err(RtcpError::TooMany));
    }

    #[test]
    fn rtp_and_rtcp_are_told_apart_by_their_second_octet() {
        assert!(is_rtcp(&rr()));
        for rtp in [
            [0x80, 0],
            [0x80, 0x80],
            [0x80, 101],
            [0x80, 0xe5],
            [0, 200],
            [0xc0, 200],
        ] {
            assert!(!is_rtcp(&rtp), "{rtp:?}");
        }
        assert!(!is_rtcp(&[0x80]) && !is_rtcp(&[]));
    }

    proptest! {
        #[test]
        fn noise_never_panics_and_what_is_read_fits(mut datagram in proptest::collection::vec(any::<u8>(), 0..200), kinds in proptest::collection::vec(200_u8..208, 1..4)) {
            // Headers that could be, so that the noise is looked at.
            let mut at = 0;
            for kind in kinds {
                if let Some([first, second, high, low]) = datagram.get_mut(at..at + 4) {
                    *first = *first & 0x3f | 0x80;
                    *second = kind;
                    (*high, *low) = (0, *low % 8);
                    at += (usize::from(*low) + 1) * 4;
                }
            }
            if let Ok(compound) = parse(&datagram) {
                let packets = compound.packets().count();
                prop_assert!((1..=MAX_PACKETS).contains(&packets));
                prop_assert!(compound.reports().count() <= 31 * packets);
            }
        }
    }
}
