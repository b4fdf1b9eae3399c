//! Trunks: which configured peer sent this request, by its source address.

use std::net::IpAddr;

use ipnet::IpNet;

/// A peer that may call us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trunk {
    /// Its name in the configuration.
    pub name: String,
    /// Where it calls from; empty: from anywhere.
    pub networks: Vec<IpNet>,
}

/// Every configured trunk, in order: the first match wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trunks(Vec<Trunk>);

/// The name of the trunk when none is configured.
pub const DEFAULT: &str = "default";

impl Trunks {
    /// As configured. An empty list lets loopback and private networks in as [`DEFAULT`].
    pub fn new(trunks: Vec<Trunk>) -> Self {
        Self(trunks)
    }

    /// The name of the trunk this source belongs to; `None` for a stranger, who gets 403.
    pub fn name_of(&self, source: IpAddr) -> Option<&str> {
        let source = source.to_canonical();
        if self.0.is_empty() {
            return is_near(source).then_some(DEFAULT);
        }
        self.0
            .iter()
            .find(|trunk| {
                trunk.networks.is_empty() || trunk.networks.iter().any(|n| n.contains(&source))
            })
            .map(|trunk| trunk.name.as_str())
    }

    /// Whether this source belongs to the networks of that trunk. A trunk that takes calls from anywhere has none.
    pub fn holds(&self, name: &str, source: IpAddr) -> bool {
        let source = source.to_canonical();
        if self.0.is_empty() {
            return name == DEFAULT && is_near(source);
        }
        self.0
            .iter()
            .filter(|trunk| trunk.name == name)
            .any(|trunk| trunk.networks.iter().any(|n| n.contains(&source)))
    }
}

/// Loopback, RFC 1918, link-local and unique local addresses: those a router does not bring from the internet.
pub(crate) fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn with_no_trunk_only_near_networks_may_call() {
        let trunks = Trunks::default();
        for near in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.0.9",
            "169.254.1.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert_eq!(trunks.name_of(ip(near)), Some(DEFAULT), "{near}");
        }
        for far in [
            "54.172.60.1",
            "172.32.0.1",
            "2001:db8::1",
            "::ffff:8.8.8.8",
            "0.0.0.0",
        ] {
            assert_eq!(trunks.name_of(ip(far)), None, "{far}");
        }
    }

    #[test]
    fn the_first_trunk_that_matches_names_the_call() {
        let trunks = Trunks::new(vec![
            Trunk {
                name: "twilio".into(),
                networks: vec![
                    "54.172.60.0/30".parse().unwrap(),
                    "2001:db8::/32".parse().unwrap(),
                ],
            },
            Trunk {
                name: "wide".into(),
                networks: vec!["54.0.0.0/8".parse().unwrap()],
            },
        ]);
        assert_eq!(trunks.name_of(ip("54.172.60.3")), Some("twilio"));
        assert_eq!(trunks.name_of(ip("::ffff:54.172.60.3")), Some("twilio"));
        assert_eq!(trunks.name_of(ip("2001:db8::7")), Some("twilio"));
        assert_eq!(trunks.name_of(ip("54.172.60.4")), Some("wide"));
        assert_eq!(trunks.name_of(ip("127.0.0.1")), None);
    }

    #[test]
    fn a_trunk_without_networks_takes_any_source() {
        let trunks = Trunks::new(vec![Trunk {
            name: "any".into(),
            networks: Vec::new(),
        }]);
        assert_eq!(trunks.name_of(ip("8.8.8.8")), Some("any"));
        assert!(
            !trunks.holds("any", ip("8.8.8.8")),
            "anywhere is no network"
        );
    }

    #[test]
    fn a_trunk_holds_what_its_networks_hold_and_no_other_trunks() {
        let trunk = |name: &str, network: &str| Trunk {
            name: name.into(),
            networks: vec![network.parse().unwrap()],
        };
        let trunks = Trunks::new(vec![trunk("a", "54.0.0.0/8"), trunk("b", "10.0.0.0/8")]);
        assert!(trunks.holds("a", ip("::ffff:54.1.2.3")));
        assert!(!trunks.holds("a", ip("10.1.2.3")));
        assert!(!trunks.holds("gone", ip("10.1.2.3")));
        assert!(Trunks::default().holds(DEFAULT, ip("10.1.2.3")));
        assert!(!Trunks::default().holds(DEFAULT, ip("8.8.8.8")));
        assert!(!Trunks::default().holds("a", ip("10.1.2.3")));
    }
}
