//! RFC 4475 and RFC 5118, message by message: what the parser and the gate behind it make of each.
//!
//! What a whole user agent answers (405, 416, 420, 415, 481) is the endpoint's, in `torture_endpoint`; here a message is
//! either fit to be acted on, or refused with a status, or not readable at all, and that must agree with the manifest.

use baton_core::sip::message::{Fault, Message, Name, ParseError, Response, Uri, uri};
use bytes::Bytes;
use serde::Deserialize;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Manifest {
    messages: Vec<Case>,
}

#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    file: String,
    /// As it travels, when the archive's file does not.
    wire: Option<String>,
    bytes: usize,
    #[serde(default)]
    class: String,
    pub(crate) method: Option<String>,
    body_bytes: Option<usize>,
    content_length: Option<String>,
    top_via: Option<String>,
    pub(crate) accept: Vec<String>,
    pub(crate) fail: Vec<String>,
}

impl Case {
    /// Content-Length as written, where the message has one.
    pub(crate) fn content_length(&self) -> Option<&str> {
        self.content_length.as_deref()
    }
}

/// What becomes of a message before anyone acts on it.
#[derive(Debug)]
enum Outcome {
    Fit(Message),
    /// A request that is answered with this status.
    Refused(u16),
    /// No answer: unreadable, or a response with a fault.
    Ignored,
}

impl Outcome {
    fn of(octets: &Bytes) -> Self {
        let Ok(message) = Message::parse(octets) else {
            return Self::Ignored;
        };
        match (message.validate(), &message) {
            (Ok(()), _) => Self::Fit(message),
            (Err(_), Message::Response(_)) => Self::Ignored,
            (Err(_), Message::Request(_)) if message.headers().via().is_err() => Self::Ignored,
            (Err(fault), Message::Request(_)) => Self::Refused(fault.status()),
        }
    }

