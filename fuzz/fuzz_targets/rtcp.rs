//! An RTCP compound: all of it is read or none, and no count is larger than its octets.
#![no_main]

use baton_core::media::rtp::rtcp::{MAX_PACKETS, Packet, is_rtcp, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(compound) = parse(data) else {
        return;
    };
    assert!(is_rtcp(data) && data.len() % 4 == 0);
    let packets: Vec<_> = compound.packets().collect();
    assert!((1..=MAX_PACKETS).contains(&packets.len()));
    assert!(matches!(
        packets[0],
        Packet::SenderReport { .. } | Packet::ReceiverReport { .. }
    ));
    assert!(compound.reports().count() * 24 <= data.len());
    for packet in packets {
        match packet {
            Packet::SourceDescription(chunks) => {
                let octets: usize = chunks
                    .flat_map(|(_, items)| items)
                    .map(|(_, text)| text.len() + 2)
                    .sum();
                assert!(octets <= data.len());
            }
            Packet::Bye { sources, reason } => {
                assert!(sources.count() <= 31 && reason.is_none_or(|reason| reason.len() <= 255));
            }
            Packet::ExtendedReport { blocks, .. } => {
                let octets: usize = blocks.map(|block| block.contents.len() + 4).sum();
                assert!(octets <= data.len());
            }
            Packet::App { data: inner, .. } => assert!(inner.len() + 12 <= data.len()),
            Packet::Other { body, .. } => assert!(body.len() + 4 <= data.len()),
            Packet::SenderReport { reports, .. } | Packet::ReceiverReport { reports, .. } => {
                assert!(reports.count() <= 31)
            }
        }
    }
});
