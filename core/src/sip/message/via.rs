//! Via (RFC 3261 §20.42): where a request passed, and where its response goes.

use super::lex::{find_outside, is_space, is_token, trim};
use super::params::Params;
use super::uri::{host_ip, split_host_port};
use std::net::IpAddr;

/// One Via value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, `TLS`, or anything else, as written.
    pub transport: &'a str,
    /// Host of sent-by as written: a name, an IPv4 address, or an IPv6 address in brackets.
    pub host: &'a str,
    /// Port of sent-by.
    pub port: Option<u16>,
    /// branch, received, rport, maddr and the rest.
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Reads one Via value; `None` when it is none. White space may stand around each part (RFC 4475 §3.1.1.1).
    pub fn parse(text: &'a str) -> Option<Self> {
        let (protocol, rest) = text.split_once('/')?;
        let (version, rest) = rest.split_once('/')?;
        // Any version: a request of another one is answered 505, which needs its Via (RFC 4475 §3.1.2.16).
        if !is_token(trim(protocol)) || !is_token(trim(version)) {
            return None;
        }
        let rest = rest.trim_start_matches(is_space);
        let (transport, rest) = rest.split_at(rest.find(is_space)?);
        let at = find_outside(rest, b';').unwrap_or(rest.len());
        let (sent_by, params) = rest.split_at(at);
        let (host, port) = split_host_port(trim(sent_by))?;
        let params = Params::new(params);
        if !is_token(transport) || params.count("branch") > 1 {
            return None;
        }
        Some(Self {
            transport,
            host,
            port,
            params,
        })
    }

    /// The transaction's name on this hop (§8.1.1.7).
    pub fn branch(&self) -> Option<&'a str> {
        self.params.value("branch")
    }

    /// The address the next hop saw, when it differed from sent-by.
    pub fn received(&self) -> Option<&'a str> {
        self.params.value("received")
    }

    /// [`Via::received`] as an address, IPv6 with or without brackets (RFC 5118 §4.5).
    pub fn received_ip(&self) -> Option<IpAddr> {
        self.received().and_then(host_ip)
    }

    /// RFC 3581: absent, asked for without a value, or filled in.
    pub fn rport(&self) -> Option<Option<u16>> {
        let value = self.params.get("rport")?;
        Some(value.and_then(|port| port.parse().ok()))
    }

    /// The address in sent-by, when it is one.
    pub fn host_ip(&self) -> Option<IpAddr> {
        host_ip(self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read() {
        let via = Via::parse("SIP/2.0/UDP 192.0.2.1:5070;rport;branch=z9hG4bK1;received=192.0.2.9")
            .unwrap();
        assert_eq!(
            (via.transport, via.host, via.port),
            ("UDP", "192.0.2.1", Some(5070))
        );
        assert_eq!(via.branch(), Some("z9hG4bK1"));
        assert_eq!(via.rport(), Some(None));
        assert_eq!(via.received_ip(), Some([192, 0, 2, 9].into()));
    }

    #[test]
    fn white_space_may_stand_anywhere_between_parts() {
        let via = Via::parse(
            "SIP  /   2.0    /TCP\t spindle.example.com :  5061 ; branch  =   z9hG4bK9 ",
        )
        .unwrap();
        assert_eq!(
            (via.transport, via.host, via.port),
            ("TCP", "spindle.example.com", Some(5061))
        );
        assert_eq!(via.branch(), Some("z9hG4bK9"));
    }

    #[test]
    fn ipv6_needs_brackets_in_sent_by_but_not_in_received() {
        let via =
            Via::parse("SIP/2.0/UDP [2001:db8::9:1]:5060;received=2001:db8::9:255;branch=z9hG4bK1")
                .unwrap();
        assert_eq!(via.host, "[2001:db8::9:1]");
        assert_eq!(via.host_ip(), Some("2001:db8::9:1".parse().unwrap()));
        assert_eq!(via.received_ip(), Some("2001:db8::9:255".parse().unwrap()));
        assert!(Via::parse("SIP/2.0/UDP 2001:db8::9:1;branch=z9hG4bK1").is_none());
    }

    #[test]
    fn rport_filled_in_is_a_number() {
        let rport = |text| Via::parse(text).unwrap().rport();
        assert_eq!(rport("SIP/2.0/UDP h;rport=5062"), Some(Some(5062)));
        assert_eq!(rport("SIP/2.0/UDP h;rport=99999"), Some(None));
        assert_eq!(rport("SIP/2.0/UDP h"), None);
    }

    #[test]
    fn unknown_transports_are_kept() {
        for transport in ["UDP", "SCTP", "TLS", "UNKNOWN", "WSS"] {
            let text = format!("SIP/2.0/{transport} t1.example.com;branch=z9hG4bK1");
            assert_eq!(Via::parse(&text).unwrap().transport, transport);
        }
    }

    #[test]
    fn another_version_can_still_be_answered() {
        let via = Via::parse("SIP/7.0/UDP c.example.com;branch=z9hG4bKkdjuw").unwrap();
        assert_eq!((via.transport, via.host), ("UDP", "c.example.com"));
    }

    #[test]
    fn what_is_no_via_is_refused() {
        for text in [
            "",
            ";",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ",
            "SIP/2.0 UDP h",
            "SIP/2.0/UDP h:port",
            "SIP/2.0/UDP h:0x1",
            "SIP/2.0/UDP h:65536",
            "SIP/2.0/UDP h h2;branch=1",
            "SIP/2.0/U(P h",
            "SIP/2.0/UDP ;branch=1",
            "SIP/2.0/UDP [::1;branch=1",
            "SIP/2.0/UDP h;branch=1;branch=2",
        ] {
            assert!(Via::parse(text).is_none(), "{text}");
        }
    }
}
