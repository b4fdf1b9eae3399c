//! Who has to go when there are too many. Time comes in as an argument; nothing here knows a socket.
//!
//! First go those that never said anything, TLS handshakes under way among them, then those that did, last those that
//! calls came or went by; among equals the one that has been silent for longest. A source (an address, or a network
//! of IPv6) past its own limit loses one of its own, so that it cannot take another's place; behind one address, who
//! speaks outlasts who does not.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// A connection, by a number that is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ConnectionId(pub(super) u64);

/// What a connection is worth, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worth {
    /// It never brought a message.
    Silent,
    /// It brought one.
    Spoke,
    /// A call goes by it, or we opened it.
    Needed,
}

/// The first of these goes first.
type Rank = (Worth, Instant, ConnectionId);

/// Activity is noted this often, which is exact enough for choosing and cheap on a busy connection.
const GRAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Member {
    rank: Rank,
    /// `None` for those we opened.
    source: Option<IpAddr>,
}

/// All connections, in the order in which they would have to go.
#[derive(Debug)]
pub(super) struct Census {
    total: usize,
    per_source: usize,
    members: HashMap<ConnectionId, Member>,
    order: BTreeSet<Rank>,
    sources: HashMap<IpAddr, BTreeSet<Rank>>,
}

impl Census {
    /// At least one connection, and one per source, is always allowed.
    pub(super) fn new(total: usize, per_source: usize) -> Self {
        Self {
            total: total.max(1),
            per_source: per_source.max(1),
            members: HashMap::new(),
            order: BTreeSet::new(),
            sources: HashMap::new(),
        }
    }

    /// Takes a connection in.
    ///
    /// * `from`: where it came from; `None`: we open it.
    /// * returns the one that has to go for it, no longer counted.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        id: ConnectionId,
        from: Option<IpAddr>,
    ) -> Option<ConnectionId> {
        let source = from.map(source_of);
        let of_source = source.and_then(|source| self.sources.get(&source));
        let full = of_source.filter(|own| own.len() >= self.per_source);
        let victim = match full {
            Some(own) => own.first().copied(),
            None if self.members.len() >= self.total => self.order.first().copied(),
            None => None,
        };
        let victim = victim.map(|(_, _, id)| id);
        if let Some(victim) = victim {
            self.remove(victim);
        }
        let worth = if source.is_some() {
            Worth::Silent
        } else {
            Worth::Needed
        };
        self.insert(
            id,
            Member {
                rank: (worth, now, id),
                source,
            },
        );
        victim
    }

    /// It did something; it is worth at least this much from now on.
    pub(super) fn note(&mut self, now: Instant, id: ConnectionId, worth: Worth) {
        let Some(member) = self.members.get(&id) else {
            return;
        };
        let (old, last, _) = member.rank;
        let worth = old.max(worth);
        if worth == old && now < last + GRAIN {
            return;
        }
        if let Some(mut member) = self.remove(id) {
            member.rank = (worth, now, id);
            self.insert(id, member);
        }
    }

    /// Forgets one that is gone.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        self.remove(id);
    }

    /// The one that has to go when there is no room at all; never one that is needed.
    pub(super) fn expendable(&mut self) -> Option<ConnectionId> {
        let (worth, _, id) = *self.order.first()?;
        (worth < Worth::Needed).then(|| {
            self.remove(id);
            id
        })
    }

    /// Those that did nothing since `then`, longest first.
    pub(super) fn idle_since(&self, then: Instant) -> Vec<ConnectionId> {
        self.order
            .iter()
            .filter(|(_, last, _)| *last <= then)
            .map(|(_, _, id)| *id)
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    fn insert(&mut self, id: ConnectionId, member: Member) {
        self.order.insert(member.rank);
        if let Some(source) = member.source {
            self.sources.entry(source).or_default().insert(member.rank);
        }
        self.members.insert(id, member);
    }

    fn remove(&mut self, id: ConnectionId) -> Option<Member> {
        let member = self.members.remove(&id)?;
        self.order.remove(&member.rank);
        if let Some(source) = member.source
            && let Some(own) = self.sources.get_mut(&source)
        {
            own.remove(&member.rank);
            if own.is_empty() {
                self.sources.remove(&source);
            }
        }
        Some(member)
    }
}

