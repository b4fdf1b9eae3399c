//! Whole locations against a zone in memory.

use std::collections::BTreeMap;

use super::dns::{Naptr, Srv};
use super::*;

/// What a name server knows; questions it does not are NXDOMAIN.
#[derive(Default)]
struct Zone {
    answers: BTreeMap<Question, Answer>,
    asked: Vec<String>,
}

impl Zone {
    fn with(mut self, name: &str, kind: Kind, answer: Answer) -> Self {
        let name = name.to_owned();
        self.answers.insert(Question { name, kind }, answer);
        self
    }

    fn a(self, name: &str, addresses: &[&str]) -> Self {
        self.addresses(name, Kind::A, addresses)
    }

    fn aaaa(self, name: &str, addresses: &[&str]) -> Self {
        self.addresses(name, Kind::Aaaa, addresses)
    }

    fn addresses(self, name: &str, kind: Kind, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        self.with(name, kind, Answer::Addresses(addresses))
    }

    fn srv(self, name: &str, records: &[(u16, u16, u16, &str)]) -> Self {
        let record = |(priority, weight, port, target): &(u16, u16, u16, &str)| Srv {
            priority: *priority,
            weight: *weight,
            port: *port,
            target: (*target).into(),
        };
        let records = records.iter().map(record).collect();
        self.with(name, Kind::Srv, Answer::Srv(records))
    }

    fn naptr(self, name: &str, records: &[(u16, &str, &str)]) -> Self {
        let record = |(order, services, replacement): &(u16, &str, &str)| Naptr {
            order: *order,
            preference: 10,
            flags: "S".into(),
            services: (*services).into(),
            regexp: String::new(),
            replacement: (*replacement).into(),
        };
        let records = records.iter().map(record).collect();
        self.with(name, Kind::Naptr, Answer::Naptr(records))
    }

    fn locate(&mut self, uri: &str, reach: Reach) -> Result<Vec<String>, LocateError> {
        let destination = Destination::parse(uri)?;
        let mut location = Location::new(destination, reach, Entropy::from_number(7));
        while let Some(question) = location.poll_question() {
            self.asked
                .push(format!("{} {}", question.kind.as_str(), question.name));
            assert!(self.asked.len() <= 200, "it asks without end");
            let answer = self.answers.get(&question).cloned();
            location.handle_answer(&question, answer.unwrap_or(Answer::NoSuchName));
        }
        let targets = location
            .outcome()
            .expect("an outcome when nothing is asked")
            .clone()?;
        let text = |t: &Target| format!("{} {}", t.transport.as_str(), t.address);
        assert!(!targets.is_empty() && targets.len() <= TARGETS);
        Ok(targets.iter().map(text).collect())
    }
}

const V4: Families = Families {
    v4: true,
    v6: false,
};
const V6: Families = Families {
    v4: false,
    v6: true,
};
const BOTH: Families = Families { v4: true, v6: true };
const NONE: Families = Families {
    v4: false,
    v6: false,
};

const fn reach(udp: Families, tcp: Families, tls: Families) -> Reach {
    Reach { udp, tcp, tls }
}

const UDP: Reach = reach(V4, NONE, NONE);
const ALL: Reach = reach(V4, V4, V4);

#[expect(
    clippy::unnecessary_wraps,
    reason = "compared with what a location gives"
)]
fn found(targets: &[&str]) -> Result<Vec<String>, LocateError> {
    Ok(targets.iter().map(|target| (*target).to_owned()).collect())
}

#[test]
fn an_address_is_where_it_leads_and_nobody_is_asked() {
    let mut zone = Zone::default();
    for (uri, target) in [
        ("sip:a@192.0.2.1", "UDP 192.0.2.1:5060"),
        ("sip:a@192.0.2.1:5070;transport=tcp", "TCP 192.0.2.1:5070"),
        ("sip:a@192.0.2.1;transport=tls", "TLS 192.0.2.1:5061"),
        ("sips:a@192.0.2.1", "TLS 192.0.2.1:5061"),
        ("sip:a@example.com;maddr=192.0.2.9", "UDP 192.0.2.9:5060"),
    ] {
        assert_eq!(zone.locate(uri, ALL), found(&[target]), "{uri}");
    }
    assert_eq!(
        zone.locate("sip:a@[2001:db8::1]:5080", reach(V6, NONE, NONE)),
        found(&["UDP [2001:db8::1]:5080"])
    );
    assert!(zone.asked.is_empty());
}

