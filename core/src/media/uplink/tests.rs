//! The uplink from packets to frames, events and figures.

use super::*;
use crate::media::jitter::wire_duration;
use crate::media::rtp::packet::SeqNo;
use crate::testing::t0;
use crate::vocab::Entropy;

const MS: fn(u64) -> Duration = Duration::from_millis;
const CONFIG: Config = Config {
    codec: Codec::Pcmu,
    telephone_event: Some(101),
    comfort_noise: None,
    rate: SampleRate::Hz16000,
    jitter: jitter::Config {
        reorder_wait_max: Duration::from_millis(80),
    },
    vad: vad::Config {
        hangover: Duration::from_millis(400),
    },
};

/// One packet as the network delivers it.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    /// Microseconds after the answer.
    us: u64,
    /// Which 20 ms of the source it holds.
    index: usize,
    seq: u16,
    timestamp: u32,
    ssrc: u32,
}

/// A frame as the agent got it.
#[derive(Debug, Clone)]
struct Heard {
    us: u64,
    at: Duration,
    ulaw: Option<Vec<u8>>,
    concealed: bool,
}

/// The source: each packet's octets say which it is.
fn octets(index: usize) -> Vec<u8> {
    let mut entropy = Entropy::from_number(index as u64);
    (0..160)
        .map(|_| u8::try_from(entropy.below(64)).unwrap_or(0) | 0x40)
        .collect()
}

/// Packets 20 ms apart, each delayed by `delay(index)` microseconds; `None` is lost. Numbers wrap on the way.
fn sent(packets: usize, mut delay: impl FnMut(usize) -> Option<u64>) -> Vec<Arrival> {
    let mut arrivals: Vec<Arrival> = (0..packets)
        .filter_map(|index| {
            let n = u32::try_from(index).unwrap();
            Some(Arrival {
                us: u64::from(n) * 20_000 + 20_000 + delay(index)?,
                index,
                seq: u16::try_from(n & 0xffff).unwrap().wrapping_add(65_500),
                timestamp: (n * 160).wrapping_add(0xffff_f000),
                ssrc: 7,
            })
        })
        .collect();
    arrivals.sort_by_key(|arrival| arrival.us);
    arrivals
}

struct Call {
    uplink: Uplink,
    t0: Instant,
    heard: Vec<Heard>,
}

impl Call {
    fn new(config: Config) -> Self {
        let (mut uplink, t0) = (Uplink::new(config), t0());
        uplink.start(t0);
        Self {
            uplink,
            t0,
            heard: Vec::new(),
        }
    }

    fn run(arrivals: &[Arrival]) -> Self {
        let mut call = Self::new(CONFIG);
        for arrival in arrivals {
            call.advance(arrival.us);
            call.packet(arrival.us, 0, arrival, &octets(arrival.index));
        }
        call
    }

    fn packet(&mut self, us: u64, payload_type: u8, arrival: &Arrival, payload: &[u8]) {
        let now = self.t0 + Duration::from_micros(us);
        self.uplink.handle_packet(
            now,
            &Packet {
                marker: false,
                payload_type,
                seq: SeqNo(arrival.seq),
                timestamp: RtpTimestamp(arrival.timestamp),
                ssrc: arrival.ssrc,
                payload,
            },
        );
        self.drain(now);
    }

    fn advance(&mut self, us: u64) {
        let end = self.t0 + Duration::from_micros(us);
        while let Some(due) = self.uplink.poll_timeout().filter(|due| *due <= end) {
            self.uplink.handle_timeout(due);
            self.drain(due);
        }
    }

    fn drain(&mut self, now: Instant) {
        let us = u64::try_from((now - self.t0).as_micros()).unwrap();
        while let Some(frame) = self.uplink.poll_frame(now) {
            assert_eq!((frame.samples.len(), frame.wire.len()), (320, 160));
            let heard = Heard {
                us,
                at: frame.at,
                ulaw: frame.ulaw.map(<[u8]>::to_vec),
                concealed: frame.concealed,
            };
            self.heard.push(heard);
        }
    }

