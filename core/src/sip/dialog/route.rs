//! Where the next hop is. A name leads back to where the dialog came from until it has been looked up.

use std::net::{IpAddr, SocketAddr};

use crate::sip::endpoint::{Flow, Transport, Ways};
use crate::sip::message::Uri;
use crate::sip::trunk::is_near;

/// The ways to `uri`.
///
/// * `uri`: the top Route, or the Request-URI when there is no Route.
/// * `direct`: there is no Route, so `uri` is the peer's own Contact.
/// * `flow`: the way the dialog was made by.
///
/// Three departures from RFC 3263 §4 keep real peers reachable: a connection to the same host is reused, whatever
/// its port (behind a NAT it is the only way); a private Contact of a peer that came from a public address means
/// where it came from; and so does a host name as long as nobody has said where it is ([`by_name`]).
pub(super) fn next_hop(uri: &str, direct: bool, flow: &Flow) -> Ways {
    let Some((transport, remote)) = address(uri, flow) else {
        return Ways::only(*flow);
    };
    let from = flow.remote.ip().to_canonical();
    let unreachable = direct && is_near(remote.ip()) && !is_near(from);
    if unreachable || remote == flow.remote && transport == flow.transport {
        return Ways::only(*flow);
    }
    let addressed = Flow {
        transport,
        local: flow.local,
        remote,
    };
    if transport == flow.transport && transport.is_reliable() && remote.ip() == from {
        return Ways::only(*flow).then([addressed]);
    }
    addressed.into()
}

/// The ways to a next hop that is a name, with the first two departures of [`next_hop`]. The last way, or the only one
/// when the name leads nowhere, is where the dialog came from.
///
/// * `found`: where the name is, best first.
pub(super) fn by_name(found: &[Flow], direct: bool, flow: &Flow) -> Ways {
    let from = flow.remote.ip().to_canonical();
    let unreachable = |way: &&Flow| direct && is_near(way.remote.ip()) && !is_near(from);
    let mut ways: Vec<Flow> = Vec::new();
    for way in found.iter().filter(|way| !unreachable(way)) {
        let same = way.transport == flow.transport && way.remote.ip().to_canonical() == from;
        let reused = (same && way.transport.is_reliable()).then_some(*flow);
        for way in reused.into_iter().chain([*way]) {
            if !ways.contains(&way) {
                ways.push(way);
            }
        }
    }
    if !ways.contains(flow) {
        ways.push(*flow);
    }
    Ways::of(ways).unwrap_or(Ways::only(*flow))
}

/// Transport and address of a URI with a numeric host.
fn address(uri: &str, flow: &Flow) -> Option<(Transport, SocketAddr)> {
    let uri = Uri::parse(uri).ok()?;
    let ip: IpAddr = uri.host_ip()?;
    let secure = uri.scheme().eq_ignore_ascii_case("sips");
    let transport = match uri.param("transport").flatten() {
        Some(name) if name.eq_ignore_ascii_case("tls") => Transport::Tls,
        Some(name) if name.eq_ignore_ascii_case("tcp") && secure => Transport::Tls,
        Some(name) if name.eq_ignore_ascii_case("tcp") => Transport::Tcp,
        Some(name) if name.eq_ignore_ascii_case("udp") => Transport::Udp,
        // A transport we do not speak.
        Some(_) => return None,
        None if secure => Transport::Tls,
        // The connection that brought the dialog is not left for a datagram that was not asked for.
        None if flow.remote.ip().to_canonical() == ip => flow.transport,
        None => Transport::Udp,
    };
    let default = if transport == Transport::Tls {
        5061
    } else {
        5060
    };
    Some((
        transport,
        SocketAddr::new(ip, uri.port().unwrap_or(default)),
    ))
}

/// Whether the proxy at this URI routes loosely (§16.12.1.1).
pub(super) fn is_loose(uri: &str) -> bool {
    Uri::parse(uri).is_ok_and(|uri| uri.param("lr").is_some())
}

