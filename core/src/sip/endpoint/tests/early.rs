//! Calls we place: early dialogs of several phones, PRACK, and offers that the far end makes.

use std::time::Duration;

use bytes::Bytes;

use super::raw::{Raw, header, request, response, statuses};
use crate::sip::endpoint::{Command, DialogEvent, DialogId, OutgoingInvite};

const CONTACT: &str = "Contact: <sip:bob@10.0.0.1:5060>\nRecord-Route: <sip:10.0.0.9;lr>";

fn place(raw: &mut Raw, offer: &'static str) -> (DialogId, String) {
    let invite = OutgoingInvite {
        ways: raw.flow.into(),
        target: "sip:bob@10.0.0.1".into(),
        from: "<sip:alice@10.0.0.2>".into(),
        to: String::new(),
        call_id: "c7".into(),
        account: None,
        headers: Vec::new(),
        body: Bytes::from_static(offer.as_bytes()),
    };
    let dialog = raw.endpoint.invite(raw.now, invite).unwrap();
    (dialog, raw.sent().remove(0))
}

fn tagged(request: &str, tag: &str) -> String {
    request.replace(
        "To: <sip:bob@10.0.0.1>",
        &format!("To: <sip:bob@10.0.0.1>;tag={tag}"),
    )
}

/// A response with a body.
fn described(invite: &str, tag: &str, status: &str, more: &str, sdp: &str) -> String {
    let more = format!("{more}\n{CONTACT}\nContent-Type: application/sdp");
    response(&tagged(invite, tag), status, &more).replace(
        "Content-Length: 0\n\n",
        &format!("Content-Length: {}\n\n{sdp}", sdp.len()),
    )
}

fn ringing(invite: &str, tag: &str, rseq: u32) -> String {
    let more = format!("{CONTACT}\nRequire: 100rel\nRSeq: {rseq}");
    response(&tagged(invite, tag), "180 Ringing", &more)
}

#[test]
fn an_invite_says_what_it_supports_and_requires_nothing() {
    let mut raw = Raw::new();
    let (_, invite) = place(&mut raw, "v=0");
    assert_eq!(
        header(&invite, "Supported"),
        Some("timer, 100rel, norefersub")
    );
    assert_eq!(header(&invite, "Require"), None);
    assert!(header(&invite, "Allow").unwrap().contains("PRACK"));
}

#[test]
fn reliable_rings_are_acknowledged_in_order_and_once() {
    let mut raw = Raw::new();
    let (_, invite) = place(&mut raw, "v=0");
    let prack = raw.send(&ringing(&invite, "b", 7)).remove(0);
    assert!(prack.starts_with("PRACK sip:bob@10.0.0.1:5060 "));
    assert_eq!(header(&prack, "RAck"), Some("7 1 INVITE"));
    assert_eq!(header(&prack, "CSeq"), Some("2 PRACK"));
    assert_eq!(header(&prack, "Route"), Some("<sip:10.0.0.9;lr>"));
    assert!(header(&prack, "To").unwrap().ends_with("tag=b"));
    assert!(raw.send(&ringing(&invite, "b", 7)).is_empty(), "a repeat");
    assert!(raw.send(&ringing(&invite, "b", 9)).is_empty(), "a gap");
    let next = raw.send(&ringing(&invite, "b", 8)).remove(0);
    assert_eq!(header(&next, "RAck"), Some("8 1 INVITE"));
    assert_eq!(header(&next, "CSeq"), Some("3 PRACK"));
    assert_eq!(raw.events().len(), 2);
    // Without RSeq, or without a tag, there is nothing to acknowledge.
    let bare = response(&tagged(&invite, "b"), "183 Session Progress", CONTACT);
    assert!(raw.send(&bare).is_empty());
    let untagged = response(&invite, "180 Ringing", "Require: 100rel\nRSeq: 1");
    assert!(raw.send(&untagged).is_empty());
}

