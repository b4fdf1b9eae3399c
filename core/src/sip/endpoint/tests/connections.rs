//! Streams as the core sees them: connections that are told of, that carry answers, and that break.

use std::time::Duration;

use bytes::Bytes;

use super::raw::{Raw, header, in_dialog, invite, outside, response};
use crate::sip::endpoint::{
    Advertised, Command, Config, DialogEvent, Flow, OutgoingInvite, Transmit, Transport,
};
use crate::sip::message::framing::Framer;

/// A peer's connection from a port that nobody listens on.
fn connected() -> Raw {
    let mut raw = Raw::new();
    raw.flow = Flow {
        transport: Transport::Tcp,
        remote: "10.0.0.1:40001".parse().unwrap(),
        ..raw.flow
    };
    let flow = raw.flow;
    raw.endpoint.handle_connected(&flow, Vec::new());
    raw
}

fn over_tcp(message: &str) -> String {
    message.replace("/UDP", "/TCP")
}

fn flows(raw: &mut Raw) -> Vec<Flow> {
    transmits(raw)
        .into_iter()
        .map(|transmit| transmit.flow)
        .collect()
}

fn reject() -> Command {
    Command::Reject {
        status: 486,
        headers: Vec::new(),
    }
}

#[test]
fn an_answer_goes_back_by_the_connection_its_request_came_by() {
    let mut raw = connected();
    raw.send(&over_tcp(&invite("z9hG4bKi", "")));
    let dialog = raw.invited().unwrap().dialog;
    raw.endpoint.command(raw.now, dialog, reject()).unwrap();
    assert_eq!(flows(&mut raw), [raw.flow]);
}

#[test]
fn an_answer_whose_connection_is_gone_goes_to_the_port_that_the_via_names() {
    for (sent_by, port) in [("10.0.0.1:5070", 5070), ("10.0.0.1", 5060)] {
        let mut raw = connected();
        let flow = raw.flow;
        let invite = over_tcp(&invite("z9hG4bKi", ""))
            .replace("10.0.0.1:5060;branch", &format!("{sent_by};branch"));
        raw.send(&invite);
        let dialog = raw.invited().unwrap().dialog;
        raw.endpoint.handle_closed(raw.now, &flow);
        raw.endpoint.command(raw.now, dialog, reject()).unwrap();
        let sent = flows(&mut raw);
        assert_eq!(sent.len(), 1);
        assert_eq!(
            sent[0].remote,
            std::net::SocketAddr::from(([10, 0, 0, 1], port))
        );
        assert_eq!(sent[0].transport, Transport::Tcp);
    }
}

#[test]
fn what_waits_to_leave_by_a_broken_connection_never_leaves() {
    let mut raw = connected();
    let flow = raw.flow;
    let ping = over_tcp(&outside("OPTIONS", "z9hG4bKo", "")).replace('\n', "\r\n");
    raw.endpoint
        .handle_datagram(raw.now, flow, &Bytes::from(ping));
    raw.endpoint.handle_closed(raw.now, &flow);
    assert_eq!(flows(&mut raw), []);
}

#[test]
fn a_request_of_ours_fails_with_its_connection_when_it_has_no_other_way() {
    let mut raw = connected();
    let flow = raw.flow;
    raw.send(&over_tcp(&invite("z9hG4bKi", "")));
    let dialog = raw.invited().unwrap().dialog;
    let answer = Command::Answer {
        body: Bytes::from_static(b"v=0"),
        headers: Vec::new(),
    };
    let ok = raw.command(dialog, answer);
    let tag = super::raw::tag_of(&ok[0]);
    raw.send(&over_tcp(&in_dialog("ACK", 1, &tag, "z9hG4bKa", "", "")));
    raw.events();
    let bye = raw.command(
        dialog,
        Command::Bye {
            headers: Vec::new(),
        },
    );
    assert!(bye[0].starts_with("BYE "), "{bye:?}");
    raw.endpoint.handle_closed(raw.now, &flow);
    // The peer's Contact is its other way.
    let again = flows(&mut raw);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].remote, "10.0.0.1:5060".parse().unwrap());
    raw.endpoint
        .handle_send_error(raw.now, &again[0], "refused");
    assert_eq!(raw.events(), [DialogEvent::ByeAnswered { status: 503 }]);
    // Late, and by nothing we know any more.
    assert!(raw.send(&response(&bye[0], "200 OK", "")).is_empty());
}

