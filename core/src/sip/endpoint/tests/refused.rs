//! What is refused before a call sees it (RFC 3261 §8.2), in order, and without being remembered.

use super::raw::{Raw, header, invite, outside, statuses};

fn refused(message: &str) -> (u16, String) {
    let mut raw = Raw::new();
    let sent = raw.send(message);
    assert_eq!(sent.len(), 1, "{message}");
    assert!(raw.invited().is_none());
    assert_eq!(raw.endpoint.dialogs() + raw.endpoint.transactions(), 0);
    assert_eq!(raw.send(message), sent, "the same answer each time");
    (super::raw::status(&sent[0]), sent[0].clone())
}

#[test]
fn damage_that_can_be_answered_gets_400_with_its_name() {
    let (status, answer) = refused(&invite("z9hG4bK1", "").replace("Call-ID: c1@far\n", ""));
    assert_eq!(status, 400);
    assert!(
        answer.starts_with("SIP/2.0 400 Missing Call-ID\r\n"),
        "{answer}"
    );
    assert_eq!(
        refused(&invite("z9hG4bK1", "").replace("1 INVITE", "1 BYE")).0,
        400
    );
    assert_eq!(
        refused(&invite("z9hG4bK1", "").replace("Contact:", "X-Contact:")).0,
        400
    );
    assert_eq!(
        refused(&invite("z9hG4bK1", "").replace("SIP/2.0\n", "SIP/7.0\n")).0,
        505
    );
    assert_eq!(
        refused(&invite("z9hG4bK1", "").replace("Length: 3", "Length: 4000")).0,
        400
    );
}

#[test]
fn damage_that_cannot_be_answered_is_dropped() {
    let mut raw = Raw::new();
    for text in [
        "",
        "\n\n\n\n",
        "hello",
        "INVITE",
        "INVITE sip:x SIP/2.0\n\n",
        "SIP/2.0 999 No\n\n",
    ] {
        assert!(raw.send(text).is_empty(), "{text:?}");
    }
    let no_via = invite("z9hG4bK1", "").replace("Via: SIP", "Via: @nonsense");
    assert!(raw.send(&no_via).is_empty());
    let bad_ack = outside("ACK", "z9hG4bK1", "").replace("Call-ID: c9@far\n", "");
    assert!(raw.send(&bad_ack).is_empty(), "an ACK is never answered");
    assert!(raw.send_octets(&[0xff; 3000]).is_empty());
    assert!(raw.endpoint.counters().malformed >= 6);
}

#[test]
fn methods_we_do_not_speak_are_named_with_those_we_do() {
    let (status, answer) = refused(&outside("SUBSCRIBE", "z9hG4bK1", "Event: presence"));
    assert_eq!(status, 405);
    assert!(
        header(&answer, "Allow")
            .unwrap()
            .contains("INVITE, ACK, CANCEL, BYE")
    );
    assert_eq!(refused(&outside("REGISTER", "z9hG4bK1", "")).0, 405);
    assert_eq!(refused(&outside("MESSAGE", "z9hG4bK1", "")).0, 405);
    assert_eq!(refused(&outside("FROBNICATE", "z9hG4bK1", "")).0, 501);
}

#[test]
fn a_request_in_no_dialog_that_needs_one_gets_481() {
    for method in ["BYE", "INFO", "UPDATE", "NOTIFY", "PRACK"] {
        assert_eq!(
            refused(&outside(method, "z9hG4bK1", "Event: refer")).0,
            481,
            "{method}"
        );
    }
}

#[test]
fn the_same_call_by_two_ways_is_merged() {
    let mut raw = Raw::new();
    assert_eq!(statuses(&raw.send(&invite("z9hG4bK1", ""))), [100]);
    assert_eq!(statuses(&raw.send(&invite("z9hG4bK2", ""))), [482]);
    assert_eq!(
        statuses(&raw.send(&invite("z9hG4bK3", "").replace("c1@", "c2@"))),
        [100]
    );
}

