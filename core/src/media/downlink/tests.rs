//! The downlink, tick by tick.

use super::*;
use crate::media::g711::decode;
use crate::media::levels::dbfs;
use crate::media::rtp::packet::{Packet, parse};
use crate::testing::t0;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// One packet with its payload decoded.
struct Sent {
    seq: u16,
    timestamp: u32,
    payload_type: u8,
    marker: bool,
    payload: Vec<u8>,
}

struct Call {
    downlink: Downlink,
    t0: Instant,
    ms: u64,
}

impl Call {
    fn new(rate: SampleRate) -> Self {
        Self::with(rate, Codec::Pcmu, Some(101))
    }

    fn with(rate: SampleRate, codec: Codec, telephone_event: Option<u8>) -> Self {
        let downlink = Downlink::new(Config {
            codec,
            rate,
            playout_max: MS(2_000),
            ssrc: 7,
            seq: SeqNo(65_530),
            timestamp: RtpTimestamp(0xffff_fff0),
            telephone_event,
        });
        Self {
            downlink,
            t0: t0(),
            ms: 0,
        }
    }

    fn tick(&mut self) -> Sent {
        let packet = self.downlink.tick(self.t0 + MS(self.ms));
        let Packet {
            marker,
            payload_type,
            seq,
            timestamp,
            payload,
            ..
        } = parse(packet).unwrap();
        self.ms += 20;
        Sent {
            seq: seq.0,
            timestamp: timestamp.0,
            payload_type,
            marker,
            payload: payload.to_vec(),
        }
    }

    fn ticks(&mut self, n: usize) -> Vec<Sent> {
        (0..n).map(|_| self.tick()).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.downlink.poll_event()).collect()
    }
}

fn level(sent: &Sent) -> f32 {
    let pcm: Vec<i16> = sent
        .payload
        .iter()
        .map(|o| decode(Codec::Pcmu, *o))
        .collect();
    dbfs(&pcm)
}

fn loud(samples: usize) -> Vec<i16> {
    (0..samples)
        .map(|n| if n / 10 % 2 == 0 { 8_000 } else { -8_000 })
        .collect()
}

#[test]
fn every_tick_sends_one_packet_that_follows_the_last() {
    let mut call = Call::new(SampleRate::Hz16000);
    let sent = call.ticks(50);
    for (n, pair) in sent.windows(2).enumerate() {
        assert_eq!(pair[1].seq, pair[0].seq.wrapping_add(1), "{n}");
        assert_eq!(pair[1].timestamp, pair[0].timestamp.wrapping_add(160));
    }
    assert!(sent[0].marker && !sent[1].marker);
    assert!(sent.iter().all(|sent| sent.payload.len() == 160));
    // Near silence, not dead air, and no two packets alike.
    assert!(
        sent.iter()
            .all(|sent| (-75.0..-60.0).contains(&level(sent)))
    );
    assert_ne!(sent[3].payload, sent[4].payload);
    assert_eq!(call.downlink.packets_sent(), 50);
    assert_eq!(call.downlink.octets_sent(), 8_000);
}

#[test]
fn a_late_tick_skips_and_never_bursts() {
    let mut call = Call::new(SampleRate::Hz8000);
    let first = call.ticks(5).pop().unwrap();
    call.ms += 60;
    let late = call.tick();
    assert_eq!(late.seq, first.seq.wrapping_add(1));
    assert_eq!(late.timestamp, first.timestamp.wrapping_add(160 * 4));
    assert!(late.marker);
    // A few milliseconds either way are no reason to skip.
    for jitter in [3, -4, 9, -8, 0_i64] {
        call.ms = call.ms.checked_add_signed(jitter).unwrap();
        let sent = call.tick();
        assert!(!sent.marker);
        call.ms = call.ms.checked_add_signed(-jitter).unwrap();
    }
}

#[test]
fn ticks_need_not_be_in_phase_with_the_answer() {
    let mut call = Call::new(SampleRate::Hz8000);
    call.downlink.start(call.t0);
    call.ms = 57;
    let first = call.tick();
    assert_eq!(first.timestamp, 0xffff_fff0_u32.wrapping_add(320));
    let _ = call.downlink.push_pcm(&loud(160));
    call.tick();
    assert_eq!(call.events(), [Event::TurnStarted { at: MS(60) }]);
}