    /// As the manifest spells it; `None` when it is the endpoint's turn.
    fn answer(&self) -> Option<String> {
        match self {
            Self::Fit(_) => None,
            Self::Refused(status) => Some(status.to_string()),
            Self::Ignored => Some("ignore".into()),
        }
    }
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// Every message of a corpus with what is known of it.
pub(crate) fn corpus(folder: &str) -> Vec<(Case, Bytes)> {
    let text = std::fs::read(data(folder).join("manifest.json"))
        .expect("the manifest is in the repository");
    let manifest: Manifest = serde_json::from_slice(&text).expect("the manifest is JSON");
    let read = |case: Case| {
        let stored =
            std::fs::read(data(folder).join(&case.file)).expect("the message is in the repository");
        assert_eq!(stored.len(), case.bytes, "{} was changed", case.name);
        let octets = case.wire.as_ref().map_or(stored, |wire| {
            std::fs::read(data(folder).join(wire)).expect("the message is in the repository")
        });
        (case, Bytes::from(octets))
    };
    manifest.messages.into_iter().map(read).collect()
}

/// The valid messages of both corpora, as they travel.
pub(crate) fn valid_messages() -> Vec<Bytes> {
    let mut valid: Vec<Bytes> = corpus("rfc4475")
        .into_iter()
        .filter(|(case, _)| case.class == "valid")
        .map(|(_, octets)| octets)
        .collect();
    valid.extend(
        corpus("rfc5118")
            .into_iter()
            .map(|(_, octets)| octets)
            .filter(|octets| {
                Message::parse(octets).is_ok_and(|message| message.validate().is_ok())
            }),
    );
    valid
}

fn named(name: &str) -> Message {
    let (_, octets) = corpus("rfc4475")
        .into_iter()
        .chain(corpus("rfc5118"))
        .find(|(case, _)| case.name == name)
        .expect("a message of that name");
    Message::parse(&octets).expect("it can be read")
}

fn address(name: &str, header: Name) -> String {
    let message = named(name);
    let address = message.headers().name_addr(header).expect("an address");
    address.uri.to_owned()
}

#[test]
fn both_corpora_are_whole() {
    assert_eq!(corpus("rfc4475").len(), 50);
    assert_eq!(corpus("rfc5118").len(), 12);
}

#[test]
fn every_message_is_treated_as_the_manifest_says() {
    for (case, octets) in corpus("rfc4475").into_iter().chain(corpus("rfc5118")) {
        let name = &case.name;
        if let Some(answer) = Outcome::of(&octets).answer() {
            assert!(case.accept.contains(&answer), "{name}: answered {answer}");
            assert!(!case.fail.contains(&answer), "{name}: answered {answer}");
            assert_ne!(case.class, "valid", "{name}: answered {answer}");
        } else {
            let refusals = ["400", "505"];
            let must_refuse = case
                .accept
                .iter()
                .all(|answer| refusals.contains(&answer.as_str()));
            assert!(!must_refuse, "{name}: taken for fit");
        }
    }
}

#[test]
fn every_valid_message_has_the_parts_the_manifest_names() {
    for (case, octets) in corpus("rfc4475") {
        let Outcome::Fit(message) = Outcome::of(&octets) else {
            continue;
        };
        if let Some(length) = case
            .content_length
            .as_ref()
            .and_then(|length| length.parse::<usize>().ok())
        {
            assert_eq!(message.body().len(), length, "{}", case.name);
        } else {
            assert_eq!(Some(message.body().len()), case.body_bytes, "{}", case.name);
        }
        let via = message.headers().via().expect("a fit message has a Via");
        let port = via.port.map(|port| format!(":{port}")).unwrap_or_default();
        let top = format!("{} {}{port}", via.transport, via.host);
        assert_eq!(Some(top), case.top_via, "{}", case.name);
        match (&message, case.method.as_deref()) {
            (Message::Response(_), method) => assert_eq!(method, Some("response"), "{}", case.name),
            (Message::Request(request), Some("unknown method")) => {
                assert_eq!(
                    request.method().as_str(),
                    "!interesting-Method0123456789_*+`.%indeed'~"
                );
            }
            (Message::Request(request), method) => {
                assert_eq!(Some(request.method().as_str()), method);
            }
        }
    }
}

#[test]
fn every_readable_request_can_be_answered() {
    for (case, octets) in corpus("rfc4475").into_iter().chain(corpus("rfc5118")) {
        let Ok(Message::Request(request)) = Message::parse(&octets) else {
            continue;
        };
        if request.headers().via().is_err() {
            continue;
        }
        let status = request.validate().map_or_else(Fault::status, |()| 200);
        let response = Response::builder_for(&request, status)
            .to_tag("ours")
            .source("198.51.100.7:40000".parse().expect("an address"))
            .build()
            .unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let Ok(Message::Response(read)) = Message::parse(&response.to_bytes()) else {
            panic!("{}: our answer cannot be read", case.name);
        };
        if request.validate().is_ok() {
            assert_eq!(read.validate(), Ok(()), "{}", case.name);
            assert_eq!(
                read.headers().call_id(),
                request.headers().call_id(),
                "{}",
                case.name
            );
            assert_eq!(
                read.headers().cseq(),
                request.headers().cseq(),
                "{}",
                case.name
            );
            assert_eq!(
                read.headers().values(Name::Via).count(),
                request.headers().values(Name::Via).count(),
                "{}",
                case.name
            );
        }
    }
}

#[test]
fn a_tortuous_invite_is_read_to_its_last_parameter() {
    let message = named("wsinv");
    let headers = message.headers();
    assert_eq!(headers.to().expect("To").tag(), Some("1918181833n"));
    let from = headers.from().expect("From");
    assert_eq!(from.display_name().as_deref(), Some("J Rosenberg \\\""));
    assert_eq!(
        (from.uri, from.tag()),
        ("sip:jdrosen@example.com", Some("98asjd8"))
    );
    assert_eq!(headers.max_forwards(), Ok(Some(68)));
    assert_eq!(headers.cseq().expect("CSeq").number, 9);
    assert_eq!(headers.get(Name::Subject), Some(""));
    let branches: Vec<_> = headers
        .values(Name::Via)
        .map(|via| baton_core::sip::message::Via::parse(via).and_then(|via| via.branch()))
        .collect();
    assert_eq!(
        branches,
        [
            Some("390skdjuw"),
            Some("z9hG4bK9ikj8"),
            Some("z9hG4bK30239")
        ]
    );
    let contact = headers.contact().expect("Contact");
    assert_eq!(
        contact.display_name().as_deref(),
        Some("Quoted string \"\"")
    );
    assert_eq!(
        (contact.param("newparam"), contact.param("q")),
        (Some("newvalue"), Some("0.33"))
    );
    assert_eq!(
        headers.named("UnknownHeaderWithUnusualValue"),
        Some(";;,,;;,;")
    );
    let route = headers.name_addr(Name::Route).expect("Route");
    assert_eq!(
        route.uri,
        "sip:services.example.com;lr;unknownwith=value;unknown-no-value"
    );
}

#[test]
fn a_wide_range_of_characters_survives() {
    let message = named("intmeth");
    let headers = message.headers();
    let to = headers.to().expect("To");
    assert_eq!(
        to.display_name().as_deref(),
        Some("BEL:\u{7} NUL:\0 DEL:\u{7f}")
    );
    let from = headers.from().expect("From");
    assert_eq!(from.tag(), Some("_token~1'+`*%!-."));
    assert_eq!(from.param("fromParam''~+*_!.-%"), Some("\"работающий\""));
    let header = headers.named("extensionHeader-!.%*+_`'~");
    assert_eq!(header, Some("\u{feff}大停電"));
    let Message::Request(request) = &message else {
        panic!("a request");
    };
    let uri = Uri::parse(request.uri()).expect("a URI");
    assert_eq!(uri.host(), "example.com");
    assert_eq!(
        uri.user_raw(),
        Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*")
    );
}

#[test]
fn escapes_are_read_once_and_methods_never() {
    let Message::Request(request) = named("esc02") else {
        panic!("a request");
    };
    assert_eq!(request.method().as_str(), "RE%47IST%45R");
    let user = |text: &str| {
        Uri::parse(text)
            .ok()
            .and_then(|uri| uri.user().map(Cow::into_owned))
    };
    let Message::Request(request) = named("esc01") else {
        panic!("a request");
    };
    assert_eq!(
        user(request.uri()).as_deref(),
        Some("sips:user@example.com")
    );
    let null = address("escnull", Name::To);
    assert_eq!(user(&null).as_deref(), Some("null-\0-null"));
}

#[test]
fn semicolons_in_a_user_part_are_not_parameters() {
    let Message::Request(request) = named("semiuri") else {
        panic!("a request");
    };
    let uri = Uri::parse(request.uri()).expect("a URI");
    assert_eq!(uri.user().as_deref(), Some("user;par=u@example.net"));
    assert_eq!(uri.params().count(), 0);
}

#[test]
fn octets_after_a_datagrams_message_are_dropped() {
    let message = named("dblreq");
    assert!(message.body().is_empty());
    assert!(
        !message
            .to_bytes()
            .windows(6)
            .any(|octets| octets == b"INVITE")
    );
}

#[test]
fn a_multipart_body_is_kept_octet_for_octet() {
    let message = named("mpart01");
    let (_, octets) = corpus("rfc4475")
        .into_iter()
        .find(|(case, _)| case.name == "mpart01")
        .expect("mpart01");
    assert_eq!(message.body(), &octets.slice(octets.len() - 553..));
    assert!(
        std::str::from_utf8(message.body()).is_err(),
        "it holds a binary part"
    );
}

#[test]
fn reason_phrases_may_be_unusual_or_empty() {
    let reason = |name| match named(name) {
        Message::Response(response) => response.reason().to_owned(),
        Message::Request(_) => panic!("a response"),
    };
    assert_eq!(
        reason("unreason"),
        "= 2**3 * 5**2 но сто девяносто девять - простое"
    );
    assert_eq!(reason("noreason"), "");
}

#[test]
fn schemes_we_do_not_speak_are_told_apart_from_damage() {
    for (name, scheme) in [
        ("unkscm", "nobodyknowsthisscheme"),
        ("novelsc", "soap.beep"),
    ] {
        let Message::Request(request) = named(name) else {
            panic!("a request");
        };
        let uri = Uri::parse(request.uri()).expect("a URI, if a strange one");
        assert!(!uri.is_sip(), "{name}");
        assert!(uri.scheme().eq_ignore_ascii_case(scheme), "{name}");
    }
}

#[test]
fn what_the_endpoint_decides_by_is_readable() {
    let require = named("bext01");
    let tags: Vec<_> = require.headers().values(Name::Require).collect();
    assert_eq!(tags, ["nothingSupportsThis", "nothingSupportsThisEither"]);
    assert_eq!(
        named("invut").headers().content_type(),
        Some("application/unknownformat")
    );
    assert_eq!(
        named("sdp01").headers().get(Name::Accept),
        Some("text/nobodyKnowsThis")
    );
    assert_eq!(named("zeromf").headers().max_forwards(), Ok(Some(0)));
    let old = named("inv2543");
    assert_eq!(old.headers().via().expect("Via").branch(), None);
    assert_eq!(old.headers().from().expect("From").tag(), None);
}

#[test]
fn parameters_with_and_without_brackets_belong_to_the_right_part() {
    let with = |name: &str, header| {
        let message = named(name);
        let address = message.headers().name_addr(header).expect("an address");
        (address.uri.to_owned(), address.params.as_str().to_owned())
    };
    assert_eq!(
        with("cparam01", Name::Contact),
        (
            "sip:+19725552222@gw1.example.net".into(),
            ";unknownparam".into()
        )
    );
    assert_eq!(
        with("cparam02", Name::Contact),
        (
            "sip:+19725552222@gw1.example.net;unknownparam".into(),
            String::new()
        )
    );
    let (uri, _) = with("regescrt", Name::Contact);
    let uri = Uri::parse(&uri).expect("a URI");
    assert_eq!(
        uri.header("Route").as_deref(),
        Some("<sip:sip.example.com>")
    );
}

#[test]
fn ipv6_is_read_with_and_without_brackets() {
    let received = |name: &str| named(name).headers().via().expect("Via").received_ip();
    let expected = "2001:db8::9:255".parse().ok();
    assert_eq!(received("via-received-param-no-delim"), expected);
    assert_eq!(received("via-received-param-with-delim"), expected);
    let port = |name: &str| match named(name) {
        Message::Request(request) => Uri::parse(request.uri()).expect("a URI").port(),
        Message::Response(_) => panic!("a request"),
    };
    assert_eq!(port("port-ambiguous"), None);
    assert_eq!(port("port-unambiguous"), Some(5070));
    let lenient = address("ipv6-bug-abnf-3-colons", Name::To);
    let host = Uri::parse(&lenient).expect("a URI").host_ip();
    assert_eq!(host, uri::host_ip("2001:db8::192.0.2.1"));
    assert!(host.is_some());
}

#[test]
fn an_archive_file_without_sip_version_is_not_sip() {
    let octets = std::fs::read(data("rfc4475/test.dat")).expect("the message is in the repository");
    assert_eq!(
        Message::parse(&Bytes::from(octets)).err(),
        Some(ParseError::NotSip)
    );
}
