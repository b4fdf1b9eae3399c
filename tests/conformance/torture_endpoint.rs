//! RFC 4475 and RFC 5118 through a whole user agent: what a running endpoint answers to each message, to a caller it
//! knows, to a stranger, in the middle of a call and over a stream; and that the next ordinary call is served after it.

use crate::torture::{Case, corpus};
use baton_core::sip::endpoint::{Command, Config, DialogEvent, Endpoint, Event, Flow, Transport};
use baton_core::sip::message::{Framer, Message, Method, Name, Request};
use baton_core::sip::trunk::{Trunk, Trunks};
use baton_core::vocab::Entropy;
use bytes::Bytes;
use std::time::{Duration, Instant};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

/// What each message of the corpora gets from us, exactly; `0` is no answer. Inside what the manifests allow.
const ANSWERS: [(&str, u16); 62] = [
    ("wsinv", 481),
    ("intmeth", 501),
    ("esc01", 200),
    ("escnull", 405),
    ("esc02", 501),
    ("lwsdisp", 200),
    ("longreq", 200),
    ("dblreq", 405),
    ("semiuri", 200),
    ("transports", 200),
    ("mpart01", 405),
    ("unreason", 0),
    ("noreason", 0),
    ("badinv01", 400),
    ("clerr", 400),
    ("ncl", 400),
    ("scalar02", 400),
    ("scalarlg", 0),
    ("quotbal", 400),
    ("ltgtruri", 400),
    ("lwsruri", 400),
    ("lwsstart", 400),
    ("trws", 400),
    ("escruri", 200),
    ("baddate", 200),
    ("regbadct", 405),
    ("badaspec", 200),
    ("baddn", 400),
    ("badvers", 505),
    ("mismatch01", 400),
    ("mismatch02", 400),
    ("bigcode", 0),
    ("badbranch", 200),
    ("insuf", 400),
    ("unkscm", 416),
    ("novelsc", 416),
    ("unksm2", 405),
    ("bext01", 420),
    ("invut", 415),
    ("regaut01", 405),
    ("multi01", 400),
    ("mcl01", 400),
    ("bcast", 0),
    ("zeromf", 200),
    ("cparam01", 405),
    ("cparam02", 405),
    ("regescrt", 405),
    ("sdp01", 406),
    ("inv2543", 200),
    ("test", 0),
    ("ipv6-good", 405),
    ("ipv6-bad", 400),
    ("port-ambiguous", 405),
    ("port-unambiguous", 405),
    ("via-received-param-with-delim", 481),
    ("via-received-param-no-delim", 200),
    ("ipv6-in-sdp", 200),
    ("mult-ip-in-header", 481),
    ("mult-ip-in-sdp", 200),
    ("ipv4-mapped-ipv6", 200),
    ("ipv6-bug-abnf-3-colons", 200),
    ("ipv6-correct-abnf-2-colons", 200),
];

/// One endpoint whose calls are answered at once.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    flow: Flow,
    now: Instant,
    calls: u32,
    lost: usize,
}

impl Node {
    /// Anybody may call it.
    pub(crate) fn new(transport: Transport) -> Self {
        Self::with(transport, Trunks::new(vec![Trunk::anyone("any")]))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "virtual time has to begin somewhere"
    )]
    fn with(transport: Transport, trunks: Trunks) -> Self {
        let config = Config {
            trunks,
            ..Config::default()
        };
        Self {
            endpoint: Endpoint::new(config, Entropy::from_number(7)),
            flow: Flow {
                transport,
                local: ([203, 0, 113, 2], 5060).into(),
                remote: ([192, 0, 2, 1], 5060).into(),
            },
            now: Instant::now(),
            calls: 0,
            lost: 0,
        }
    }

    /// Delivers octets; what was sent back, in order. Calls are answered, offers in a dialog too.
    pub(crate) fn deliver(&mut self, octets: &Bytes) -> Vec<Bytes> {
        self.endpoint.handle_datagram(self.now, self.flow, octets);
        self.settle()
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a call that is let run")]
    fn settle(&mut self) -> Vec<Bytes> {
        while let Some(event) = self.endpoint.poll_event() {
            let (dialog, command) = match event {
                Event::Invited(invited) => (invited.dialog, answer()),
                Event::Dialog { dialog, event } => {
                    if let DialogEvent::Lost { .. } | DialogEvent::Bye { .. } = event {
                        self.lost += 1;
                    }
                    if !matches!(event, DialogEvent::Reinvited { .. }) {
                        continue;
                    }
                    (dialog, accept_offer())
                }
                Event::Locate { id, .. } => {
                    self.endpoint.handle_located(self.now, id, Vec::new());
                    continue;
                }
                Event::Registration { .. } => continue,
            };
            let told = self.endpoint.command(self.now, dialog, command);
            assert_eq!(told, Ok(()), "the dialog takes its answer");
        }
        std::iter::from_fn(|| self.endpoint.poll_transmit())
            .map(|transmit| transmit.payload)
            .collect()
    }

    /// Lets time pass; what was sent meanwhile.
    pub(crate) fn run(&mut self, time: Duration) -> Vec<Bytes> {
        let until = self.now + time;
        let mut sent = Vec::new();
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.endpoint.handle_timeout(self.now);
            sent.extend(self.settle());
        }
        self.now = until;
        sent
    }

    /// Places a call with a peer that behaves; returns its Call-ID and our tag.
    pub(crate) fn call(&mut self) -> (String, String) {
        self.calls += 1;
        let call = format!("good{}", self.calls);
        let sent = self.deliver(&say("INVITE", 1, &call, "", SDP));
        assert_eq!(statuses(&sent), [100, 200], "an ordinary call is answered");
        let tag = response(&sent[1])
            .headers()
            .to()
            .ok()
            .and_then(|to| to.tag().map(str::to_owned))
            .expect("our tag");
        assert!(self.deliver(&say("ACK", 1, &call, &tag, "")).is_empty());
        (call, tag)
    }

    pub(crate) fn hang_up(&mut self, (call, tag): &(String, String)) {
        let sent = self.deliver(&say("BYE", 900_000, call, tag, ""));
        assert_eq!(statuses(&sent), [200], "the call was still up");
    }
}