#[test]
fn another_kind_of_address_gets_416() {
    let (status, _) =
        refused(&invite("z9hG4bK1", "").replace("INVITE sip:bot@10.0.0.2", "INVITE mailto:bot@h"));
    assert_eq!(status, 416);
    let mut raw = Raw::new();
    let tel = invite("z9hG4bK1", "").replace("INVITE sip:bot@10.0.0.2", "INVITE tel:+15551230000");
    assert_eq!(statuses(&raw.send(&tel)), [100]);
    assert_eq!(raw.invited().unwrap().called, "+15551230000");
}

#[test]
fn what_is_required_and_unknown_gets_420() {
    let (status, answer) = refused(&invite(
        "z9hG4bK1",
        "Require: 100rel, precondition, timer, siprec",
    ));
    assert_eq!(status, 420);
    assert_eq!(header(&answer, "Unsupported"), Some("precondition, siprec"));
    let mut raw = Raw::new();
    assert_eq!(
        statuses(&raw.send(&invite("z9hG4bK1", "Require: timer, 100REL, norefersub"))),
        [100]
    );
}

#[test]
fn a_body_we_cannot_read_gets_415() {
    let plain = invite("z9hG4bK1", "").replace("application/sdp", "text/plain");
    let (status, answer) = refused(&plain);
    assert_eq!(status, 415);
    assert_eq!(
        header(&answer, "Accept"),
        Some("application/sdp, multipart/mixed")
    );
    let (status, answer) = refused(&invite("z9hG4bK1", "Content-Encoding: gzip"));
    assert_eq!(status, 415);
    assert_eq!(header(&answer, "Accept-Encoding"), Some("identity"));
    let optional = plain.replace(
        "text/plain",
        "text/plain\nContent-Disposition: render;handling=optional",
    );
    let mut raw = Raw::new();
    assert_eq!(statuses(&raw.send(&optional)), [100]);
    assert!(raw.invited().unwrap().offer.is_empty());
}

#[test]
fn a_caller_that_reads_no_sdp_gets_406() {
    for accept in ["text/nobodyKnowsThis", "application/sdpx, text/*", ""] {
        let (status, _) = refused(&invite("z9hG4bK1", &format!("Accept: {accept}")));
        assert_eq!(status, 406, "{accept}");
    }
    for accept in [
        "application/SDP;level=1",
        "text/plain, application/*;q=0.1",
        "*/*",
        "text/plain\nAccept: application/sdp",
    ] {
        let mut raw = Raw::new();
        let sent = raw.send(&invite("z9hG4bK1", &format!("Accept: {accept}")));
        assert_eq!(statuses(&sent), [100], "{accept}");
    }
}

#[test]
fn a_caller_of_rfc_2543_is_served() {
    let mut raw = Raw::new();
    let old = invite("x", "")
        .replace(";branch=x", "")
        .replace(";tag=far", "")
        .replace("Contact:", "X-Contact:");
    assert_eq!(statuses(&raw.send(&old)), [100]);
    let dialog = raw.invited().unwrap().dialog;
    assert_eq!(
        statuses(&raw.send(&old)),
        [100],
        "a repeat is found without a branch"
    );
    let answer = crate::sip::endpoint::Command::Answer {
        body: "v=0".into(),
        headers: Vec::new(),
    };
    let tag = super::raw::tag_of(&raw.command(dialog, answer)[0]);
    let ack = super::raw::in_dialog("ACK", 1, &tag, "x", "", "").replace(";tag=far", "");
    raw.send(&ack);
    assert_eq!(raw.events().len(), 1);
}

#[test]
fn a_request_whose_answer_would_be_too_large_gets_513_without_its_bulk_or_nothing() {
    let mut raw = Raw::new();
    for (line, times) in [
        ("Via: SIP/2.0/UDP h;branch=z9hG4bKx\n".to_owned(), 100),
        (
            format!("Record-Route: <sip:h;x={};lr>\n", "x".repeat(400)),
            60,
        ),
        (format!("Timestamp: {}\n", "1".repeat(5000)), 1),
    ] {
        let sent = raw.send(&invite("z9hG4bK1", &line.repeat(times)));
        assert_eq!(statuses(&sent), [513], "{line}");
        assert!(raw.invited().is_none());
    }
    assert_eq!(raw.endpoint.transactions(), 0);
}
