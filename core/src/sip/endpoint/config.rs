//! What the endpoint is told once: who it is, whom it knows, how much it carries.

use std::net::SocketAddr;
use std::time::Duration;

use super::event::{Flow, Transport};
use crate::sip::auth::Algorithm;
use crate::sip::transaction::Timing;
use crate::sip::trunk::Trunks;

/// Settings of one endpoint.
#[derive(Debug, Clone)]
pub struct Config {
    /// What peers are told to reach us by.
    pub advertised: Advertised,
    /// User-Agent and Server.
    pub user_agent: String,
    /// Who may call.
    pub trunks: Trunks,
    /// How much is carried at most.
    pub limits: Limits,
    /// T1, T2 and T4.
    pub timing: Timing,
    /// Whose accounts callers prove: what they are told in a challenge, and what their telephones keep passwords for.
    pub realm: String,
    /// What they may prove them with, in the order of the challenges.
    pub algorithms: Vec<Algorithm>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            advertised: Advertised::default(),
            user_agent: concat!("Baton/", env!("CARGO_PKG_VERSION")).to_owned(),
            trunks: Trunks::default(),
            limits: Limits::default(),
            timing: Timing::default(),
            realm: "baton".to_owned(),
            algorithms: vec![Algorithm::SHA_256, Algorithm::MD5],
        }
    }
}

/// `host:port` per transport, for Via and Contact. A transport left out advertises its flow's local address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advertised {
    /// For datagrams.
    pub udp: Option<String>,
    /// For streams.
    pub tcp: Option<String>,
    /// For encrypted streams; peers that check certificates want a name here.
    pub tls: Option<String>,
    /// What is listened on, each with its port: a transport left out above advertises this port, and no request goes by
    /// TCP for its size alone when TCP is not among them. Empty: not known.
    pub listening: Vec<(Transport, u16)>,
}

impl Advertised {
    /// The sent-by of a flow.
    pub(super) fn sent_by(&self, flow: &Flow) -> String {
        let advertised = match flow.transport {
            Transport::Udp => &self.udp,
            Transport::Tcp => &self.tcp,
            Transport::Tls => &self.tls,
        };
        advertised
            .clone()
            .unwrap_or_else(|| self.listener(flow).to_string())
    }

    /// Whether this transport is listened on.
    pub(super) fn listens_on(&self, transport: Transport) -> bool {
        self.listening.iter().any(|(known, _)| *known == transport)
    }

    /// The local address of a flow, at a port that is listened on by its transport: a way that we chose may bear the
    /// port of another.
    fn listener(&self, flow: &Flow) -> SocketAddr {
        let mut ports = self
            .listening
            .iter()
            .filter(|(transport, _)| *transport == flow.transport)
            .map(|(_, port)| *port);
        let first = ports.next();
        let here = flow.local.port();
        match first {
            Some(port) if port != here && !ports.any(|port| port == here) => {
                SocketAddr::new(flow.local.ip(), port)
            }
            _ => flow.local,
        }
    }
}

/// Bounds on what the network can make us remember. What does not fit is answered 503 without being remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Server transactions. New calls may fill three quarters of them, so that what belongs to running calls
    /// always finds room.
    pub transactions: usize,
    /// Dialogs, those included that linger after their call. Calls that come in may fill three quarters of them, so
    /// that a transfer which places a call of its own always finds room. Who places calls that are no transfers asks
    /// the [`Gate`](super::Gate) himself first.
    pub dialogs: usize,
    /// Calls of one source address that we answered and whose ACK has not come; 0: as many as there may be.
    pub unacknowledged_per_source: usize,
    /// Commands held back in one dialog until its ACK, or until another offer is answered.
    pub pending_commands: usize,
    /// Retry-After of our 503s: at least this, at most twice this, so that peers do not come back together.
    pub retry_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            transactions: 40_000,
            dialogs: 10_000,
            unacknowledged_per_source: 100,
            pending_commands: 8,
            retry_after: Duration::from_secs(5),
        }
    }
}

/// Whether new calls are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Readiness {
    /// Yes.
    #[default]
    Ready,
    /// Not now: INVITE and OPTIONS get 503.
    Busy {
        /// When to come back.
        retry_after: Duration,
    },
    /// Never again: this node is being stopped. INVITE and OPTIONS get 503.
    Draining,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_named_by_a_port_that_is_listened_on() {
        let advertised = Advertised {
            tls: Some("voice.example.com:5061".into()),
            listening: vec![
                (Transport::Udp, 5060),
                (Transport::Tcp, 5070),
                (Transport::Tcp, 5080),
            ],
            ..Advertised::default()
        };
        let named = |transport, port| {
            advertised.sent_by(&Flow {
                transport,
                local: ([192, 0, 2, 10], port).into(),
                remote: ([192, 0, 2, 1], 5060).into(),
            })
        };
        assert_eq!(named(Transport::Udp, 5060), "192.0.2.10:5060");
        assert_eq!(named(Transport::Tcp, 5060), "192.0.2.10:5070");
        assert_eq!(named(Transport::Tcp, 5080), "192.0.2.10:5080");
        assert_eq!(named(Transport::Tls, 5060), "voice.example.com:5061");
        assert_eq!(
            Advertised::default().sent_by(&Flow {
                transport: Transport::Tcp,
                local: ([192, 0, 2, 10], 7).into(),
                remote: ([192, 0, 2, 1], 5060).into(),
            }),
            "192.0.2.10:7"
        );
    }
}
