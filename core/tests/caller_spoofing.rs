//! Who calls is what From's URI says, and nothing else that a caller can write: not a display name, not a quoted
//! parameter, not a second address, not a header that only a trusted network may set.

use baton_core::sip::endpoint::{Config, Endpoint, Event, Flow, Invited, Transport};
use baton_core::vocab::Entropy;
use bytes::Bytes;
use std::time::Instant;

/// What an INVITE with this From, and these lines besides, is taken for; the status when it is refused.
#[expect(
    clippy::disallowed_methods,
    reason = "virtual time has to begin somewhere"
)]
fn invite(from: &str, more: &str) -> Result<Invited, u16> {
    let text = format!(
        "INVITE sip:bot@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\nFrom: {from}\r\n\
         To: <sip:bot@10.0.0.2>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContact: <sip:me@10.0.0.1>\r\n{more}\
         Content-Length: 0\r\n\r\n"
    );
    let mut endpoint = Endpoint::new(Config::default(), Entropy::from_number(5));
    let flow = Flow {
        transport: Transport::Udp,
        local: ([10, 0, 0, 2], 5060).into(),
        remote: ([10, 0, 0, 1], 5060).into(),
    };
    endpoint.handle_datagram(Instant::now(), flow, &Bytes::from(text));
    if let Some(Event::Invited(invited)) = endpoint.poll_event() {
        return Ok(*invited);
    }
    let answer = endpoint.poll_transmit().expect("refused with an answer");
    let status = std::str::from_utf8(&answer.payload[8..11]).unwrap_or_default();
    Err(status.parse().unwrap_or(0))
}

#[test]
fn what_is_written_around_the_uri_does_not_name_the_caller() {
    for from in [
        r#""sip:victim@h" <sip:me@h>;tag=1"#,
        r#""<sip:victim@h>;tag=2" <sip:me@h>;tag=1"#,
        r#""victim\" <sip:victim@h>" <sip:me@h>;tag=1"#,
        r#""victim\\" <sip:me@h>;tag=1"#,
        r#"<sip:me@h>;x="<sip:victim@h>;tag=2";tag=1"#,
        r#"<sip:me@h>;x="\";tag=2;y=\"";tag=1"#,
        r#"sip:me@h;x="<sip:victim@h>";tag=1"#,
        "sip:me@h;x=victim@h;tag=1",
        "<sip:me@h?From=sip:victim@h>;tag=1",
        "<sip:me@h;user=victim>;tag=1",
        "<sip:me:victim@h>;tag=1",
        "victim <sip:me@h>;tag=1",
        r#""a, <sip:victim@h>" <sip:me@h>;tag=1"#,
        "\"\u{202e}mitciv:pis\" <sip:me@h>;tag=1",
        "\"vic\0tim\" <sip:me@h>;tag=1",
    ] {
        let invited = invite(from, "").unwrap_or_else(|status| panic!("{from}: {status}"));
        assert_eq!(invited.caller, "me", "{from}");
    }
}

#[test]
fn a_from_that_can_be_read_two_ways_is_refused() {
    for from in [
        "<sip:victim@h>, <sip:me@h>;tag=1",
        "<sip:victim@h>;tag=2, <sip:me@h>;tag=1",
        "sip:victim@h, sip:me@h;tag=1",
        "sip:victim@h,sip:me@h;tag=1",
        "<sip:victim@h>;tag=1;tag=2",
        "<sip:victim@h> <sip:me@h>;tag=1",
        "\"open <sip:victim@h>;tag=1",
        "\"a\" b <sip:victim@h>;tag=1",
        "victim, me <sip:me@h>;tag=1",
        "sip:victim@h <sip:me@h>;tag=1",
        "<sip:victim@h\0@x>;tag=1",
        "<sip:vic tim@h>;tag=1",
        "<<sip:victim@h>>;tag=1",
        "<sip:me@h>x;tag=1",
        "<sip:victim@h>;tag=1\r\nFrom: <sip:me@h>;tag=1",
        "<sip:victim@h>;tag=1\r\nf: <sip:me@h>;tag=1",
    ] {
        assert_eq!(
            invite(from, "").map(|invited| invited.caller),
            Err(400),
            "{from}"
        );
    }
}

#[test]
fn nobody_is_somebody_else_by_a_header_that_only_a_network_may_set() {
    for line in [
        "P-Asserted-Identity: <sip:victim@h>\r\n",
        "P-Asserted-Identity: \"V\" <sip:victim@h>, <tel:+15551230000>\r\n",
        "P-Preferred-Identity: <sip:victim@h>\r\n",
        "Remote-Party-ID: <sip:victim@h>;party=calling;screen=yes\r\n",
        "Diversion: <sip:victim@h>\r\n",
        "Identity: x\r\nReferred-By: <sip:victim@h>\r\n",
        "Contact: <sip:victim@h>\r\n",
        "Reply-To: <sip:victim@h>\r\n",
    ] {
        let invited = invite("\"Me\" <sip:me@h>;tag=1", line).expect("a call");
        assert_eq!(invited.caller, "me", "{line}");
        assert_eq!(invited.caller_name.as_deref(), Some("Me"), "{line}");
    }
}

#[test]
fn an_encoded_control_stays_encoded() {
    for (user, caller) in [
        ("%6de", "me"),
        ("me%00victim", "me%00victim"),
        ("me%0d%0aX%3a%20y", "me%0d%0aX%3a%20y"),
        ("me%7f", "me%7f"),
        ("me%E2%80%AEmitciv", "me%E2%80%AEmitciv"),
        ("me%2Bvictim", "me+victim"),
        ("me%2541", "me%41"),
        ("J%C3%B6rg", "J\u{f6}rg"),
    ] {
        let invited = invite(&format!("<sip:{user}@h>;tag=1"), "").expect("a call");
        assert_eq!(invited.caller, caller, "{user}");
    }
}

#[test]
fn a_display_name_is_one_readable_line() {
    for (written, shown) in [
        ("\"J\u{f6}rg \u{5927}\"", "J\u{f6}rg \u{5927}"),
        ("\"a\0b\"", "a\u{fffd}b"),
        ("\"a\u{7}\u{1b}[31m\"", "a\u{fffd}\u{fffd}[31m"),
        ("\"\u{202e}mitciv\"", "\u{fffd}mitciv"),
        (
            "\"a\u{2066}b\u{2069}\u{200f}\"",
            "a\u{fffd}b\u{fffd}\u{fffd}",
        ),
        ("\"a\u{2028}b\u{85}\"", "a\u{fffd}b\u{fffd}"),
        ("\"\u{feff}a\"", "\u{fffd}a"),
    ] {
        let invited = invite(&format!("{written} <sip:me@h>;tag=1"), "").expect("a call");
        assert_eq!(invited.caller_name.as_deref(), Some(shown), "{written:?}");
    }
    let long = format!("\"{}\" <sip:me@h>;tag=1", "\u{f6}".repeat(2_000));
    let name = invite(&long, "").expect("a call").caller_name;
    assert_eq!(name.map(|name| name.chars().count()), Some(256));
}
