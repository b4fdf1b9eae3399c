//! From a URI to flows: [`Dns`] says where it leads, and here each target gets the socket of ours that reaches it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use baton_core::sip::endpoint::{Flow, Transport};
use baton_core::sip::locate::{Destination, LocateError, Reach, Target};

use crate::net::dns::Dns;
use crate::net::listen::Listening;
use crate::net::udp;

/// Finds ways; clones share the answers of the DNS.
#[derive(Debug, Clone)]
pub(super) struct Locator {
    dns: Dns,
    listening: Arc<[Listening]>,
}

/// Where a URI leads.
#[derive(Debug)]
pub(super) struct Located {
    /// The name that was looked up: what certificates there must bear.
    pub(super) name: Option<String>,
    /// Best first, never none.
    pub(super) ways: Vec<Flow>,
}

impl Located {
    /// The addresses whose certificate must bear the name.
    pub(super) fn names(&self) -> impl Iterator<Item = (SocketAddr, &str)> {
        let tls = self
            .ways
            .iter()
            .filter(|way| way.transport == Transport::Tls);
        tls.filter_map(|way| Some((way.remote, self.name.as_deref()?)))
    }
}

impl Locator {
    pub(super) fn new(dns: Dns, listening: &[Listening]) -> Self {
        Self {
            dns,
            listening: listening.into(),
        }
    }

    pub(super) async fn locate(&self, uri: &str) -> Result<Located, LocateError> {
        let destination = Destination::parse(uri)?;
        let name = destination.name().map(str::to_owned);
        let reach = self.reach(&destination);
        let targets = self.dns.locate(destination, reach).await?;
        let ways: Vec<Flow> = targets
            .iter()
            .filter_map(|target| self.way(target))
            .collect();
        if ways.is_empty() {
            let place = name.unwrap_or_else(|| targets[0].address.to_string());
            return Err(LocateError::NoRoute(place));
        }
        Ok(Located { name, ways })
    }

    /// What is listened on; and a stream transport that the URI demands, since connecting needs no listener.
    fn reach(&self, destination: &Destination) -> Reach {
        let mut reach = Reach::default();
        for listening in self.listening.iter() {
            reach.add(listening.transport, listening.address.ip());
            if let Some(transport) = destination.transport().filter(|t| t.is_reliable()) {
                reach.add(transport, listening.address.ip());
            }
        }
        reach
    }

    /// The way to a target from a socket of its transport and family, or of its family alone; `None` when no route leads
    /// there.
    fn way(&self, Target { transport, address }: &Target) -> Option<Flow> {
        let family = |listening: &&Listening| listening.address.is_ipv4() == address.is_ipv4();
        let mut ours = self.listening.iter().filter(family);
        let local = ours
            .clone()
            .find(|listening| listening.transport == *transport)
            .or_else(|| ours.next())?
            .address;
        Some(Flow {
            transport: *transport,
            local: SocketAddr::new(source(local.ip(), *address)?, local.port()),
            remote: *address,
        })
    }
}

/// The address of ours that a peer sees.
fn source(local: IpAddr, remote: SocketAddr) -> Option<IpAddr> {
    if local.is_unspecified() {
        udp::address_towards(remote).ok()
    } else {
        Some(local)
    }
}

#[cfg(test)]
mod tests {
    use baton_core::vocab::Entropy;

    use super::*;

    fn locator(listening: &[(Transport, &str)]) -> Locator {
        let nobody = "127.0.0.1:1".parse().unwrap();
        let one = |(transport, address): &(Transport, &str)| Listening {
            transport: *transport,
            address: address.parse().unwrap(),
        };
        let listening: Vec<_> = listening.iter().map(one).collect();
        Locator::new(Dns::new(&[nobody], Entropy::from_number(1)), &listening)
    }

    async fn way(locator: &Locator, uri: &str) -> Result<String, LocateError> {
        let located = locator.locate(uri).await?;
        let Flow {
            transport,
            local,
            remote,
        } = located.ways[0];
        Ok(format!("{} {local} {remote}", transport.as_str()))
    }

    #[tokio::test]
    async fn each_target_is_reached_from_a_socket_of_its_transport_and_family() {
        let both = locator(&[
            (Transport::Udp, "127.0.0.1:5060"),
            (Transport::Udp, "[::1]:5062"),
            (Transport::Tcp, "127.0.0.1:5064"),
        ]);
        for (uri, expected) in [
            ("sip:a@127.0.0.9", "UDP 127.0.0.1:5060 127.0.0.9:5060"),
            ("sip:a@[::1]:9", "UDP [::1]:5062 [::1]:9"),
            (
                "sip:a@127.0.0.9;transport=tcp",
                "TCP 127.0.0.1:5064 127.0.0.9:5060",
            ),
            ("sips:a@127.0.0.9", "TLS 127.0.0.1:5060 127.0.0.9:5061"),
        ] {
            assert_eq!(way(&both, uri).await.as_deref(), Ok(expected), "{uri}");
        }
        let any = locator(&[(Transport::Udp, "0.0.0.0:5060")]);
        let named = way(&any, "sip:a@127.0.0.9").await.unwrap();
        assert_eq!(named, "UDP 127.0.0.1:5060 127.0.0.9:5060");
    }

    #[tokio::test]
    async fn what_no_socket_can_reach_is_said() {
        let udp = locator(&[(Transport::Udp, "127.0.0.1:5060")]);
        assert!(matches!(
            way(&udp, "sip:a@[::1]").await,
            Err(LocateError::NoAddress { .. })
        ));
        assert!(matches!(
            way(&udp, "tel:+1555").await,
            Err(LocateError::NotSip(_))
        ));
        let unanswered = way(&udp, "sip:a@pbx.example.com:5070").await.unwrap_err();
        assert!(
            unanswered.to_string().contains("nameservers"),
            "{unanswered}"
        );
    }
}