    /// Which source packets were heard untouched, in order.
    fn genuine(&self) -> Vec<usize> {
        let sources: Vec<Vec<u8>> = (0..2_000).map(octets).collect();
        self.heard
            .iter()
            .filter_map(|heard| heard.ulaw.as_ref())
            .map(|ulaw| sources.iter().position(|source| source == ulaw).unwrap())
            .collect()
    }

    fn concealed(&self) -> usize {
        self.heard.iter().filter(|heard| heard.concealed).count()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.uplink.poll_event()).collect()
    }

    /// The frames' media times leave no gap.
    fn assert_gapless(&self) {
        for (n, heard) in self.heard.iter().enumerate() {
            assert_eq!(heard.at, wire_duration(n as u64 * 160));
        }
    }
}

#[test]
fn a_clean_line_is_heard_octet_for_octet_without_delay() {
    let arrivals = sent(500, |_| Some(0));
    let call = Call::run(&arrivals);
    assert_eq!(call.genuine(), (0..500).collect::<Vec<_>>());
    for (heard, arrival) in call.heard.iter().zip(&arrivals) {
        assert_eq!(heard.us, arrival.us);
    }
    call.assert_gapless();
    assert_eq!(call.uplink.stats().lost, 0);
    assert_eq!(call.concealed(), 0);
}

#[test]
fn jitter_that_keeps_the_order_costs_nothing() {
    let mut entropy = Entropy::from_number(1);
    let mut last = 0;
    let arrivals = sent(1_000, |index| {
        let sent = index as u64 * 20_000;
        last = (sent + entropy.below(50_000)).max(last + 10);
        Some(last - sent)
    });
    let call = Call::run(&arrivals);
    assert_eq!(call.genuine(), (0..1_000).collect::<Vec<_>>());
    assert!(call.heard.iter().zip(&arrivals).all(|(h, a)| h.us == a.us));
}

#[test]
fn reordering_within_the_bound_is_put_right_after_it_was_learned() {
    let mut entropy = Entropy::from_number(2);
    let arrivals = sent(1_500, |_| {
        let late = entropy.below(20) == 0;
        Some(if late {
            25_000 + entropy.below(40_000)
        } else {
            entropy.below(4_000)
        })
    });
    let call = Call::run(&arrivals);
    let stats = call.uplink.stats();
    assert!(stats.reordered > 40);
    assert!(stats.late <= 12, "late {}", stats.late);
    assert_eq!(stats.lost, 0);
    let worst = call
        .heard
        .iter()
        .skip(500)
        .map(|heard| heard.us - u64::try_from(heard.at.as_micros()).unwrap() - 20_000);
    assert!(worst.max().unwrap() <= 100_000);
    call.assert_gapless();
}

#[test]
fn lost_packets_are_concealed_in_place_and_do_not_delay_the_rest() {
    let mut entropy = Entropy::from_number(3);
    let arrivals = sent(1_000, |_| (entropy.below(20) != 0).then_some(0));
    let call = Call::run(&arrivals);
    let lost = 1_000 - arrivals.len();
    let stats = call.uplink.stats();
    assert!(lost > 30);
    assert_eq!(stats.lost, lost as u64);
    assert_eq!(stats.concealed, MS(20) * u32::try_from(lost).unwrap());
    assert_eq!(call.heard.len(), 1_000);
    // A packet is altered only when the one before it was lost.
    assert!(call.genuine().len() >= 1_000 - 2 * lost);
    let late = call
        .heard
        .iter()
        .filter(|heard| heard.us > u64::try_from(heard.at.as_micros()).unwrap() + 40_000);
    assert!(
        late.count() < 20,
        "waiting stops when nothing ever fills a hole"
    );
    call.assert_gapless();
}