#[test]
fn agent_audio_is_sent_octet_for_octet_when_the_formats_agree() {
    let mut call = Call::new(SampleRate::Hz16000);
    let octets: Vec<u8> = (0..480_u16).map(|n| n.to_le_bytes()[0] | 1).collect();
    assert_eq!(call.downlink.push_ulaw(&octets), Pushed { dropped: 0 });
    let sent = call.ticks(3);
    let played: Vec<u8> = sent.into_iter().flat_map(|sent| sent.payload).collect();
    assert_eq!(played, octets);
    let mut call = Call::with(SampleRate::Hz8000, Codec::Pcma, None);
    let _ = call.downlink.push_ulaw(&octets);
    let sent = call.tick();
    assert_eq!(sent.payload_type, 8);
    for (a, mu) in sent.payload.iter().zip(&octets) {
        let error = decode(Codec::Pcma, *a).abs_diff(decode(Codec::Pcmu, *mu));
        assert!(error <= 1_000);
    }
}

#[test]
fn any_rate_and_any_chunking_is_heard_whole() {
    for rate in [
        SampleRate::Hz8000,
        SampleRate::Hz16000,
        SampleRate::Hz24000,
        SampleRate::Hz48000,
    ] {
        let mut call = Call::new(rate);
        let octets: Vec<u8> = loud(rate.frame_len() * 10)
            .iter()
            .flat_map(|sample| sample.to_le_bytes())
            .collect();
        for chunk in octets.chunks(1_002) {
            let _ = call.downlink.push_pcm_bytes(chunk);
        }
        assert!(call.downlink.queued() >= MS(200) && call.downlink.queued() <= MS(206));
        call.downlink.mark("end".into());
        let sent = call.ticks(13);
        let played = sent.iter().filter(|sent| level(sent) > -20.0).count();
        assert!((10..=11).contains(&played), "{rate:?} {played}");
        assert!(call.downlink.queued().is_zero());
        let heard = call.events().into_iter().any(|event| {
            matches!(event, Event::Marked { heard: true, at, .. } if at >= MS(200) && at <= MS(240))
        });
        assert!(heard, "{rate:?}");
    }
}

#[test]
fn an_odd_octet_is_ignored() {
    let mut call = Call::new(SampleRate::Hz8000);
    let _ = call.downlink.push_pcm_bytes(&[1, 2, 3]);
    assert_eq!(call.downlink.queued(), Duration::from_micros(125));
    let _ = call.downlink.push_pcm_bytes(&[9]);
    let _ = call.downlink.push_pcm_bytes(&[]);
    assert_eq!(call.downlink.queued(), Duration::from_micros(125));
}

#[test]
fn clear_silences_the_next_packet_tail_included() {
    let mut call = Call::new(SampleRate::Hz16000);
    let _ = call.downlink.push_pcm(&loud(16_000));
    call.downlink.mark("never".into());
    call.ticks(5);
    assert_eq!(call.downlink.clear(), MS(100));
    assert!(call.downlink.queued().is_zero());
    assert!(call.ticks(5).iter().all(|sent| level(sent) < -60.0));
    let events = call.events();
    assert_eq!(
        events,
        [
            Event::TurnStarted { at: MS(0) },
            Event::Marked {
                name: "never".into(),
                heard: false,
                at: MS(100)
            },
            Event::Cleared { heard: MS(100) },
            Event::TurnEnded {
                from: MS(0),
                to: MS(100)
            },
        ]
    );
}

#[test]
fn what_is_too_far_ahead_is_dropped_and_counted() {
    let mut call = Call::new(SampleRate::Hz16000);
    let pushed = call.downlink.push_pcm(&loud(16_000 * 3));
    assert!(pushed.dropped_duration() > MS(980) && pushed.dropped_duration() < MS(1_005));
    assert!(call.downlink.queued() <= MS(2_010));
    let sent = call.ticks(103);
    let played = sent.iter().filter(|sent| level(sent) > -20.0).count();
    assert!(
        (100..=101).contains(&played),
        "and the filter's tail: {played}"
    );
}

