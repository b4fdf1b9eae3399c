//! Several ways to one target (RFC 3263 §4.3): silence, 503, errors; what comes late; who is tried first next time.

use std::time::Duration;

use bytes::Bytes;

use super::raw::{Raw, header, response};
use crate::sip::endpoint::{
    Command, DialogEvent, DialogId, Flow, OutgoingInvite, Transmit, Transport, Ways,
};

const CONTACT: &str = "Contact: <sip:bob@10.0.0.1:5060>";

fn way(number: u8) -> Flow {
    Flow {
        transport: Transport::Udp,
        local: "10.0.0.2:5060".parse().unwrap(),
        remote: ([10, 0, 1, number], 5060).into(),
    }
}

struct Call {
    raw: Raw,
    dialog: DialogId,
}

/// A call with so many ways, and its first transmit.
fn place(ways: u8) -> (Call, Transmit) {
    place_by(Raw::new(), (1..=ways).map(way))
}

fn place_by(mut raw: Raw, ways: impl IntoIterator<Item = Flow>) -> (Call, Transmit) {
    let invite = OutgoingInvite {
        ways: Ways::of(ways).unwrap(),
        target: "sip:bob@example.com".into(),
        from: "<sip:alice@10.0.0.2>".into(),
        to: String::new(),
        call_id: "c7".into(),
        account: None,
        headers: Vec::new(),
        body: Bytes::from_static(b"v=0"),
    };
    let dialog = raw.endpoint.invite(raw.now, invite).unwrap();
    let mut call = Call { raw, dialog };
    let first = call.sent().remove(0);
    (call, first)
}

impl Call {
    fn sent(&mut self) -> Vec<Transmit> {
        std::iter::from_fn(|| self.raw.endpoint.poll_transmit()).collect()
    }

    /// What is sent within this time.
    fn run(&mut self, time: Duration) -> Vec<Transmit> {
        let until = self.raw.now + time;
        while let Some(at) = self.raw.endpoint.poll_timeout().filter(|at| *at <= until) {
            self.raw.now = self.raw.now.max(at);
            self.raw.endpoint.handle_timeout(self.raw.now);
        }
        self.raw.now = until;
        self.sent()
    }

    /// The server that got `request` answers it.
    fn answers(&mut self, request: &Transmit, status: &str, more: &str) -> Vec<Transmit> {
        let far = format!(
            "To: <sip:bob@example.com>;tag=t{}",
            request.flow.remote.ip()
        );
        let text = response(text(request), status, more)
            .replace("To: <sip:bob@example.com>", &far)
            .replace("\r\n", "\n")
            .replace('\n', "\r\n");
        let (now, flow) = (self.raw.now, request.flow);
        self.raw
            .endpoint
            .handle_datagram(now, flow, &Bytes::from(text));
        self.sent()
    }

    fn cancel(&mut self) -> Vec<Transmit> {
        let command = Command::Cancel;
        self.raw
            .endpoint
            .command(self.raw.now, self.dialog, command)
            .unwrap();
        self.sent()
    }

    fn refused(&mut self) -> Option<u16> {
        self.raw.events().into_iter().find_map(|event| {
            if let DialogEvent::Refused { status, .. } = event {
                Some(status)
            } else {
                None
            }
        })
    }
}

fn text(transmit: &Transmit) -> &str {
    std::str::from_utf8(&transmit.payload).unwrap()
}

fn method(transmit: &Transmit) -> &str {
    text(transmit).split(' ').next().unwrap()
}

fn to(transmits: &[Transmit]) -> Vec<(String, String)> {
    let one = |t: &Transmit| (method(t).to_owned(), t.flow.remote.ip().to_string());
    transmits.iter().map(one).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(m, ip): &(&str, &str)| ((*m).to_owned(), (*ip).to_owned());
    expected.iter().map(owned).collect()
}

