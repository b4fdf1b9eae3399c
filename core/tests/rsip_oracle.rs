//! Differential test: where rsip 0.4 can read a message, both parsers see the same; where it cannot, or reads
//! something else, the test says what it loses.

use baton_core::sip::message::{Message, Name, Request, Uri};
use bytes::Bytes;
use rsip::headers::{ToTypedHeader, UntypedHeader};
use rsip::message::HeadersExt;
use rsip::prelude::HasHeaders;
use std::path::Path;

/// Names of the valid RFC 4475 messages, RFC 5118's (in their CRLF form), and one of our own.
const CORPUS: [&str; 24] = [
    "rfc4475/wsinv.dat",
    "rfc4475/intmeth.dat",
    "rfc4475/esc01.dat",
    "rfc4475/escnull.dat",
    "rfc4475/esc02.dat",
    "rfc4475/lwsdisp.dat",
    "rfc4475/longreq.dat",
    "rfc4475/dblreq.dat",
    "rfc4475/semiuri.dat",
    "rfc4475/transports.dat",
    "rfc4475/mpart01.dat",
    "rfc4475/unreason.dat",
    "rfc4475/noreason.dat",
    "rfc5118/wire/ipv6-good",
    "rfc5118/wire/port-ambiguous",
    "rfc5118/wire/port-unambiguous",
    "rfc5118/wire/via-received-param-with-delim",
    "rfc5118/wire/via-received-param-no-delim",
    "rfc5118/wire/ipv6-in-sdp",
    "rfc5118/wire/mult-ip-in-header",
    "rfc5118/wire/mult-ip-in-sdp",
    "rfc5118/wire/ipv4-mapped-ipv6",
    "rfc5118/wire/ipv6-bug-abnf-3-colons",
    "rfc5118/wire/ipv6-correct-abnf-2-colons",
];

const PLAIN: &str = "INVITE sip:bot@voice.example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.60:5060;branch=z9hG4bK1;rport\r\n\
    Max-Forwards: 70\r\n\
    From: \"Alice\" <sip:alice@example.com>;tag=a1\r\n\
    To: <sip:bot@voice.example.com>\r\n\
    Call-ID: c1@192.0.2.60\r\n\
    CSeq: 29044 INVITE\r\n\
    Contact: <sip:alice@192.0.2.60:5060>\r\n\
    X-Session-Key: k-42\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 5\r\n\
    \r\n\
    hello";

fn stored(name: &str) -> Bytes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/data")
        .join(name);
    Bytes::from(std::fs::read(path).expect("the message is in the repository"))
}

fn request(octets: &Bytes) -> Request {
    match Message::parse(octets) {
        Ok(Message::Request(request)) => request,
        other => panic!("no request: {other:?}"),
    }
}

/// White space inside a value means nothing, and folding leaves different amounts of it.
fn squeezed(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_plain_invite_is_the_same_to_both() {
    let ours = request(&Bytes::from_static(PLAIN.as_bytes()));
    let theirs = rsip::Request::try_from(PLAIN.as_bytes()).expect("rsip reads a plain INVITE");
    let headers = ours.headers();

    assert_eq!(theirs.method().to_string(), ours.method().as_str());
    assert_eq!(theirs.uri().to_string(), ours.uri());
    assert_eq!(theirs.body().as_slice(), ours.body().as_ref());

    let call_id = theirs.call_id_header().expect("Call-ID").value().to_owned();
    assert_eq!(Ok(call_id.as_str()), headers.call_id());
    let cseq = theirs.cseq_header().expect("CSeq").typed().expect("CSeq");
    assert_eq!(headers.cseq().expect("CSeq").number, cseq.seq);
    let from = theirs.from_header().expect("From").typed().expect("From");
    let our_from = headers.from().expect("From");
    assert_eq!(from.uri.to_string(), our_from.uri);
    assert_eq!(from.tag().map(rsip::param::Tag::value), our_from.tag());
    let via = theirs.via_header().expect("Via").typed().expect("Via");
    let our_via = headers.via().expect("Via");
    assert_eq!(
        via.branch().map(rsip::param::Branch::value),
        our_via.branch()
    );
    assert_eq!(
        via.uri.host_with_port.to_string(),
        format!("{}:5060", our_via.host)
    );
}

#[test]
fn wherever_rsip_reads_a_corpus_message_both_see_the_same_fields() {
    let mut agreed = 0;
    for name in CORPUS {
        let octets = stored(name);
        let Ok(ours) = Message::parse(&octets) else {
            panic!("{name}: valid, so it is read");
        };
        let Ok(theirs) = rsip::SipMessage::try_from(octets.as_ref()) else {
            continue; // compact and folded fields, unknown methods, IPv6: what it cannot read is no oracle
        };
        let fields: Vec<_> = ours
            .headers()
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), squeezed(value)))
            .collect();
        let seen: Vec<_> = theirs
            .headers()
            .iter()
            .map(|header| {
                let text = header.to_string();
                let (name, value) = text.split_once(':').expect("a header has a colon");
                (name.to_ascii_lowercase(), squeezed(value))
            })
            .collect();
        assert_eq!(seen, fields, "{name}");
        assert!(theirs.body().starts_with(ours.body()), "{name}");
        agreed += 1;
    }
    assert!(agreed >= 6, "{agreed} messages compared");
}

#[test]
fn ours_reads_every_valid_message() {
    for name in CORPUS {
        let message =
            Message::parse(&stored(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(message.validate(), Ok(()), "{name}");
    }
}

/// Why rsip is the oracle and not the parser: the history key travels as a URI header.
#[test]
fn rsip_loses_the_headers_of_a_uri_and_ours_keeps_them() {
    let text = "sip:x@h;transport=tls?X-Session-Key=k-42";
    let theirs = rsip::Uri::try_from(text).expect("rsip reads it");
    assert!(
        !theirs.to_string().contains("X-Session-Key"),
        "the key is gone: {theirs}"
    );

    let ours = Uri::parse(text).expect("a URI");
    assert_eq!(ours.header("X-Session-Key").as_deref(), Some("k-42"));
    assert_eq!(ours.to_string(), text);
}

/// Without a parameter before it, rsip takes the key for part of the host.
#[test]
fn rsip_takes_the_headers_of_a_uri_for_its_host_and_ours_does_not() {
    let text = "sip:x@h.example?X-Session-Key=k-42";
    let theirs = rsip::Uri::try_from(text).map(|uri| uri.host().to_string());
    assert_ne!(theirs.ok().as_deref(), Some("h.example"));

    let ours = Uri::parse(text).expect("a URI");
    assert_eq!(ours.host(), "h.example");
    assert_eq!(ours.header("X-Session-Key").as_deref(), Some("k-42"));
}

#[test]
fn what_we_write_rsip_reads() {
    let built = Request::builder("OPTIONS".into(), "sip:h.example.com")
        .header(Name::Via, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1")
        .header(Name::From, "<sip:a@b>;tag=1")
        .header(Name::To, "<sip:h.example.com>")
        .header(Name::CallId, "c1")
        .header(Name::CSeq, "1 OPTIONS")
        .header("X-Session-Key", "k-42")
        .body("text/plain", Bytes::from_static(b"hello"))
        .build()
        .expect("nothing in it can break");
    let theirs = rsip::Request::try_from(built.to_bytes().as_ref()).expect("rsip reads it");
    assert_eq!(theirs.body().as_slice(), b"hello");
    assert_eq!(theirs.headers().iter().count(), built.headers().len());
}
