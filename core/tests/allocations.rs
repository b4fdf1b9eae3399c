//! The media path allocates at construction and never per packet, and a call's state stays small.
#![expect(
    clippy::disallowed_methods,
    reason = "an epoch for virtual time has to come from somewhere"
)]

use std::time::{Duration, Instant};

use allocation_counter::{AllocationInfo, measure};
use baton_core::media::downlink::{self, Downlink};
use baton_core::media::g711::Codec;
use baton_core::media::rtp::packet::{Packet, RtpTimestamp, SeqNo, parse};
use baton_core::media::uplink::{self, Uplink};
use baton_core::media::{jitter, vad};
use baton_core::vocab::SampleRate;

const PTIME: Duration = Duration::from_millis(20);

/// Heap and struct of both directions of one call.
const STATE_MAX: u64 = 48 * 1024;

fn uplink() -> Uplink {
    Uplink::new(uplink::Config {
        codec: Codec::Pcmu,
        telephone_event: Some(101),
        comfort_noise: Some(13),
        rate: SampleRate::Hz16000,
        jitter: jitter::Config::default(),
        vad: vad::Config::default(),
    })
}

fn downlink() -> Downlink {
    Downlink::new(downlink::Config {
        codec: Codec::Pcmu,
        rate: SampleRate::Hz16000,
        playout_max: Duration::from_mins(2),
        ssrc: 1,
        seq: SeqNo(1),
        timestamp: RtpTimestamp(1),
        telephone_event: Some(101),
    })
}

/// Packet `n` of a caller who speaks, is silent, loses every 17th and swaps every 23rd with its neighbour.
fn feed(uplink: &mut Uplink, now: Instant, n: u16) {
    let n = match n % 23 {
        0 => n + 1,
        1 => n - 1,
        _ => n,
    };
    if n % 17 == 0 {
        return;
    }
    let loud = if n / 50 % 2 == 0 { 0x90 } else { 0xff };
    let mut payload = [0xff; 160];
    for (at, octet) in payload.iter_mut().enumerate() {
        *octet = if at / 20 % 2 == 0 { loud } else { loud ^ 0x80 };
    }
    let packet = Packet {
        marker: false,
        payload_type: 0,
        seq: SeqNo(n),
        timestamp: RtpTimestamp(u32::from(n) * 160),
        ssrc: 7,
        payload: &payload,
    };
    uplink.handle_packet(now, &packet);
    uplink.handle_timeout(now);
    while let Some(frame) = uplink.poll_frame(now) {
        assert_eq!(frame.samples.len(), 320);
    }
    while uplink.poll_event().is_some() {}
}

fn frame_out(downlink: &mut Downlink, now: Instant) {
    let pushed = downlink.push_pcm_bytes(&[1; 640]);
    assert_eq!(pushed.dropped, 0);
    assert!(parse(downlink.tick(now)).is_ok());
    while downlink.poll_event().is_some() {}
}

#[test]
fn ten_seconds_of_a_lossy_call_allocate_nothing() {
    let mut now = Instant::now();
    let (mut uplink, mut downlink) = (uplink(), downlink());
    uplink.start(now);
    let mut run = |from: u16, to: u16| {
        for n in from..to {
            now += PTIME;
            feed(&mut uplink, now, n);
            frame_out(&mut downlink, now);
        }
    };
    run(1, 100);
    let info: AllocationInfo = measure(|| run(100, 600));
    assert_eq!(info.count_total, 0, "{info:?}");
}

#[test]
fn a_calls_media_state_is_small() {
    let now = Instant::now();
    // The tables of G.711 are shared by all calls and made by the first.
    frame_out(&mut downlink(), now);
    let mut kept = None;
    let info = measure(|| {
        let (mut uplink, mut downlink) = (uplink(), downlink());
        uplink.start(now);
        for n in 1..200_u16 {
            let now = now + PTIME * u32::from(n);
            feed(&mut uplink, now, n);
            frame_out(&mut downlink, now);
        }
        kept = Some((uplink, downlink));
    });
    let inline = u64::try_from(size_of::<Uplink>() + size_of::<Downlink>()).unwrap_or(u64::MAX);
    let heap = u64::try_from(info.bytes_current).unwrap_or(u64::MAX);
    assert!(inline + heap <= STATE_MAX, "inline {inline}, heap {heap}");
    assert!(kept.is_some());
}
