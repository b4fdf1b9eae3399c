//! An RTP datagram: its payload lies within it, and it is written as it was read.
#![no_main]

use baton_core::media::rtp::packet::{HEADER_LEN, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(packet) = parse(data) else {
        return;
    };
    assert!(packet.payload.len() + HEADER_LEN <= data.len());
    assert!(packet.payload_type < 128);
    let mut written = Vec::new();
    packet.write(&mut written);
    assert_eq!(parse(&written), Ok(packet));
});
