//! The stream connections that are open, and the names their peers proved.
//!
//! The shell tells of each once; the core asks when it chooses a way, and when it asks who calls.

use std::collections::HashMap;

use super::event::Flow;

/// Every open connection by its flow; as many as the shell keeps open.
#[derive(Debug, Default)]
pub(super) struct Connections(HashMap<Flow, Vec<String>>);

impl Connections {
    /// A connection is open. Its flow may have had another before.
    pub(super) fn insert(&mut self, flow: &Flow, identity: Vec<String>) {
        self.0.insert(*flow, identity);
    }

    /// It is gone.
    pub(super) fn remove(&mut self, flow: &Flow) {
        self.0.remove(flow);
    }

    /// The names that the certificate of this flow's peer was verified for, lower case; none when it showed none, or
    /// the flow is no TLS.
    #[expect(dead_code, reason = "trunks ask by it")]
    pub(super) fn identity(&self, flow: &Flow) -> &[String] {
        self.0.get(flow).map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_open(&self, flow: &Flow) -> bool {
        self.0.contains_key(flow)
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::Transport;
    use super::*;

    #[test]
    fn a_peers_names_live_as_long_as_its_connection() {
        let flow = Flow {
            transport: Transport::Tls,
            local: "192.0.2.10:5061".parse().unwrap(),
            remote: "203.0.113.1:40000".parse().unwrap(),
        };
        let mut connections = Connections::default();
        assert!(!connections.is_open(&flow));
        connections.insert(&flow, vec!["pbx.example.com".into()]);
        assert!(connections.is_open(&flow));
        assert_eq!(connections.0[&flow], ["pbx.example.com"]);
        connections.insert(&flow, Vec::new());
        assert!(connections.0[&flow].is_empty(), "another peer, same ports");
        connections.remove(&flow);
        assert!(!connections.is_open(&flow));
    }
}
