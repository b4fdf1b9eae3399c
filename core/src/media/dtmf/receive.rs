//! Telephone events in (RFC 4733 §2.5.2): each press is reported once, whatever was lost or repeated.
//!
//! A press is known by its timestamp and event code. It ends with the first E packet, with another press, or when
//! nothing of it came for 100 ms.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::digit_of;
use crate::media::jitter::wire_duration;
use crate::media::rtp::packet::{Packet, RtpTimestamp};

/// No packet of a press for this long ends it: five updates at the usual pace.
const CLOSE_AFTER: Duration = Duration::from_millis(100);
/// In-band sound is muted this long after a press: its tone outlasts the event.
const GUARD: Duration = Duration::from_millis(40);
/// Presses not yet taken; a flood beyond it is dropped.
const WAITING: usize = 32;

/// One key, pressed and released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Press {
    /// `0-9 * # A-D`.
    pub digit: char,
    /// How long, as far as it was seen.
    pub duration: Duration,
    /// Media time of its first packet.
    pub at: Duration,
}

/// The receiver of one caller's events.
#[derive(Debug, Clone, Default)]
pub struct Receiver {
    held: Option<Held>,
    /// The press reported last: its repeats say nothing new.
    done: Option<Done>,
    released: Option<Instant>,
    ready: VecDeque<Press>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    event: u8,
    timestamp: RtpTimestamp,
    /// Samples of segments before this one (RFC 4733 §2.5.1.3).
    before: u64,
    duration: u16,
    at: Duration,
    seen: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Done {
    event: u8,
    timestamp: RtpTimestamp,
    duration: u16,
}

impl Receiver {
    /// A telephone-event packet.
    ///
    /// * `at`: media time now.
    pub fn handle(&mut self, now: Instant, at: Duration, packet: &Packet<'_>) {
        let [event, flags, high, low, ..] = *packet.payload else {
            return;
        };
        if digit_of(event).is_none() {
            return;
        }
        let duration = u16::from_be_bytes([high, low]);
        let end = flags & 0x80 != 0;
        if self.is_old(event, packet, duration) {
            return;
        }
        match &mut self.held {
            Some(held) if held.event == event && held.timestamp == packet.timestamp => {
                held.duration = held.duration.max(duration);
                held.seen = now;
            }
            Some(held) if held.continues(event, packet) => {
                held.before += u64::from(held.duration);
                held.timestamp = packet.timestamp;
                held.duration = duration;
                held.seen = now;
            }
            _ => {
                self.release(now);
                self.held = Some(Held {
                    event,
                    timestamp: packet.timestamp,
                    before: 0,
                    duration,
                    at,
                    seen: now,
                });
            }
        }
        if end {
            self.release(now);
        }
    }

    /// Ends a press that nothing more came of.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|due| due <= now) {
            self.release(now);
        }
    }

    /// When a press would be taken for ended.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.held.map(|held| held.seen + CLOSE_AFTER)
    }

    /// The next press.
    pub fn poll(&mut self) -> Option<Press> {
        self.ready.pop_front()
    }

    /// Whether in-band sound may still be the tone of a press.
    pub fn mutes(&self, now: Instant) -> bool {
        self.held.is_some()
            || self
                .released
                .is_some_and(|released| now.saturating_duration_since(released) < GUARD)
    }

    /// Repeats of a reported press, what was overtaken, and a long press that was already taken for ended.
    fn is_old(&self, event: u8, packet: &Packet<'_>, duration: u16) -> bool {
        if let Some(held) = &self.held
            && packet.timestamp.since(held.timestamp) < 0
        {
            return true;
        }
        let Some(done) = &self.done else { return false };
        let since = packet.timestamp.since(done.timestamp);
        let same = event == done.event;
        let repeated = same && since == 0;
        let overtaken = (-800_000..0).contains(&since);
        let goes_on = same
            && !packet.marker
            && since > 0
            && since == i32::from(done.duration)
            && duration > 0
            && done.duration > 0xf000;
        repeated || overtaken || goes_on
    }

    fn release(&mut self, now: Instant) {
        let Some(held) = self.held.take() else { return };
        self.released = Some(now);
        self.done = Some(Done {
            event: held.event,
            timestamp: held.timestamp,
            duration: held.duration,
        });
        if let Some(digit) = digit_of(held.event)
            && self.ready.len() < WAITING
        {
            self.ready.push_back(Press {
                digit,
                duration: wire_duration(held.before + u64::from(held.duration)),
                at: held.at,
            });
        }
    }
}