#[test]
fn a_name_with_a_port_is_asked_for_its_addresses_only() {
    let mut zone = Zone::default()
        .a("pbx.example.com", &["192.0.2.1", "192.0.2.2"])
        .srv(
            "_sip._udp.pbx.example.com",
            &[(1, 1, 5090, "other.example.com")],
        );
    assert_eq!(
        zone.locate("sip:pbx.example.com:5070", ALL),
        found(&["UDP 192.0.2.1:5070", "UDP 192.0.2.2:5070"])
    );
    assert_eq!(
        zone.locate("sips:pbx.example.com:5070", ALL),
        found(&["TLS 192.0.2.1:5070", "TLS 192.0.2.2:5070"])
    );
    assert_eq!(zone.asked, ["A pbx.example.com"; 2]);
}

#[test]
fn a_transport_in_the_uri_skips_naptr() {
    let mut zone = Zone::default()
        .srv("_sip._tcp.example.com", &[(1, 1, 5070, "a.example.com")])
        .srv("_sips._tcp.example.com", &[(1, 1, 5071, "a.example.com")])
        .a("a.example.com", &["192.0.2.1"]);
    assert_eq!(
        zone.locate("sip:example.com;transport=tcp", ALL),
        found(&["TCP 192.0.2.1:5070"])
    );
    assert_eq!(zone.asked, ["SRV _sip._tcp.example.com", "A a.example.com"]);
    assert_eq!(
        zone.locate("sip:example.com;transport=tls", ALL),
        found(&["TLS 192.0.2.1:5071"])
    );
}

#[test]
fn naptr_leads_to_srv_and_srv_to_addresses() {
    let mut zone = Zone::default()
        .naptr(
            "example.com",
            &[
                (50, "SIPS+D2T", "_sips._tcp.example.com"),
                (90, "SIP+D2T", "tcp.sip.example.net"),
                (100, "SIP+D2U", "_sip._udp.example.com"),
            ],
        )
        .srv(
            "tcp.sip.example.net",
            &[(2, 0, 5072, "b.example.net"), (1, 0, 5071, "a.example.net")],
        )
        .srv("_sip._udp.example.com", &[(1, 0, 5060, "c.example.com")])
        .a("a.example.net", &["192.0.2.1"])
        .a("b.example.net", &["192.0.2.2"])
        .a("c.example.com", &["192.0.2.3"]);
    // TLS is not ours, so the order after it counts.
    assert_eq!(
        zone.locate("sip:Example.COM", reach(V4, V4, NONE)),
        found(&["TCP 192.0.2.1:5071", "TCP 192.0.2.2:5072"])
    );
    assert_eq!(
        zone.locate("sip:example.com", UDP),
        found(&["UDP 192.0.2.3:5060"])
    );
    // The best service leads nowhere: the next does.
    assert_eq!(
        zone.locate("sip:example.com", ALL),
        found(&["TCP 192.0.2.1:5071", "TCP 192.0.2.2:5072"])
    );
}

#[test]
fn sips_takes_nothing_but_tls() {
    let mut zone = Zone::default()
        .naptr(
            "example.com",
            &[
                (1, "SIP+D2U", "_sip._udp.example.com"),
                (2, "SIPS+D2T", "_sips._tcp.example.com"),
            ],
        )
        .srv("_sip._udp.example.com", &[(1, 0, 5060, "a.example.com")])
        .srv("_sips._tcp.example.com", &[(1, 0, 5061, "a.example.com")])
        .a("a.example.com", &["192.0.2.1"]);
    assert_eq!(
        zone.locate("sips:example.com", ALL),
        found(&["TLS 192.0.2.1:5061"])
    );
    let mut bare = Zone::default()
        .srv("_sip._udp.example.com", &[(1, 0, 5060, "a.example.com")])
        .a("example.com", &["192.0.2.7"]);
    assert_eq!(
        bare.locate("sips:example.com", ALL),
        found(&["TLS 192.0.2.7:5061"])
    );
    assert_eq!(
        bare.locate("sips:example.com", UDP),
        Err(LocateError::Transport("TLS".into()))
    );
}