fn answer() -> Command {
    Command::Answer {
        body: Bytes::from_static(SDP.as_bytes()),
        headers: Vec::new(),
    }
}

fn accept_offer() -> Command {
    Command::AnswerReinvite {
        status: 200,
        body: Bytes::from_static(SDP.as_bytes()),
        headers: Vec::new(),
    }
}

/// A request of a peer that behaves.
pub(crate) fn say(method: &str, cseq: u32, call: &str, tag: &str, body: &str) -> Bytes {
    let to_tag = if tag.is_empty() {
        String::new()
    } else {
        format!(";tag={tag}")
    };
    format!(
        "{method} sip:bot@203.0.113.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{call}{cseq}{method}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:peer@192.0.2.1>;tag=far\r\nTo: <sip:bot@203.0.113.2>{to_tag}\r\nCall-ID: {call}\r\n\
         CSeq: {cseq} {method}\r\nContact: <sip:peer@192.0.2.1:5060>\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into()
}

fn response(octets: &Bytes) -> baton_core::sip::message::Response {
    match Message::parse(octets) {
        Ok(Message::Response(response)) => response,
        other => panic!("no response: {other:?}"),
    }
}

/// Statuses of the responses among what was sent.
fn statuses(sent: &[Bytes]) -> Vec<u16> {
    sent.iter()
        .filter_map(|octets| match Message::parse(octets) {
            Ok(Message::Response(response)) => Some(response.status()),
            Ok(Message::Request(_)) => None,
            Err(error) => panic!("we sent what cannot be read: {error}"),
        })
        .collect()
}

/// The final one; 0 for none.
fn final_status(sent: &[Bytes]) -> u16 {
    let finals: Vec<u16> = statuses(sent)
        .into_iter()
        .filter(|status| *status >= 200)
        .collect();
    assert!(finals.len() <= 1, "one final response at most: {finals:?}");
    finals.first().copied().unwrap_or(0)
}

/// Does the manifest's spelling of an outcome (`405`, `2xx`, `ignore`, `none`) mean this status?
fn means(outcome: &str, status: u16) -> bool {
    match outcome {
        "ignore" | "none" => status == 0,
        "2xx" => (200..300).contains(&status),
        "5xx" => (500..600).contains(&status),
        exact => exact.parse() == Ok(status),
    }
}

fn all() -> impl Iterator<Item = (Case, Bytes)> {
    corpus("rfc4475").into_iter().chain(corpus("rfc5118"))
}

#[test]
fn each_message_ends_as_the_manifest_says_and_an_ordinary_call_is_served_after_it() {
    let mut answers = Vec::new();
    for (case, octets) in all() {
        let mut node = Node::new(Transport::Udp);
        let status = final_status(&node.deliver(&octets));
        let name = &case.name;
        let is = |outcome: &String| means(outcome, status);
        assert!(case.accept.iter().any(is), "{name}: answered {status}");
        assert!(
            status != 0 || !case.fail.contains(&"none".to_owned()),
            "{name}: not answered"
        );
        let call = node.call();
        node.hang_up(&call);
        node.run(Duration::from_mins(2));
        let left = (node.endpoint.dialogs(), node.endpoint.transactions());
        assert_eq!(left, (0, 0), "{name}: it leaves nothing behind");
        answers.push((case.name, status));
    }
    let ours: Vec<_> = answers.iter().map(|(n, s)| (n.as_str(), *s)).collect();
    assert_eq!(ours, ANSWERS, "an answer changed: is it still right?");
}

#[test]
fn all_of_them_on_one_endpoint_leave_a_running_call_and_nothing_else() {
    let mut node = Node::new(Transport::Udp);
    let running = node.call();
    for _ in 0..3 {
        for (_, octets) in all() {
            node.deliver(&octets);
        }
        node.run(Duration::from_secs(40)); // what was answered and never acknowledged is hung up meanwhile
    }
    node.run(Duration::from_mins(2));
    assert_eq!(
        node.endpoint.dialogs(),
        1,
        "only the running call has a dialog"
    );
    assert_eq!(node.endpoint.transactions(), 0);
    node.hang_up(&running);
}

#[test]
fn a_stranger_gets_no_call_whatever_it_sends() {
    let known = Trunk {
        name: "known".into(),
        networks: vec!["198.51.100.0/24".parse().expect("a network")],
        ..Trunk::default()
    };
    for (case, octets) in all() {
        let mut node = Node::with(Transport::Udp, Trunks::new(vec![known.clone()]));
        let status = final_status(&node.deliver(&octets));
        let is_invite = case.method.as_deref() == Some("INVITE");
        assert!(!is_invite || !means("2xx", status), "{}", case.name);
        assert_eq!(node.endpoint.dialogs(), 0, "{}", case.name);
        assert_eq!(node.endpoint.transactions(), 0, "{}", case.name);
        if is_invite && case.accept.iter().any(|answer| means(answer, 200)) {
            // Well formed: refused for who it is, or because it belongs to no dialog; a lax one for its form.
            assert!(matches!(status, 400 | 403 | 481), "{}: {status}", case.name);
        }
    }
}

/// The same message inside a dialog: its own header fields, but the dialog's From, To and Call-ID, and the next `CSeq`.
fn moved_into(request: &Request, (call, tag): &(String, String), cseq: u32) -> Option<Bytes> {
    let mut builder = Request::builder(request.method().clone(), request.uri())
        .header(Name::From, "<sip:peer@192.0.2.1>;tag=far")
        .header(Name::To, format!("<sip:bot@203.0.113.2>;tag={tag}"))
        .header(Name::CallId, call)
        .header(Name::CSeq, format!("{cseq} {}", request.method()));
    for (name, value) in request.headers().iter() {
        let replaced = [Name::From, Name::To, Name::CallId, Name::CSeq];
        match Name::new(name) {
            Some(known) if replaced.contains(&known) => {}
            Some(Name::ContentType) if !request.body().is_empty() => {}
            _ => builder = builder.header(name, value),
        }
    }
    let kind = request.headers().get(Name::ContentType);
    if let (Some(kind), false) = (kind, request.body().is_empty()) {
        builder = builder.body(kind, request.body().clone());
    }
    // A NUL in a header field is legal and ours never writes one: such a message stays outside dialogs.
    builder.build().ok().map(|request| request.to_bytes())
}

#[test]
fn in_a_dialog_each_request_is_answered_and_the_dialog_lives_on() {
    let mut seen = 0;
    for (case, octets) in all() {
        let Ok(Message::Request(request)) = Message::parse(&octets) else {
            continue;
        };
        if request.validate().is_err() {
            continue;
        }
        let mut node = Node::new(Transport::Udp);
        let dialog = node.call();
        let Some(octets) = moved_into(&request, &dialog, 2) else {
            continue;
        };
        let name = &case.name;
        let sent = node.deliver(&octets);
        let status = final_status(&sent);
        let expected = match (request.method(), name.as_str()) {
            (_, "bext01") => 420,
            (_, "invut") => 415,
            (Method::Invite | Method::Options | Method::Bye, _) => 200,
            (Method::Other(_), _) => 501,
            _ => 405,
        };
        assert_eq!(status, expected, "{name}");
        if *request.method() == Method::Bye {
            assert_eq!(node.lost, 1, "{name}: hung up");
            continue;
        }
        if *request.method() == Method::Invite && status == 200 {
            let ack = say("ACK", 2, &dialog.0, &dialog.1, "");
            assert!(node.deliver(&ack).is_empty(), "{name}");
        }
        node.run(Duration::from_secs(40));
        assert_eq!(node.lost, 0, "{name}: the dialog lives");
        node.hang_up(&dialog);
        seen += 1;
    }
    assert!(seen >= 30, "{seen} requests tried");
}

#[test]
fn a_damaged_request_in_a_dialog_is_refused_and_the_dialog_lives_on() {
    let mut node = Node::new(Transport::Udp);
    let dialog = node.call();
    let good = say("INFO", 2, &dialog.0, &dialog.1, "x");
    let good = std::str::from_utf8(&good).expect("text").to_owned();
    for (from, to, status) in [
        ("CSeq: 2 INFO", "CSeq: 2 BYE", 400),
        ("CSeq: 2 INFO", "CSeq: 36893488147419103232 INFO", 400),
        ("Content-Length: 1", "Content-Length: 9999", 400),
        ("Content-Length: 1", "Content-Length: -999", 400),
        (
            "Content-Length: 1",
            "Content-Length: 1\r\nContent-Length: 5",
            400,
        ),
        ("SIP/2.0\r\nVia", "SIP/7.0\r\nVia", 505),
        ("To: <sip:bot", "To: \"open <sip:bot", 400),
        ("Call-ID: good1", "Call-ID: good1\r\nCall-ID: good1", 400),
        (";tag=far", ";tag=far;tag=other", 400),
        ("INFO sip:bot@203", "INFO <sip:bot@203", 400),
        ("INFO sip:bot@203", "INFO  sip:bot@203", 400),
        // Another From tag or Call-ID is another dialog, which is not here.
        (";tag=far", ";tag=near", 481),
        ("Call-ID: good1", "Call-ID: good2", 481),
        // A branch that names nothing is an old peer's; the request is good, and its body is none we take in an INFO.
        ("z9hG4bKgood12INFO", "z9hG4bK", 415),
    ] {
        assert!(good.contains(from), "{from}");
        let bad = Bytes::from(good.replacen(from, to, 1));
        assert_eq!(final_status(&node.deliver(&bad)), status, "{to}");
        assert_eq!(node.lost, 0, "{to}");
    }
    node.hang_up(&dialog);
}

/// Over a stream the framer cuts first; what it refuses is answered with its own status and ends the stream.
#[test]
fn over_a_stream_each_message_ends_as_over_datagrams_or_ends_the_stream() {
    for (case, octets) in all() {
        let name = case.name.as_str();
        let mut framer = Framer::new();
        framer.push(&octets);
        let mut node = Node::new(Transport::Tcp);
        match framer.poll_message() {
            Some(Ok(message)) => {
                let status = final_status(&node.deliver(&message));
                let is = |outcome: &String| means(outcome, status);
                assert!(case.accept.iter().any(is), "{name}: answered {status}");
            }
            // Answered and closed, or only closed; what lacks a Content-Length may not come by a stream.
            Some(Err(error)) => {
                let lacks_length = case.content_length().is_none();
                let is = |outcome: &String| means(outcome, error.status()) || means(outcome, 0);
                assert!(
                    lacks_length || case.accept.iter().any(is),
                    "{name}: {error}"
                );
                if let Some(head) = error.head() {
                    assert!(Message::parse(head).is_ok(), "{name}");
                }
            }
            // The rest is waited for, until the shell's deadline closes the stream.
            None => assert!(matches!(name, "clerr" | "baddn" | "test"), "{name}"),
        }
        let call = node.call();
        node.hang_up(&call);
    }
}

/// RFC 3581 §4, with the message of RFC 4475 §3.1.1.11, whose Via names port 5070: asked for by `rport`, the answer goes
/// to the port the message came from, else to the one in sent-by; to the source's address in either case.
#[test]
fn an_answer_goes_to_the_source_or_to_the_port_in_sent_by() {
    let (_, octets) = all()
        .find(|(case, _)| case.name == "mpart01")
        .expect("mpart01");
    let text = String::from_utf8_lossy(&octets);
    let without = Bytes::from(text.replacen(";rport", "", 1).into_bytes());
    for (octets, port) in [(octets.clone(), 5060), (without, 5070)] {
        let mut node = Node::new(Transport::Udp);
        node.endpoint.handle_datagram(node.now, node.flow, &octets);
        let answer = node.endpoint.poll_transmit().expect("an answer");
        assert_eq!(answer.flow.remote, ([192, 0, 2, 1], port).into());
    }
}

/// RFC 4475 §3.1.2.11: header fields in a Request-URI are nobody's business; the Route in them is not followed.
#[test]
fn header_fields_in_a_request_uri_are_not_honoured() {
    let (_, octets) = all()
        .find(|(case, _)| case.name == "escruri")
        .expect("escruri");
    let mut node = Node::new(Transport::Udp);
    let sent = node.deliver(&octets);
    assert_eq!(statuses(&sent), [100, 200]);
    let answer = response(&sent[1]);
    assert_eq!(answer.headers().get(Name::Route), None);
    assert_eq!(answer.headers().get(Name::RecordRoute), None);
    let wire = answer.to_bytes();
    assert!(!wire.windows(5).any(|octets| octets == b"Route"));
}
