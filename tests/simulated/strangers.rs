//! Requests from nowhere we know, and octets that are no requests: refused or ignored, and nothing of it stays.

use baton_core::history::{EndBy, EndKind};
use baton_core::sip::trunk::{Trunk, Trunks};

use crate::support::{Ladder, secs};

const NOWHERE: &str = "203.0.113.5:5060";

fn request(method: &str) -> String {
    format!(
        "{method} sip:bot@10.0.0.2 SIP/2.0\nVia: SIP/2.0/UDP {NOWHERE};branch=z9hG4bK{method}\n\
         Max-Forwards: 70\nFrom: <sip:x@203.0.113.5>;tag=x1\nTo: <sip:bot@10.0.0.2>\n\
         Call-ID: x@203.0.113.5\nCSeq: 1 {method}\nContact: <sip:x@{NOWHERE}>\n\
         Refer-To: <sip:evil@203.0.113.5>\nContent-Length: 0\n\n"
    )
}

/// The stranger gets this answer, and the call that is up does not notice.
#[track_caller]
fn is_answered(text: &str, status: &str) {
    let mut call = Ladder::answered();
    let answers = call.stranger_sends(NOWHERE, text);
    let first = answers.first().map(String::as_str).unwrap_or_default();
    assert!(
        first.starts_with(&format!("SIP/2.0 {status}")),
        "{answers:?}"
    );
    assert_eq!(answers.len(), 1);
    call.sends(status).passes(secs(1));
    assert_eq!(call.world.bridge.calls().count(), 1);
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_call_from_nowhere_we_know_is_forbidden() {
    is_answered(&request("INVITE"), "403");
}

#[test]
fn a_transfer_from_nowhere_we_know_is_forbidden() {
    is_answered(&request("REFER"), "403");
}

#[test]
fn a_bye_from_nowhere_we_know_is_forbidden() {
    is_answered(&request("BYE"), "403");
}

#[test]
fn a_cancel_for_nothing_is_answered_so() {
    is_answered(&request("CANCEL"), "481");
}

#[test]
fn where_trunks_are_named_nobody_else_may_call() {
    let trunk = Trunk {
        name: "theirs".into(),
        networks: vec!["10.0.0.77/32".parse().expect("a network")],
        ..Trunk::default()
    };
    let mut call = Ladder::calls_with(|house| house.sip.trunks = Trunks::new(vec![trunk]));
    call.sends("403 Forbidden");
    assert_eq!(call.world.bridge.calls().count(), 0);
    call.is_forgotten();
}

#[test]
fn noise_on_the_sip_port_is_met_with_silence() {
    let mut call = Ladder::answered();
    for noise in [
        "",
        "\n\n",
        "\0\0\0\0",
        "GET / HTTP/1.1\n\n",
        "SIP/2.0 200 OK\n\n",
        "INVITE",
    ] {
        let answers = call.stranger_sends(NOWHERE, noise);
        assert!(answers.is_empty(), "{noise:?}: {answers:?}");
    }
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn an_ack_from_nowhere_is_no_acknowledgement() {
    let mut call = Ladder::calls();
    call.wire_loses_from_trunk("ACK", usize::MAX);
    call.sends("180 Ringing").sends("200 OK (INVITE)");
    assert!(call.stranger_sends(NOWHERE, &request("ACK")).is_empty());
    call.within(secs(40)).sends("BYE");
    call.ends(EndKind::Failed, EndBy::Caller);
}

#[test]
fn a_known_network_that_rings_from_another_address_of_the_same_host_is_unknown() {
    let trunk = Trunk {
        name: "ours".into(),
        networks: vec!["10.0.0.1/32".parse().expect("a network")],
        ..Trunk::default()
    };
    let mut call = Ladder::calls_with(|house| house.sip.trunks = Trunks::new(vec![trunk]));
    call.sends("180 Ringing").sends("200 OK (INVITE)");
    let spoof = request("INVITE").replace(NOWHERE, "10.0.0.1:5060");
    let answers = call.stranger_sends(NOWHERE, &spoof);
    assert_eq!(
        call.world.bridge.endpoint.counters().strangers,
        1,
        "a Via that claims the trunk's address makes nobody the trunk: {answers:?}"
    );
    assert_eq!(call.world.bridge.calls().count(), 1);
    call.sends("403");
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}
