//! Servers that did not answer, or said 503, are left alone for a while (RFC 3263 §4.3, RFC 3261 §21.5.4).
//!
//! Left alone means last, not never: a call whose only way is a bad one still goes there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::sip::endpoint::{Flow, Transport};

/// Servers remembered; the one whose time ends first makes room.
const ENTRIES: usize = 1_024;
/// How long a server is left alone that was silent, or did not say how long.
const USUAL: Duration = Duration::from_secs(30);
/// The longest Retry-After believed: a mistake in it must not cost a server its day.
const LONGEST: Duration = Duration::from_mins(10);

/// Who is left alone, and until when.
#[derive(Debug, Default)]
pub struct Penalties {
    until: BTreeMap<(Transport, SocketAddr), Instant>,
}

impl Penalties {
    /// Leaves the far end of a flow alone: for what its Retry-After says, else half a minute.
    pub fn handle_failure(&mut self, now: Instant, flow: &Flow, retry_after: Option<Duration>) {
        let time = retry_after.unwrap_or(USUAL).min(LONGEST);
        let server = server(flow);
        if self.until.len() >= ENTRIES && !self.until.contains_key(&server) {
            self.make_room(now);
        }
        self.until.insert(server, now + time);
    }

    /// It answers again.
    pub fn handle_success(&mut self, flow: &Flow) {
        if !self.until.is_empty() {
            self.until.remove(&server(flow));
        }
    }

    /// Whether the far end of this flow is to be left alone.
    pub fn is_bad(&self, now: Instant, flow: &Flow) -> bool {
        let until = self.until.get(&server(flow));
        until.is_some_and(|until| *until > now)
    }

    /// Moves the bad ones behind the others; both keep their order.
    pub fn put_last(&self, now: Instant, ways: &mut [Flow]) {
        if !self.until.is_empty() {
            ways.sort_by_key(|flow| self.is_bad(now, flow));
        }
    }

    fn make_room(&mut self, now: Instant) {
        self.until.retain(|_, until| *until > now);
        if self.until.len() < ENTRIES {
            return;
        }
        let next = self.until.iter().min_by_key(|(_, until)| **until);
        if let Some(server) = next.map(|(server, _)| *server) {
            self.until.remove(&server);
        }
    }
}

/// A server is the same whichever of our sockets asked it.
fn server(flow: &Flow) -> (Transport, SocketAddr) {
    (flow.transport, flow.remote)
}

/// The seconds of a Retry-After, whatever comment or parameter follows them (RFC 3261 §20.33).
pub fn retry_after(value: &str) -> Option<Duration> {
    let value = value.trim();
    let end = value.bytes().position(|octet| !octet.is_ascii_digit());
    let (digits, rest) = value.split_at(end.unwrap_or(value.len()));
    let follows = rest.trim_start();
    let well_formed = follows.is_empty() || follows.starts_with(['(', ';']);
    if digits.is_empty() || !well_formed {
        return None;
    }
    // More digits than a number has seconds: very long.
    Some(Duration::from_secs(
        digits.parse().unwrap_or(u64::from(u32::MAX)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::t0;

    fn way(number: u16) -> Flow {
        Flow {
            transport: Transport::Udp,
            local: ([192, 0, 2, 1], 5060).into(),
            remote: ([192, 0, 2, 2], number).into(),
        }
    }

    #[test]
    fn a_bad_server_comes_last_until_its_time_is_over() {
        let t0 = t0();
        let mut penalties = Penalties::default();
        penalties.handle_failure(t0, &way(1), None);
        let order = |penalties: &Penalties, secs| {
            let mut ways = [way(1), way(2), way(3)];
            penalties.put_last(t0 + Duration::from_secs(secs), &mut ways);
            ways.map(|way| way.remote.port())
        };
        assert_eq!(order(&penalties, 0), [2, 3, 1]);
        assert_eq!(order(&penalties, 29), [2, 3, 1]);
        assert_eq!(order(&penalties, 30), [1, 2, 3]);
        penalties.handle_success(&way(1));
        assert_eq!(order(&penalties, 0), [1, 2, 3]);
    }

    #[test]
    fn it_is_the_server_that_is_bad_not_the_socket_it_was_asked_from() {
        let t0 = t0();
        let mut penalties = Penalties::default();
        penalties.handle_failure(t0, &way(1), None);
        let other_socket = Flow {
            local: ([192, 0, 2, 1], 6000).into(),
            ..way(1)
        };
        let other_transport = Flow {
            transport: Transport::Tcp,
            ..way(1)
        };
        assert!(penalties.is_bad(t0, &other_socket));
        assert!(!penalties.is_bad(t0, &other_transport));
    }

    #[test]
    fn retry_after_is_honoured_within_reason() {
        let t0 = t0();
        let mut penalties = Penalties::default();
        penalties.handle_failure(t0, &way(1), Some(Duration::from_mins(2)));
        penalties.handle_failure(t0, &way(2), Some(Duration::from_hours(9_999)));
        penalties.handle_failure(t0, &way(3), Some(Duration::ZERO));
        let bad = |secs, number| penalties.is_bad(t0 + Duration::from_secs(secs), &way(number));
        assert!(bad(119, 1) && !bad(120, 1));
        assert!(bad(599, 2) && !bad(600, 2));
        assert!(!bad(0, 3));
    }

    #[test]
    fn many_bad_servers_do_not_make_it_grow() {
        let t0 = t0();
        let mut penalties = Penalties::default();
        penalties.handle_failure(t0, &way(1), Some(Duration::from_mins(9)));
        for number in 2..2_500 {
            penalties.handle_failure(t0, &way(number), None);
        }
        assert_eq!(penalties.until.len(), ENTRIES);
        assert!(penalties.is_bad(t0, &way(1)) && penalties.is_bad(t0, &way(2_499)));
    }

    #[test]
    fn seconds_are_read_and_nonsense_is_not() {
        let seconds = |value| retry_after(value).map(|time| time.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 5 (maintenance);duration=3600"), Some(5));
        assert_eq!(seconds("5;duration=60"), Some(5));
        assert_eq!(
            seconds("99999999999999999999999"),
            Some(u64::from(u32::MAX))
        );
        for nonsense in ["", "soon", "-1", "5x", "1.5", "Sat, 21 Nov"] {
            assert_eq!(seconds(nonsense), None, "{nonsense}");
        }
    }
}
