//! Reading takes time in proportion to the octets read, whatever they are: four times as many take about four times as
//! long, where a reader that looks twice at each would take sixteen.

#![expect(clippy::disallowed_methods, reason = "a test of time reads a clock")]

use baton_core::sdp::Offer;
use baton_core::sip::message::{Framer, Message, Name, Params, Uri, Via, limits};
use bytes::Bytes;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Half way between linear (4) and quadratic (16), and a share for what does not grow.
const GROWTH: u32 = 9;

/// The shortest of some runs: what the work takes when nobody else is in its way.
fn cost(work: &mut dyn FnMut()) -> Duration {
    let mut run = || {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..9).map(|_| run()).min().unwrap_or_default()
}

/// Everything that anybody asks of a message.
fn read_all(wire: &Bytes) {
    let Ok(message) = Message::parse(wire) else {
        return;
    };
    let headers = message.headers();
    let _ = black_box(message.validate());
    for name in [
        Name::Via,
        Name::Route,
        Name::Contact,
        Name::Require,
        Name::Allow,
    ] {
        black_box(headers.values(name).count());
    }
    for via in headers.values(Name::Via) {
        black_box(Via::parse(via).map(|via| (via.branch(), via.received_ip(), via.rport())));
    }
    for name in [Name::From, Name::To, Name::Contact, Name::ReferTo] {
        if let Ok(address) = headers.name_addr(name) {
            let uri = Uri::parse(address.uri);
            black_box(uri.map(|uri| {
                (
                    uri.to_string(),
                    uri.user().is_some(),
                    uri.header("x").is_some(),
                )
            }))
            .ok();
            black_box((address.display_name(), address.tag(), address.param("x")));
        }
    }
    for (_, value) in headers.iter() {
        black_box(Params::of(value).count("tag"));
    }
    black_box(headers.named("X-Not-There"));
    black_box((
        headers.cseq().ok(),
        headers.call_id().ok(),
        headers.content_type(),
    ));
}

fn message(lines: &str) -> Bytes {
    Bytes::from(format!(
        "INVITE sip:bot@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{lines}\r\n"
    ))
}

/// A header field of about that many octets of one piece.
fn field(name: &str, piece: &str, octets: usize) -> Bytes {
    message(&format!(
        "{name}: {}\r\n",
        piece.repeat(octets / piece.len())
    ))
}

fn grows_linearly(what: &str, build: &dyn Fn(usize) -> Bytes, read: &dyn Fn(&Bytes), small: usize) {
    let (few, many) = (build(small), build(small * 4));
    assert!(many.len() > few.len() * 3, "{what}: four times the octets");
    let mut seen = Vec::new();
    // A busy machine may spoil a comparison, but not each of some: twice the work is there every time.
    for _ in 0..5 {
        let small = cost(&mut || read(&few));
        let large = cost(&mut || read(&many));
        if large <= small * GROWTH + Duration::from_micros(100) {
            return;
        }
        seen.push((small, large));
    }
    panic!("{what}: more than linear: {seen:?}");
}

#[test]
fn one_field_of_hostile_structure_is_read_in_linear_time() {
    let largest = limits::HEADER - 64;
    for piece in [
        ",",
        ";",
        "\"",
        "\"\"",
        "\\",
        "\"\\",
        "<",
        ">",
        "<>",
        "(",
        "()",
        ":",
        "@",
        "?",
        "&",
        "=",
        "%",
        "%41",
        "%4",
        "[",
        "]",
        "[:",
        " ",
        "\t",
        "a",
        "\u{e9}",
        ";tag=1",
        ";a=\"b\"",
        "\"a\" <sip:a@h>,",
        "<sip:a@h>;x=1, ",
        "sip:a@h;",
        "sip:",
        "SIP/2.0/UDP h;branch=1,",
        "/",
        "SIP/",
        "\r\n ",
        "\r\n\t\r",
        "a\r\n ",
        ";;a",
        "\\\"",
        ",\"",
        "\",",
        "\0",
        "1",
    ] {
        for name in [
            "From",
            "Contact",
            "Via",
            "User-Agent",
            "CSeq",
            "Content-Type",
        ] {
            let build = |octets| field(name, piece, octets);
            grows_linearly(
                &format!("{name} of {piece:?}"),
                &build,
                &read_all,
                largest / 4,
            );
        }
    }
}

#[test]
fn many_fields_are_read_in_linear_time() {
    let lines =
        |line: &'static str| move |octets: usize| message(&line.repeat(octets / line.len()));
    for line in [
        "Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n",
        "Route: <sip:a@h;lr>, <sip:b@h;lr>\r\n",
        "X: 1\r\n",
        "Content-Length: 0\r\n",
        "From: <sip:a@h>;tag=1\r\n",
        "no header\r\n",
        ":\r\n",
        "X: \r\r\r\r\r\r\r\r\r\r\r\r\n",
        "X: a\r\n b\r\n c\r\n d\r\n",
    ] {
        grows_linearly(line, &lines(line), &read_all, 12_000);
    }
    let noise = |octets: usize| {
        let head = message("X: 1\r\n");
        let noise = [0xff, b'a', 0xc3, 0x28].repeat(octets / 4);
        let end = head.len() - 2;
        Bytes::from([&head[..end], b"X-Y: ", &noise, b"\r\n\r\n"].concat())
    };
    grows_linearly("no text", &noise, &read_all, 12_000);
}

#[test]
fn a_request_uri_is_read_in_linear_time() {
    for piece in [
        "a", "%41", ";a=b", "?a=b&", "&a=b", "@", ":", "[", "]", "=", ";", "%",
    ] {
        let build = |octets: usize| {
            let tail = piece.repeat(octets / piece.len());
            Bytes::from(format!("sip:a@h{tail}"))
        };
        let read = |text: &Bytes| {
            let text = std::str::from_utf8(text).unwrap_or_default();
            let uri = Uri::parse(text);
            black_box(uri.map(|uri| {
                (
                    uri.to_string(),
                    uri.param("zz").is_some(),
                    uri.header("zz").is_some(),
                )
            }))
            .ok();
        };
        grows_linearly(&format!("URI of {piece:?}"), &build, &read, 1_000);
    }
}

#[test]
fn a_stream_is_cut_in_linear_time_however_small_its_pieces() {
    let build = |octets: usize| {
        Bytes::from(format!(
            "OPTIONS sip:h SIP/2.0\r\n{}l: 0\r\n\r\n",
            "X: yyyy\r\n".repeat(octets / 9)
        ))
    };
    let read = |wire: &Bytes| {
        let mut framer = Framer::new();
        for piece in wire.chunks(3) {
            framer.push(piece);
            black_box(framer.poll_message());
        }
    };
    grows_linearly("a slow head", &build, &read, 12_000);
    let pings = |octets: usize| Bytes::from("\r\n".repeat(octets / 2));
    grows_linearly("pings", &pings, &read, 12_000);
}

#[test]
fn a_session_description_is_read_in_linear_time() {
    for line in [
        "a=rtpmap:0 PCMU/8000\r\n",
        "m=audio 4000 RTP/AVP 0\r\n",
        "a=;;;;;;;;;;;;;;;;;;;;;\r\n",
        "a=fmtp:0 x\r\n",
    ] {
        let build = |octets: usize| {
            let head = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
            Bytes::from(format!("{head}{}", line.repeat(octets / line.len())))
        };
        let read = |body: &Bytes| {
            black_box(Offer::parse(body)).ok();
        };
        grows_linearly(line, &build, &read, 4_000);
    }
}
