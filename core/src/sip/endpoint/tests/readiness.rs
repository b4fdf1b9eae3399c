//! OPTIONS, draining, overload, strangers.

use std::time::Duration;

use super::raw::{Raw, header, in_dialog, invite, outside, statuses};
use crate::sip::endpoint::{Config, Limits, Readiness};
use crate::sip::trunk::{Trunk, Trunks};

#[test]
fn options_tell_what_we_can_do_and_are_not_remembered() {
    let mut raw = Raw::new();
    let sent = raw.send(&outside("OPTIONS", "z9hG4bK1", ""));
    assert_eq!(statuses(&sent), [200]);
    for name in ["Allow", "Accept", "Supported", "Allow-Events", "Server"] {
        assert!(header(&sent[0], name).is_some(), "{name}");
    }
    assert_eq!(
        raw.send(&outside("OPTIONS", "z9hG4bK1", "")),
        sent,
        "the same answer, tag included"
    );
    assert_eq!(raw.endpoint.transactions(), 0);
}

#[test]
fn a_draining_node_takes_no_calls_but_keeps_those_it_has() {
    let mut raw = Raw::new();
    let (_, tag) = raw.talking();
    raw.endpoint.set_readiness(Readiness::Draining);
    for request in [
        outside("OPTIONS", "z9hG4bK1", ""),
        invite("z9hG4bK2", "").replace("c1@", "c2@"),
    ] {
        let sent = raw.send(&request);
        assert_eq!(statuses(&sent), [503]);
        let seconds: u64 = header(&sent[0], "Retry-After").unwrap().parse().unwrap();
        assert!((5..=10).contains(&seconds), "{seconds}");
    }
    assert!(raw.invited().is_none());
    assert_eq!(
        statuses(&raw.send(&in_dialog("OPTIONS", 2, &tag, "z9hG4bK3", "", ""))),
        [200]
    );
    assert_eq!(
        statuses(&raw.send(&in_dialog("BYE", 3, &tag, "z9hG4bK4", "", ""))),
        [200]
    );
}

#[test]
fn a_busy_node_says_when_to_come_back() {
    let mut raw = Raw::new();
    raw.endpoint.set_readiness(Readiness::Busy {
        retry_after: Duration::from_secs(30),
    });
    let sent = raw.send(&invite("z9hG4bK2", ""));
    assert_eq!(statuses(&sent), [503]);
    let seconds: u64 = header(&sent[0], "Retry-After").unwrap().parse().unwrap();
    assert!((30..=60).contains(&seconds), "{seconds}");
    raw.endpoint.set_readiness(Readiness::Ready);
    assert_eq!(statuses(&raw.send(&invite("z9hG4bK2", ""))), [100]);
}

#[test]
fn a_full_node_refuses_calls_and_still_serves_those_it_has() {
    let limits = Limits {
        dialogs: 1,
        ..Limits::default()
    };
    let mut raw = Raw::with(Config {
        limits,
        ..Config::default()
    });
    let (_, tag) = raw.talking();
    assert_eq!(
        statuses(&raw.send(&invite("z9hG4bK2", "").replace("c1@", "c2@"))),
        [503]
    );
    assert_eq!(raw.endpoint.counters().overloaded, 1);
    assert_eq!(
        statuses(&raw.send(&in_dialog("BYE", 3, &tag, "z9hG4bK4", "", ""))),
        [200]
    );
    assert_eq!(
        statuses(&raw.send(&invite("z9hG4bK3", "").replace("c1@", "c3@"))),
        [100]
    );
}

#[test]
fn strangers_get_403_and_may_only_ask_whether_we_live() {
    let mut raw = Raw::new();
    raw.flow.remote = "203.0.113.7:5060".parse().unwrap();
    assert_eq!(statuses(&raw.send(&invite("z9hG4bK2", ""))), [403]);
    assert_eq!(
        statuses(&raw.send(&outside("REFER", "z9hG4bK3", "Refer-To: <sip:x@h>"))),
        [403]
    );
    assert_eq!(
        statuses(&raw.send(&outside("NOTIFY", "z9hG4bK4", "Event: refer"))),
        [403]
    );
    assert_eq!(
        statuses(&raw.send(&outside("OPTIONS", "z9hG4bK5", ""))),
        [200]
    );
    assert!(raw.invited().is_none());
    assert_eq!(raw.endpoint.transactions(), 0);
    assert_eq!(raw.endpoint.counters().strangers, 3);
}

#[test]
fn a_configured_trunk_is_named_and_everybody_else_is_a_stranger() {
    let mut raw = Raw::new();
    raw.endpoint.set_trunks(Trunks::new(vec![Trunk {
        name: "twilio".into(),
        networks: vec!["203.0.113.0/24".parse().unwrap()],
        ..Trunk::default()
    }]));
    assert_eq!(statuses(&raw.send(&invite("z9hG4bK1", ""))), [403]);
    raw.flow.remote = "203.0.113.7:5060".parse().unwrap();
    assert_eq!(statuses(&raw.send(&invite("z9hG4bK2", ""))), [100]);
    assert_eq!(raw.invited().unwrap().trunk, "twilio");
}

#[test]
fn responses_go_where_the_via_says() {
    let mut raw = Raw::new();
    raw.flow.remote = "10.0.0.9:34567".parse().unwrap();
    let to = |raw: &mut Raw, request: &str| {
        raw.endpoint
            .handle_datagram(raw.now, raw.flow, &request.replace('\n', "\r\n").into());
        let transmit = raw.endpoint.poll_transmit().unwrap();
        let text = String::from_utf8(transmit.payload.to_vec()).unwrap();
        (
            transmit.flow.remote.to_string(),
            header(&text, "Via").unwrap().to_owned(),
        )
    };
    let asked = outside("OPTIONS", "z9hG4bK1", "");
    let (remote, via) = to(&mut raw, &asked);
    assert_eq!(remote, "10.0.0.9:34567");
    assert!(via.contains(";received=10.0.0.9;rport=34567"), "{via}");
    let (remote, via) = to(&mut raw, &asked.replace(";rport", ""));
    assert_eq!(remote, "10.0.0.9:5060");
    assert!(
        via.contains(";received=10.0.0.9") && !via.contains("rport"),
        "{via}"
    );
    let (remote, _) = to(
        &mut raw,
        &asked
            .replace("10.0.0.1:5060;branch", "host.example:5099;branch")
            .replace(";rport", ""),
    );
    assert_eq!(remote, "10.0.0.9:5099");
}