#[test]
fn a_pause_holds_the_audio_and_resume_goes_on() {
    let mut call = Call::new(SampleRate::Hz8000);
    let _ = call.downlink.push_pcm(&loud(480));
    call.ticks(1);
    call.downlink.pause();
    assert!(call.ticks(20).iter().all(|sent| level(sent) < -60.0));
    call.downlink.resume();
    assert!(call.ticks(2).iter().all(|sent| level(sent) > -20.0));
}

#[test]
fn an_agent_at_real_time_with_odd_chunks_is_heard_without_holes_after_the_first() {
    let mut call = Call::new(SampleRate::Hz24000);
    let mut quiet = 0;
    for n in 0..100 {
        if n % 3 != 2 {
            let _ = call.downlink.push_pcm(&loud(720)); // 30 ms, twice in 60
        }
        let sent = call.tick();
        quiet += usize::from(level(&sent) < -30.0);
    }
    assert!(quiet <= 2, "{quiet}");
    let starts = call.events();
    assert_eq!(starts, [Event::TurnStarted { at: MS(0) }]);
}

#[test]
fn a_short_tail_is_sent_after_one_tick_and_ends_the_turn() {
    let mut call = Call::new(SampleRate::Hz8000);
    let _ = call.downlink.push_pcm(&loud(80));
    let sent = call.ticks(2);
    assert!(level(&sent[0]) < -60.0 && level(&sent[1]) > -20.0);
    call.ticks(12);
    assert_eq!(
        call.events(),
        [
            Event::TurnStarted { at: MS(20) },
            Event::TurnEnded {
                from: MS(20),
                to: MS(30)
            }
        ]
    );
}

#[test]
fn digits_go_out_as_events_while_the_agent_waits() {
    let mut call = Call::new(SampleRate::Hz8000);
    call.tick();
    let _ = call.downlink.push_pcm(&loud(160));
    assert_eq!(call.downlink.send_digits("5#", MS(160), MS(80)), 0);
    assert!(call.downlink.is_busy());
    let sent = call.ticks(25);
    let events: Vec<&Sent> = sent
        .iter()
        .filter(|sent| sent.payload_type == 101)
        .collect();
    assert_eq!(events.len(), 22);
    assert!(
        events[..11]
            .iter()
            .all(|event| event.timestamp == sent[0].timestamp)
    );
    assert!(events[0].marker && !events[1].marker);
    assert_eq!(events[0].payload, [5, 10, 0, 160]);
    assert_eq!(events[10].payload, [5, 0x8a, 5, 0]);
    assert_eq!(events[11].payload, [11, 10, 0, 160]);
    assert_eq!(
        events[11].timestamp,
        sent[0].timestamp.wrapping_add(12 * 160)
    );
    for pair in sent.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq.wrapping_add(1));
    }
    // The agent's frame follows, at its own place on the clock.
    assert!(level(&sent[24]) > -20.0);
    assert_eq!(sent[24].timestamp, sent[0].timestamp.wrapping_add(24 * 160));
    assert!(!call.downlink.is_busy());
}

#[test]
fn without_telephone_events_digits_are_tones() {
    let mut call = Call::with(SampleRate::Hz8000, Codec::Pcmu, None);
    call.downlink.send_digits("1", MS(100), MS(60));
    let sent = call.ticks(8);
    assert!(sent.iter().all(|sent| sent.payload_type == 0));
    assert!(sent[..5].iter().all(|sent| level(sent) > -16.0));
    assert!(sent[5..].iter().all(|sent| level(sent) < -60.0));
}

#[test]
fn the_last_frame_is_what_was_sent() {
    let mut call = Call::new(SampleRate::Hz8000);
    let _ = call.downlink.push_pcm(&loud(160));
    let sent = call.tick();
    let pcm: Vec<i16> = sent
        .payload
        .iter()
        .map(|o| decode(Codec::Pcmu, *o))
        .collect();
    assert_eq!(call.downlink.last_frame(), pcm);
    call.downlink.send_digits("1", MS(100), MS(60));
    call.tick();
    assert_eq!(call.downlink.last_frame(), [0; 160]);
}