/// An endpoint that listens on TCP too, and a call it places that is too large for a datagram.
fn large_invite() -> (Raw, Vec<Transmit>) {
    let mut raw = Raw::with(Config {
        advertised: Advertised {
            listening: vec![(Transport::Udp, 5060), (Transport::Tcp, 5062)],
            ..Advertised::default()
        },
        ..Config::default()
    });
    let invite = OutgoingInvite {
        ways: raw.flow.into(),
        target: "sip:bot@10.0.0.1".into(),
        from: "<sip:alice@10.0.0.2>".into(),
        to: String::new(),
        call_id: "large@here".into(),
        account: None,
        headers: vec![("X-Context".into(), "c".repeat(1_300))],
        body: Bytes::from_static(b"v=0"),
    };
    raw.endpoint.invite(raw.now, invite).unwrap();
    let sent = transmits(&mut raw);
    (raw, sent)
}

fn transmits(raw: &mut Raw) -> Vec<Transmit> {
    std::iter::from_fn(|| raw.endpoint.poll_transmit()).collect()
}

fn text(transmit: &Transmit) -> &str {
    std::str::from_utf8(&transmit.payload).unwrap()
}

#[test]
fn a_large_request_goes_by_tcp_and_says_so() {
    let (mut raw, sent) = large_invite();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].flow.transport, Transport::Tcp);
    let invite = text(&sent[0]);
    assert!(
        header(invite, "Via")
            .unwrap()
            .starts_with("SIP/2.0/TCP 10.0.0.2:5062;rport;branch=z9hG4bK")
    );
    assert_eq!(
        header(invite, "Contact"),
        Some("<sip:alice@10.0.0.2:5062;transport=tcp>")
    );
    assert_eq!(raw.run(Duration::from_secs(10)), Vec::<String>::new());
    // What follows in its dialog goes the same way.
    let flow = sent[0].flow;
    raw.endpoint.handle_connected(&flow, Vec::new());
    let contact = "Contact: <sip:bot@10.0.0.1:5060;transport=tcp>";
    let answer = response(invite, "200 OK", contact)
        .replace("To: <sip:bot@10.0.0.1>", "To: <sip:bot@10.0.0.1>;tag=far")
        .replace('\n', "\r\n");
    raw.endpoint
        .handle_datagram(raw.now, flow, &Bytes::from(answer));
    let ack = transmits(&mut raw);
    assert_eq!((ack.len(), ack[0].flow), (1, flow));
}

#[test]
fn a_large_request_whose_tcp_is_refused_goes_by_udp_as_another_transaction() {
    let (mut raw, sent) = large_invite();
    let tcp = sent[0].flow;
    raw.endpoint.handle_send_error(raw.now, &tcp, "refused");
    let again = transmits(&mut raw);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].flow, raw.flow);
    let (first, second) = (text(&sent[0]), text(&again[0]));
    assert!(
        header(second, "Via")
            .unwrap()
            .starts_with("SIP/2.0/UDP 10.0.0.2:5060;")
    );
    assert_ne!(header(first, "Via"), header(second, "Via"));
    assert_eq!(header(first, "CSeq"), header(second, "CSeq"));
    assert_eq!(header(second, "Contact"), Some("<sip:alice@10.0.0.2:5060>"));
    // Over UDP it is repeated, and the next large request does not ask for TCP again.
    assert_eq!(raw.run(Duration::from_millis(500)).len(), 1);
}

