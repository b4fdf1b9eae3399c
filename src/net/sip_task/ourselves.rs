//! Which of our addresses a peer sees: what Via and Contact must name when a socket listens on every address.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::net::udp;

/// Peers remembered; a flood of made-up sources costs a system call each, never memory.
const REMEMBERED: usize = 1_024;

/// Remembers the system's answers.
#[derive(Debug, Default)]
pub(super) struct Ourselves {
    towards: BTreeMap<IpAddr, IpAddr>,
}

impl Ourselves {
    /// `local` itself, or with the address that leads to `remote` when it stands for every address.
    pub(super) fn towards(&mut self, local: SocketAddr, remote: SocketAddr) -> SocketAddr {
        if !local.ip().is_unspecified() {
            return local;
        }
        let known = self.towards.get(&remote.ip()).copied();
        let address = known.or_else(|| self.ask(remote)).unwrap_or(local.ip());
        SocketAddr::new(address, local.port())
    }

    fn ask(&mut self, remote: SocketAddr) -> Option<IpAddr> {
        let address = udp::address_towards(remote).ok()?;
        if self.towards.len() >= REMEMBERED {
            self.towards.clear();
        }
        self.towards.insert(remote.ip(), address);
        Some(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_on_every_address_is_named_as_its_peer_sees_it() {
        let mut ourselves = Ourselves::default();
        let peer = "127.0.0.1:5070".parse().unwrap();
        let named = |ourselves: &mut Ourselves, local: &str| {
            ourselves.towards(local.parse().unwrap(), peer).to_string()
        };
        assert_eq!(named(&mut ourselves, "0.0.0.0:5060"), "127.0.0.1:5060");
        assert_eq!(named(&mut ourselves, "192.0.2.1:5060"), "192.0.2.1:5060");
    }

    #[test]
    fn made_up_peers_do_not_make_it_grow() {
        let mut ourselves = Ourselves::default();
        for number in 0..5_000_u32 {
            let peer = SocketAddr::from((std::net::Ipv4Addr::from(0x7f00_0001 + number), 9));
            ourselves.towards("0.0.0.0:5060".parse().unwrap(), peer);
        }
        assert!(ourselves.towards.len() <= REMEMBERED);
    }
}
