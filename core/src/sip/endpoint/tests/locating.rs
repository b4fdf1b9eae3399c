//! Dialogs whose next hop is a name: who is asked where it is, and where requests go before and after.

use std::time::Duration;

use bytes::Bytes;

use super::raw::{Raw, in_dialog, invite, response, tag_of};
use crate::sip::endpoint::{Command, DialogId, Event, Flow, LocateId, OutgoingInvite, Transport};

fn way(number: u8) -> Flow {
    Flow {
        transport: Transport::Udp,
        local: "10.0.0.2:5060".parse().unwrap(),
        remote: ([10, 0, 1, number], 5060).into(),
    }
}

/// The questions that came up; other events are dropped.
fn questions(raw: &mut Raw) -> Vec<(LocateId, String)> {
    std::iter::from_fn(|| raw.endpoint.poll_event())
        .filter_map(|event| match event {
            Event::Locate { id, uri } => Some((id, uri)),
            Event::Invited(_) | Event::Dialog { .. } | Event::Registration { .. } => None,
        })
        .collect()
}

fn answer() -> Command {
    Command::Answer {
        body: Bytes::from_static(b"v=0"),
        headers: Vec::new(),
    }
}

fn bye() -> Command {
    let headers = Vec::new();
    Command::Bye { headers }
}

fn refer() -> Command {
    Command::Refer {
        refer_to: "<sip:queue@example.com>".into(),
        headers: Vec::new(),
    }
}

/// A call whose INVITE says this, answered and acknowledged.
fn talking(raw: &mut Raw, contact: &str, more: &str) -> (DialogId, String) {
    let invite = invite("z9hG4bKi", more).replace("<sip:+1555@10.0.0.1:5060>", contact);
    raw.send(&invite);
    let dialog = raw.invited().unwrap().dialog;
    assert!(
        questions(raw).is_empty(),
        "nobody is looked up for a call that is not answered"
    );
    let ok = raw.command(dialog, answer());
    let tag = tag_of(&ok[0]);
    raw.send(&in_dialog("ACK", 1, &tag, "z9hG4bKa", "", ""));
    (dialog, tag)
}

fn goes_to(raw: &mut Raw, dialog: DialogId, command: Command) -> Vec<Flow> {
    raw.endpoint.command(raw.now, dialog, command).unwrap();
    std::iter::from_fn(|| raw.endpoint.poll_transmit())
        .map(|transmit| transmit.flow)
        .collect()
}

#[test]
fn a_contact_with_a_name_is_asked_for_once_and_requests_go_where_it_was_found() {
    let mut raw = Raw::new();
    let (dialog, _) = talking(&mut raw, "<sip:+1555@pbx.example.com>", "");
    let asked = questions(&mut raw);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].1, "sip:+1555@pbx.example.com");
    let here = raw.flow;
    assert_eq!(goes_to(&mut raw, dialog, refer()), [here], "not known yet");
    raw.endpoint
        .handle_located(raw.now, asked[0].0, vec![way(1), way(2)]);
    assert_eq!(goes_to(&mut raw, dialog, bye()), [way(1)]);
    assert!(questions(&mut raw).is_empty());
}

#[test]
fn a_record_route_with_a_name_is_asked_for_and_the_contact_behind_it_is_not() {
    let mut raw = Raw::new();
    let route = "Record-Route: <sip:edge.example.com;transport=udp;lr>";
    let (dialog, _) = talking(&mut raw, "<sip:+1555@pbx.example.com>", route);
    let asked = questions(&mut raw);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].1, "sip:edge.example.com;transport=udp;lr");
    raw.endpoint
        .handle_located(raw.now, asked[0].0, vec![way(7)]);
    assert_eq!(goes_to(&mut raw, dialog, bye()), [way(7)]);
}

#[test]
fn addresses_and_what_is_no_sip_are_not_asked_for() {
    for contact in [
        "<sip:+1555@10.0.0.1:5060>",
        "<tel:+1555>",
        "<sip:+1555@pbx.example.com;maddr=10.0.0.9>",
        "<sip:+1555@pbx.example.com;transport=sctp>",
    ] {
        let mut raw = Raw::new();
        talking(&mut raw, contact, "");
        assert!(questions(&mut raw).is_empty(), "{contact}");
    }
}

#[test]
fn a_name_that_leads_nowhere_means_where_the_dialog_came_from() {
    let mut raw = Raw::new();
    let (dialog, _) = talking(&mut raw, "<sip:+1555@pbx.example.com>", "");
    let asked = questions(&mut raw);
    raw.endpoint.handle_located(raw.now, asked[0].0, Vec::new());
    let here = raw.flow;
    assert_eq!(goes_to(&mut raw, dialog, bye()), [here]);
}

