//! The stream connections that are open, the names their peers proved, and who takes no streams.
//!
//! The shell tells of each connection once; the core asks when it chooses a way, and when it asks who calls.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::event::{Flow, Transport};
use super::ways::Ways;

/// A request of more octets goes by TCP rather than UDP: it might not fit the path (RFC 3261 §18.1.1).
const DATAGRAM: usize = 1_300;
/// How long a peer that refused TCP is not asked for it again.
const REFUSAL: Duration = Duration::from_mins(5);
/// Peers that refused, at most; one more and all are asked again.
const REFUSALS: usize = 1_024;

/// Every open connection by its flow: as many as the shell keeps open.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: HashMap<Flow, Vec<String>>,
    refused: HashMap<SocketAddr, Instant>,
}

impl Connections {
    /// A connection is open. Its flow may have had another before.
    pub(super) fn insert(&mut self, flow: &Flow, identity: Vec<String>) {
        self.refused.remove(&flow.remote);
        self.open.insert(*flow, identity);
    }

    /// It is gone.
    pub(super) fn remove(&mut self, flow: &Flow) {
        self.open.remove(flow);
    }

    /// The names that the certificate of this flow's peer was verified for, lower case; none when it showed none, or
    /// the flow is no TLS.
    pub(super) fn identity(&self, flow: &Flow) -> &[String] {
        self.open.get(flow).map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_open(&self, flow: &Flow) -> bool {
        self.open.contains_key(flow)
    }

    /// Nobody could be connected to there.
    pub(super) fn handle_refused(&mut self, now: Instant, flow: &Flow) {
        if flow.transport != Transport::Tcp {
            return;
        }
        if self.refused.len() >= REFUSALS {
            self.refused.clear();
        }
        self.refused.insert(flow.remote, now);
    }

    /// The ways of a request in a dialog: a connection that is gone is no way when there is another.
    pub(super) fn prefer_open(&self, mut ways: Ways) -> Ways {
        let flow = ways.flow();
        if flow.transport.is_reliable() && !self.is_open(&flow) {
            ways.advance();
        }
        ways
    }

    /// The ways of a request of so many octets: TCP before UDP for a large one, and UDP for when TCP is refused
    /// (§18.1.1).
    pub(super) fn by_size(&self, now: Instant, octets: usize, ways: Ways) -> Ways {
        let flow = ways.flow();
        let refused = self
            .refused
            .get(&flow.remote)
            .is_some_and(|at| now < *at + REFUSAL);
        if octets <= DATAGRAM || flow.transport.is_reliable() || refused {
            return ways;
        }
        Ways::only(Flow {
            transport: Transport::Tcp,
            ..flow
        })
        .then(ways)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::t0;

    fn flow(transport: Transport, port: u16) -> Flow {
        Flow {
            transport,
            local: "192.0.2.10:5060".parse().unwrap(),
            remote: ([203, 0, 113, 1], port).into(),
        }
    }

    fn list(mut ways: Ways) -> Vec<Flow> {
        let mut list = vec![ways.flow()];
        while ways.advance() {
            list.push(ways.flow());
        }
        list
    }

    #[test]
    fn a_peers_names_live_as_long_as_its_connection() {
        let flow = flow(Transport::Tls, 40_000);
        let mut connections = Connections::default();
        assert!(!connections.is_open(&flow));
        connections.insert(&flow, vec!["pbx.example.com".into()]);
        assert!(connections.is_open(&flow));
        assert_eq!(connections.open[&flow], ["pbx.example.com"]);
        connections.insert(&flow, Vec::new());
        let now = connections.open[&flow].is_empty();
        assert!(now, "another peer with the same ports is another peer");
        connections.remove(&flow);
        assert!(!connections.is_open(&flow));
    }

    #[test]
    fn a_large_request_goes_by_tcp_and_then_by_udp() {
        let connections = Connections::default();
        let (udp, tcp) = (flow(Transport::Udp, 5060), flow(Transport::Tcp, 5060));
        let ways = |octets| list(connections.by_size(t0(), octets, Ways::only(udp)));
        assert_eq!(ways(1_300), [udp]);
        assert_eq!(ways(1_301), [tcp, udp]);
        let tls = flow(Transport::Tls, 5061);
        assert_eq!(
            list(connections.by_size(t0(), 9_000, Ways::only(tls).then([udp]))),
            [tls, udp],
            "it is a stream already"
        );
    }

    #[test]
    fn a_peer_that_refused_tcp_is_left_alone_with_it_for_five_minutes() {
        let mut connections = Connections::default();
        let (udp, tcp) = (flow(Transport::Udp, 5060), flow(Transport::Tcp, 5060));
        let t0 = t0();
        connections.handle_refused(t0, &tcp);
        let first =
            |connections: &Connections, at| connections.by_size(at, 2_000, Ways::only(udp)).flow();
        assert_eq!(first(&connections, t0 + REFUSAL / 2), udp);
        assert_eq!(first(&connections, t0 + REFUSAL), tcp);
        connections.insert(&tcp, Vec::new());
        assert_eq!(first(&connections, t0), tcp, "it connected after all");
    }

    #[test]
    fn refusals_do_not_pile_up() {
        let mut connections = Connections::default();
        for port in 1..5_000 {
            connections.handle_refused(t0(), &flow(Transport::Tcp, port));
        }
        assert!(connections.refused.len() <= REFUSALS);
    }

    #[test]
    fn a_connection_that_is_gone_is_no_way_when_there_is_another() {
        let mut connections = Connections::default();
        let (theirs, address) = (flow(Transport::Tcp, 40_000), flow(Transport::Tcp, 5060));
        let both = || Ways::only(theirs).then([address]);
        assert_eq!(list(connections.prefer_open(both())), [address]);
        assert_eq!(
            connections.prefer_open(Ways::only(theirs)).flow(),
            theirs,
            "nothing else to try"
        );
        connections.insert(&theirs, Vec::new());
        assert_eq!(list(connections.prefer_open(both())), [theirs, address]);
    }
}
