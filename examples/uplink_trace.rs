//! Drives the uplink over a recorded or made-up trace of RTP, in simulated time: what an agent would have heard, and
//! when. `make bench-quality` scores it.
//!
//! `uplink_trace IN.trace OUT.pcm`: IN holds records of arrival time (ns, u64), sequence (u16), timestamp (u32), SSRC
//! (u32), payload type (u8), marker (u8), payload length (u16), little endian, then the payload. OUT is 16-bit PCM at 8 kHz;
//! `OUT.pcm.log` has one line per 20 ms frame: the time it reached the agent in milliseconds, and 1 if it was concealed.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use baton_core::media::g711::Codec;
use baton_core::media::rtp::packet;
use baton_core::media::uplink::{Config, Uplink};
use baton_core::media::{jitter, vad};
use baton_core::vocab::SampleRate;

/// After the last packet: an outage's worth.
const TAIL: Duration = Duration::from_millis(1_500);

struct Arrival {
    at: Duration,
    datagram: Vec<u8>,
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(input), Some(output)) = (args.next(), args.next()) else {
        bail!("usage: uplink_trace IN.trace OUT.pcm");
    };
    let octets = std::fs::read(&input).with_context(|| format!("cannot read {input}"))?;
    let arrivals = read(&octets).with_context(|| format!("{input} is no trace"))?;
    let heard = play(&arrivals);
    std::fs::write(&output, heard.pcm).with_context(|| format!("cannot write {output}"))?;
    std::fs::write(format!("{output}.log"), heard.log)
        .with_context(|| format!("cannot write {output}.log"))?;
    println!("{}", heard.stats);
    Ok(())
}

fn read(mut octets: &[u8]) -> Result<Vec<Arrival>> {
    let mut arrivals = Vec::new();
    while !octets.is_empty() {
        let (head, rest) = octets.split_at_checked(22).context("a cut record")?;
        let length = usize::from(u16::from_le_bytes([head[20], head[21]]));
        let (payload, rest) = rest.split_at_checked(length).context("a cut payload")?;
        octets = rest;
        let mut datagram = vec![0x80, head[18] | head[19] << 7];
        datagram.extend(head[8..10].iter().rev());
        datagram.extend(head[10..14].iter().rev());
        datagram.extend(head[14..18].iter().rev());
        datagram.extend(payload);
        let nanos = u64::from_le_bytes(head[..8].try_into()?);
        arrivals.push(Arrival {
            at: Duration::from_nanos(nanos),
            datagram,
        });
    }
    Ok(arrivals)
}

struct Heard {
    pcm: Vec<u8>,
    log: String,
    stats: String,
}

#[expect(
    clippy::disallowed_methods,
    reason = "a start for simulated time; no clock is read after it"
)]
fn play(arrivals: &[Arrival]) -> Heard {
    let zero = Instant::now();
    let mut uplink = Uplink::new(Config {
        codec: Codec::Pcmu,
        telephone_event: None,
        comfort_noise: None,
        rate: SampleRate::Hz8000,
        jitter: jitter::Config::default(),
        vad: vad::Config::default(),
    });
    uplink.start(zero);
    let mut heard = Heard {
        pcm: Vec::new(),
        log: String::new(),
        stats: String::new(),
    };
    let end = arrivals.last().map_or(zero, |last| zero + last.at + TAIL);
    let mut arrivals = arrivals.iter().peekable();
    let mut now = zero;
    loop {
        take(&mut uplink, now, zero, &mut heard);
        let arrival = arrivals.peek().map(|arrival| zero + arrival.at);
        let timeout = uplink.poll_timeout().map(|at| at.max(now));
        let Some(next) = [arrival, timeout].into_iter().flatten().min() else {
            break;
        };
        if next > end {
            break;
        }
        now = next;
        if arrival == Some(next) {
            if let Some(packet) = arrivals
                .next()
                .as_ref()
                .and_then(|a| packet::parse(&a.datagram).ok())
            {
                uplink.handle_packet(now, &packet);
            }
        } else {
            uplink.handle_timeout(now);
        }
    }
    heard.stats = format!("{:?}", uplink.stats());
    heard
}

fn take(uplink: &mut Uplink, now: Instant, zero: Instant, heard: &mut Heard) {
    while let Some(frame) = uplink.poll_frame(now) {
        heard
            .pcm
            .extend(frame.wire.iter().flat_map(|sample| sample.to_le_bytes()));
        let at = now.duration_since(zero).as_secs_f64() * 1e3;
        // Writing to a String cannot fail.
        let _ = writeln!(heard.log, "{at:.3} {}", u8::from(frame.concealed));
    }
}