#[test]
fn a_name_that_means_ourselves_is_no_way_out() {
    let mut raw = Raw::new();
    let (dialog, _) = talking(&mut raw, "<sip:+1555@pbx.example.com>", "");
    let asked = questions(&mut raw);
    let ourselves = Flow {
        remote: raw.flow.local,
        ..raw.flow
    };
    raw.endpoint
        .handle_located(raw.now, asked[0].0, vec![ourselves]);
    let here = raw.flow;
    assert_eq!(goes_to(&mut raw, dialog, bye()), [here]);
}

#[test]
fn a_located_server_that_is_silent_is_left_for_the_next_and_in_the_end_for_where_the_dialog_came_from()
 {
    let mut raw = Raw::new();
    let (dialog, _) = talking(&mut raw, "<sip:+1555@pbx.example.com>", "");
    let asked = questions(&mut raw);
    raw.endpoint
        .handle_located(raw.now, asked[0].0, vec![way(1)]);
    assert_eq!(goes_to(&mut raw, dialog, refer()), [way(1)]);
    let sent = raw.run(Duration::from_secs(4));
    let last = sent.last().unwrap();
    assert!(last.starts_with("REFER "));
    raw.send(&response(last, "202 Accepted", ""));
    // The next request does not wait for the silent one again.
    let here = raw.flow;
    assert_eq!(goes_to(&mut raw, dialog, bye()), [here]);
}

#[test]
fn a_target_refresh_with_another_name_is_asked_for_and_the_old_answer_is_outdated() {
    let mut raw = Raw::new();
    let (dialog, tag) = talking(&mut raw, "<sip:+1555@one.example.com>", "");
    let first = questions(&mut raw);
    let update = in_dialog("UPDATE", 2, &tag, "z9hG4bKu", "", "")
        .replace("10.0.0.1:5060>", "two.example.com>");
    raw.send(&update);
    let second = questions(&mut raw);
    assert_eq!(second[0].1, "sip:+1555@two.example.com");
    raw.endpoint
        .handle_located(raw.now, first[0].0, vec![way(1)]);
    raw.endpoint
        .handle_located(raw.now, second[0].0, vec![way(2)]);
    // The same name again is known.
    raw.send(
        &update
            .replace("z9hG4bKu", "z9hG4bKv")
            .replace("CSeq: 2", "CSeq: 3"),
    );
    assert!(questions(&mut raw).is_empty());
    assert_eq!(goes_to(&mut raw, dialog, bye()), [way(2)]);
}

#[test]
fn a_caller_is_located_when_the_callee_answers_and_its_ack_does_not_wait() {
    let mut raw = Raw::new();
    let invite = OutgoingInvite {
        ways: raw.flow.into(),
        target: "sip:bob@example.com".into(),
        from: "<sip:alice@10.0.0.2>".into(),
        to: String::new(),
        call_id: "c7".into(),
        account: None,
        headers: Vec::new(),
        body: Bytes::from_static(b"v=0"),
    };
    let dialog = raw.endpoint.invite(raw.now, invite).unwrap();
    let sent = raw.sent().remove(0);
    assert!(
        questions(&mut raw).is_empty(),
        "whoever calls has located its target"
    );
    let ok = response(&sent, "200 OK", "Contact: <sip:bob@pbx.example.com>").replace(
        "To: <sip:bob@example.com>",
        "To: <sip:bob@example.com>;tag=b",
    );
    let ack = raw.send(&ok);
    assert!(ack[0].starts_with("ACK sip:bob@pbx.example.com"));
    let asked = questions(&mut raw);
    assert_eq!(asked.len(), 1);
    raw.endpoint
        .handle_located(raw.now, asked[0].0, vec![way(3)]);
    assert_eq!(goes_to(&mut raw, dialog, bye()), [way(3)]);
}

#[test]
fn answers_to_nothing_and_for_dialogs_that_are_gone_change_nothing() {
    let mut raw = Raw::new();
    let (dialog, tag) = talking(&mut raw, "<sip:+1555@pbx.example.com>", "");
    let asked = questions(&mut raw);
    raw.send(&in_dialog("BYE", 2, &tag, "z9hG4bKb", "", ""));
    raw.endpoint
        .handle_located(raw.now, asked[0].0, vec![way(1)]);
    raw.endpoint
        .handle_located(raw.now, asked[0].0, vec![way(1)]);
    assert!(raw.endpoint.command(raw.now, dialog, bye()).is_err());
    assert_eq!(raw.endpoint.dialogs(), 0);
}
