//! Placing a call: silence, forks, unreachable peers.

use std::time::Duration;

use bytes::Bytes;

use super::raw::{Raw, header, response, statuses};
use crate::sip::endpoint::{
    Command, DialogEvent, DialogId, InviteError, OutgoingInvite, Transport,
};

fn invite(raw: &Raw) -> OutgoingInvite {
    OutgoingInvite {
        ways: raw.flow.into(),
        target: "sip:bob@10.0.0.1;transport=udp".into(),
        from: "<sip:alice@10.0.0.2>".into(),
        to: String::new(),
        call_id: "c7".into(),
        account: None,
        headers: vec![("X-Key".into(), "k".into())],
        body: Bytes::from_static(b"v=0"),
    }
}

fn place(raw: &mut Raw) -> (DialogId, String) {
    let dialog = raw.endpoint.invite(raw.now, invite(raw)).unwrap();
    (dialog, raw.sent().remove(0))
}

fn tagged(request: &str, tag: &str) -> String {
    request.replace(
        "To: <sip:bob@10.0.0.1;transport=udp>",
        &format!("To: <sip:bob@10.0.0.1>;tag={tag}"),
    )
}

const CONTACT: &str =
    "Contact: <sip:bob@10.0.0.1:5060>\nRecord-Route: <sip:10.0.0.9;lr>, <sip:10.0.0.8;lr>";

#[test]
fn the_invite_says_who_calls_whom_and_where_to_answer() {
    let mut raw = Raw::new();
    let (_, sent) = place(&mut raw);
    assert!(sent.starts_with("INVITE sip:bob@10.0.0.1;transport=udp SIP/2.0\r\n"));
    assert_eq!(
        header(&sent, "To"),
        Some("<sip:bob@10.0.0.1;transport=udp>")
    );
    assert!(
        header(&sent, "From")
            .unwrap()
            .starts_with("<sip:alice@10.0.0.2>;tag=")
    );
    assert_eq!(header(&sent, "Contact"), Some("<sip:alice@10.0.0.2:5060>"));
    assert_eq!(header(&sent, "CSeq"), Some("1 INVITE"));
    assert_eq!(header(&sent, "X-Key"), Some("k"));
    assert_eq!(header(&sent, "Call-ID"), Some("c7"));
    assert!(
        header(&sent, "Via")
            .unwrap()
            .contains(";rport;branch=z9hG4bK")
    );
}

#[test]
fn the_route_set_of_the_answer_is_turned_round() {
    let mut raw = Raw::new();
    let (dialog, sent) = place(&mut raw);
    raw.endpoint.handle_datagram(
        raw.now,
        raw.flow,
        &Bytes::from(
            response(&tagged(&sent, "b1"), "200 OK", CONTACT)
                .replace('\n', "\r\n")
                .replace("\r\r", "\r"),
        ),
    );
    let ack = raw.endpoint.poll_transmit().unwrap();
    let text = String::from_utf8(ack.payload.to_vec()).unwrap();
    let routes: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("Route:"))
        .collect();
    assert_eq!(
        routes,
        ["Route: <sip:10.0.0.8;lr>", "Route: <sip:10.0.0.9;lr>"]
    );
    assert_eq!(ack.flow.remote.to_string(), "10.0.0.8:5060");
    assert!(text.starts_with("ACK sip:bob@10.0.0.1:5060 SIP/2.0\r\n"));
    assert_eq!(header(&text, "CSeq"), Some("1 ACK"));
    let bye = &raw.command(
        dialog,
        Command::Bye {
            headers: Vec::new(),
        },
    )[0];
    assert_eq!(header(bye, "CSeq"), Some("2 BYE"));
}

#[test]
fn a_strict_router_gets_the_request_addressed_to_itself() {
    let mut raw = Raw::new();
    let (_, sent) = place(&mut raw);
    let strict = "Contact: <sip:bob@10.0.0.1:5060>\nRecord-Route: <sip:10.0.0.8>";
    let ack = &raw.send(&response(&tagged(&sent, "b1"), "200 OK", strict))[0];
    assert!(ack.starts_with("ACK sip:10.0.0.8 SIP/2.0\r\n"));
    assert_eq!(header(ack, "Route"), Some("<sip:bob@10.0.0.1:5060>"));
}

#[test]
fn silence_is_408() {
    let mut raw = Raw::new();
    place(&mut raw);
    let sent = raw.run(Duration::from_secs(32));
    assert_eq!(sent.len(), 6);
    let events = raw.events();
    assert!(
        matches!(
            events.as_slice(),
            [DialogEvent::Refused { status: 408, .. }]
        ),
        "{events:?}"
    );
    assert_eq!(raw.endpoint.dialogs() + raw.endpoint.transactions(), 0);
}

#[test]
fn a_peer_that_cannot_be_reached_is_503_at_once() {
    let mut raw = Raw::new();
    place(&mut raw);
    let flow = raw.flow;
    raw.endpoint
        .handle_send_error(raw.now, &flow, "no route to host");
    assert!(matches!(
        raw.events().as_slice(),
        [DialogEvent::Refused { status: 503, .. }]
    ));
    assert_eq!(raw.endpoint.dialogs() + raw.endpoint.transactions(), 0);
    assert!(raw.run(Duration::from_mins(1)).is_empty());
}

