//! Symmetric RTP: whose packets are the caller's, and where ours go.
//!
//! SDP names an address, but behind a NAT packets come from another port of it (or of the signalling peer).
//! Following any source would let whoever guesses the port steal the call ("RTP bleed"), so the rules are narrow:
//!
//! * what comes from the address in use is taken;
//! * under [`LatchPolicy::Nat`] another *port* of exactly the SDP's or the signalling peer's IP is learned after
//!   four plausible packets, and only while the source in use is silent;
//! * anything else is refused, forever: no packet in, no packet out.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Plausible packets in a row from one source before it is learned.
const CONSISTENT: u8 = 4;
/// A source that was heard this recently is not replaced.
const SILENT_AFTER: Duration = Duration::from_secs(2);
/// A candidate's packets count together when no more than this lies between two.
const CANDIDATE_PATIENCE: Duration = Duration::from_millis(500);
/// Ports watched at a time; a flood from many ports cannot keep a real one from being learned for long.
const CANDIDATES: usize = 4;

/// What may be learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LatchPolicy {
    /// Another port of the SDP's or the signalling peer's exact IP.
    #[default]
    Nat,
    /// Nothing: the SDP's address and port only.
    Strict,
}

/// What to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is the caller's.
    Take,
    /// Drop it and count it.
    Refuse,
}

/// The source in use and the candidates for another.
#[derive(Debug, Clone)]
pub struct Latch {
    policy: LatchPolicy,
    sdp: SocketAddr,
    signalling: IpAddr,
    current: SocketAddr,
    heard: Option<Instant>,
    candidates: [Option<Candidate>; CANDIDATES],
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    from: SocketAddr,
    packets: u8,
    last: Instant,
}

impl Latch {
    /// A latch on the address in the peer's SDP.
    ///
    /// * `signalling_ip`: where the peer's SIP came from.
    pub fn new(policy: LatchPolicy, sdp: SocketAddr, signalling_ip: IpAddr) -> Self {
        let sdp = canonical(sdp);
        Self {
            policy,
            sdp,
            signalling: signalling_ip.to_canonical(),
            current: sdp,
            heard: None,
            candidates: [None; CANDIDATES],
        }
    }

    /// Whether a packet is the caller's.
    ///
    /// * `plausible`: it parsed, and its payload type is one we negotiated; under SRTP also that it authenticated.
    pub fn admit(&mut self, now: Instant, from: SocketAddr, plausible: bool) -> Admission {
        let from = canonical(from);
        if from == self.current {
            if plausible {
                self.heard = Some(now);
            }
            return Admission::Take;
        }
        if !plausible || !self.may_learn(from) || self.is_heard(now) {
            return Admission::Refuse;
        }
        if self.count(now, from) < CONSISTENT {
            return Admission::Refuse;
        }
        self.current = from;
        self.heard = Some(now);
        self.candidates = [None; CANDIDATES];
        Admission::Take
    }

    /// Where our packets go.
    pub fn destination(&self) -> SocketAddr {
        self.current
    }

    /// The peer named an address in a new offer or answer. The one it named before changes nothing: a learned
    /// port stays learned over a re-INVITE that repeats the SDP.
    pub fn renegotiated(&mut self, sdp: SocketAddr) {
        let sdp = canonical(sdp);
        if sdp == self.sdp {
            return;
        }
        self.sdp = sdp;
        self.current = sdp;
        self.heard = None;
        self.candidates = [None; CANDIDATES];
    }

    fn may_learn(&self, from: SocketAddr) -> bool {
        match self.policy {
            LatchPolicy::Nat => from.ip() == self.sdp.ip() || from.ip() == self.signalling,
            LatchPolicy::Strict => false,
        }
    }

    fn is_heard(&self, now: Instant) -> bool {
        self.heard
            .is_some_and(|heard| now.saturating_duration_since(heard) < SILENT_AFTER)
    }

    /// Counts a candidate's packet; a stranger takes a free place, or that of the one silent for longest.
    fn count(&mut self, now: Instant, from: SocketAddr) -> u8 {
        let known = self
            .candidates
            .iter_mut()
            .flatten()
            .find(|candidate| candidate.from == from);
        if let Some(candidate) = known {
            if now.saturating_duration_since(candidate.last) > CANDIDATE_PATIENCE {
                candidate.packets = 0;
            }
            candidate.packets = candidate.packets.saturating_add(1);
            candidate.last = now;
            return candidate.packets;
        }
        let place = self
            .candidates
            .iter_mut()
            .min_by_key(|place| place.map(|candidate| candidate.last));
        if let Some(place) = place {
            *place = Some(Candidate {
                from,
                packets: 1,
                last: now,
            });
        }
        1
    }
}