#[test]
fn the_call_goes_on_with_the_numbers_of_the_phone_that_answers() {
    let mut raw = Raw::new();
    let (dialog, invite) = place(&mut raw, "v=0");
    for rseq in 1..=3 {
        raw.send(&ringing(&invite, "one", rseq));
    }
    raw.send(&ringing(&invite, "two", 50));
    let ack = raw
        .send(&response(&tagged(&invite, "one"), "200 OK", CONTACT))
        .remove(0);
    assert_eq!(header(&ack, "CSeq"), Some("1 ACK"));
    // The other phone answers too: its own numbers go on.
    let sent = raw.send(&response(&tagged(&invite, "two"), "200 OK", CONTACT));
    assert!(sent[0].starts_with("ACK ") && sent[1].starts_with("BYE "));
    assert_eq!(header(&sent[1], "CSeq"), Some("3 BYE"));
    let bye = Command::Bye {
        headers: Vec::new(),
    };
    assert_eq!(header(&raw.command(dialog, bye)[0], "CSeq"), Some("5 BYE"));
}

#[test]
fn a_hundred_phones_that_ring_cost_no_more_than_a_few() {
    let mut raw = Raw::new();
    let (_, invite) = place(&mut raw, "v=0");
    let mut pracks = 0;
    for fork in 0..100 {
        pracks += raw.send(&ringing(&invite, &format!("f{fork}"), 1)).len();
    }
    assert_eq!(pracks, 8);
}

#[test]
fn what_a_reliable_ring_described_is_the_answer_of_a_200_that_says_nothing() {
    let mut raw = Raw::new();
    let (_, invite) = place(&mut raw, "v=0");
    let early = described(
        &invite,
        "b",
        "183 Session Progress",
        "Require: 100rel\nRSeq: 1",
        "v=0 early",
    );
    assert!(raw.send(&early)[0].starts_with("PRACK "));
    raw.events();
    raw.send(&response(&tagged(&invite, "b"), "200 OK", CONTACT));
    let events = raw.events();
    let [DialogEvent::Answered { body, .. }] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(body, "v=0 early");
}

#[test]
fn a_phone_that_rings_may_speak_in_its_own_dialog() {
    let mut raw = Raw::new();
    let (_, invite) = place(&mut raw, "v=0");
    raw.send(&ringing(&invite, "b", 1));
    let ours = header(&invite, "From").unwrap().to_owned();
    let ask = |method: &str, tag: &str, cseq: u32, more: &str, body: &str| {
        let headers = format!(
            "Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK{method}{tag}{cseq};rport\n\
             From: <sip:bob@10.0.0.1>;tag={tag}\nTo: {ours}\nCall-ID: c7\nCSeq: {cseq} {method}\n\
             Contact: <sip:bob@10.0.0.1:5060>\n{more}"
        );
        request(&format!("{method} sip:alice@10.0.0.2"), &headers, body)
    };
    assert_eq!(statuses(&raw.send(&ask("OPTIONS", "b", 1, "", ""))), [200]);
    assert_eq!(statuses(&raw.send(&ask("UPDATE", "b", 2, "", ""))), [200]);
    let offer = ask("UPDATE", "b", 3, "Content-Type: application/sdp", "v=0 x");
    assert_eq!(
        statuses(&raw.send(&offer)),
        [500],
        "not before it is answered"
    );
    assert_eq!(
        statuses(&raw.send(&ask("OPTIONS", "b", 1, "", "").replace("OPTIONSb1", "x"))),
        [500]
    );
    assert_eq!(
        statuses(&raw.send(&ask("OPTIONS", "stranger", 1, "", ""))),
        [481]
    );
    // The call itself is as it was.
    let ack = raw
        .send(&response(&tagged(&invite, "c"), "200 OK", CONTACT))
        .remove(0);
    assert!(header(&ack, "To").unwrap().ends_with("tag=c"));
}

#[test]
fn an_offer_in_the_200_is_answered_in_the_ack_when_the_call_says_so() {
    let mut raw = Raw::new();
    let (dialog, invite) = place(&mut raw, "");
    assert_eq!(header(&invite, "Accept"), Some("application/sdp"));
    let ok = described(&invite, "b", "200 OK", "", "v=0 offer");
    assert!(raw.send(&ok).is_empty());
    assert!(raw.send(&ok).is_empty(), "its repeat waits too");
    let events = raw.events();
    let [DialogEvent::Answered { body, .. }] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(body, "v=0 offer");
    let body = Bytes::from_static(b"v=0 answer");
    let ack = raw.command(dialog, Command::AnswerOffer { body: body.clone() });
    assert!(ack[0].starts_with("ACK ") && ack[0].ends_with("v=0 answer"));
    assert_eq!(raw.send(&ok), ack, "the repeat gets the same ACK");
    let twice = raw
        .endpoint
        .command(raw.now, dialog, Command::AnswerOffer { body });
    assert!(twice.is_err());
}