#[test]
fn a_503_sends_the_call_to_the_next_server_and_its_user_sees_nothing_of_it() {
    let (mut call, first) = place(2);
    let out = call.answers(&first, "503 Service Unavailable", "");
    assert_eq!(
        to(&out),
        pairs(&[("ACK", "10.0.1.1"), ("INVITE", "10.0.1.2")])
    );
    let second = &out[1];
    assert_ne!(header(text(&first), "Via"), header(text(second), "Via"));
    for same in ["Call-ID", "CSeq", "From", "To", "Contact"] {
        assert_eq!(
            header(text(&first), same),
            header(text(second), same),
            "{same}"
        );
    }
    assert!(call.raw.events().is_empty());
    // A repeat of the 503 gets its ACK from the first server's transaction.
    let again = call.answers(&first, "503 Service Unavailable", "");
    assert_eq!(to(&again), pairs(&[("ACK", "10.0.1.1")]));
    let out = call.answers(second, "200 OK", CONTACT);
    assert_eq!(method(&out[0]), "ACK");
    assert!(matches!(
        call.raw.events().as_slice(),
        [DialogEvent::Answered { .. }]
    ));
}

#[test]
fn the_last_failure_is_the_one_that_is_told() {
    let (mut call, first) = place(3);
    let out = call.answers(&first, "503 Service Unavailable", "Retry-After: 9");
    let out = call.answers(&out[1], "503 Service Unavailable", "");
    assert!(call.raw.events().is_empty());
    call.answers(&out[1], "503 Service Unavailable", "Retry-After: 7");
    let events = call.raw.events();
    let [
        DialogEvent::Refused {
            status: 503,
            headers,
            ..
        },
    ] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    assert!(headers.contains(&("Retry-After".into(), "7".into())));
}

#[test]
fn any_other_refusal_is_the_answer() {
    for status in [
        "486 Busy Here",
        "500 Server Error",
        "404 Not Found",
        "603 Decline",
    ] {
        let (mut call, first) = place(2);
        let out = call.answers(&first, status, "");
        assert_eq!(to(&out), pairs(&[("ACK", "10.0.1.1")]), "{status}");
        assert_eq!(call.refused(), status[..3].parse().ok());
    }
}

#[test]
fn a_silent_server_is_left_after_four_seconds_and_the_last_one_has_its_full_time() {
    let (mut call, _) = place(3);
    let out = call.run(Duration::from_secs(4));
    let expected = [
        ("INVITE", "10.0.1.1"),
        ("INVITE", "10.0.1.1"),
        ("INVITE", "10.0.1.1"),
        ("INVITE", "10.0.1.2"),
    ];
    assert_eq!(to(&out), pairs(&expected));
    let out = call.run(Duration::from_secs(4));
    assert_eq!(out.last().map(|t| t.flow), Some(way(3)));
    assert!(call.raw.events().is_empty());
    let out = call.run(Duration::from_secs(31));
    assert!(out.iter().all(|t| t.flow == way(3)));
    assert_eq!(call.refused(), None);
    call.run(Duration::from_secs(1));
    assert_eq!(call.refused(), Some(408));
    assert_eq!(
        call.raw.endpoint.dialogs() + call.raw.endpoint.transactions(),
        0
    );
}

#[test]
fn who_has_said_100_is_not_left() {
    let (mut call, first) = place(2);
    call.answers(&first, "100 Trying", "");
    assert!(call.run(Duration::from_mins(3)).is_empty());
    let out = call.answers(&first, "200 OK", CONTACT);
    assert_eq!(method(&out[0]), "ACK");
}