#[test]
fn without_naptr_every_transport_of_ours_is_looked_for() {
    let mut zone = Zone::default()
        .srv("_sip._udp.example.com", &[(1, 0, 5070, "a.example.com")])
        .srv("_sips._tcp.example.com", &[(1, 0, 5071, "a.example.com")])
        .a("a.example.com", &["192.0.2.1"]);
    assert_eq!(
        zone.locate("sip:example.com", ALL),
        found(&["UDP 192.0.2.1:5070", "TLS 192.0.2.1:5071"])
    );
    assert_eq!(
        zone.asked,
        [
            "NAPTR example.com",
            "SRV _sip._udp.example.com",
            "SRV _sip._tcp.example.com",
            "SRV _sips._tcp.example.com",
            "A a.example.com"
        ]
    );
}

#[test]
fn without_srv_the_name_itself_is_the_host_at_the_usual_port() {
    let mut zone = Zone::default().a("example.com", &["192.0.2.1"]);
    assert_eq!(
        zone.locate("sip:example.com", ALL),
        found(&["UDP 192.0.2.1:5060"])
    );
    assert_eq!(
        zone.locate("sip:example.com;transport=tcp", ALL),
        found(&["TCP 192.0.2.1:5060"])
    );
    assert_eq!(
        zone.locate("sip:example.com", reach(NONE, V4, NONE)),
        found(&["TCP 192.0.2.1:5060"]),
        "UDP is the default of those who have it"
    );
}

#[test]
fn both_families_are_used_where_we_have_them_ipv6_first() {
    let zone = || {
        Zone::default()
            .srv(
                "_sip._udp.example.com",
                &[(1, 0, 5060, "a.example.com"), (2, 0, 5060, "b.example.com")],
            )
            .a("a.example.com", &["192.0.2.1"])
            .aaaa("a.example.com", &["2001:db8::1"])
            .a("b.example.com", &["192.0.2.2"])
    };
    let at = |families| zone().locate("sip:example.com", reach(families, NONE, NONE));
    assert_eq!(
        at(BOTH),
        found(&[
            "UDP [2001:db8::1]:5060",
            "UDP 192.0.2.1:5060",
            "UDP 192.0.2.2:5060"
        ])
    );
    assert_eq!(at(V6), found(&["UDP [2001:db8::1]:5060"]));
    assert_eq!(at(V4), found(&["UDP 192.0.2.1:5060", "UDP 192.0.2.2:5060"]));
}

#[test]
fn a_service_that_is_decidedly_not_there_is_not_looked_for_in_another_way() {
    let mut zone = Zone::default()
        .srv("_sip._udp.example.com", &[(0, 0, 0, ".")])
        .a("example.com", &["192.0.2.1"]);
    assert_eq!(
        zone.locate("sip:example.com", UDP),
        Err(LocateError::NoService("example.com".into()))
    );
    assert_eq!(
        zone.locate("sip:example.com;transport=udp", UDP),
        Err(LocateError::NoService("example.com".into()))
    );
    // Another transport of it is there.
    let mut zone = zone.srv("_sip._tcp.example.com", &[(0, 0, 5060, "example.com")]);
    assert_eq!(
        zone.locate("sip:example.com", ALL),
        found(&["TCP 192.0.2.1:5060"])
    );
}

#[test]
fn what_leads_nowhere_says_why() {
    let name = || "example.com".to_owned();
    let mut zone = Zone::default();
    assert_eq!(
        zone.locate("sip:example.com", UDP),
        Err(LocateError::NoSuchName(name()))
    );
    let mut zone = Zone::default().with("example.com", Kind::A, Answer::NoRecords);
    assert_eq!(
        zone.locate("sip:example.com", UDP),
        Err(LocateError::NoAddress {
            name: name(),
            transports: "UDP over IPv4".into()
        })
    );
    let mut zone = Zone::default().with("example.com", Kind::A, Answer::Failed);
    assert_eq!(
        zone.locate("sip:example.com", UDP),
        Err(LocateError::Unanswered(name()))
    );
    let mut zone =
        Zone::default().srv("_sip._udp.example.com", &[(1, 1, 5060, "gone.example.com")]);
    assert!(
        matches!(
            zone.locate("sip:example.com", UDP),
            Err(LocateError::NoAddress { .. })
        ),
        "the name exists, its server does not"
    );
    assert_eq!(
        zone.locate("sip:example.com;transport=tcp", UDP),
        Err(LocateError::Transport("TCP".into()))
    );
    assert_eq!(
        zone.locate("sip:example.com", Reach::default()),
        Err(LocateError::Transport("UDP".into()))
    );
    assert!(matches!(
        zone.locate("sip:[2001:db8::1]", UDP),
        Err(LocateError::NoAddress { .. })
    ));
}