/// Whom an address counts for: itself, or the network of 64 bits that one IPv6 host has to itself.
fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test's epoch")]
    fn t0() -> Instant {
        Instant::now()
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    const fn id(number: u64) -> ConnectionId {
        ConnectionId(number)
    }

    #[test]
    fn the_oldest_silent_one_goes_and_the_newest_is_never_refused() {
        let (mut census, t0) = (Census::new(3, 3), t0());
        for number in 0..3 {
            let source = Some(ip(u8::try_from(number).unwrap()));
            assert_eq!(census.admit(t0 + s(number), id(number), source), None);
        }
        census.note(t0 + s(3), id(0), Worth::Spoke);
        assert_eq!(census.admit(t0 + s(4), id(3), Some(ip(9))), Some(id(1)));
        assert_eq!(census.admit(t0 + s(5), id(4), Some(ip(9))), Some(id(2)));
        assert_eq!(census.len(), 3);
    }

    #[test]
    fn a_source_past_its_limit_loses_one_of_its_own() {
        let (mut census, t0) = (Census::new(100, 2), t0());
        census.admit(t0, id(0), Some(ip(1)));
        for number in 1..1_000 {
            let gone = census.admit(t0 + s(number), id(number), Some(ip(2)));
            assert_eq!(gone, (number > 2).then(|| id(number - 2)));
        }
        assert_eq!(census.len(), 3, "the other source kept its connection");
    }

    #[test]
    fn behind_one_address_who_speaks_outlasts_thousands_who_do_not() {
        let (mut census, t0) = (Census::new(100, 10), t0());
        census.admit(t0, id(0), Some(ip(1)));
        census.note(t0, id(0), Worth::Spoke);
        for number in 1..5_000 {
            assert_ne!(
                census.admit(t0 + s(number), id(number), Some(ip(1))),
                Some(id(0))
            );
        }
    }

    #[test]
    fn a_call_outlasts_chatter_and_when_all_have_calls_the_quietest_goes() {
        let (mut census, t0) = (Census::new(3, 3), t0());
        for number in 0..3 {
            census.admit(t0, id(number), Some(ip(1)));
            census.note(t0, id(number), Worth::Needed);
        }
        census.note(t0 + s(10), id(0), Worth::Spoke);
        assert_eq!(census.admit(t0 + s(20), id(3), Some(ip(1))), Some(id(1)));
        census.note(t0 + s(21), id(3), Worth::Spoke);
        assert_eq!(census.admit(t0 + s(22), id(4), Some(ip(1))), Some(id(3)));
        census.note(t0 + s(22), id(4), Worth::Needed);
        assert_eq!(census.admit(t0 + s(23), id(5), Some(ip(1))), Some(id(2)));
    }

    #[test]
    fn an_ipv6_host_is_its_network_and_a_mapped_address_is_ipv4() {
        let v6 = |text: &str| source_of(text.parse().unwrap());
        assert_eq!(v6("2001:db8::1:2:3:4"), v6("2001:db8::9"));
        assert_ne!(v6("2001:db8::1"), v6("2001:db8:0:1::1"));
        assert_eq!(v6("::ffff:192.0.2.7"), ip(7));
    }

    #[test]
    fn what_we_open_counts_in_all_and_for_no_source_and_is_never_expendable() {
        let (mut census, t0) = (Census::new(2, 1), t0());
        assert_eq!(census.admit(t0, id(0), None), None);
        assert_eq!(census.admit(t0, id(1), None), None);
        assert_eq!(census.expendable(), None);
        assert_eq!(census.admit(t0, id(2), None), Some(id(0)));
        census.forget(id(1));
        assert_eq!(census.admit(t0, id(3), Some(ip(1))), None);
        assert_eq!(census.expendable(), Some(id(3)));
        assert_eq!(census.len(), 1);
    }

    #[test]
    fn idle_ones_are_found_whatever_they_are_worth() {
        let (mut census, t0) = (Census::new(9, 9), t0());
        for number in 0..3 {
            census.admit(t0, id(number), Some(ip(1)));
        }
        census.note(t0 + s(60), id(0), Worth::Needed);
        census.note(t0 + s(5), id(1), Worth::Needed);
        assert_eq!(census.idle_since(t0 + s(5)), [id(2), id(1)]);
    }

    #[test]
    fn a_busy_connection_is_noted_once_a_second() {
        let (mut census, t0) = (Census::new(9, 9), t0());
        census.admit(t0, id(0), Some(ip(1)));
        census.note(t0, id(0), Worth::Spoke);
        census.note(t0 + s(1) / 2, id(0), Worth::Spoke);
        assert_eq!(census.idle_since(t0), [id(0)]);
        census.note(t0 + s(1), id(0), Worth::Spoke);
        assert_eq!(census.idle_since(t0), []);
    }
}