#[test]
fn a_server_that_rings_too_late_is_cancelled_once() {
    let (mut call, first) = place(2);
    let second = call.run(Duration::from_secs(4)).pop().unwrap();
    let out = call.answers(&first, "180 Ringing", "");
    assert_eq!(to(&out), pairs(&[("CANCEL", "10.0.1.1")]));
    assert_eq!(header(text(&out[0]), "Via"), header(text(&first), "Via"));
    assert!(call.answers(&first, "180 Ringing", "").is_empty());
    assert!(call.answers(&out[0], "200 OK", "").is_empty());
    let ack = call.answers(&first, "487 Request Terminated", "");
    assert_eq!(to(&ack), pairs(&[("ACK", "10.0.1.1")]));
    assert!(call.raw.events().is_empty(), "the user never hears of it");
    call.answers(&second, "200 OK", CONTACT);
    assert!(matches!(
        call.raw.events().as_slice(),
        [DialogEvent::Answered { .. }]
    ));
}

#[test]
fn a_server_that_answers_too_late_is_hung_up_and_the_call_goes_on() {
    let (mut call, first) = place(2);
    let second = call.run(Duration::from_secs(4)).pop().unwrap();
    let out = call.answers(&first, "200 OK", CONTACT);
    assert_eq!(method(&out[0]), "ACK");
    assert_eq!(method(&out[1]), "BYE");
    assert!(call.raw.events().is_empty());
    call.answers(&second, "200 OK", CONTACT);
    assert!(matches!(
        call.raw.events().as_slice(),
        [DialogEvent::Answered { .. }]
    ));
}

#[test]
fn a_cancelled_call_goes_nowhere_else() {
    // Before anything came back: nobody is asked any more, and the CANCEL waits for the first sign of life.
    let (mut call, first) = place(2);
    assert!(call.cancel().is_empty());
    let out = call.run(Duration::from_secs(10));
    assert!(out.iter().all(|t| t.flow == way(1)), "{:?}", to(&out));
    let out = call.answers(&first, "180 Ringing", "");
    assert_eq!(to(&out), pairs(&[("CANCEL", "10.0.1.1")]));
    let out = call.answers(&first, "503 Service Unavailable", "");
    assert_eq!(to(&out), pairs(&[("ACK", "10.0.1.1")]));
    assert_eq!(call.refused(), Some(503));

    // A 503 that crosses the CANCEL.
    let (mut call, first) = place(2);
    call.answers(&first, "180 Ringing", "");
    assert_eq!(to(&call.cancel()), pairs(&[("CANCEL", "10.0.1.1")]));
    let out = call.answers(&first, "503 Service Unavailable", "");
    assert_eq!(to(&out), pairs(&[("ACK", "10.0.1.1")]));
    assert_eq!(call.refused(), Some(503));

    // Between two servers: the second is cancelled, and the first when it wakes up.
    let (mut call, first) = place(2);
    let second = call.run(Duration::from_secs(4)).pop().unwrap();
    assert!(call.cancel().is_empty());
    let out = call.answers(&second, "100 Trying", "");
    assert_eq!(to(&out), pairs(&[("CANCEL", "10.0.1.2")]));
    let out = call.answers(&first, "180 Ringing", "");
    assert_eq!(to(&out), pairs(&[("CANCEL", "10.0.1.1")]));
    call.answers(&second, "487 Request Terminated", "");
    assert_eq!(call.refused(), Some(487));
}

#[test]
fn a_cancelled_call_to_silent_servers_ends_with_timer_b() {
    let (mut call, _) = place(2);
    call.cancel();
    call.run(Duration::from_secs(31));
    assert_eq!(call.refused(), None);
    call.run(Duration::from_secs(1));
    assert_eq!(call.refused(), Some(487));
}

#[test]
fn the_next_call_tries_the_server_that_failed_last() {
    let (mut call, first) = place(2);
    let out = call.answers(&first, "503 Service Unavailable", "Retry-After: 120");
    call.answers(&out[1], "486 Busy Here", "");
    let (mut call, first) = place_by(call.raw, [way(1), way(2)]);
    assert_eq!(first.flow, way(2));
    // Only bad ones left: the order of the DNS again.
    let out = call.answers(&first, "503 Service Unavailable", "Retry-After: 120");
    assert_eq!(out[1].flow, way(1));
    call.answers(&out[1], "486 Busy Here", "");
    let (mut call, first) = place_by(call.raw, [way(1), way(2)]);
    assert_eq!(
        first.flow,
        way(1),
        "it has answered since, so it is good again"
    );
    call.answers(&first, "486 Busy Here", "");
    call.run(Duration::from_mins(2));
    let (_, first) = place_by(call.raw, [way(2), way(1)]);
    assert_eq!(first.flow, way(2), "its time is over");
}