impl Held {
    /// The next segment of a press longer than 16 bits of duration.
    fn continues(&self, event: u8, packet: &Packet<'_>) -> bool {
        self.event == event
            && !packet.marker
            && self.duration > 0xf000
            && packet.timestamp.since(self.timestamp) > 0
            && packet.timestamp.since(self.timestamp) <= 0x1_0000
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::rtp::packet::SeqNo;
    use crate::testing::t0;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// Feeds `(ms, event, timestamp, duration, end, marker)`.
    fn feed(receiver: &mut Receiver, t0: Instant, packets: &[(u64, u8, u32, u16, bool, bool)]) {
        for (ms, event, timestamp, duration, end, marker) in packets {
            let [high, low] = duration.to_be_bytes();
            let payload = [*event, if *end { 0x8a } else { 0x0a }, high, low];
            let packet = Packet {
                marker: *marker,
                payload_type: 101,
                seq: SeqNo(0),
                timestamp: RtpTimestamp(*timestamp),
                ssrc: 1,
                payload: &payload,
            };
            receiver.handle_timeout(t0 + MS(*ms));
            receiver.handle(t0 + MS(*ms), MS(*ms), &packet);
        }
    }

    fn presses(receiver: &mut Receiver) -> Vec<(char, u64)> {
        std::iter::from_fn(|| receiver.poll())
            .map(|press| {
                (
                    press.digit,
                    u64::try_from(press.duration.as_millis()).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn a_press_is_reported_once_with_its_duration() {
        let (mut receiver, t0) = (Receiver::default(), t0());
        let mut packets: Vec<_> = (1..=8_u16)
            .map(|n| (u64::from(n) * 20, 5, 1000, n * 160, false, n == 1))
            .collect();
        packets.extend([(180, 5, 1000, 1280, true, false); 3]);
        feed(&mut receiver, t0, &packets);
        let press = receiver.poll().unwrap();
        assert_eq!(
            (press.digit, press.duration, press.at),
            ('5', MS(160), MS(20))
        );
        assert_eq!(receiver.poll(), None);
        assert_eq!(receiver.poll_timeout(), None);
    }

    #[test]
    fn the_start_the_marker_or_all_but_one_end_may_be_lost() {
        let (mut receiver, t0) = (Receiver::default(), t0());
        feed(&mut receiver, t0, &[(0, 1, 1000, 1280, true, false)]);
        feed(
            &mut receiver,
            t0,
            &[
                (300, 1, 4000, 480, false, false),
                (340, 1, 4000, 800, true, false),
            ],
        );
        assert_eq!(presses(&mut receiver), [('1', 160), ('1', 100)]);
    }

    #[test]
    fn a_lost_end_is_noticed_after_a_hundred_milliseconds() {
        let (mut receiver, t0) = (Receiver::default(), t0());
        feed(
            &mut receiver,
            t0,
            &[
                (0, 11, 1000, 160, false, true),
                (20, 11, 1000, 320, false, false),
            ],
        );
        assert_eq!(receiver.poll_timeout(), Some(t0 + MS(120)));
        receiver.handle_timeout(t0 + MS(119));
        assert_eq!(receiver.poll(), None);
        receiver.handle_timeout(t0 + MS(120));
        assert_eq!(presses(&mut receiver), [('#', 40)]);
        feed(&mut receiver, t0, &[(400, 11, 1000, 1600, true, false)]);
        assert_eq!(presses(&mut receiver), [], "its end was only late");
    }

    #[test]
    fn the_next_press_ends_the_one_before() {
        let (mut receiver, t0) = (Receiver::default(), t0());
        feed(
            &mut receiver,
            t0,
            &[
                (0, 1, 1000, 160, false, true),
                (60, 1, 2000, 160, true, true),
            ],
        );
        assert_eq!(presses(&mut receiver), [('1', 20), ('1', 20)]);
    }

    #[test]
    fn packets_that_were_overtaken_change_nothing() {
        let (mut receiver, t0) = (Receiver::default(), t0());
        feed(
            &mut receiver,
            t0,
            &[
                (0, 1, 1000, 800, true, true),
                (10, 1, 1000, 640, false, false),
                (20, 2, 3000, 160, false, true),
                (25, 1, 1000, 800, true, false),
                (30, 2, 3000, 320, true, false),
                (31, 2, 3000, 160, false, true),
            ],
        );
        assert_eq!(presses(&mut receiver), [('1', 100), ('2', 40)]);
    }

    #[test]
    fn a_press_of_ten_seconds_is_one_press() {
        let (mut receiver, t0) = (Receiver::default(), t0());
        let mut packets = Vec::new();
        for n in 1..=500_u32 {
            let (timestamp, duration) = if n <= 409 {
                (1000, n * 160)
            } else {
                (1000 + 409 * 160, (n - 409) * 160)
            };
            let duration = u16::try_from(duration).unwrap();
            packets.push((u64::from(n) * 20, 9, timestamp, duration, n == 500, n == 1));
        }
        feed(&mut receiver, t0, &packets);
        assert_eq!(presses(&mut receiver), [('9', 10_000)]);
    }

    #[test]
    fn sound_is_muted_while_a_key_is_down_and_a_little_longer() {
        let (mut receiver, t0) = (Receiver::default(), t0());
        assert!(!receiver.mutes(t0));
        feed(&mut receiver, t0, &[(0, 1, 1000, 160, false, true)]);
        assert!(receiver.mutes(t0 + MS(50)));
        feed(&mut receiver, t0, &[(60, 1, 1000, 480, true, false)]);
        assert!(receiver.mutes(t0 + MS(99)));
        assert!(!receiver.mutes(t0 + MS(100)));
    }

    #[test]
    fn short_and_strange_events_are_ignored_and_floods_are_bounded() {
        let (mut receiver, t0) = (Receiver::default(), t0());
        feed(
            &mut receiver,
            t0,
            &[
                (0, 16, 1000, 160, true, true),
                (0, 200, 1000, 160, true, true),
            ],
        );
        let mut empty = Packet {
            marker: true,
            payload_type: 101,
            seq: SeqNo(0),
            timestamp: RtpTimestamp(0),
            ssrc: 1,
            payload: &[],
        };
        receiver.handle(t0, MS(0), &empty);
        empty.payload = &[1, 2, 3];
        receiver.handle(t0, MS(0), &empty);
        assert_eq!(presses(&mut receiver), []);
        let flood: Vec<_> = (0..10_000_u32)
            .map(|n| (0, 1, n * 160, 160, true, true))
            .collect();
        feed(&mut receiver, t0, &flood);
        assert_eq!(presses(&mut receiver).len(), WAITING);
    }
}