/// A socket for both families reports IPv4 peers as `::ffff:a.b.c.d`; SDP does not.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::t0;

    const SDP: &str = "198.51.100.7:4000";

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// Sends `packets` plausible ones, 20 ms apart from `at` ms on; returns how many were taken.
    fn spray(latch: &mut Latch, t0: Instant, at: u64, from: &str, packets: u64) -> usize {
        (0..packets)
            .filter(|n| {
                let now = t0 + Duration::from_millis(at + n * 20);
                latch.admit(now, addr(from), true) == Admission::Take
            })
            .count()
    }

    fn nat() -> Latch {
        Latch::new(LatchPolicy::Nat, addr(SDP), addr("203.0.113.9:5060").ip())
    }

    #[test]
    fn the_address_in_the_sdp_is_taken_from_the_first_packet() {
        let mut latch = nat();
        assert_eq!(spray(&mut latch, t0(), 0, SDP, 3), 3);
        assert_eq!(latch.destination(), addr(SDP));
    }

    #[test]
    fn another_port_of_the_sdps_ip_is_learned_at_the_fourth_packet() {
        let mut latch = nat();
        assert_eq!(spray(&mut latch, t0(), 0, "198.51.100.7:61000", 3), 0);
        assert_eq!(latch.destination(), addr(SDP));
        assert_eq!(spray(&mut latch, t0(), 60, "198.51.100.7:61000", 5), 5);
        assert_eq!(latch.destination(), addr("198.51.100.7:61000"));
    }

    #[test]
    fn the_signalling_peers_ip_is_learned_when_the_sdp_names_a_private_one() {
        let mut latch = Latch::new(
            LatchPolicy::Nat,
            addr("192.168.1.5:4000"),
            addr("203.0.113.9:5060").ip(),
        );
        assert_eq!(spray(&mut latch, t0(), 0, "203.0.113.9:1234", 10), 7);
        assert_eq!(latch.destination(), addr("203.0.113.9:1234"));
    }

    #[test]
    fn a_third_address_gets_nothing_in_and_nothing_out_however_long_it_tries() {
        let (mut latch, t0) = (nat(), t0());
        assert_eq!(spray(&mut latch, t0, 0, "198.51.100.8:4000", 10_000), 0);
        assert_eq!(
            spray(&mut latch, t0, 300_000, "[2001:db8::1]:4000", 1_000),
            0
        );
        assert_eq!(latch.destination(), addr(SDP));
        assert_eq!(spray(&mut latch, t0, 400_000, SDP, 1), 1);
    }

    #[test]
    fn a_talking_source_is_not_replaced_by_its_own_ip() {
        let (mut latch, t0) = (nat(), t0());
        for n in 0..200 {
            assert_eq!(spray(&mut latch, t0, n * 20, SDP, 1), 1);
            assert_eq!(spray(&mut latch, t0, n * 20 + 5, "198.51.100.7:9", 1), 0);
        }
        assert_eq!(latch.destination(), addr(SDP));
    }

    #[test]
    fn after_two_silent_seconds_another_port_may_be_learned() {
        let (mut latch, t0) = (nat(), t0());
        spray(&mut latch, t0, 0, SDP, 50);
        assert_eq!(spray(&mut latch, t0, 1_000, "198.51.100.7:9", 90), 0);
        assert!(spray(&mut latch, t0, 3_000, "198.51.100.7:9", 90) > 80);
        assert_eq!(latch.destination(), addr("198.51.100.7:9"));
    }

    #[test]
    fn strict_learns_nothing() {
        let mut latch = Latch::new(LatchPolicy::Strict, addr(SDP), addr(SDP).ip());
        assert_eq!(spray(&mut latch, t0(), 0, "198.51.100.7:4001", 1_000), 0);
        assert_eq!(spray(&mut latch, t0(), 0, SDP, 1), 1);
    }

    #[test]
    fn implausible_packets_teach_nothing() {
        let (mut latch, t0) = (nat(), t0());
        for n in 0..100 {
            let now = t0 + Duration::from_millis(n * 20);
            let admission = latch.admit(now, addr("198.51.100.7:9"), false);
            assert_eq!(admission, Admission::Refuse);
        }
    }

    #[test]
    fn rare_packets_are_not_consistent() {
        let (mut latch, t0) = (nat(), t0());
        for second in 0..20 {
            assert_eq!(
                spray(&mut latch, t0, second * 1_000, "198.51.100.7:9", 2),
                0
            );
        }
    }

    #[test]
    fn a_port_scan_from_the_right_ip_does_not_keep_the_phone_out() {
        let (mut latch, t0) = (nat(), t0());
        let mut taken = 0;
        for n in 0..100_u64 {
            spray(
                &mut latch,
                t0,
                n * 20,
                &format!("198.51.100.7:{}", 10_000 + n),
                1,
            );
            taken += spray(&mut latch, t0, n * 20 + 1, "198.51.100.7:9", 1);
        }
        assert!(taken > 90, "{taken}");
    }

    #[test]
    fn mapped_ipv4_is_ipv4() {
        let mut latch = nat();
        assert_eq!(
            spray(&mut latch, t0(), 0, "[::ffff:198.51.100.7]:4000", 1),
            1
        );
    }

    #[test]
    fn a_new_sdp_moves_us_and_the_same_sdp_does_not() {
        let (mut latch, t0) = (nat(), t0());
        spray(&mut latch, t0, 0, "198.51.100.7:9", 5);
        latch.renegotiated(addr(SDP));
        assert_eq!(latch.destination(), addr("198.51.100.7:9"));
        latch.renegotiated(addr("198.51.100.20:6000"));
        assert_eq!(latch.destination(), addr("198.51.100.20:6000"));
        assert_eq!(spray(&mut latch, t0, 100, "198.51.100.7:9", 20), 0);
    }
}
