//! The jitter buffer under seeded networks.

use super::*;
use crate::testing::t0;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Sends packets of 20 ms, numbered as sent; collects what leaves as text: digits, `-` lost, `~` made up.
struct Line {
    buffer: Buffer,
    t0: Instant,
    left: String,
}

impl Line {
    fn new() -> Self {
        let (mut buffer, t0) = (Buffer::new(Config::default()), t0());
        buffer.start(t0);
        let left = String::new();
        Self { buffer, t0, left }
    }

    /// Advances to `ms`, serving deadlines on the way.
    fn at(&mut self, ms: u64) -> &mut Self {
        let now = self.t0 + MS(ms);
        while let Some(due) = self.buffer.poll_timeout().filter(|due| *due <= now) {
            self.drain(due);
        }
        self
    }

    fn drain(&mut self, now: Instant) {
        while let Some(playout) = self.buffer.poll(now) {
            let text = match playout {
                Playout::Audio(payload) => char::from(payload[0]),
                Playout::Lost { .. } => '-',
                Playout::Silence(_) => '~',
                Playout::Noise(_) => 'n',
            };
            self.left.push(text);
        }
    }

    /// Packet `n` (0-9, named by it) arrives at `ms` with the timestamp of its place.
    fn packet(&mut self, ms: u64, n: u64) -> &mut Self {
        self.raw(
            ms,
            n,
            u32::try_from(n).unwrap() * 160,
            Content::Audio { samples: 160 },
        )
    }

    fn raw(&mut self, ms: u64, n: u64, timestamp: u32, content: Content) -> &mut Self {
        self.at(ms);
        let now = self.t0 + MS(ms);
        let name = char::from_digit(u32::try_from(n % 10).unwrap(), 10).unwrap();
        let octet = u8::try_from(name).unwrap();
        let payload = vec![octet; usize::try_from(content.samples()).unwrap()];
        self.buffer.handle(
            now,
            &Incoming {
                sequence: 1000 + n,
                timestamp: RtpTimestamp(timestamp.wrapping_add(0xffff_ff00)),
                content,
                payload: &payload,
                discontinuity: false,
            },
        );
        self.drain(now);
        self
    }

    fn left(&mut self) -> String {
        std::mem::take(&mut self.left)
    }
}

#[test]
fn what_is_next_in_order_leaves_at_once() {
    let mut line = Line::new();
    for n in 0..10 {
        line.packet(n * 20, n);
        assert_eq!(line.left(), n.to_string());
    }
}

#[test]
fn a_neighbour_that_was_overtaken_is_waited_for() {
    let mut line = Line::new();
    line.packet(0, 0).packet(20, 1).packet(40, 3);
    assert_eq!(line.left(), "01");
    line.packet(55, 2);
    assert_eq!(line.left(), "23");
    line.packet(60, 4);
    assert_eq!(line.left(), "4");
}

#[test]
fn a_hole_is_given_up_when_its_wait_is_over_and_only_once_waited_for() {
    let mut line = Line::new();
    line.packet(0, 0).packet(40, 2);
    assert_eq!(line.buffer.poll_timeout(), Some(line.t0 + MS(60)));
    line.at(59);
    assert_eq!(line.left(), "0");
    line.at(60);
    assert_eq!(line.left(), "-2");
    line.packet(61, 1);
    assert_eq!((line.left().as_str(), line.buffer.stats().late), ("", 1));
}

#[test]
fn where_packets_only_get_lost_nothing_waits_any_more() {
    let mut line = Line::new();
    for n in (0..20).filter(|n| n % 4 != 3) {
        line.packet(n * 20, n);
    }
    line.left();
    line.packet(400, 20).packet(440, 22);
    assert_eq!(line.left(), "-0-2");
    assert_eq!(line.buffer.reorder_wait(), Duration::ZERO);
}

#[test]
fn where_packets_are_late_the_wait_grows_to_their_lateness_and_no_further() {
    let mut line = Line::new();
    for n in 0..60 {
        if n % 3 == 1 {
            continue;
        }
        line.packet(n * 20, n);
        if n % 3 == 0 {
            // The one that should have come before comes 45 ms after it was overtaken.
            line.packet(n * 20 + 5, n.saturating_sub(2));
        }
    }
    let wait = line.buffer.reorder_wait();
    assert!(wait > MS(20) && wait <= MS(80), "{wait:?}");
    line.left();
    line.packet(1200, 60)
        .packet(1220, 61)
        .packet(1260, 63)
        .packet(1280, 64)
        .packet(1285, 62);
    assert!(line.left().ends_with("234"), "{}", line.left);
}

#[test]
fn a_stall_and_its_burst_lose_nothing_and_leave_no_delay() {
    let mut line = Line::new();
    line.buffer.set_in_speech(true);
    for n in 0..10 {
        line.packet(n * 20, n);
    }
    for n in 10..20 {
        line.packet(480, n); // 300 ms late, all at once
    }
    assert_eq!(line.left(), "01234567890123456789");
    line.packet(500, 20);
    assert_eq!(line.left(), "0");
}

