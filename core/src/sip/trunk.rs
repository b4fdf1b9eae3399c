//! Trunks: which configured peer sent this, by where it came from and what it can prove.
//!
//! ```text
//!  [[trunk]] from ───────── the source address is in one of its networks ──┐
//!            tls_names ──── the client certificate bears one of them ──────┼─ all that are set must hold
//!            credentials ── the request answers our challenge with them ───┘
//!            register ───── or it came through the binding that we keep with this trunk's registrar
//! ```
//!
//! The first trunk that matches wins. Credentials are asked for only from a source that nothing else keeps out, so who
//! is on no list gets 403 and learns nothing.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::auth::Account;
use super::registration::Register;

/// A peer that may call us. One without any condition is nobody's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trunk {
    /// Its name in the configuration.
    pub name: String,
    /// Where it calls from; empty: anywhere.
    pub networks: Vec<IpNet>,
    /// Names of its client certificate, `*.` for one label of any kind; empty: none is asked for.
    pub tls_names: Vec<String>,
    /// Who it must prove to be.
    pub credentials: Option<Arc<Account>>,
    /// Where we register, so that it calls us.
    pub register: Option<Arc<Register>>,
}

impl Trunk {
    /// One that takes calls from everywhere.
    pub fn anyone(name: &str) -> Self {
        let everywhere = ["0.0.0.0/0", "::/0"].map(str::parse);
        Self {
            name: name.to_owned(),
            networks: everywhere.into_iter().flatten().collect(),
            ..Self::default()
        }
    }

    /// Whose name we answer its challenges with; none: they are not answered.
    pub fn account(&self) -> Option<&Arc<Account>> {
        let registered = self.register.as_ref().map(|register| &register.account);
        registered.or(self.credentials.as_ref())
    }

    /// Whether everything holds that the caller need not prove by itself.
    fn is_possible(&self, caller: &Caller<'_>) -> bool {
        let listed = !self.networks.is_empty();
        let named = !self.tls_names.is_empty();
        (listed || named || self.credentials.is_some())
            && (!listed || self.networks.iter().any(|n| n.contains(&caller.source)))
            && (!named || self.bears_name(caller.names))
    }

    fn bears_name(&self, names: &[String]) -> bool {
        names
            .iter()
            .any(|name| self.tls_names.iter().any(|known| is_name(known, name)))
    }
}

/// What is known of a caller without asking.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// Where it calls from.
    pub source: IpAddr,
    /// The names of its verified client certificate, lower case.
    pub names: &'a [String],
}

/// A trunk that a caller may belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'t> {
    /// Its name.
    pub name: &'t str,
    /// What the caller still has to prove; `None`: nothing, it belongs to this trunk.
    pub proof: Option<&'t Arc<Account>>,
    /// Whose name we answer its challenges with.
    pub account: Option<&'t Arc<Account>>,
    /// The request came through the binding that we keep with its registrar.
    pub registered: bool,
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

    /// The trunks with a registrar, in order.
    pub fn registering(&self) -> impl Iterator<Item = (&str, &Arc<Register>)> {
        self.0
            .iter()
            .filter_map(|trunk| Some((trunk.name.as_str(), trunk.register.as_ref()?)))
    }

    /// The trunks this caller may belong to, in order; the last one needs no proof, or there is none like that. Empty
    /// for a stranger, who gets 403.
    ///
    /// * `came_through`: whether the request came through the registration of the trunk of that name.
    pub fn candidates(
        &self,
        caller: &Caller<'_>,
        came_through: impl Fn(&str) -> bool,
    ) -> Vec<Candidate<'_>> {
        let caller = Caller {
            source: caller.source.to_canonical(),
            ..*caller
        };
        if self.0.is_empty() {
            let near = Candidate {
                name: DEFAULT,
                proof: None,
                account: None,
                registered: false,
            };
            return Vec::from_iter(is_near(caller.source).then_some(near));
        }
        let mut found = Vec::new();
        for trunk in &self.0 {
            let registered = trunk.register.is_some() && came_through(&trunk.name);
            if !registered && !trunk.is_possible(&caller) {
                continue;
            }
            let proof = trunk.credentials.as_ref().filter(|_| !registered);
            found.push(Candidate {
                name: &trunk.name,
                proof,
                account: trunk.account(),
                registered,
            });
            if proof.is_none() {
                break;
            }
        }
        found
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
            .flat_map(|trunk| &trunk.networks)
            .any(|n| n.prefix_len() > 0 && n.contains(&source))
    }
}