#[test]
fn an_error_on_another_flow_is_not_ours() {
    let mut raw = Raw::new();
    place(&mut raw);
    let mut flow = raw.flow;
    flow.transport = Transport::Tcp;
    raw.endpoint.handle_send_error(raw.now, &flow, "reset");
    assert!(raw.events().is_empty());
}

#[test]
fn the_second_phone_that_answers_is_hung_up() {
    let mut raw = Raw::new();
    let (_, sent) = place(&mut raw);
    raw.send(&response(&tagged(&sent, "one"), "200 OK", CONTACT));
    let second = response(&tagged(&sent, "two"), "200 OK", CONTACT);
    let out = raw.send(&second);
    assert!(out[0].starts_with("ACK ") && header(&out[0], "To").unwrap().ends_with("tag=two"));
    assert!(out[1].starts_with("BYE ") && header(&out[1], "To").unwrap().ends_with("tag=two"));
    // Its repeat gets the ACK again and no second BYE.
    assert_eq!(raw.send(&second), out[..1]);
    let events = raw.events();
    assert!(
        matches!(events.as_slice(), [DialogEvent::Answered { .. }]),
        "{events:?}"
    );
}

#[test]
fn an_answer_after_the_call_is_gone_is_hung_up_too() {
    let mut raw = Raw::new();
    let (dialog, sent) = place(&mut raw);
    raw.send(&response(&tagged(&sent, "one"), "200 OK", CONTACT));
    let bye = raw
        .command(
            dialog,
            Command::Bye {
                headers: Vec::new(),
            },
        )
        .remove(0);
    raw.send(&response(&bye, "200 OK", ""));
    assert_eq!(raw.endpoint.dialogs(), 0);
    let out = raw.send(&response(&tagged(&sent, "two"), "200 OK", CONTACT));
    assert!(out[0].starts_with("ACK ") && out[1].starts_with("BYE "));
}

#[test]
fn a_thousand_forks_cost_no_more_than_a_few() {
    let mut raw = Raw::new();
    let (_, sent) = place(&mut raw);
    let mut out = 0;
    for fork in 0..1000 {
        out += raw
            .send(&response(
                &tagged(&sent, &format!("f{fork}")),
                "200 OK",
                CONTACT,
            ))
            .len();
    }
    assert_eq!(out, 1 + 7 * 2);
    assert!(raw.endpoint.transactions() <= 8);
}

#[test]
fn early_media_is_reported_and_100_is_not() {
    let mut raw = Raw::new();
    let (_, sent) = place(&mut raw);
    raw.send(&response(&sent, "100 Trying", ""));
    assert!(raw.events().is_empty());
    let early = response(
        &tagged(&sent, "b1"),
        "183 Session Progress",
        "Content-Type: application/sdp",
    )
    .replace("Content-Length: 0\n\n", "Content-Length: 3\n\nv=0");
    raw.send(&early);
    let body = Bytes::from_static(b"v=0");
    assert_eq!(raw.events(), [DialogEvent::Progress { status: 183, body }]);
}

#[test]
fn a_refusal_is_acknowledged_with_the_invites_branch() {
    let mut raw = Raw::new();
    let (_, sent) = place(&mut raw);
    let busy = response(&tagged(&sent, "b1"), "486 Busy Here", "Retry-After: 5");
    let ack = raw.send(&busy).remove(0);
    assert!(ack.starts_with("ACK "));
    assert_eq!(header(&ack, "Via"), header(&sent, "Via"));
    assert!(header(&ack, "To").unwrap().ends_with("tag=b1"));
    assert_eq!(raw.send(&busy), [ack]);
    let events = raw.events();
    let [
        DialogEvent::Refused {
            status: 486,
            headers,
            ..
        },
    ] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    assert!(headers.contains(&("Retry-After".into(), "5".into())));
}

#[test]
fn responses_to_nothing_are_dropped() {
    let mut raw = Raw::new();
    let (_, sent) = place(&mut raw);
    let stray = response(&sent.replace("z9hG4bK", "z9hG4bKx"), "200 OK", CONTACT);
    assert!(raw.send(&stray).is_empty());
    assert_eq!(statuses(&raw.send("SIP/2.0 200 OK\n\n")), [0_u16; 0]);
    assert_eq!(raw.endpoint.counters().strays, 1);
    assert!(raw.events().is_empty());
}

#[test]
fn an_address_that_is_none_places_no_call() {
    let mut raw = Raw::new();
    for from in ["", "alice", "<sip:a@h>;tag=1", "<sip:a@h>\r\nX: y"] {
        let result = raw.endpoint.invite(
            raw.now,
            OutgoingInvite {
                from: from.into(),
                ..invite(&raw)
            },
        );
        assert_eq!(result, Err(InviteError::Address("From")), "{from:?}");
    }
    let result = raw.endpoint.invite(
        raw.now,
        OutgoingInvite {
            target: "sip:a b".into(),
            ..invite(&raw)
        },
    );
    assert!(
        matches!(
            result,
            Err(InviteError::Address("To") | InviteError::Unspeakable(_))
        ),
        "{result:?}"
    );
    assert!(raw.sent().is_empty());
    assert_eq!(raw.endpoint.dialogs(), 0);
}