#[test]
fn an_outage_keeps_the_timeline_moving_and_is_taken_off_the_gap() {
    let mut line = Line::new();
    line.packet(0, 0).packet(20, 1);
    line.at(500);
    let made_up = line.left();
    assert_eq!(made_up, format!("01{}", "~".repeat(21)));
    // 25 packets were lost; what was made up already counts.
    line.packet(540, 27).at(570);
    let left = line.left();
    assert!(left.ends_with('7'), "{left}");
    let filled = left.matches('~').count() + left.matches('-').count();
    assert_eq!(21 + filled, 25, "{left}");
}

#[test]
fn a_pause_of_the_sender_is_as_long_as_its_clock_says() {
    let mut line = Line::new();
    line.packet(0, 0).packet(20, 1);
    line.at(200);
    line.raw(1020, 2, 160 * 51, Content::Audio { samples: 160 });
    let left = line.left();
    assert_eq!(left.matches('~').count(), 49, "{left}");
    assert!(left.starts_with("01~") && left.ends_with("~2"));
    assert_eq!(line.buffer.stats().given_up, 0);
}

#[test]
fn a_silence_descriptor_is_part_of_the_timeline() {
    let mut line = Line::new();
    line.packet(0, 0)
        .raw(20, 1, 160, Content::Noise { level: 50 })
        .raw(220, 2, 160 * 11, Content::Audio { samples: 160 });
    let left = line.left();
    assert_eq!(left, format!("0n{}2", "~".repeat(10)));
}

#[test]
fn telephone_events_hold_their_place_and_take_no_time() {
    let mut line = Line::new();
    line.packet(0, 0);
    for n in 1..4 {
        line.raw(n * 20, n, 160, Content::Event);
    }
    line.raw(80, 4, 160 * 4, Content::Audio { samples: 160 });
    assert_eq!(line.left(), "0~~~4");
}

#[test]
fn timestamps_that_make_no_sense_are_not_followed() {
    for jump in [800_000_u32, 0_u32.wrapping_sub(1_600_000), 0x8000_0000] {
        let mut line = Line::new();
        for n in 0..5 {
            line.packet(n * 20, n);
        }
        for n in 5..9 {
            let timestamp = (u32::try_from(n).unwrap() * 160).wrapping_add(jump);
            line.raw(n * 20, n, timestamp, Content::Audio { samples: 160 });
        }
        assert_eq!(line.left(), "012345678", "{jump:#x}");
        assert_eq!(line.buffer.stats().timestamp_jumps, 1);
    }
}

#[test]
fn a_sender_cannot_make_the_timeline_run_away() {
    let mut line = Line::new();
    for n in 0..500_u64 {
        let timestamp = u32::try_from(n).unwrap() * 7_000;
        line.raw(n * 20, n, timestamp, Content::Audio { samples: 160 });
    }
    let seconds = line.buffer.position() / 8000;
    assert!(seconds <= 12, "{seconds}");
}

#[test]
fn packets_that_nobody_takes_are_bounded() {
    let mut line = Line::new();
    let now = line.t0 + MS(1);
    for n in 0..5_000_u64 {
        line.buffer.handle(
            now,
            &Incoming {
                sequence: 1000 + n * 2,
                timestamp: RtpTimestamp(u32::try_from(n).unwrap() * 320),
                content: Content::Audio { samples: 3 },
                payload: &[65, 66, 67],
                discontinuity: false,
            },
        );
    }
    line.at(200);
    line.drain(now + MS(200));
    let kept = line.left.matches('A').count();
    assert!((8..=32).contains(&kept), "{kept}");
}

#[test]
fn a_long_loss_does_not_wait_for_what_is_far_gone() {
    let mut line = Line::new();
    line.packet(0, 0).packet(20, 1);
    line.packet(1020, 51);
    assert!(line.left().ends_with('1'));
    line.packet(1040, 52);
    assert_eq!(line.left(), "2");
}

#[test]
fn before_the_answer_nothing_leaves_and_numbers_are_noted() {
    let mut buffer = Buffer::new(Config::default());
    let t0 = t0();
    let incoming = |sequence| Incoming {
        sequence,
        timestamp: RtpTimestamp(0),
        content: Content::Audio { samples: 1 },
        payload: &[1],
        discontinuity: false,
    };
    buffer.handle(t0, &incoming(7));
    assert_eq!(buffer.poll(t0), None);
    assert_eq!(buffer.poll_timeout(), None);
    buffer.start(t0);
    buffer.handle(t0, &incoming(7));
    assert_eq!(buffer.poll(t0), None, "it came before the answer");
    buffer.handle(t0, &incoming(8));
    assert_eq!(buffer.poll(t0), Some(Playout::Audio(&[1])));
}

#[test]
fn a_line_without_packets_gets_noise_from_the_answer_on() {
    let mut line = Line::new();
    line.at(1000);
    let frames = line.left().matches('~').count();
    assert!((46..=47).contains(&frames), "{frames}");
    // The first packet finds the timeline near the clock.
    line.packet(1003, 5);
    let left = line.left();
    assert_eq!(frames + left.matches('~').count(), 49);
    assert!(left.ends_with('5'), "{left}");
}

#[test]
fn a_packet_too_long_is_dropped_and_its_place_is_a_hole() {
    let mut line = Line::new();
    line.packet(0, 0);
    line.raw(
        20,
        1,
        160,
        Content::Audio {
            samples: MAX_PAYLOAD + 1,
        },
    );
    assert_eq!(line.buffer.stats().overflow, 1);
    line.packet(40, 2).at(100);
    assert_eq!(line.left(), "0-2");
}
