//! Whole calls over TCP and TLS: the real binary, the softphone, the commands.

use std::fs;
use std::process::Command;

use baton::softphone::{CallPlan, Outcome, Phone, PhoneConfig};
use baton_core::vocab::Entropy;
use serde_json::json;

use crate::support::authority::{Authority, Issued};
use crate::support::node::Peer;
use crate::support::phone::plan;
use crate::support::{Baton, Setup};
use crate::tls;

/// A bridge that listens on UDP, TCP and TLS, with a certificate for its address.
fn secure(authority: &Authority) -> (Setup, Issued) {
    let issued = authority.issue("node", &["127.0.0.1", "localhost"]);
    let setup = Setup::new().tls(&issued.certificate, &issued.key);
    (setup, issued)
}

async fn talks(baton: &mut Baton, uri: String, authority: Option<&Authority>) {
    let phone = Phone::bind(PhoneConfig {
        tls_ca: authority.map(Authority::file),
        ..PhoneConfig::loopback(Entropy::from_number(77))
    })
    .expect("loopback has a port");
    let plan = CallPlan {
        duration: Some(std::time::Duration::from_secs(2)),
        uri,
        ..plan(baton)
    };
    let report = phone.call(plan).await.expect("it can be placed");
    assert!(
        matches!(report.outcome, Outcome::Completed { by_us: true, .. }),
        "{:?}\n{}",
        report.outcome,
        baton.story()
    );
    assert!(report.rtp.received > 50, "{:?}", report.rtp);
    let (call, _) = baton.ended_call();
    assert_eq!(call["end"]["kind"], json!("caller_hung_up"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_over_tcp_is_carried_from_invite_to_bye() {
    let mut baton = Baton::start();
    let uri = format!("{};transport=tcp", baton.uri());
    talks(&mut baton, uri, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_over_tls_is_carried_from_invite_to_bye() {
    let authority = Authority::new();
    let (setup, _) = secure(&authority);
    let mut baton = setup.start();
    let uri = format!("sips:bot@127.0.0.1:{}", baton.ports().sips());
    talks(&mut baton, uri, Some(&authority)).await;
}

#[test]
fn the_banner_names_every_address_and_check_looks_at_the_certificate() {
    let authority = Authority::new();
    let (setup, issued) = secure(&authority);
    let check = setup.run(&["check"]);
    assert!(
        check
            .out
            .contains("the certificate of 127.0.0.1, localhost is good for"),
        "{check:?}"
    );
    let other = authority.issue("other", &["127.0.0.1"]);
    fs::copy(&other.key, &issued.key).expect("it can be written");
    let check = setup.run(&["check"]);
    assert_eq!(check.code, Some(1), "{check:?}");
    assert!(check.out.contains("is not the key of"), "{check:?}");
    let start = setup.run(&["serve"]);
    assert_eq!(start.code, Some(1), "{start:?}");
    assert!(start.err.contains("[sip] tls: "), "{start:?}");

    let (setup, _) = secure(&authority);
    let baton = setup.start();
    let (sip, sips) = (baton.ports().sip(), baton.ports().sips());
    let story = baton.story();
    for line in [
        format!("udp:127.0.0.1:{sip}"),
        format!("tcp:127.0.0.1:{sip}"),
        format!("tls:127.0.0.1:{sips}"),
    ] {
        assert!(story.contains(&line), "{line} in {story}");
    }
}

#[test]
fn a_new_certificate_is_taken_at_sighup_and_a_bad_one_is_not() {
    let authority = Authority::new();
    let (setup, issued) = secure(&authority);
    let mut baton = setup.start();
    let at = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let (sip, sips) = (at(baton.ports().sip()), at(baton.ports().sips()));
    let config = tls::client(&authority.file(), None);
    let names = || {
        let mut peer = tls::connect(sips, &config);
        assert!(peer.is_served("shown"));
        tls::shown(&peer)
    };
    let old = ["127.0.0.1", "localhost"];
    assert_eq!(names(), old);
    let mut plain = Peer::connect(sip);
    assert!(plain.is_served("before"));

    let new = authority.issue("new", &["localhost", "new.example.com"]);
    fs::copy(&new.certificate, &issued.certificate).expect("it can be written");
    // Half of the pair: refused, and the running one kept.
    baton.signal("HUP");
    baton.says("is not the key of");
    assert_eq!(names(), old);
    fs::copy(&new.key, &issued.key).expect("it can be written");
    baton.signal("HUP");
    baton.says("configuration read again");
    assert_eq!(names(), ["localhost", "new.example.com"]);
    assert!(plain.is_served("after"), "nobody was dropped");
}

#[test]
fn the_command_calls_over_tcp_and_over_tls_and_refuses_whom_it_cannot_believe() {
    let authority = Authority::new();
    let (setup, _) = secure(&authority);
    let baton = setup.start();
    let call = |uri: &str, more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_baton"))
            .args(["call", uri, "--duration", "500ms"])
            .args(more)
            .output()
            .expect("the binary runs")
    };
    let (sip, sips) = (baton.ports().sip(), baton.ports().sips());
    let over_tcp = call(&format!("sip:bot@127.0.0.1:{sip};transport=tcp"), &[]);
    assert_eq!(over_tcp.status.code(), Some(0), "{over_tcp:?}");
    let ca = authority.file();
    let ca = ca.to_str().expect("a path");
    let secure = format!("sip:bot@127.0.0.1:{sips};transport=tls");
    let believed = call(&secure, &["--tls-ca", ca]);
    assert_eq!(believed.status.code(), Some(0), "{believed:?}");
    assert_eq!(call(&secure, &[]).status.code(), Some(3));
    assert_eq!(
        call(&secure, &["--tls-ca", "/nonexistent"]).status.code(),
        Some(2)
    );
}
