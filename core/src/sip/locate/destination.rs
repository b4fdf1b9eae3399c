//! What a URI says of where it leads, before anybody is asked (RFC 3263 §4, first paragraphs).

use std::net::IpAddr;

use super::{LocateError, Reach};
use crate::sip::endpoint::Transport;
use crate::sip::message::uri::{Uri, host_ip};

/// The parts of a SIP or SIPS URI that decide where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub(super) host: Host,
    pub(super) port: Option<u16>,
    /// As the URI demands it.
    pub(super) transport: Option<Transport>,
    /// `sips`: encrypted or not at all.
    pub(super) secure: bool,
}

/// The RFC's TARGET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    Address(IpAddr),
    Name(String),
}

impl Destination {
    /// Reads it out of a URI: `maddr` before the host, and the transport the URI demands.
    ///
    /// # Errors
    /// [`LocateError::NotSip`], [`LocateError::Transport`] for one that we do not know.
    pub fn of(uri: &Uri) -> Result<Self, LocateError> {
        if !uri.is_sip() {
            return Err(LocateError::NotSip(uri.to_string()));
        }
        let secure = uri.scheme().eq_ignore_ascii_case("sips");
        let maddr = uri.param("maddr").flatten();
        let host = maddr.as_deref().filter(|host| !host.is_empty());
        let host = host.unwrap_or(uri.host());
        let host = match host_ip(host) {
            Some(ip) => Host::Address(ip.to_canonical()),
            None => Host::Name(host.trim_end_matches('.').to_ascii_lowercase()),
        };
        let transport = match uri.param("transport").flatten() {
            Some(name) => Some(transport(&name, secure)?),
            None => secure.then_some(Transport::Tls),
        };
        Ok(Self {
            host,
            port: uri.port(),
            transport,
            secure,
        })
    }

    /// Reads it out of a URI's text.
    ///
    /// # Errors
    /// As [`Destination::of`]; text that is no URI is [`LocateError::NotSip`].
    pub fn parse(uri: &str) -> Result<Self, LocateError> {
        let parsed = Uri::parse(uri).map_err(|_| LocateError::NotSip(uri.to_owned()))?;
        Self::of(&parsed)
    }

    /// The name to be looked up; `None` for an address.
    pub fn name(&self) -> Option<&str> {
        match &self.host {
            Host::Name(name) => Some(name),
            Host::Address(_) => None,
        }
    }

    /// The transport that the URI demands.
    pub const fn transport(&self) -> Option<Transport> {
        self.transport
    }

    /// The transport when neither the URI nor the DNS names one (§4.1): UDP for `sip`, or the first we have.
    pub(super) fn default_transport(&self, reach: &Reach) -> Option<Transport> {
        let candidates: &[Transport] = match self.transport {
            Some(ref demanded) => std::slice::from_ref(demanded),
            None => &[Transport::Udp, Transport::Tcp, Transport::Tls],
        };
        let mut candidates = candidates.iter().copied();
        candidates.find(|transport| reach.speaks(*transport))
    }
}

/// The `transport` parameter. With `sips`, `tcp` means TLS over TCP (RFC 3261 §26.2.2), and `udp` is a contradiction.
fn transport(name: &str, secure: bool) -> Result<Transport, LocateError> {
    match name.to_ascii_lowercase().as_str() {
        "tls" => Ok(Transport::Tls),
        "tcp" if secure => Ok(Transport::Tls),
        "tcp" => Ok(Transport::Tcp),
        "udp" if !secure => Ok(Transport::Udp),
        _ if secure => Err(LocateError::Transport(format!("sips over {name}"))),
        _ => Err(LocateError::Transport(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str) -> Result<Destination, LocateError> {
        Destination::parse(uri)
    }

    #[test]
    fn maddr_comes_before_the_host_and_the_scheme_decides_what_tcp_means() {
        let there = of("sip:a@example.com:5070;maddr=192.0.2.7;transport=TCP").unwrap();
        assert_eq!(there.host, Host::Address([192, 0, 2, 7].into()));
        assert_eq!(
            (there.port, there.transport),
            (Some(5070), Some(Transport::Tcp))
        );
        let there = of("sips:a@Example.COM.;transport=tcp;maddr=").unwrap();
        assert_eq!(there.name(), Some("example.com"));
        assert_eq!(
            (there.transport, there.secure),
            (Some(Transport::Tls), true)
        );
        assert_eq!(of("sips:a@h").unwrap().transport, Some(Transport::Tls));
        assert_eq!(of("sip:a@h").unwrap().transport, None);
        assert_eq!(
            of("sip:a@[::ffff:192.0.2.1]").unwrap().host,
            Host::Address([192, 0, 2, 1].into())
        );
    }

    #[test]
    fn what_cannot_be_reached_by_sip_is_told_apart() {
        for uri in ["tel:+1555", "mailto:a@b", "junk", "sip:", "sip:a@h:99999"] {
            assert!(matches!(of(uri), Err(LocateError::NotSip(_))), "{uri}");
        }
        for uri in [
            "sip:h;transport=sctp",
            "sips:h;transport=udp",
            "sip:h;transport=ws",
        ] {
            assert!(matches!(of(uri), Err(LocateError::Transport(_))), "{uri}");
        }
    }
}