/// A route becoming a Request-URI loses its headers, which are not allowed there (§12.2.1.1).
pub(super) fn without_headers(uri: &str) -> &str {
    uri.split_once('?').map_or(uri, |(uri, _)| uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(transport: Transport, remote: &str) -> Flow {
        Flow {
            transport,
            local: "192.0.2.10:5060".parse().unwrap(),
            remote: remote.parse().unwrap(),
        }
    }

    #[test]
    fn a_numeric_route_is_where_the_request_goes() {
        let flow = flow(Transport::Udp, "203.0.113.1:5060");
        let mut ways = next_hop("sip:198.51.100.2:5070;lr", false, &flow);
        let to = ways.flow();
        assert_eq!(
            (to.transport, to.remote.to_string()),
            (Transport::Udp, "198.51.100.2:5070".into())
        );
        assert!(!ways.advance());
        let to = next_hop("sip:198.51.100.2;transport=tls;lr", false, &flow).flow();
        assert_eq!((to.transport, to.remote.port()), (Transport::Tls, 5061));
        let to = next_hop("sips:[2001:db8::1];lr", false, &flow).flow();
        assert_eq!(
            (to.transport, to.remote.to_string()),
            (Transport::Tls, "[2001:db8::1]:5061".into())
        );
    }

    #[test]
    fn a_connection_to_the_same_host_is_reused_and_its_address_kept_for_when_it_is_gone() {
        let flow = flow(Transport::Tls, "192.0.2.60:58540");
        let mut ways = next_hop("sip:192.0.2.60:5061;transport=tls;r2=on;lr", false, &flow);
        assert_eq!(ways.flow(), flow);
        assert!(ways.advance());
        assert_eq!(ways.flow().remote, "192.0.2.60:5061".parse().unwrap());
    }

    #[test]
    fn a_private_contact_of_a_public_peer_means_where_it_came_from() {
        let far = flow(Transport::Udp, "203.0.113.1:1024");
        let back = Ways::only(far);
        assert_eq!(next_hop("sip:me@192.168.1.5:5060", true, &far), back);
        let near = flow(Transport::Udp, "10.0.0.1:1024");
        assert_eq!(
            next_hop("sip:me@192.168.1.5:5060", true, &near)
                .flow()
                .remote
                .to_string(),
            "192.168.1.5:5060"
        );
    }

    #[test]
    fn what_is_no_address_leads_back_to_where_the_dialog_came_from() {
        let flow = flow(Transport::Udp, "203.0.113.1:5060");
        for uri in [
            "sip:pbx.example.com;lr",
            "sip:192.0.2.1;transport=sctp",
            "tel:+1555",
            "junk",
            "sip:192.0.2.1:99999",
        ] {
            assert_eq!(next_hop(uri, false, &flow), flow.into(), "{uri}");
        }
    }

    fn remotes(ways: Ways) -> Vec<String> {
        let text = |way: Flow| format!("{} {}", way.transport.as_str(), way.remote);
        ways.into_iter().map(text).collect()
    }

    #[test]
    fn a_name_leads_to_where_it_was_found_and_in_the_end_to_where_the_dialog_came_from() {
        let from = flow(Transport::Udp, "203.0.113.1:1024");
        let found = [
            flow(Transport::Udp, "198.51.100.1:5060"),
            flow(Transport::Tcp, "198.51.100.1:5060"),
        ];
        let ways = remotes(by_name(&found, true, &from));
        assert_eq!(
            ways,
            [
                "UDP 198.51.100.1:5060",
                "TCP 198.51.100.1:5060",
                "UDP 203.0.113.1:1024"
            ]
        );
        assert_eq!(by_name(&[], true, &from), Ways::only(from));
        assert_eq!(by_name(&[from], true, &from), Ways::only(from));
    }

    #[test]
    fn a_name_in_the_contact_of_a_public_peer_does_not_lead_into_our_own_network() {
        let far = flow(Transport::Udp, "203.0.113.1:1024");
        let inside = flow(Transport::Udp, "127.0.0.1:5060");
        assert_eq!(by_name(&[inside], true, &far), Ways::only(far));
        let proxy = by_name(&[inside], false, &far);
        assert_eq!(
            remotes(proxy)[0],
            "UDP 127.0.0.1:5060",
            "a route is a proxy's own word"
        );
    }

    #[test]
    fn a_connection_to_a_host_that_was_found_is_reused() {
        let open = flow(Transport::Tls, "192.0.2.60:58540");
        let found = [flow(Transport::Tls, "192.0.2.60:5061")];
        assert_eq!(
            remotes(by_name(&found, false, &open)),
            ["TLS 192.0.2.60:58540", "TLS 192.0.2.60:5061"]
        );
    }

    #[test]
    fn loose_is_said_by_lr_with_or_without_value() {
        assert!(is_loose("sip:192.0.2.1;lr"));
        assert!(is_loose("sip:192.0.2.1;transport=udp;lr=on"));
        assert!(!is_loose("sip:192.0.2.1;transport=udp"));
    }
}
