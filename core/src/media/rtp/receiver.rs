//! What a receiver keeps of one peer (RFC 3550 §6.4.1, appendix A): numbering, duplicates, jitter, whose source it is.
//!
//! A new synchronisation source, like a jump of the sequence, counts only when a second packet follows it, so that
//! one stray packet cannot reset a call. The first of the two is not lost: the caller holds it ([`Verdict::Hold`])
//! and uses it when told ([`Verdict::Restarted`]).

use std::time::{Duration, Instant};

use super::packet::{Packet, SeqNo};
use super::sequence::{Order, Sequence};

/// For this long after a change, packets of the source before it are stragglers.
const STRAGGLERS: Duration = Duration::from_secs(2);
/// A new source's second packet may skip this many.
const NEW_SOURCE_SKIP: u16 = 8;

/// What to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Use it, at this place in the endless numbering.
    Accept {
        /// Extended sequence number; gapless where nothing is lost.
        sequence: u64,
    },
    /// Keep it aside: whether it counts depends on the next one. Replaces whatever was held.
    Hold,
    /// The held packet counts, at `sequence - 1`, and so does this one; timestamps start anew.
    Restarted {
        /// Extended sequence number of this packet.
        sequence: u64,
    },
    /// Seen before.
    Duplicate,
    /// Of a source that was replaced.
    Stale,
}

/// Counters, never reset; what arrived is what was accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stats {
    /// Packets accepted.
    pub received: u64,
    /// Payload octets accepted.
    pub octets: u64,
    /// Never came (so far): expected less received.
    pub lost: u64,
    /// Came twice.
    pub duplicates: u64,
    /// Came behind a later one.
    pub reordered: u64,
    /// Changes of the synchronisation source.
    pub source_changes: u64,
    /// Restarts of the numbering within one source.
    pub sequence_jumps: u64,
    /// Packets of replaced sources, and held ones that nothing followed.
    pub stale: u64,
}

/// One peer's stream.
#[derive(Debug, Clone, Default)]
pub struct Receiver {
    source: Option<u32>,
    sequence: Sequence,
    previous: Option<(u32, Instant)>,
    candidate: Option<(u32, SeqNo)>,
    jitter: Jitter,
    stats: Stats,
}

impl Receiver {
    /// Places a packet.
    ///
    /// * `timed`: its timestamp is that of its sending; not so for telephone events.
    pub fn handle(&mut self, now: Instant, packet: &Packet<'_>, timed: bool) -> Verdict {
        match self.source {
            None => self.source = Some(packet.ssrc),
            Some(source) if source != packet.ssrc => return self.other_source(now, packet),
            Some(_) => {
                if self.candidate.take().is_some() {
                    self.stats.stale += 1;
                }
            }
        }
        let verdict = self.place(packet);
        if timed && matches!(verdict, Verdict::Accept { .. }) {
            self.jitter.observe(now, packet);
        }
        verdict
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub fn jitter(&self) -> Duration {
        Duration::from_secs_f64(self.jitter.estimate / 8000.0)
    }

    /// The source whose packets are accepted.
    pub fn source(&self) -> Option<u32> {
        self.source
    }

    fn place(&mut self, packet: &Packet<'_>) -> Verdict {
        match self.sequence.place(packet.seq) {
            Order::Newest { sequence, skipped } => {
                self.accepted(packet);
                self.stats.lost += skipped;
                Verdict::Accept { sequence }
            }
            Order::Reordered { sequence } => {
                self.accepted(packet);
                self.stats.reordered += 1;
                self.stats.lost = self.stats.lost.saturating_sub(1);
                Verdict::Accept { sequence }
            }
            Order::Duplicate => {
                self.stats.duplicates += 1;
                Verdict::Duplicate
            }
            Order::Jumped => Verdict::Hold,
            Order::Restarted { sequence } => {
                self.stats.sequence_jumps += 1;
                self.restarted(packet, sequence)
            }
        }
    }

    fn other_source(&mut self, now: Instant, packet: &Packet<'_>) -> Verdict {
        let straggler = self.previous.is_some_and(|(ssrc, since)| {
            ssrc == packet.ssrc && now.saturating_duration_since(since) < STRAGGLERS
        });
        if straggler {
            self.stats.stale += 1;
            return Verdict::Stale;
        }
        let confirmed = self.candidate.is_some_and(|(ssrc, seq)| {
            ssrc == packet.ssrc && (1..=NEW_SOURCE_SKIP).contains(&packet.seq.after(seq))
        });
        if !confirmed {
            if self.candidate.replace((packet.ssrc, packet.seq)).is_some() {
                self.stats.stale += 1;
            }
            return Verdict::Hold;
        }
        self.previous = self.source.map(|ssrc| (ssrc, now));
        self.source = Some(packet.ssrc);
        self.candidate = None;
        self.stats.source_changes += 1;
        match self.sequence.restart(packet.seq) {
            Order::Restarted { sequence } => self.restarted(packet, sequence),
            Order::Newest { .. } | Order::Reordered { .. } | Order::Duplicate | Order::Jumped => {
                Verdict::Hold
            }
        }
    }

    fn restarted(&mut self, packet: &Packet<'_>, sequence: u64) -> Verdict {
        self.jitter.last = None;
        self.accepted(packet);
        self.stats.received += 1; // the held one
        Verdict::Restarted { sequence }
    }

    fn accepted(&mut self, packet: &Packet<'_>) {
        self.stats.received += 1;
        self.stats.octets += packet.payload.len() as u64;
    }
}

/// The estimator of RFC 3550 appendix A.8, in timestamp units.
#[derive(Debug, Clone, Default)]
struct Jitter {
    last: Option<(Instant, super::packet::RtpTimestamp)>,
    estimate: f64,
}

impl Jitter {
    fn observe(&mut self, now: Instant, packet: &Packet<'_>) {
        if let Some((then, timestamp)) = self.last {
            let arrived = now.saturating_duration_since(then).as_secs_f64() * 8000.0;
            let sent = f64::from(packet.timestamp.since(timestamp));
            let difference = (arrived - sent).abs();
            // A pause of the sender's clock (its timestamp jumped) says nothing about the network.
            if difference < 8000.0 {
                self.estimate += (difference - self.estimate) / 16.0;
            }
        }
        self.last = Some((now, packet.timestamp));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::rtp::packet::RtpTimestamp;
    use crate::testing::t0;

    fn packet(ssrc: u32, seq: u16, timestamp: u32) -> Packet<'static> {
        Packet {
            marker: false,
            payload_type: 0,
            seq: SeqNo(seq),
            timestamp: RtpTimestamp(timestamp),
            ssrc,
            payload: &[0; 160],
        }
    }

