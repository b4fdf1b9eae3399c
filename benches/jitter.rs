//! What the jitter buffer costs per packet on lines from clean to bad, concealment included.
//!
//! `cargo bench --bench jitter`. Each iteration is 10 s of one call.
#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark needs an epoch for its virtual time"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use baton_core::media::g711::Codec;
use baton_core::media::rtp::packet::{Packet, RtpTimestamp, SeqNo};
use baton_core::media::uplink::{Config, Uplink};
use baton_core::media::{jitter, vad};
use baton_core::vocab::{Entropy, SampleRate};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const PACKETS: u16 = 500;

/// Arrivals in order: microseconds and packet number.
fn line(mut delay: impl FnMut(&mut Entropy) -> Option<u64>) -> Vec<(u64, u16)> {
    let mut entropy = Entropy::from_number(42);
    let mut arrivals: Vec<(u64, u16)> = (0..PACKETS)
        .filter_map(|n| Some((u64::from(n) * 20_000 + delay(&mut entropy)?, n)))
        .collect();
    arrivals.sort_unstable();
    arrivals
}

fn run(arrivals: &[(u64, u16)], t0: Instant) -> usize {
    let mut uplink = Uplink::new(Config {
        codec: Codec::Pcmu,
        telephone_event: None,
        comfort_noise: None,
        rate: SampleRate::Hz8000,
        jitter: jitter::Config::default(),
        vad: vad::Config::default(),
    });
    uplink.start(t0);
    let mut frames = 0;
    for (us, n) in arrivals {
        let now = t0 + Duration::from_micros(*us);
        while let Some(due) = uplink.poll_timeout().filter(|due| *due <= now) {
            uplink.handle_timeout(due);
            while uplink.poll_frame(due).is_some() {
                frames += 1;
            }
        }
        let packet = Packet {
            marker: false,
            payload_type: 0,
            seq: SeqNo(*n),
            timestamp: RtpTimestamp(u32::from(*n) * 160),
            ssrc: 1,
            payload: &[n.to_le_bytes()[0]; 160],
        };
        uplink.handle_packet(now, &packet);
        while uplink.poll_frame(now).is_some() {
            frames += 1;
        }
    }
    frames
}

fn jitter_buffer(c: &mut Criterion) {
    let t0 = Instant::now();
    let lines = [
        ("clean", line(|_| Some(0))),
        ("loss 5 %", line(|e| (e.below(20) != 0).then_some(0))),
        ("reordered by up to 60 ms", line(|e| Some(e.below(60_000)))),
        (
            "loss 10 % and jitter 150 ms",
            line(|e| (e.below(10) != 0).then(|| e.below(150_000))),
        ),
    ];
    let mut group = c.benchmark_group("jitter");
    group.throughput(Throughput::Elements(u64::from(PACKETS)));
    for (name, arrivals) in &lines {
        group.bench_function(*name, |b| b.iter(|| black_box(run(arrivals, t0))));
    }
    group.finish();
}

criterion_group!(benches, jitter_buffer);
criterion_main!(benches);
