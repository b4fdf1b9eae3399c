//! Names over a real DNS server: NAPTR and SRV lead to the bridge, also when the server that comes first is dead.

use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::Duration;

use baton::net::dns::Dns as Lookups;
use baton::softphone::{CallPlan, Keep, Phone, PhoneConfig};
use baton_core::sip::endpoint::Transport;
use baton_core::sip::locate::{Destination, LocateError, Reach};
use baton_core::vocab::Entropy;

use crate::support::dns::Dns;
use crate::support::phone::{answered, count_of, hung_up};
use crate::support::{Baton, Fate, Setup};

/// A port that nobody answers at, held as long as it lives.
fn dead_port(address: &str) -> UdpSocket {
    UdpSocket::bind((address, 0)).expect("loopback has a port")
}

fn port_of(socket: &UdpSocket) -> u16 {
    socket.local_addr().expect("it is bound").port()
}

/// `pbx.test`: NAPTR for UDP, SRV with the first port before the second.
fn zone(address: &str, first: u16, second: u16) -> Vec<String> {
    vec![
        "--naptr-record=pbx.test,10,10,s,SIP+D2U,,_sip._udp.pbx.test".into(),
        format!("--srv-host=_sip._udp.pbx.test,one.pbx.test,{first},1,0"),
        format!("--srv-host=_sip._udp.pbx.test,two.pbx.test,{second},2,0"),
        format!("--host-record=one.pbx.test,{address}"),
        format!("--host-record=two.pbx.test,{address}"),
        "--srv-host=_sip._udp.closed.test".into(),
        "--host-record=plain.test,127.0.0.1".into(),
    ]
}

async fn phone(dns: &Dns, uri: &str) -> Phone {
    let lookups = Lookups::new(&[dns.address()], Entropy::from_number(21));
    let config = PhoneConfig::towards(uri, lookups, Entropy::from_number(22));
    Phone::bind(config.await.expect("the name leads somewhere")).expect("it has a port")
}

fn plan(uri: &str) -> CallPlan {
    CallPlan {
        keep: Keep::ALL,
        ..CallPlan::new(uri)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_leads_by_naptr_and_srv_past_a_dead_server_to_the_bridge() {
    let baton = Baton::start();
    let dead = dead_port("127.0.0.1");
    let dns = Dns::serves(&zone("127.0.0.1", port_of(&dead), baton.ports().sip()));
    let phone = phone(&dns, "sip:bot@pbx.test").await;
    let mut first = phone.start(plan("sip:bot@pbx.test")).await.expect("placed");
    let took = answered(&mut first).await;
    assert!(
        (Duration::from_secs(4)..Duration::from_secs(8)).contains(&took),
        "the dead server is left after four seconds: {took:?}"
    );
    let report = hung_up(first).await;
    assert_eq!(count_of(&report, "BYE"), 1);
    // The dead one has been asked, and is now left alone.
    let mut second = phone.start(plan("sip:bot@pbx.test")).await.expect("placed");
    let took = answered(&mut second).await;
    assert!(
        took < Duration::from_secs(3),
        "the second call goes to the living one: {took:?}"
    );
    hung_up(second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_only_ipv6_addresses_leads_to_a_bridge_on_ipv6() {
    let baton = Setup::new().on_ipv6().start();
    let dead = dead_port("::1");
    let dns = Dns::serves(&zone("::1", port_of(&dead), baton.ports().sip()));
    let phone = phone(&dns, "sip:bot@pbx.test").await;
    assert!(phone.local().is_ipv6());
    let mut call = phone.start(plan("sip:bot@pbx.test")).await.expect("placed");
    answered(&mut call).await;
    hung_up(call).await;
}

/// `baton call URI --nameserver …`
fn baton_call(dns: &Dns, uri: &str) -> Fate {
    let output = Command::new(env!("CARGO_BIN_EXE_baton"))
        .args(["call", uri, "--duration", "500ms", "--nameserver"])
        .arg(dns.address().to_string())
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    Fate::of(&output)
}

#[test]
fn the_command_calls_a_name_and_says_what_is_wrong_with_one_that_leads_nowhere() {
    let baton = Baton::start();
    let dead = dead_port("127.0.0.1");
    let dns = Dns::serves(&zone("127.0.0.1", baton.ports().sip(), port_of(&dead)));
    let fate = baton_call(&dns, "sip:bot@pbx.test");
    assert_eq!(fate.code, Some(0), "{fate:?}");
    let by_port = format!("sip:bot@plain.test:{}", baton.ports().sip());
    assert_eq!(baton_call(&dns, &by_port).code, Some(0));
    for (uri, code, says) in [
        (
            "sip:bot@missing.test",
            4,
            "there is no name \"missing.test\"",
        ),
        ("sip:bot@closed.test", 4, "has no SIP service"),
        (
            "sip:bot@pbx.test;transport=sctp",
            2,
            "no way to send by sctp",
        ),
    ] {
        let fate = baton_call(&dns, uri);
        assert_eq!(fate.code, Some(code), "{uri}: {fate:?}");
        assert!(fate.err.contains(says), "{uri}: {}", fate.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_record_and_of_no_is_understood() {
    let mut zone = zone("127.0.0.1", 5071, 5072);
    zone.push("--host-record=both.test,127.0.0.1,::1".into());
    zone.push("--cname=alias.test,plain.test".into());
    zone.push("--host-record=bad.test,224.0.0.1".into());
    let dns = Dns::serves(&zone);
    let lookups = Lookups::new(&[dns.address()], Entropy::from_number(1));
    let locate = async |uri: &str| {
        let mut reach = Reach::default();
        reach.add(Transport::Udp, [127, 0, 0, 1].into());
        reach.add(Transport::Udp, "::1".parse().expect("an address"));
        let destination = Destination::parse(uri).expect("a SIP URI");
        let targets = lookups.locate(destination, reach).await?;
        let text: Vec<_> = targets
            .iter()
            .map(|target| target.address.to_string())
            .collect();
        Ok::<_, LocateError>(text.join(" "))
    };
    for (uri, expected) in [
        ("sip:pbx.test", "127.0.0.1:5071 127.0.0.1:5072"),
        ("sip:both.test", "[::1]:5060 127.0.0.1:5060"),
        ("sip:alias.test", "127.0.0.1:5060"),
        ("sip:PLAIN.test.:5080", "127.0.0.1:5080"),
        ("sip:localhost:5080", "[::1]:5080 127.0.0.1:5080"),
    ] {
        let found = locate(uri)
            .await
            .unwrap_or_else(|error| panic!("{uri}: {error}"));
        // Which of its own addresses a machine calls localhost is its own business.
        if uri.contains("localhost") {
            assert!(expected.contains(&found), "{uri}: {found}");
        } else {
            assert_eq!(found, expected, "{uri}");
        }
    }
    assert!(matches!(
        locate("sip:missing.test").await,
        Err(LocateError::NoSuchName(_))
    ));
    assert!(matches!(
        locate("sip:closed.test").await,
        Err(LocateError::NoService(_))
    ));
    assert!(matches!(
        locate("sip:bad.test").await,
        Err(LocateError::Unusable(_))
    ));
}