    #[test]
    fn loss_shrinks_when_the_late_one_comes() {
        let (mut receiver, t0) = (Receiver::default(), t0());
        for seq in [1, 2, 5, 3, 3, 6] {
            receiver.handle(t0, &packet(1, seq, u32::from(seq) * 160), true);
        }
        let stats = receiver.stats();
        assert_eq!((stats.received, stats.lost), (5, 1));
        assert_eq!((stats.reordered, stats.duplicates), (1, 1));
        assert_eq!(stats.octets, 800);
    }

    #[test]
    fn jitter_settles_at_the_mean_deviation() {
        let (mut receiver, t0) = (Receiver::default(), t0());
        for n in 0..500_u16 {
            let late = if n % 2 == 0 { 0 } else { 8 };
            let now = t0 + Duration::from_millis(u64::from(n) * 20 + late);
            receiver.handle(now, &packet(1, n, u32::from(n) * 160), true);
        }
        let ms = receiver.jitter().as_secs_f64() * 1e3;
        assert!((ms - 8.0).abs() < 0.1, "{ms}");
    }

    #[test]
    fn events_with_a_standing_timestamp_are_no_jitter() {
        let (mut receiver, t0) = (Receiver::default(), t0());
        for n in 0..100_u16 {
            let now = t0 + Duration::from_millis(u64::from(n) * 20);
            receiver.handle(now, &packet(1, n, 5000), false);
        }
        assert_eq!(receiver.jitter(), Duration::ZERO);
    }

    #[test]
    fn a_new_source_counts_from_its_second_packet() {
        let (mut receiver, t0) = (Receiver::default(), t0());
        assert_eq!(
            receiver.handle(t0, &packet(1, 9, 0), true),
            Verdict::Accept { sequence: 100 }
        );
        assert_eq!(
            receiver.handle(t0, &packet(2, 500, 77), true),
            Verdict::Hold
        );
        assert_eq!(
            receiver.handle(t0, &packet(2, 501, 237), true),
            Verdict::Restarted { sequence: 102 }
        );
        assert_eq!(receiver.source(), Some(2));
        assert_eq!(
            receiver.handle(t0, &packet(1, 10, 160), true),
            Verdict::Stale
        );
        assert_eq!(
            receiver.handle(t0, &packet(2, 502, 397), true),
            Verdict::Accept { sequence: 103 }
        );
        assert_eq!(
            (receiver.stats().source_changes, receiver.stats().received),
            (1, 4)
        );
    }

    #[test]
    fn a_stranger_between_our_packets_never_takes_over() {
        let (mut receiver, t0) = (Receiver::default(), t0());
        for n in 0..100_u16 {
            let sequence = 100 + u64::from(n);
            let ours = receiver.handle(t0, &packet(1, n, 0), true);
            assert_eq!(ours, Verdict::Accept { sequence });
            assert_eq!(
                receiver.handle(t0, &packet(2, 7_000 + n, 0), true),
                Verdict::Hold
            );
        }
        assert_eq!(receiver.source(), Some(1));
        assert_eq!(receiver.stats().stale, 99);
    }

    #[test]
    fn a_sequence_jump_restarts_within_the_source() {
        let (mut receiver, t0) = (Receiver::default(), t0());
        receiver.handle(t0, &packet(1, 9, 0), true);
        assert_eq!(
            receiver.handle(t0, &packet(1, 40_000, 160), true),
            Verdict::Hold
        );
        assert_eq!(
            receiver.handle(t0, &packet(1, 40_001, 320), true),
            Verdict::Restarted { sequence: 102 }
        );
        assert_eq!(
            (receiver.stats().sequence_jumps, receiver.stats().lost),
            (1, 0)
        );
    }
}
