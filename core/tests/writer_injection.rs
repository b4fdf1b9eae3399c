//! Nothing that is said to the writer can become a line of its own: every entry of both builders, of a URI, and of the
//! commands an endpoint takes, with texts made to break out.

use baton_core::sip::endpoint::{
    Command, Config, DialogId, Endpoint, Event, Flow, OutgoingInvite, Transport,
};
use baton_core::sip::message::{Message, Method, Name, Request, Response, Uri};
use baton_core::vocab::Entropy;
use bytes::Bytes;
use proptest::prelude::*;
use std::time::Instant;

/// Texts of which some break out of whatever holds them, were they written as they are.
fn evil() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\r\nInjected: 1".to_owned()),
        Just("\nInjected: 1".to_owned()),
        Just("\rInjected: 1".to_owned()),
        Just("\r\n\r\nINVITE sip:x SIP/2.0\r\n".to_owned()),
        Just("\0".to_owned()),
        Just("\u{85}Injected: 1".to_owned()),
        Just("\u{2028}Injected: 1".to_owned()),
        Just("%0d%0aInjected:%201".to_owned()),
        Just("\"".to_owned()),
        Just("<sip:a@h>".to_owned()),
        Just(">;tag=x,".to_owned()),
        Just(" SIP/2.0".to_owned()),
        Just(": ".to_owned()),
        "[ -~]{0,12}",
        any::<String>(),
    ];
    proptest::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat())
}

/// One message, with exactly these lines: nothing was injected.
fn holds_exactly(wire: &Bytes, names: &[&str], body: &[u8]) {
    let message = Message::parse(wire).expect("what we write can be read");
    assert_eq!(
        message.to_bytes(),
        wire,
        "nothing is left over, nothing was blanked"
    );
    let written: Vec<_> = message.headers().iter().map(|(name, _)| name).collect();
    assert_eq!(written, names);
    assert_eq!(message.body().as_ref(), body);
    let head = &wire[..wire.len() - body.len()];
    let (feeds, returns) = (count(head, b'\n'), count(head, b'\r'));
    assert_eq!((feeds, returns), (names.len() + 2, names.len() + 2));
    assert!(!head.contains(&0), "no NUL");
}

fn count(octets: &[u8], octet: u8) -> usize {
    memchr::memchr_iter(octet, octets).count()
}

fn asked() -> Request {
    let text = "INVITE sip:bot@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
                To: <sip:bot@h>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n";
    match Message::parse(&Bytes::from_static(text.as_bytes())) {
        Ok(Message::Request(request)) => request,
        other => panic!("no request: {other:?}"),
    }
}

