//! Differential test over generated messages: two other parsers, of other schools, see what ours sees, wherever they can
//! read at all. Where they differ by right, the generator stays away and the test that says why is below.
//!
//! * `rsip` (tokenizers, owned strings): no compact names, no folds, no unknown methods, no IPv6, no body that is no text;
//!   it prints `;transport=udp` in capitals, so the Request-URI has none.
//! * `ezk-sip-types` (nom combinators over shared octets): all of these. It leaves the quotes around a display name.

use baton_core::sip::message::{Message, Name, NameAddr, Request, Uri, unquote};
use bytes::Bytes;
use ezk_sip_types::msg::{Line, MessageLine, PullParser};
use ezk_sip_types::parse::Parse;
use proptest::prelude::*;
use rsip::prelude::HasHeaders;
use std::fmt::Write as _;

/// What a parser makes of a message: start line, fields, body.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    method: String,
    uri: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

/// White space inside a value means nothing; names compare without regard to case, compact ones as long ones.
fn field(name: &str, value: &str) -> (String, String) {
    let name = match Name::new(name) {
        Some(known) => known.as_str(),
        None => name,
    };
    let squeezed: Vec<_> = value.split_whitespace().collect();
    (name.to_ascii_lowercase(), squeezed.join(" "))
}

fn ours(wire: &Bytes) -> Seen {
    let request = match Message::parse(wire) {
        Ok(Message::Request(request)) => request,
        other => panic!("no request: {other:?}"),
    };
    assert_eq!(request.validate(), Ok(()), "a generated message is fit");
    Seen {
        method: request.method().to_string(),
        uri: request.uri().to_owned(),
        fields: request.headers().iter().map(|(n, v)| field(n, v)).collect(),
        body: request.body().to_vec(),
    }
}

fn rsips(wire: &Bytes) -> Option<Seen> {
    let request = rsip::Request::try_from(wire.as_ref()).ok()?;
    let fields = request.headers().iter().map(|header| {
        let text = header.to_string();
        let (name, value) = text.split_once(':').expect("a header has a colon");
        field(name, value)
    });
    Some(Seen {
        method: request.method().to_string(),
        uri: request.uri().to_string(),
        fields: fields.collect(),
        body: request.body().clone(),
    })
}

fn ezks(wire: &Bytes) -> Option<Seen> {
    let mut lines = PullParser::new(wire, 0);
    let text = |line: &[u8]| std::str::from_utf8(line).ok().map(str::to_owned);
    let start = text(lines.next()?.ok()?)?;
    let MessageLine::Request(line) = MessageLine::parse_str(&start).ok()? else {
        return None;
    };
    // The URI as it stands in the line that was read: printing normalizes it.
    let uri = start.split(' ').nth(1)?.to_owned();
    let mut fields = Vec::new();
    for line in &mut lines {
        let line = text(line.ok()?)?;
        let src = Bytes::from(line.clone());
        let line = Line::parse(&src, std::str::from_utf8(&src).ok()?).ok()?.1;
        fields.push(field(line.name.as_print_str(), &line.value));
    }
    Some(Seen {
        method: line.method.to_string(),
        uri,
        fields,
        body: wire[lines.head_end()..].to_vec(),
    })
}

const METHODS: [&str; 8] = [
    "INVITE", "BYE", "OPTIONS", "REFER", "NOTIFY", "INFO", "UPDATE", "MESSAGE",
];

fn address() -> impl Strategy<Value = String> {
    let display = prop_oneof![
        Just(String::new()),
        "[A-Za-z]{1,8} ",
        "\"[A-Za-z,;<>@: ]{0,12}\" ",
    ];
    (display, "[a-z0-9+]{1,10}", "[a-z]{1,8}\\.example", 0..3_u8).prop_map(
        |(display, user, host, kind)| match kind {
            0 => format!("{display}<sip:{user}@{host}>"),
            1 => format!("{display}<sip:{user}@{host}:5070;transport=tcp>"),
            _ => format!("{display}<sips:{user}@{host};lr>"),
        },
    )
}