#[test]
fn duplicates_and_their_stragglers_are_heard_once() {
    let mut entropy = Entropy::from_number(4);
    let mut arrivals = sent(500, |_| Some(0));
    let twice: Vec<Arrival> = arrivals
        .iter()
        .filter(|_| entropy.below(4) == 0)
        .map(|arrival| Arrival {
            us: arrival.us + 30_000,
            ..*arrival
        })
        .collect();
    let copies = twice.len() as u64;
    arrivals.extend(twice);
    arrivals.sort_by_key(|arrival| arrival.us);
    let call = Call::run(&arrivals);
    assert_eq!(call.genuine(), (0..500).collect::<Vec<_>>());
    assert_eq!(call.uplink.stats().duplicates, copies);
}

#[test]
fn a_second_of_stall_and_its_burst_lose_nothing() {
    let arrivals = sent(400, |index| {
        Some(match index {
            100..150 => (150 - index as u64) * 20_000,
            _ => 0,
        })
    });
    let call = Call::run(&arrivals);
    // To the detector this source is as steady as a pause: noise was made up, and one packet merged with it.
    assert_eq!(call.genuine().len(), 399);
    assert_eq!(call.uplink.stats().lost, 0);
    let (last, arrival) = (call.heard.last().unwrap(), arrivals.last().unwrap());
    assert_eq!(last.us, arrival.us);
}

#[test]
fn a_second_of_loss_is_a_second_of_something() {
    let arrivals = sent(400, |index| (!(100..150).contains(&index)).then_some(0));
    let call = Call::run(&arrivals);
    assert_eq!(call.heard.len(), 400);
    assert_eq!(call.genuine().len(), 400 - 50 - 1);
    call.assert_gapless();
}

#[test]
fn silence_suppression_keeps_time_and_loses_nothing() {
    // Talks 1 s, is silent 1 s; the sequence does not count what is not sent.
    let mut seq = 65_000_u16;
    let arrivals: Vec<Arrival> = sent(1_000, |index| (index / 50 % 2 == 0).then_some(0))
        .into_iter()
        .map(|arrival| {
            seq = seq.wrapping_add(1);
            Arrival { seq, ..arrival }
        })
        .collect();
    let call = Call::run(&arrivals);
    assert_eq!(call.heard.len(), arrivals.last().unwrap().index + 1);
    assert_eq!(call.uplink.stats().lost, 0);
    assert!(call.genuine().len() >= arrivals.len() - 20);
    let late = call.heard.iter().map(|heard| {
        heard
            .us
            .saturating_sub(u64::try_from(heard.at.as_micros()).unwrap() + 20_000)
    });
    assert!(
        late.max().unwrap() <= 1_060_000,
        "loud to the last, so the patience of speech holds"
    );
}

#[test]
fn a_change_of_source_numbers_and_clock_is_heard_without_a_break() {
    let mut arrivals = sent(600, |_| Some(0));
    for arrival in &mut arrivals[200..400] {
        arrival.ssrc = 9;
        arrival.seq = arrival.seq.wrapping_add(31_000);
        arrival.timestamp = arrival.timestamp.wrapping_add(0x5555_0000);
    }
    for arrival in &mut arrivals[400..] {
        arrival.ssrc = 9;
        arrival.seq = arrival.seq.wrapping_sub(5_000);
        arrival.timestamp = arrival.timestamp.wrapping_sub(77_777);
    }
    let call = Call::run(&arrivals);
    assert_eq!(
        call.genuine(),
        (0..600).collect::<Vec<_>>(),
        "held, proved, and heard"
    );
    assert_eq!(call.uplink.stats().source_changes, 1);
    assert_eq!(call.uplink.stats().lost, 0);
}

#[test]
fn a_drifting_clock_is_followed_and_never_delays() {
    for ppm in [-1_000_i64, 1_000] {
        let mut arrivals = sent(2_000, |_| Some(0));
        for arrival in &mut arrivals {
            let drift = i64::try_from(arrival.us).unwrap() * ppm / 1_000_000;
            arrival.us = arrival.us.checked_add_signed(drift).unwrap();
        }
        let call = Call::run(&arrivals);
        assert_eq!(call.genuine().len(), 2_000);
        assert_eq!(call.heard.last().unwrap().us, arrivals.last().unwrap().us);
    }
}

