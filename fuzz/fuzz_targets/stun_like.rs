//! Whatever comes to a port for RTP, in a row: STUN, DTLS, noise, replays. Neither does it move our audio to a stranger,
//! nor does the numbering of what is taken ever go wrong.
//!
//! Each packet: one octet for who sends it and when, one for its length, the packet.
#![no_main]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use baton_core::media::rtp::packet::parse;
use baton_core::media::rtp::receiver::{Receiver, Verdict};
use baton_core::media::rtp::{Admission, Latch, LatchPolicy, rtcp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let senders = [
        address("198.51.100.7:4000"), // named in the SDP
        address("198.51.100.7:4001"), // the same host
        address("203.0.113.9:9"),     // the signalling peer
        address("192.0.2.66:4000"),   // a stranger
    ];
    let mut latch = Latch::new(LatchPolicy::Nat, senders[0], senders[2].ip());
    let mut receiver = Receiver::default();
    let mut now = Instant::now();
    let (mut rest, mut taken, mut packets) = (data, 0_u64, 0_u64);
    while let [how, len, tail @ ..] = rest {
        let datagram = &tail[..usize::from(*len).min(tail.len())];
        rest = &tail[datagram.len()..];
        now += Duration::from_millis(u64::from(*how >> 2) * 10);
        packets += 1;
        let from = senders[usize::from(how & 3)];
        if rtcp::is_rtcp(datagram) {
            assert!(parse(datagram).is_err(), "no datagram is both");
        }
        let Ok(packet) = parse(datagram) else {
            let before = latch.destination();
            latch.admit(now, from, false);
            assert_eq!(latch.destination(), before, "noise teaches nothing");
            continue;
        };
        if latch.admit(now, from, true) == Admission::Take {
            assert_ne!(from, senders[3], "a stranger is never taken");
            match receiver.handle(now, &packet, true) {
                Verdict::Accept { .. } => taken += 1,
                Verdict::Restarted { .. } => taken += 2,
                Verdict::Hold | Verdict::Duplicate | Verdict::Stale => {}
            }
        }
        assert_ne!(latch.destination(), senders[3], "and never spoken to");
    }
    assert_eq!(receiver.stats().received, taken);
    assert!(taken <= packets + 1);
});
