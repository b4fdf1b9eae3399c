//! What one call costs per 20 ms on the media path: a packet in to a frame for the agent, the agent's frame to a packet out.
//!
//! `cargo bench --bench media_path`. The budget is 5 µs for both directions together.
#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark needs an epoch for its virtual time"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use baton_core::media::downlink::{self, Downlink};
use baton_core::media::g711::{self, Codec};
use baton_core::media::rtp::packet::{Packet, RtpTimestamp, SeqNo, parse};
use baton_core::media::uplink::{self, Uplink};
use baton_core::media::{jitter, vad};
use baton_core::vocab::SampleRate;
use criterion::{Criterion, criterion_group, criterion_main};

const PTIME: Duration = Duration::from_millis(20);

/// Two seconds of something like speech: syllables of a gliding pitch, and pauses.
fn speech() -> Vec<Vec<u8>> {
    let mut phase = 0.0_f64;
    let samples: Vec<i16> = (0..16_000_u32)
        .map(|n| {
            let t = f64::from(n) / 8000.0;
            phase += (120.0 + 30.0 * (t * 9.0).sin()) / 8000.0 * std::f64::consts::TAU;
            let loud = (t * 12.0).sin().max(0.0);
            let wave: f64 = (1..10)
                .map(|k| (f64::from(k) * phase).sin() / f64::from(k))
                .sum();
            #[expect(clippy::cast_possible_truncation, reason = "well inside 16 bits")]
            let sample = (wave * loud * 6_000.0) as i16;
            sample
        })
        .collect();
    samples
        .chunks(160)
        .map(|frame| {
            let mut octets = Vec::new();
            g711::encode_into(Codec::Pcmu, frame, &mut octets);
            octets
        })
        .collect()
}

struct Caller {
    payloads: Vec<Vec<u8>>,
    datagram: Vec<u8>,
    n: u32,
    now: Instant,
}

impl Caller {
    fn new() -> Self {
        Self {
            payloads: speech(),
            datagram: Vec::new(),
            n: 0,
            now: Instant::now(),
        }
    }

    /// The next packet as it stands on the wire.
    fn next(&mut self) -> (Instant, &[u8]) {
        self.n += 1;
        self.now += PTIME;
        let [low, high, ..] = self.n.to_le_bytes();
        self.datagram.clear();
        Packet {
            marker: false,
            payload_type: 0,
            seq: SeqNo(u16::from_le_bytes([low, high])),
            timestamp: RtpTimestamp(self.n.wrapping_mul(160)),
            ssrc: 7,
            payload: &self.payloads[self.n as usize % self.payloads.len()],
        }
        .write(&mut self.datagram);
        (self.now, &self.datagram)
    }
}

fn uplink(rate: SampleRate, now: Instant) -> Uplink {
    let mut uplink = Uplink::new(uplink::Config {
        codec: Codec::Pcmu,
        telephone_event: Some(101),
        comfort_noise: None,
        rate,
        jitter: jitter::Config::default(),
        vad: vad::Config::default(),
    });
    uplink.start(now);
    uplink
}

fn downlink(rate: SampleRate) -> Downlink {
    Downlink::new(downlink::Config {
        codec: Codec::Pcmu,
        rate,
        playout_max: Duration::from_mins(2),
        ssrc: 1,
        seq: SeqNo(1),
        timestamp: RtpTimestamp(1),
        telephone_event: Some(101),
    })
}

fn media_path(c: &mut Criterion) {
    for rate in [SampleRate::Hz8000, SampleRate::Hz16000, SampleRate::Hz24000] {
        let hz = rate.hz();
        c.bench_function(&format!("uplink/{hz}"), |b| {
            let mut caller = Caller::new();
            let mut uplink = uplink(rate, caller.now);
            b.iter(|| {
                let (now, datagram) = caller.next();
                if let Ok(packet) = parse(datagram) {
                    uplink.handle_packet(now, &packet);
                }
                while let Some(frame) = uplink.poll_frame(now) {
                    black_box(frame.samples);
                }
                while let Some(event) = uplink.poll_event() {
                    black_box(event);
                }
                black_box(uplink.poll_timeout());
            });
        });
        c.bench_function(&format!("downlink/{hz}"), |b| {
            let mut downlink = downlink(rate);
            let mut now = Instant::now();
            let frame: Vec<u8> = (0..rate.frame_len() * 2)
                .map(|n| n.to_le_bytes()[0] & 0x1f)
                .collect();
            b.iter(|| {
                now += PTIME;
                let _ = black_box(downlink.push_pcm_bytes(&frame));
                black_box(downlink.tick(now));
                black_box(downlink.last_frame());
                while let Some(event) = downlink.poll_event() {
                    black_box(event);
                }
            });
        });
    }
    c.bench_function("downlink/idle", |b| {
        let mut downlink = downlink(SampleRate::Hz16000);
        let mut now = Instant::now();
        b.iter(|| {
            now += PTIME;
            black_box(downlink.tick(now));
        });
    });
}

fn stages(c: &mut Criterion) {
    let payloads = speech();
    c.bench_function("g711/decode+encode", |b| {
        let mut samples = [0; 160];
        let mut octets = [0; 160];
        b.iter(|| {
            g711::decode_into(Codec::Pcmu, black_box(&payloads[3]), &mut samples);
            g711::encode_over(Codec::Pcmu, &samples, &mut octets);
            black_box(&octets);
        });
    });
    c.bench_function("vad/speech", |b| {
        let mut vad = vad::Vad::new(vad::Config::default());
        let mut at = Duration::ZERO;
        let frames: Vec<Vec<i16>> = payloads
            .iter()
            .map(|payload| {
                let mut samples = vec![0; 160];
                g711::decode_into(Codec::Pcmu, payload, &mut samples);
                samples
            })
            .collect();
        let mut n = 0;
        b.iter(|| {
            n = (n + 1) % frames.len();
            at += PTIME;
            black_box(vad.handle_frame(at, &frames[n]))
        });
    });
}

criterion_group!(benches, media_path, stages);
criterion_main!(benches);