#[test]
fn a_silent_server_is_left_alone_too_and_so_is_one_that_cannot_be_reached() {
    let (mut call, _) = place(2);
    let second = call.run(Duration::from_secs(4)).pop().unwrap();
    call.raw
        .endpoint
        .handle_send_error(call.raw.now, &second.flow, "no route");
    assert_eq!(call.refused(), Some(503));
    let (_, first) = place_by(call.raw, [way(1), way(2), way(3)]);
    assert_eq!(first.flow, way(3));
}

#[test]
fn what_is_said_on_another_socket_names_it() {
    let other = Flow {
        transport: Transport::Tcp,
        local: "[2001:db8::2]:5062".parse().unwrap(),
        remote: "[2001:db8::1]:5060".parse().unwrap(),
    };
    let (mut call, first) = place_by(Raw::new(), [way(1), other]);
    let out = call.answers(&first, "503 Service Unavailable", "");
    let second = text(&out[1]);
    assert!(
        header(second, "Via")
            .unwrap()
            .starts_with("SIP/2.0/TCP [2001:db8::2]:5062;")
    );
    assert_eq!(
        header(second, "Contact"),
        Some("<sip:alice@[2001:db8::2]:5062;transport=tcp>")
    );
    // And what follows in the dialog goes by it.
    let ack = call.answers(&out[1], "200 OK", "");
    assert_eq!(ack[0].flow, other);
}

#[test]
fn a_server_that_said_503_is_not_asked_again_by_another_transport() {
    let tcp = Flow {
        transport: Transport::Tcp,
        ..way(1)
    };
    let (mut call, first) = place_by(Raw::new(), [tcp, way(1), way(2)]);
    let out = call.answers(&first, "503 Service Unavailable", "");
    assert_eq!(to(&out[1..]), pairs(&[("INVITE", "10.0.1.2")]));
    let (mut call, first) = place_by(Raw::new(), [tcp, way(1)]);
    call.answers(&first, "503 Service Unavailable", "");
    assert_eq!(call.refused(), Some(503));
}

#[test]
fn a_hundred_dead_servers_leave_nothing_behind() {
    let (mut call, _) = place(100);
    let out = call.run(Duration::from_mins(10));
    let invites: std::collections::BTreeSet<_> = out.iter().map(|t| t.flow).collect();
    assert_eq!(invites.len(), 100);
    assert_eq!(call.refused(), Some(408));
    assert_eq!(
        call.raw.endpoint.dialogs() + call.raw.endpoint.transactions(),
        0
    );
}

#[test]
fn a_silent_server_is_not_asked_again_by_another_transport_but_one_that_refuses_the_connection_is()
{
    let tcp = Flow {
        transport: Transport::Tcp,
        ..way(1)
    };
    let (mut call, _) = place_by(Raw::new(), [tcp, way(1), way(2)]);
    assert_eq!(
        to(&call.run(Duration::from_secs(4))),
        pairs(&[("INVITE", "10.0.1.2")])
    );
    let (mut call, first) = place_by(Raw::new(), [tcp, way(1)]);
    call.raw
        .endpoint
        .handle_send_error(call.raw.now, &first.flow, "refused");
    assert_eq!(call.sent()[0].flow, way(1));
    let (mut call, _) = place_by(Raw::new(), [tcp, way(1)]);
    assert!(call.run(Duration::from_secs(31)).is_empty());
    call.run(Duration::from_secs(1));
    assert_eq!(call.refused(), Some(408));
}