#[test]
fn packets_of_ten_to_sixty_milliseconds_become_frames_of_twenty() {
    for ms in [10_usize, 20, 30, 40, 60] {
        let mut call = Call::new(CONFIG);
        let all: Vec<u8> = (0..60).flat_map(octets).collect();
        for (n, payload) in all.chunks(ms * 8).enumerate() {
            let arrival = Arrival {
                us: ((n + 1) * ms * 1_000) as u64,
                index: 0,
                seq: u16::try_from(n).unwrap(),
                timestamp: u32::try_from(n * ms * 8).unwrap(),
                ssrc: 1,
            };
            call.advance(arrival.us);
            call.packet(arrival.us, 0, &arrival, payload);
        }
        assert_eq!(call.genuine(), (0..60).collect::<Vec<_>>(), "{ms} ms");
        call.assert_gapless();
    }
}

#[test]
fn unknown_payload_types_and_giants_are_refused() {
    let mut call = Call::new(CONFIG);
    let arrival = sent(1, |_| Some(0))[0];
    for payload_type in [8, 9, 96, 127] {
        call.packet(0, payload_type, &arrival, &[1; 160]);
    }
    call.packet(0, 0, &arrival, &[1; 1_400]);
    assert_eq!((call.uplink.stats().refused, call.heard.len()), (5, 0));
}

#[test]
fn a_key_is_reported_and_its_tone_in_the_audio_is_muted() {
    let mut call = Call::new(CONFIG);
    let mut arrivals = sent(40, |_| Some(0)).into_iter();
    let start = arrivals.clone().nth(10).unwrap().timestamp;
    for (n, arrival) in arrivals.by_ref().take(30).enumerate() {
        call.advance(arrival.us);
        let step = u16::try_from(n).unwrap().wrapping_sub(9);
        if (10..20).contains(&n) {
            let [high, low] = (step * 160).to_be_bytes();
            let end = if n >= 17 { 0x8a } else { 0x0a };
            let arrival = Arrival {
                timestamp: start,
                ..arrival
            };
            call.packet(arrival.us, 101, &arrival, &[5, end, high, low]);
        } else {
            call.packet(arrival.us, 0, &arrival, &octets(n));
        }
    }
    let digits: Vec<Event> = call
        .events()
        .into_iter()
        .filter(|event| matches!(event, Event::Digit { .. }))
        .collect();
    let [
        Event::Digit {
            digit,
            duration,
            at,
        },
    ] = digits[..]
    else {
        panic!("{digits:?}");
    };
    assert_eq!((digit, duration, at), ('5', MS(160), MS(220)));
    assert_eq!(call.heard.len(), 30, "the timeline goes on under the digit");
    assert_eq!(call.uplink.stats().digits, 1);
    assert_eq!(call.uplink.stats().lost, 0);

    // The same again with the tone in the audio beside the events.
    let mut call = Call::new(CONFIG);
    for arrival in sent(30, |_| Some(0)) {
        call.advance(arrival.us);
        let twice = Arrival {
            seq: arrival.seq.wrapping_mul(2),
            ..arrival
        };
        call.packet(arrival.us, 0, &twice, &octets(arrival.index));
        if (10..18).contains(&arrival.index) {
            let event = Arrival {
                seq: twice.seq + 1,
                timestamp: start,
                ..arrival
            };
            let end = if arrival.index == 17 { 0x8a } else { 0x0a };
            call.packet(arrival.us + 1, 101, &event, &[5, end, 1, 0]);
        }
    }
    assert!(call.heard[11..18].iter().all(|heard| heard.ulaw.is_none()));
}

#[test]
fn before_the_answer_packets_are_counted_and_not_heard() {
    let (mut uplink, t0) = (Uplink::new(CONFIG), t0());
    let payload = octets(0);
    let mut packet = Packet {
        marker: false,
        payload_type: 0,
        seq: SeqNo(1),
        timestamp: RtpTimestamp(0),
        ssrc: 1,
        payload: &payload,
    };
    uplink.handle_packet(t0, &packet);
    assert!(uplink.poll_frame(t0).is_none());
    assert_eq!((uplink.stats().received, uplink.poll_timeout()), (1, None));
    uplink.start(t0 + MS(500));
    uplink.start(t0 + MS(900));
    packet.seq = SeqNo(2);
    packet.timestamp = RtpTimestamp(160);
    uplink.handle_packet(t0 + MS(510), &packet);
    let frame = uplink.poll_frame(t0 + MS(510)).unwrap();
    assert_eq!((frame.at, frame.ulaw), (Duration::ZERO, Some(&payload[..])));
}

