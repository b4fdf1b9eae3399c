//! Requests in a dialog from where they cannot come from.

use bytes::Bytes;

use super::raw::{Raw, in_dialog, invite, status, statuses, tag_of};
use crate::sip::endpoint::{Command, Config, DialogEvent, Flow};
use crate::sip::trunk::{Trunk, Trunks};

fn trunk(networks: &[&str]) -> Raw {
    let networks = networks.iter().map(|n| n.parse().unwrap()).collect();
    Raw::with(Config {
        trunks: Trunks::new(vec![Trunk {
            name: "carrier".into(),
            networks,
            ..Trunk::default()
        }]),
        ..Config::default()
    })
}

/// The same request from another host.
fn from_host(raw: &mut Raw, host: &str, text: &str) -> Vec<String> {
    let ours = raw.flow;
    raw.flow = Flow {
        remote: format!("{host}:5060").parse().unwrap(),
        ..ours
    };
    let sent = raw.send(text);
    raw.flow = ours;
    sent
}

#[test]
fn who_knows_the_tags_and_comes_from_elsewhere_is_not_believed() {
    let mut raw = trunk(&["10.0.0.1/32"]);
    let (_, tag) = raw.talking();
    for (cseq, method) in (100..).zip([
        "BYE", "REFER", "NOTIFY", "INFO", "UPDATE", "INVITE", "OPTIONS", "PRACK",
    ]) {
        let forged = in_dialog(method, cseq, &tag, &format!("z9hG4bK{method}"), "", "");
        assert_eq!(
            statuses(&from_host(&mut raw, "203.0.113.5", &forged)),
            [403],
            "{method}"
        );
    }
    assert!(raw.events().is_empty());
    // Nor has it moved the numbers.
    let info = in_dialog("INFO", 2, &tag, "z9hG4bKreal", "", "");
    assert_eq!(statuses(&raw.send(&info)), [200]);
    let bye = in_dialog("BYE", 3, &tag, "z9hG4bKbye", "", "");
    assert_eq!(statuses(&raw.send(&bye)), [200]);
}

#[test]
fn the_trunks_networks_the_route_set_and_the_contact_are_believed() {
    let mut raw = trunk(&["10.0.0.0/29"]);
    let route = "Record-Route: <sip:192.0.2.60:5061;transport=tls;r2=on;lr>\n\
         Record-Route: <sip:192.0.2.61;r2=on;lr>";
    let call = invite("z9hG4bKi", route).replace(
        "Contact: <sip:+1555@10.0.0.1:5060>",
        "Contact: <sip:+1555@192.0.2.77>",
    );
    raw.send(&call);
    let dialog = raw.invited().unwrap().dialog;
    let answer = Command::Answer {
        body: Bytes::from_static(b"v=0"),
        headers: Vec::new(),
    };
    raw.endpoint.command(raw.now, dialog, answer).unwrap();
    let tag = tag_of(&raw.sent()[0]);
    raw.send(&in_dialog("ACK", 1, &tag, "z9hG4bKa", "", ""));
    let hosts = [
        "10.0.0.1",
        "10.0.0.6",
        "192.0.2.60",
        "192.0.2.61",
        "192.0.2.77",
    ];
    for (cseq, host) in (2..).zip(hosts) {
        let info = in_dialog("OPTIONS", cseq, &tag, &format!("z9hG4bK{host}"), "", "");
        let sent = from_host(&mut raw, host, &info);
        assert_eq!(statuses(&sent), [200], "{host}");
    }
    for host in ["10.0.0.9", "192.0.2.62"] {
        let info = in_dialog("OPTIONS", 50, &tag, &format!("z9hG4bK{host}"), "", "");
        assert_eq!(statuses(&from_host(&mut raw, host, &info)), [403], "{host}");
    }
}

#[test]
fn a_trunk_from_anywhere_lets_only_the_dialogs_hosts_speak_in_it() {
    let mut raw = trunk(&["0.0.0.0/0", "::/0"]);
    let (_, tag) = raw.talking();
    let bye = in_dialog("BYE", 2, &tag, "z9hG4bKb", "", "");
    assert_eq!(statuses(&from_host(&mut raw, "203.0.113.5", &bye)), [403]);
    assert_eq!(statuses(&raw.send(&bye)), [200]);
}

#[test]
fn an_ack_or_a_cancel_from_elsewhere_does_nothing() {
    let mut raw = trunk(&["10.0.0.1/32"]);
    raw.send(&invite("z9hG4bKi", ""));
    let dialog = raw.invited().unwrap().dialog;
    let cancel = invite("z9hG4bKi", "").replace("INVITE", "CANCEL");
    assert_eq!(
        statuses(&from_host(&mut raw, "203.0.113.5", &cancel)),
        [481]
    );
    let answer = Command::Answer {
        body: Bytes::from_static(b"v=0"),
        headers: Vec::new(),
    };
    let sent = raw.command(dialog, answer);
    let tag = tag_of(&sent[0]);
    let ack = in_dialog("ACK", 1, &tag, "z9hG4bKa", "", "v=0 mine");
    assert!(from_host(&mut raw, "203.0.113.5", &ack).is_empty());
    assert!(raw.events().is_empty());
    raw.send(&in_dialog("ACK", 1, &tag, "z9hG4bKa", "", ""));
    assert_eq!(
        raw.events(),
        [DialogEvent::Acknowledged { body: Bytes::new() }]
    );
}

#[test]
fn a_notify_for_nothing_does_not_move_the_numbers() {
    let mut raw = Raw::new();
    let (_, tag) = raw.talking();
    let stray = in_dialog(
        "NOTIFY",
        2_000_000_000,
        &tag,
        "z9hG4bKn",
        "Event: refer;id=7",
        "",
    );
    assert_eq!(statuses(&raw.send(&stray)), [481]);
    let bye = in_dialog("BYE", 2, &tag, "z9hG4bKb", "", "");
    assert_eq!(statuses(&raw.send(&bye)), [200]);
}

#[test]
fn a_refer_that_crosses_our_bye_gets_481() {
    let mut raw = Raw::new();
    let (dialog, tag) = raw.talking();
    let bye = Command::Bye {
        headers: Vec::new(),
    };
    raw.command(dialog, bye);
    let refer = in_dialog("REFER", 2, &tag, "z9hG4bKr", "Refer-To: <sip:a@h>", "");
    assert_eq!(statuses(&raw.send(&refer)), [481]);
    assert_eq!(
        statuses(&raw.send(&refer)),
        [481],
        "its repeat gets the same"
    );
    assert!(raw.events().is_empty());
}

#[test]
fn what_the_call_never_answers_is_answered_for_it() {
    let mut raw = Raw::new();
    let (_, tag) = raw.talking();
    let refer = |cseq: u32| {
        let branch = format!("z9hG4bKr{cseq}");
        in_dialog("REFER", cseq, &tag, &branch, "Refer-To: <sip:a@h>", "")
    };
    raw.send(&refer(2));
    let sdp = "Content-Type: application/sdp";
    raw.send(&in_dialog("UPDATE", 3, &tag, "z9hG4bKu", sdp, "v=0 new"));
    let sent = raw.run(std::time::Duration::from_secs(28));
    assert_eq!(
        sent.iter().map(|m| status(m)).collect::<Vec<_>>(),
        [500, 500]
    );
    // There is room for the next.
    raw.events();
    assert!(raw.send(&refer(4)).is_empty());
    assert!(matches!(
        raw.events().as_slice(),
        [DialogEvent::Referred { .. }]
    ));
}