#[test]
fn an_offer_that_the_call_does_not_answer_ends_the_call() {
    let mut raw = Raw::new();
    let (_, invite) = place(&mut raw, "");
    raw.send(&described(&invite, "b", "200 OK", "", "v=0 offer"));
    raw.events();
    let sent = raw.run(Duration::from_secs(8));
    assert!(
        sent[0].starts_with("ACK ") && sent[1].starts_with("BYE "),
        "{sent:?}"
    );
    assert!(matches!(
        raw.events().as_slice(),
        [DialogEvent::Lost { .. }]
    ));
}

#[test]
fn a_second_phone_that_answers_meanwhile_is_hung_up_and_the_first_kept() {
    let mut raw = Raw::new();
    let (dialog, invite) = place(&mut raw, "");
    let first = described(&invite, "one", "200 OK", "", "v=0 offer");
    raw.send(&first);
    let sent = raw.send(&described(&invite, "two", "200 OK", "", "v=0 offer"));
    assert!(sent[0].starts_with("ACK ") && sent[1].starts_with("BYE "));
    assert!(header(&sent[1], "To").unwrap().ends_with("tag=two"));
    assert!(raw.send(&first).is_empty());
    let body = Bytes::from_static(b"v=0 answer");
    let ack = raw.command(dialog, Command::AnswerOffer { body });
    assert!(header(&ack[0], "To").unwrap().ends_with("tag=one"));
}

#[test]
fn a_call_that_hangs_up_instead_of_answering_the_offer_acknowledges_first() {
    let mut raw = Raw::new();
    let (dialog, invite) = place(&mut raw, "");
    raw.send(&described(&invite, "b", "200 OK", "", "v=0 offer"));
    let bye = Command::Bye {
        headers: Vec::new(),
    };
    let sent = raw.command(dialog, bye);
    assert!(sent[0].starts_with("ACK ") && sent[1].starts_with("BYE "));
}

#[test]
fn an_offer_in_a_reliable_ring_is_answered_in_its_prack() {
    let mut raw = Raw::new();
    let (dialog, invite) = place(&mut raw, "");
    let early = described(
        &invite,
        "b",
        "183 Session Progress",
        "Require: 100rel\nRSeq: 4",
        "v=0 offer",
    );
    assert!(raw.send(&early).is_empty());
    let body = Bytes::from_static(b"v=0 offer");
    assert_eq!(raw.events(), [DialogEvent::Progress { status: 183, body }]);
    let body = Bytes::from_static(b"v=0 answer");
    let prack = raw.command(dialog, Command::AnswerOffer { body }).remove(0);
    assert!(prack.starts_with("PRACK ") && prack.ends_with("v=0 answer"));
    assert_eq!(header(&prack, "RAck"), Some("4 1 INVITE"));
    // The session is described: the 200 needs no more, and its ACK goes at once.
    let sent = raw.send(&response(&tagged(&invite, "b"), "200 OK", CONTACT));
    assert!(sent[0].starts_with("ACK "), "{sent:?}");
}

#[test]
fn an_offer_in_a_ring_that_is_not_answered_takes_the_call_back() {
    let mut raw = Raw::new();
    let (_, invite) = place(&mut raw, "");
    let early = described(
        &invite,
        "b",
        "183 Session Progress",
        "Require: 100rel\nRSeq: 4",
        "v=0 offer",
    );
    raw.send(&early);
    let sent = raw.run(Duration::from_secs(8));
    assert!(sent[0].starts_with("CANCEL "), "{sent:?}");
    raw.send(&response(
        &tagged(&invite, "b"),
        "487 Request Terminated",
        "",
    ));
    assert!(matches!(
        raw.events().last(),
        Some(DialogEvent::Refused { status: 487, .. })
    ));
}