/// Whether a certificate's name is the one that is meant (RFC 5922 §7.2, RFC 9525 §6.3): a `*.` stands for one label.
fn is_name(known: &str, name: &str) -> bool {
    let scheme = name
        .split_once(':')
        .filter(|(s, _)| matches!(*s, "sip" | "sips"));
    let host = scheme.map_or(name, |(_, host)| host);
    match known.strip_prefix("*.") {
        Some(domain) => host
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(domain)),
        None => host.eq_ignore_ascii_case(known),
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

    fn listed(name: &str, networks: &[&str]) -> Trunk {
        Trunk {
            name: name.into(),
            networks: networks.iter().map(|n| n.parse().unwrap()).collect(),
            ..Trunk::default()
        }
    }

    fn proving(trunk: Trunk) -> Trunk {
        Trunk {
            credentials: Some(Arc::new(Account::new("u", "p"))),
            ..trunk
        }
    }

    /// `name`, or `name?` when it must prove itself.
    fn candidates(trunks: &Trunks, source: &str, names: &[&str]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let caller = Caller {
            source: ip(source),
            names: &names,
        };
        let found = trunks.candidates(&caller, |_| false);
        let shown =
            |c: &Candidate<'_>| format!("{}{}", c.name, if c.proof.is_some() { "?" } else { "" });
        found.iter().map(shown).collect()
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
            assert_eq!(candidates(&trunks, near, &[]), [DEFAULT], "{near}");
        }
        for far in [
            "54.172.60.1",
            "172.32.0.1",
            "2001:db8::1",
            "::ffff:8.8.8.8",
            "0.0.0.0",
        ] {
            assert!(candidates(&trunks, far, &[]).is_empty(), "{far}");
        }
    }

    #[test]
    fn the_first_trunk_that_matches_names_the_call() {
        let trunks = Trunks::new(vec![
            listed("twilio", &["54.172.60.0/30", "2001:db8::/32"]),
            listed("wide", &["54.0.0.0/8"]),
        ]);
        assert_eq!(candidates(&trunks, "54.172.60.3", &[]), ["twilio"]);
        assert_eq!(candidates(&trunks, "::ffff:54.172.60.3", &[]), ["twilio"]);
        assert_eq!(candidates(&trunks, "2001:db8::7", &[]), ["twilio"]);
        assert_eq!(candidates(&trunks, "54.172.60.4", &[]), ["wide"]);
        assert!(candidates(&trunks, "127.0.0.1", &[]).is_empty());
    }

    #[test]
    fn a_trunk_for_anyone_takes_any_source_and_one_without_conditions_none() {
        let trunks = Trunks::new(vec![listed("nobody", &[]), Trunk::anyone("any")]);
        assert_eq!(candidates(&trunks, "8.8.8.8", &[]), ["any"]);
        assert_eq!(candidates(&trunks, "2001:db8::1", &[]), ["any"]);
    }

    #[test]
    fn who_is_on_no_list_is_not_even_asked() {
        let trunks = Trunks::new(vec![proving(listed("pbx", &["192.0.2.0/24"]))]);
        assert_eq!(candidates(&trunks, "192.0.2.9", &[]), ["pbx?"]);
        assert!(candidates(&trunks, "198.51.100.1", &[]).is_empty());
    }

    #[test]
    fn those_who_could_prove_themselves_come_before_the_one_who_need_not() {
        let trunks = Trunks::new(vec![
            proving(listed("phones", &[])),
            listed("near", &["10.0.0.0/8"]),
            proving(listed("never asked", &[])),
        ]);
        assert_eq!(candidates(&trunks, "10.0.0.1", &[]), ["phones?", "near"]);
        assert_eq!(
            candidates(&trunks, "8.8.8.8", &[]),
            ["phones?", "never asked?"]
        );
    }

    #[test]
    fn a_certificate_must_bear_the_name_and_the_list_must_hold_too() {
        let trunk = Trunk {
            tls_names: vec!["*.pstn.twilio.com".into(), "pbx.example.com".into()],
            ..listed("tls", &[])
        };
        let open = Trunks::new(vec![trunk.clone()]);
        let is = |names: &[&str]| !candidates(&open, "8.8.8.8", names).is_empty();
        assert!(is(&["us1.pstn.twilio.com"]));
        assert!(is(&["other", "sip:pbx.example.com"]));
        for names in [
            &[][..],
            &["pstn.twilio.com"],
            &["a.b.pstn.twilio.com"],
            &[".pstn.twilio.com"],
            &["evilpstn.twilio.com"],
            &["us1.pstn.twilio.com.evil.example"],
            &["pbx.example.com.evil.example"],
        ] {
            assert!(!is(names), "{names:?}");
        }
        let both = Trunks::new(vec![Trunk {
            networks: vec!["192.0.2.0/24".parse().unwrap()],
            ..trunk
        }]);
        let names = &["pbx.example.com"][..];
        assert_eq!(candidates(&both, "192.0.2.1", names), ["tls"]);
        assert!(candidates(&both, "8.8.8.8", names).is_empty());
        assert!(candidates(&both, "192.0.2.1", &[]).is_empty());
    }

    #[test]
    fn what_comes_through_a_registration_belongs_to_its_trunk_and_proves_nothing_more() {
        let register = Register {
            registrar: "sip:pbx.example.com".into(),
            account: Arc::new(Account::new("bot", "p")),
            expires: std::time::Duration::from_secs(300),
        };
        let trunk = Trunk {
            register: Some(Arc::new(register)),
            ..proving(listed("pbx", &["192.0.2.0/24"]))
        };
        assert_eq!(trunk.account().unwrap().username, "bot");
        let trunks = Trunks::new(vec![trunk]);
        let caller = Caller {
            source: ip("8.8.8.8"),
            names: &[],
        };
        let through = trunks.candidates(&caller, |name| name == "pbx");
        assert_eq!(through.len(), 1);
        assert!(through[0].registered && through[0].proof.is_none());
        assert!(trunks.candidates(&caller, |_| false).is_empty());
    }

    #[test]
    fn a_trunk_holds_what_its_networks_hold_and_no_other_trunks() {
        let trunks = Trunks::new(vec![
            listed("a", &["54.0.0.0/8"]),
            listed("b", &["10.0.0.0/8"]),
        ]);
        assert!(trunks.holds("a", ip("::ffff:54.1.2.3")));
        assert!(!trunks.holds("a", ip("10.1.2.3")));
        assert!(!trunks.holds("gone", ip("10.1.2.3")));
        assert!(Trunks::default().holds(DEFAULT, ip("10.1.2.3")));
        assert!(!Trunks::default().holds(DEFAULT, ip("8.8.8.8")));
        assert!(!Trunks::default().holds("a", ip("10.1.2.3")));
        let any = Trunks::new(vec![Trunk::anyone("any")]);
        assert!(!any.holds("any", ip("8.8.8.8")), "anywhere is no network");
    }
}
