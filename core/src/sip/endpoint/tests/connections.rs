//! Streams as the core sees them: connections that are told of, that carry answers, and that break.

use bytes::Bytes;

use super::raw::{Raw, in_dialog, invite, outside, response};
use crate::sip::endpoint::{Command, DialogEvent, Flow, Transport};

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
    std::iter::from_fn(|| raw.endpoint.poll_transmit())
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