#[test]
fn a_line_that_stays_silent_gives_the_agent_noise_in_time() {
    let mut call = Call::new(CONFIG);
    call.advance(2_000_000);
    assert!(
        (95..=97).contains(&call.heard.len()),
        "{}",
        call.heard.len()
    );
    assert!(call.heard.iter().all(|heard| heard.concealed));
    assert!(call.uplink.level_dbfs() < -55.0 && call.uplink.level_dbfs() > -80.0);
    assert_eq!(call.events(), []);
}

#[test]
fn speech_is_reported_on_the_media_clock() {
    let mut call = Call::new(CONFIG);
    let quiet = vec![0xff_u8; 160];
    let loud: Vec<u8> = (0..160)
        .map(|n: u8| if n & 32 == 0 { 0x90 } else { 0x10 })
        .collect();
    for arrival in sent(150, |_| Some(0)) {
        call.advance(arrival.us);
        let speaks = (50..75).contains(&arrival.index);
        call.packet(arrival.us, 0, &arrival, if speaks { &loud } else { &quiet });
        call.uplink.handle_playing(&[0; 160]);
    }
    let events = call.events();
    let [
        Event::SpeechStarted { at: from },
        Event::SpeechStopped { at: to },
    ] = events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!(from, MS(1_000));
    assert!(to >= MS(1_100) && to <= MS(1_520), "{to:?}");
    assert!(!call.uplink.is_speaking());
    assert!(
        call.uplink.level_dbfs() < -60.0,
        "a second later it is quiet again"
    );
}

#[test]
fn a_law_has_no_ulaw_octets_and_eight_kilohertz_needs_no_resampler() {
    let config = Config {
        codec: Codec::Pcma,
        rate: SampleRate::Hz8000,
        ..CONFIG
    };
    let (mut uplink, t0) = (Uplink::new(config), t0());
    uplink.start(t0);
    let packet = Packet {
        marker: false,
        payload_type: 8,
        seq: SeqNo(1),
        timestamp: RtpTimestamp(0),
        ssrc: 1,
        payload: &[0x2a; 160],
    };
    uplink.handle_packet(t0, &packet);
    let frame = uplink.poll_frame(t0).unwrap();
    assert_eq!(frame.samples, [-32_256; 160]);
    assert_eq!((frame.wire, frame.ulaw), (frame.samples, None));
}

#[test]
fn a_hellish_network_never_breaks_the_timeline() {
    for seed in 0..20 {
        let mut entropy = Entropy::from_number(seed);
        let mut arrivals = sent(500, |_| {
            (entropy.below(10) != 0).then(|| entropy.below(150_000))
        });
        let doubles: Vec<Arrival> = arrivals
            .iter()
            .filter_map(|arrival| {
                let us = arrival.us + entropy.below(50_000);
                (entropy.below(30) == 0).then_some(Arrival { us, ..*arrival })
            })
            .collect();
        arrivals.extend(doubles);
        arrivals.sort_by_key(|arrival| arrival.us);
        for arrival in &mut arrivals {
            if entropy.below(100) == 0 {
                arrival.timestamp = entropy.next_u32();
            }
            if entropy.below(200) == 0 {
                arrival.seq = arrival
                    .seq
                    .wrapping_add(u16::try_from(entropy.below(65_536)).unwrap());
            }
            if entropy.below(200) == 0 {
                arrival.ssrc = entropy.next_u32();
            }
        }
        let mut call = Call::run(&arrivals);
        call.advance(11_000_000);
        call.assert_gapless();
        let frames = call.heard.len();
        assert!(
            (450..=620).contains(&frames),
            "seed {seed}: {frames} frames in 11 s"
        );
    }
}