#[test]
fn a_name_server_that_knows_only_addresses_is_good_enough() {
    let mut zone = Zone::default()
        .with("example.com", Kind::Naptr, Answer::Failed)
        .with("_sip._udp.example.com", Kind::Srv, Answer::Failed)
        .a("example.com", &["192.0.2.1"]);
    assert_eq!(
        zone.locate("sip:example.com", UDP),
        found(&["UDP 192.0.2.1:5060"])
    );
}

#[test]
fn addresses_at_which_nobody_can_be_called_are_passed_over() {
    let bad = ["0.0.0.0", "0.1.2.3", "255.255.255.255", "224.0.0.1"];
    let bad6 = ["::", "ff02::1", "fe80::1", "::ffff:0.0.0.0"];
    let zone = || {
        Zone::default()
            .a("example.com", &bad)
            .aaaa("example.com", &bad6)
    };
    assert_eq!(
        zone().locate("sip:example.com", reach(BOTH, NONE, NONE)),
        Err(LocateError::Unusable("example.com".into()))
    );
    let mut zone = zone().a("example.com", &[&bad[..], &["192.0.2.1"]].concat());
    assert_eq!(
        zone.locate("sip:example.com", reach(BOTH, NONE, NONE)),
        found(&["UDP 192.0.2.1:5060"])
    );
    for uri in [
        "sip:0.0.0.0",
        "sip:224.0.0.1",
        "sip:192.0.2.1:0",
        "sip:example.com;maddr=239.1.1.1",
    ] {
        assert!(
            matches!(zone.locate(uri, UDP), Err(LocateError::Unusable(_))),
            "{uri}"
        );
    }
}

#[test]
fn a_thousand_records_cost_no_more_than_a_few() {
    let many: Vec<String> = (0..1000)
        .map(|n| format!("10.0.{}.{}", n / 250, n % 250 + 1))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut zone = Zone::default().a("example.com", &many);
    assert_eq!(
        zone.locate("sip:example.com", UDP)
            .map(|targets| targets.len()),
        Ok(TARGETS)
    );

    let hosts: Vec<String> = (0..1000).map(|n| format!("h{n}.example.com")).collect();
    let srv: Vec<_> = hosts
        .iter()
        .map(|host| (1, 1, 5060, host.as_str()))
        .collect();
    let naptr: Vec<_> = hosts
        .iter()
        .map(|host| (1, "SIP+D2U", host.as_str()))
        .collect();
    let mut zone = Zone::default().naptr("example.com", &naptr);
    for host in &hosts {
        zone = zone.srv(host, &srv).a(host, &["192.0.2.1"]);
    }
    assert_eq!(
        zone.locate("sip:example.com", UDP),
        found(&["UDP 192.0.2.1:5060"])
    );
    assert!(
        zone.asked.len() <= 1 + SERVICES + HOSTS,
        "{}",
        zone.asked.len()
    );
}

#[test]
fn a_domain_that_names_a_service_per_order_is_not_asked_without_end() {
    let names: Vec<String> = (0..60).map(|n| format!("s{n}.example.com")).collect();
    let naptr: Vec<_> = (1..)
        .zip(&names)
        .map(|(order, name)| (order, "SIP+D2U", name.as_str()))
        .collect();
    let hosts: Vec<_> = names
        .iter()
        .map(|name| (1, 1, 5060, name.as_str()))
        .collect();
    let mut zone = Zone::default().naptr("example.com", &naptr);
    for name in &names {
        zone = zone.srv(name, &hosts);
    }
    assert!(zone.locate("sip:example.com", UDP).is_err());
    assert!(
        zone.asked.len() <= 1 + SERVICES * (1 + HOSTS),
        "{}",
        zone.asked.len()
    );
}