#[test]
fn a_large_request_stays_with_udp_where_tcp_is_not_listened_on() {
    let mut raw = Raw::new();
    let (dialog, _) = raw.talking();
    let headers = vec![("X-Context".to_owned(), "c".repeat(1_300))];
    raw.endpoint
        .command(raw.now, dialog, Command::Bye { headers })
        .unwrap();
    assert_eq!(flows(&mut raw), [raw.flow]);
}

#[test]
fn after_its_connection_broke_a_dialogs_next_request_goes_to_the_peers_address_at_once() {
    let mut raw = connected();
    let flow = raw.flow;
    raw.send(&over_tcp(&invite("z9hG4bKi", "")));
    let dialog = raw.invited().unwrap().dialog;
    let answer = Command::Answer {
        body: Bytes::from_static(b"v=0"),
        headers: Vec::new(),
    };
    let ok = raw.command(dialog, answer);
    let tag = super::raw::tag_of(&ok[0]);
    raw.send(&over_tcp(&in_dialog("ACK", 1, &tag, "z9hG4bKa", "", "")));
    raw.endpoint.handle_closed(raw.now, &flow);
    let bye = Command::Bye {
        headers: Vec::new(),
    };
    raw.endpoint.command(raw.now, dialog, bye).unwrap();
    let sent = flows(&mut raw);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].remote, "10.0.0.1:5060".parse().unwrap());
}

#[test]
fn a_request_whose_end_nobody_knows_is_answered_by_what_is_left_of_it() {
    let mut raw = connected();
    let flow = raw.flow;
    let head = |length: &str| {
        let request = over_tcp(&outside("OPTIONS", "z9hG4bKo", ""));
        let request = request.replace("Content-Length: 0\n", length);
        let mut framer = Framer::new();
        framer.push(request.replace('\n', "\r\n").as_bytes());
        framer.poll_message().unwrap().unwrap_err()
    };
    for (length, status) in [
        ("", "400 no usable Content-Length"),
        ("l: 9999999\n", "513 body larger than 65536 octets"),
    ] {
        raw.endpoint.handle_framing_error(&flow, &head(length));
        let sent = raw.sent();
        assert_eq!(sent.len(), 1);
        assert!(
            sent[0].starts_with(&format!("SIP/2.0 {status}\r\n")),
            "{}",
            sent[0]
        );
    }
    // Nothing to answer: no request, and one that says not to whom.
    let mut framer = Framer::new();
    framer.push(b"GET / HTTP/1.1\r\n\r\n");
    let error = framer.poll_message().unwrap().unwrap_err();
    raw.endpoint.handle_framing_error(&flow, &error);
    let mut framer = Framer::new();
    framer.push(b"OPTIONS sip:h SIP/2.0\r\nl: x\r\n\r\n");
    let error = framer.poll_message().unwrap().unwrap_err();
    raw.endpoint.handle_framing_error(&flow, &error);
    assert_eq!(raw.sent(), Vec::<String>::new());
}

#[test]
fn a_request_whose_connection_breaks_is_said_once_more_by_another() {
    let mut raw = Raw::new();
    raw.flow.transport = Transport::Tcp;
    let flow = raw.flow;
    let invite = OutgoingInvite {
        ways: flow.into(),
        target: "sip:bot@10.0.0.1;transport=tcp".into(),
        from: "<sip:alice@10.0.0.2>".into(),
        to: String::new(),
        call_id: String::new(),
        account: None,
        headers: Vec::new(),
        body: Bytes::from_static(b"v=0"),
    };
    raw.endpoint.invite(raw.now, invite).unwrap();
    raw.endpoint.handle_connected(&flow, Vec::new());
    let first = transmits(&mut raw);
    raw.endpoint.handle_closed(raw.now, &flow);
    assert_eq!(transmits(&mut raw), first, "the same transaction");
    assert_eq!(raw.events(), []);
    raw.endpoint.handle_closed(raw.now, &flow);
    assert_eq!(transmits(&mut raw), []);
    assert!(matches!(
        raw.events().as_slice(),
        [DialogEvent::Refused { status: 503, .. }]
    ));
}