/// A valid request, as a peer with an odd taste would write it.
fn message() -> impl Strategy<Value = (Bytes, bool)> {
    let extra = ("X-[A-Za-z]{1,10}", "[!-~]([ -~]{0,30}[!-~])?");
    let parts = (
        (prop::sample::select(&METHODS[..]), address(), address()),
        ("[a-z0-9]{1,12}", "[a-z0-9@.]{1,20}", 1..100_000_u32),
        proptest::collection::vec(extra, 0..5),
        proptest::collection::vec(any::<u8>(), 0..40),
        (any::<bool>(), any::<bool>(), 1..4_usize),
    );
    parts.prop_map(
        |((method, from, to), (tag, call, number), extra, body, (compact, fold, vias))| {
            let name = |long: &'static str, short: &'static str| if compact { short } else { long };
            let gap = if fold { "\r\n\t " } else { " " };
            let mut text = format!("{method} sip:bot@voice.example SIP/2.0\r\n");
            let mut line = |name: &str, value: String| {
                let written = write!(text, "{name}:{value}\r\n");
                assert!(written.is_ok(), "a String takes everything");
            };
            for via in 0..vias {
                let value = format!(" SIP/2.0/UDP h{via}.example:5060;branch=z9hG4bK{tag}{via}");
                line(name("Via", "v"), value);
            }
            line("Max-Forwards", " 70".into());
            line(name("From", "f"), format!("{gap}{from};tag={tag}"));
            line(name("To", "t"), format!(" {to}"));
            line(name("Call-ID", "i"), format!(" {call}"));
            line("CSeq", format!(" {number} {method}"));
            line(name("Contact", "m"), format!("{gap}<sip:me@10.0.0.1>"));
            for (name, value) in extra {
                line(&name, format!(" {value}"));
            }
            line(name("Content-Length", "l"), format!(" {}\r\n", body.len()));
            let plain = !compact && !fold;
            ([text.as_bytes(), &body].concat().into(), plain)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn ezk_sees_what_we_see((wire, _) in message()) {
        let theirs = ezks(&wire);
        prop_assert_eq!(theirs, Some(ours(&wire)));
    }

    #[test]
    fn rsip_sees_what_we_see_in_plain_messages((wire, plain) in message()) {
        let ours = ours(&wire);
        match rsips(&wire) {
            Some(theirs) => prop_assert_eq!(theirs, ours),
            None => prop_assert!(!plain || rsip_cannot(&wire), "{:?}", wire),
        }
    }

    #[test]
    fn what_we_write_they_read(value in "[!-~]([ -~]{0,30}[!-~])?", body in proptest::collection::vec(any::<u8>(), 0..40)) {
        let built = Request::builder("INFO".into(), "sip:h.example")
            .header(Name::Via, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1")
            .header(Name::From, "<sip:a@b.example>;tag=1")
            .header(Name::To, "<sip:h.example>")
            .header(Name::CallId, "c1")
            .header(Name::CSeq, "1 INFO")
            .header("X-Session-Key", &value)
            .body("text/plain", body.into())
            .build()
            .expect("nothing in it can break")
            .to_bytes();
        prop_assert_eq!(ezks(&built), Some(ours(&built)));
    }

    #[test]
    fn an_address_has_the_same_parts_to_ezk(text in address()) {
        use ezk_sip_types::uri::NameAddr as Theirs;
        let theirs = Theirs::parse_str(&text).expect("ezk reads it");
        let ours = NameAddr::parse(&text).expect("we read it");
        let uri = Uri::parse(ours.uri).expect("a URI");
        let shown = |name: &str| Some(name.trim().to_owned()).filter(|name| !name.is_empty());
        let their_name = theirs.name.as_deref().and_then(|name| shown(&unquote(name)));
        let our_name = ours.display_name().and_then(|name| shown(&name));
        prop_assert_eq!(their_name, our_name);
        prop_assert_eq!(theirs.uri.sips, uri.scheme() == "sips");
        prop_assert_eq!(theirs.uri.host_port.host.to_string(), uri.host());
        prop_assert_eq!(theirs.uri.host_port.port, uri.port());
    }
}

/// rsip refuses octets that are no UTF-8 anywhere, also in a body.
fn rsip_cannot(wire: &Bytes) -> bool {
    std::str::from_utf8(wire).is_err()
}