#[test]
fn records_that_lead_to_themselves_lead_nowhere() {
    let mut zone = Zone::default()
        .naptr(
            "example.com",
            &[
                (1, "SIP+D2U", "example.com"),
                (2, "SIP+D2U", "_sip._udp.example.com"),
            ],
        )
        .srv("example.com", &[(1, 1, 5060, "example.com")])
        .srv(
            "_sip._udp.example.com",
            &[(1, 1, 5060, "_sip._udp.example.com")],
        );
    assert!(matches!(
        zone.locate("sip:example.com", UDP),
        Err(LocateError::NoAddress { .. })
    ));
    assert!(zone.asked.len() < 10, "{:?}", zone.asked);
}

#[test]
fn names_that_are_none_are_not_asked_for() {
    let mut zone = Zone::default()
        .naptr(
            "example.com",
            &[
                (1, "SIP+D2U", "a..b"),
                (2, "SIP+D2U", "x y"),
                (3, "SIP+D2U", "ok.example.com"),
            ],
        )
        .srv(
            "ok.example.com",
            &[(1, 1, 5060, "\r\nVia: x"), (2, 1, 5060, "192.0.2.5")],
        );
    assert_eq!(
        zone.locate("sip:example.com", UDP),
        found(&["UDP 192.0.2.5:5060"]),
        "an address where a name should be is taken"
    );
    let long = format!("sip:{}", "a.".repeat(200));
    assert!(matches!(
        Zone::default().locate(&long, UDP),
        Err(LocateError::NoSuchName(_))
    ));
}

#[test]
fn the_same_host_behind_two_services_is_asked_for_once() {
    let mut zone = Zone::default()
        .srv(
            "_sip._udp.example.com",
            &[
                (1, 0, 5060, "a.example.com"),
                (2, 0, 5060, "A.example.com."),
            ],
        )
        .srv("_sip._tcp.example.com", &[(1, 0, 5060, "a.example.com")])
        .a("a.example.com", &["192.0.2.1"]);
    assert_eq!(
        zone.locate("sip:example.com", reach(V4, V4, NONE)),
        found(&["UDP 192.0.2.1:5060", "TCP 192.0.2.1:5060"])
    );
    let asked = zone.asked.iter().filter(|asked| asked.starts_with("A "));
    assert_eq!(asked.count(), 1);
}

#[test]
fn giving_up_takes_what_there_is() {
    let start = || {
        let destination = Destination::parse("sip:example.com:5070").unwrap();
        Location::new(
            destination,
            reach(BOTH, NONE, NONE),
            Entropy::from_number(1),
        )
    };
    let mut location = start();
    let first = location.poll_question().unwrap();
    let second = location.poll_question().unwrap();
    assert_eq!(
        (first.kind, second.kind, location.poll_question()),
        (Kind::Aaaa, Kind::A, None)
    );
    location.handle_answer(&second, Answer::Addresses(vec![[192, 0, 2, 1].into()]));
    assert_eq!(location.outcome(), None);
    location.give_up();
    let targets = location.outcome().unwrap().clone().unwrap();
    assert_eq!(targets[0].address.to_string(), "192.0.2.1:5070");
    // Late or foreign answers change nothing.
    location.handle_answer(&first, Answer::NoSuchName);
    assert_eq!(location.outcome(), Some(&Ok(targets)));

    let mut location = start();
    location.give_up();
    assert_eq!(
        location.outcome(),
        Some(&Err(LocateError::Unanswered("example.com".into())))
    );
}

#[test]
fn an_answer_of_the_wrong_kind_is_no_answer() {
    let mut zone = Zone::default()
        .with(
            "example.com",
            Kind::Naptr,
            Answer::Addresses(vec![[192, 0, 2, 9].into()]),
        )
        .with(
            "_sip._udp.example.com",
            Kind::Srv,
            Answer::Naptr(Vec::new()),
        )
        .with("example.com", Kind::A, Answer::Srv(Vec::new()));
    assert!(matches!(
        zone.locate("sip:example.com", UDP),
        Err(LocateError::NoAddress { .. })
    ));
}
