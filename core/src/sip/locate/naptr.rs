//! NAPTR: which transports a domain wants, and under which names its servers stand (RFC 3263 §4.1, RFC 3403 §4.1).

use super::dns::Naptr;
use super::{Reach, SERVICES, Service};
use crate::sip::endpoint::Transport;

/// The services we can use, in groups: the first group is asked first, the next only when that leads nowhere
/// (`order`). Within a group they are in order of `preference`.
///
/// * `secure`: the URI was `sips`, so that only SIPS services count. A `sip` URI may be led to TLS.
pub(super) fn services(records: &[Naptr], secure: bool, reach: Reach) -> Vec<Vec<Service>> {
    let mut usable: Vec<(&Naptr, Transport)> = records
        .iter()
        .filter(|record| record.flags.eq_ignore_ascii_case("s") && record.regexp.is_empty())
        .filter_map(|record| Some((record, transport(&record.services, secure)?)))
        .filter(|(_, transport)| reach.speaks(*transport))
        .collect();
    // Stable: what is equal stays in the order of the answer.
    usable.sort_by_key(|(record, _)| (record.order, record.preference));
    usable.truncate(SERVICES);
    usable
        .chunk_by(|(a, _), (b, _)| a.order == b.order)
        .map(|group| {
            let service = |(record, transport): &(&Naptr, Transport)| Service {
                transport: *transport,
                name: record.replacement.clone(),
            };
            group.iter().map(service).collect()
        })
        .collect()
}

fn transport(services: &str, secure: bool) -> Option<Transport> {
    match services.to_ascii_uppercase().as_str() {
        "SIPS+D2T" => Some(Transport::Tls),
        "SIP+D2T" if !secure => Some(Transport::Tcp),
        "SIP+D2U" if !secure => Some(Transport::Udp),
        // Another transport (SCTP, WebSocket) or another use of NAPTR (ENUM).
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::locate::Families;

    fn naptr(order: u16, preference: u16, services: &str, replacement: &str) -> Naptr {
        Naptr {
            order,
            preference,
            flags: "s".into(),
            services: services.into(),
            regexp: String::new(),
            replacement: replacement.into(),
        }
    }

    fn all() -> Reach {
        let both = Families { v4: true, v6: true };
        Reach {
            udp: both,
            tcp: both,
            tls: both,
        }
    }

    fn names(groups: &[Vec<Service>]) -> Vec<Vec<&str>> {
        let names = |group: &Vec<Service>| {
            group
                .iter()
                .map(|s| s.name.clone().leak() as &str)
                .collect()
        };
        groups.iter().map(names).collect()
    }

    #[test]
    fn the_example_of_rfc_3263_is_ordered_as_it_says() {
        let records = [
            naptr(100, 50, "SIP+D2U", "_sip._udp.example.com"),
            naptr(50, 50, "SIPS+D2T", "_sips._tcp.example.com"),
            naptr(90, 50, "SIP+D2T", "_sip._tcp.example.com"),
        ];
        assert_eq!(
            names(&services(&records, false, all())),
            [
                ["_sips._tcp.example.com"],
                ["_sip._tcp.example.com"],
                ["_sip._udp.example.com"]
            ]
        );
        assert_eq!(
            names(&services(&records, true, all())),
            [["_sips._tcp.example.com"]]
        );
        let udp_only = Reach {
            udp: Families {
                v4: true,
                v6: false,
            },
            ..Reach::default()
        };
        assert_eq!(
            names(&services(&records, false, udp_only)),
            [["_sip._udp.example.com"]]
        );
    }

    #[test]
    fn preference_decides_within_an_order_and_equals_stay_as_they_came() {
        let records = [
            naptr(1, 20, "SIP+D2U", "c"),
            naptr(1, 10, "sip+d2t", "a"),
            naptr(1, 10, "SIP+D2U", "b"),
        ];
        assert_eq!(names(&services(&records, false, all())), [["a", "b", "c"]]);
    }

    #[test]
    fn what_is_not_for_sip_or_not_for_us_is_passed_over() {
        let mut terminal = naptr(1, 1, "SIP+D2U", "x");
        terminal.flags = "u".into();
        let mut rewritten = naptr(1, 1, "SIP+D2U", "x");
        rewritten.regexp = "!^.*$!sip:evil@example.net!".into();
        let records = [
            terminal,
            rewritten,
            naptr(1, 1, "E2U+sip", "x"),
            naptr(1, 1, "SIP+D2S", "x"),
            naptr(1, 1, "SIPS+D2W", "x"),
            naptr(1, 1, "", "x"),
        ];
        assert!(services(&records, false, all()).is_empty());
        let only_udp = [naptr(1, 1, "SIP+D2U", "x")];
        assert!(services(&only_udp, true, all()).is_empty());
    }
}