proptest! {
    #[test]
    fn a_request_has_the_lines_it_was_given_or_is_not_written(
        method in evil(), uri in evil(), name in evil(), value in evil(), kind in evil(),
    ) {
        let body = Bytes::from_static(b"\r\nInjected: body");
        let good = || Request::builder(Method::Info, "sip:a@h");
        let length = "Content-Length";
        let builders: [(_, &[&str], &[u8]); 6] = [
            (Request::builder(Method::new(&method), "sip:a@h"), &[length], b""),
            (Request::builder(Method::Info, &uri), &[length], b""),
            (good().header("X-A", &value), &["X-A", length], b""),
            (good().header(&name, "1"), &[&name, length], b""),
            (good().headers(&[(name.clone(), value.clone())]), &[&name, length], b""),
            (good().body(&kind, body.clone()), &["Content-Type", length], &body),
        ];
        for (builder, names, body) in builders {
            if let Ok(request) = builder.build() {
                // Content-Length as a name is counted by us, whatever was asked for; trailing blanks are no value.
                if Name::new(&name) != Some(Name::ContentLength) {
                    holds_exactly(&request.to_bytes(), names, body);
                }
            }
        }
        let again = asked().again(&value, Some(2), &[]).header(&name, &value);
        if let Ok(request) = again.build() {
            prop_assert!(request.headers().named("Injected").is_none());
        }
    }

    #[test]
    fn a_response_has_the_lines_it_was_given_or_is_not_written(
        reason in evil(), tag in evil(), value in evil(), kind in evil(),
    ) {
        let request = asked();
        let body = Bytes::from_static(b"\r\nInjected: body");
        let good = || Response::builder_for(&request, 200);
        let copied = ["Via", "From", "To", "Call-ID", "CSeq"];
        let with = |more: &[&'static str]| [&copied[..], more, &["Content-Length"]].concat();
        if let Ok(response) = good().reason(&reason).build() {
            holds_exactly(&response.to_bytes(), &with(&[]), b"");
        }
        if let Ok(response) = good().to_tag(&tag).build() {
            holds_exactly(&response.to_bytes(), &with(&[]), b"");
            let to = response.headers().to().expect("To");
            prop_assert_eq!(to.tag(), Some(tag.as_str()));
        }
        if let Ok(response) = good().header("X-A", &value).build() {
            holds_exactly(&response.to_bytes(), &with(&["X-A"]), b"");
        }
        if let Ok(response) = good().body(&kind, body.clone()).build() {
            holds_exactly(&response.to_bytes(), &with(&["Content-Type"]), &body);
        }
    }

    #[test]
    fn a_uri_has_the_parts_it_was_given_or_is_not_written(user in evil(), name in evil(), value in evil(), host in evil()) {
        let uri = |host: &str| Uri::sip(host);
        if let Ok(uri) = uri(&host) {
            prop_assert!(uri.to_string().bytes().all(|octet| octet.is_ascii_graphic()));
        }
        let built = uri("h")
            .and_then(|uri| uri.with_user(&user))
            .and_then(|uri| uri.with_param("p", Some(&value)))
            .and_then(|uri| uri.with_header("X-Key", &value));
        if let Ok(uri) = built {
            let text = uri.to_string();
            prop_assert!(text.bytes().all(|octet| octet.is_ascii_graphic()), "{}", text);
            let read = Uri::parse(&text).expect("what we write can be read");
            prop_assert_eq!(read.host(), "h");
            let read_user = read.user();
            prop_assert_eq!(read_user.as_deref(), Some(user.as_str()));
            let read_value = read.header("X-Key");
            prop_assert_eq!(read_value.as_deref(), Some(value.as_str()));
            prop_assert_eq!((read.params().count(), read.headers().count()), (1, 1));
        }
        if let Ok(uri) = uri("h").and_then(|uri| uri.with_header(&name, "1")) {
            prop_assert!(uri.to_string().bytes().all(|octet| octet.is_ascii_graphic()));
        }
    }

    #[test]
    fn no_command_makes_an_endpoint_say_a_line_nobody_asked_for(text in evil(), name in evil(), status in 180_u16..700) {
        let fields = || vec![("X-A".to_owned(), text.clone()), (name.clone(), text.clone())];
        let one = || vec![("X-A".to_owned(), text.clone())];
        let body = Bytes::from_static(b"v=0");
        for command in [
            Command::Ring { status, body: body.clone() },
            Command::Answer { body: body.clone(), headers: fields() },
            Command::Answer { body: body.clone(), headers: one() },
            Command::Reject { status, headers: fields() },
            Command::Reject { status, headers: one() },
        ] {
            let mut line = Line::ringing();
            line.say(command);
        }
        for command in [
            Command::Refer { refer_to: text.clone(), headers: vec![] },
            Command::Refer { refer_to: format!("<sip:q@h?X={text}>"), headers: one() },
            Command::Refer { refer_to: "<sip:q@h>".into(), headers: fields() },
            Command::Refer { refer_to: "<sip:q@h>".into(), headers: vec![("Contact".into(), text.clone())] },
            Command::AnswerReinvite { status, body: body.clone(), headers: fields() },
            Command::AnswerRefer { status },
            Command::Notify { status, state: baton_core::sip::endpoint::NotifyState::Terminated },
            Command::Bye { headers: fields() },
            Command::Bye { headers: one() },
        ] {
            let mut line = Line::talking();
            line.say(command);
        }
        for (target, from, to, call_id) in [
            (text.as_str(), "<sip:a@h>", "", ""),
            ("sip:b@h", text.as_str(), "", ""),
            ("sip:b@h", "<sip:a@h>", text.as_str(), ""),
            ("sip:b@h", "<sip:a@h>", "", text.as_str()),
        ] {
            Line::new().place(target, from, to, call_id, vec![]);
        }
        Line::new().place("sip:b@h", "<sip:a@h>", "", "", fields());
    }
}

/// An endpoint and what it says.
struct Line {
    endpoint: Endpoint,
    flow: Flow,
    now: Instant,
    dialog: DialogId,
}

impl Line {
    #[expect(
        clippy::disallowed_methods,
        reason = "virtual time has to begin somewhere"
    )]
    fn new() -> Self {
        Self {
            endpoint: Endpoint::new(Config::default(), Entropy::from_number(5)),
            flow: Flow {
                transport: Transport::Udp,
                local: ([10, 0, 0, 2], 5060).into(),
                remote: ([10, 0, 0, 1], 5060).into(),
            },
            now: Instant::now(),
            dialog: DialogId(0),
        }
    }

    fn ringing() -> Self {
        let mut line = Self::new();
        line.hear("INVITE", "");
        line
    }

    fn talking() -> Self {
        let mut line = Self::ringing();
        let answer = Command::Answer {
            body: Bytes::from_static(b"v=0"),
            headers: vec![],
        };
        let told = line.endpoint.command(line.now, line.dialog, answer);
        assert_eq!(told, Ok(()));
        let said = line.check();
        let tag = said
            .iter()
            .rev()
            .find_map(|message| message.headers().to().ok()?.tag().map(str::to_owned))
            .expect("our tag");
        line.hear("ACK", &format!(";tag={tag}"));
        line
    }

    fn hear(&mut self, method: &str, to_tag: &str) {
        let body = if method == "INVITE" { "v=0" } else { "" };
        let text = format!(
            "{method} sip:bot@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK{method}\r\n\
             From: <sip:a@10.0.0.1>;tag=far\r\nTo: <sip:bot@10.0.0.2>{to_tag}\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n\
             Contact: <sip:a@10.0.0.1>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.endpoint
            .handle_datagram(self.now, self.flow, &Bytes::from(text));
        if let Some(Event::Invited(invited)) = self.endpoint.poll_event() {
            self.dialog = invited.dialog;
        }
        self.check();
    }

    /// Refused or written: both are fine, an extra line is not.
    fn say(&mut self, command: Command) {
        let _ = self.endpoint.command(self.now, self.dialog, command);
        self.check();
        // Whatever was refused, the dialog can still be ended.
        let _ = self
            .endpoint
            .command(self.now, self.dialog, Command::Bye { headers: vec![] });
        self.check();
    }

    fn place(
        &mut self,
        target: &str,
        from: &str,
        to: &str,
        call_id: &str,
        headers: Vec<(String, String)>,
    ) {
        let invite = OutgoingInvite {
            ways: self.flow.into(),
            target: target.into(),
            from: from.into(),
            to: to.into(),
            call_id: call_id.into(),
            account: None,
            headers,
            body: Bytes::from_static(b"v=0"),
        };
        let _ = self.endpoint.invite(self.now, invite);
        self.check();
    }

    fn check(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.endpoint.poll_transmit())
            .map(|transmit| {
                let message = Message::parse(&transmit.payload).expect("what we say can be read");
                assert_eq!(message.to_bytes(), transmit.payload, "and is one message");
                assert!(message.headers().named("Injected").is_none());
                let body = message.body().len();
                let head = &transmit.payload[..transmit.payload.len() - body];
                assert_eq!(count(head, b'\n'), message.headers().len() + 2);
                message
            })
            .collect()
    }
}
