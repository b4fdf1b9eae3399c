//! What every message must have before anyone acts on it (RFC 3261 §8.1.1, §8.2, §16.3 step 1).

use super::error::{Fault, ParseError};
use super::headers::Headers;
use super::method::Method;
use super::name::Name;
use super::uri::Uri;
use super::via::Via;

/// Fields of which a message has exactly one.
const ONCE: [Name; 4] = [Name::From, Name::To, Name::CallId, Name::CSeq];

/// Fields of which a message has at most one, and which we act on.
const AT_MOST_ONCE: [Name; 5] = [
    Name::MaxForwards,
    Name::ContentType,
    Name::Event,
    Name::ReferTo,
    Name::SubscriptionState,
];

/// Checks a request: what is wrong is what it is answered with.
pub(super) fn request(method: &Method, uri: &str, headers: &Headers) -> Result<(), Fault> {
    Uri::check(uri).map_err(|_| Fault::RequestUri)?;
    let cseq = common(headers)?;
    if cseq != *method {
        return Err(Fault::Method);
    }
    Ok(())
}

/// Checks a response: one with a fault is dropped.
pub(super) fn response(headers: &Headers) -> Result<(), Fault> {
    common(headers).map(drop)
}

fn common(headers: &Headers) -> Result<Method, Fault> {
    if headers.get(Name::Via).is_none() {
        return Err(Fault::Missing(Name::Via));
    }
    if !headers
        .values(Name::Via)
        .all(|via| Via::parse(via).is_some())
    {
        return Err(Fault::Malformed(Name::Via));
    }
    let counts = headers.counts();
    for name in ONCE {
        match counts[name as usize] {
            0 => return Err(Fault::Missing(name)),
            1 => {}
            _ => return Err(Fault::Multiple(name)),
        }
    }
    for name in AT_MOST_ONCE {
        if counts[name as usize] > 1 {
            return Err(Fault::Multiple(name));
        }
    }
    headers.from().map_err(fault)?;
    headers.to().map_err(fault)?;
    headers.call_id().map_err(fault)?;
    headers.max_forwards().map_err(fault)?;
    Ok(headers.cseq().map_err(fault)?.method)
}

fn fault(error: ParseError) -> Fault {
    match error {
        ParseError::Missing(name) => Fault::Missing(name),
        ParseError::Malformed(name) => Fault::Malformed(name),
        ParseError::Empty | ParseError::TooLarge | ParseError::NotSip | ParseError::Status => {
            Fault::StartLine
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Message;
    use bytes::Bytes;

    const GOOD: &str = "INVITE sip:bot@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
        From: <sip:a@b>;tag=1\r\nTo: <sip:bot@h>\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n\r\n";

    fn check(text: &str) -> Result<(), Fault> {
        Message::parse(&Bytes::copy_from_slice(text.as_bytes()))
            .unwrap()
            .validate()
    }

    fn with(from: &str, to: &str) -> Result<(), Fault> {
        assert!(GOOD.contains(from), "{from}");
        check(&GOOD.replace(from, to))
    }

    #[test]
    fn a_plain_invite_is_fit() {
        assert_eq!(check(GOOD), Ok(()));
    }

    #[test]
    fn each_mandatory_field_is_missed() {
        for (line, name) in [
            ("Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n", Name::Via),
            ("From: <sip:a@b>;tag=1\r\n", Name::From),
            ("To: <sip:bot@h>\r\n", Name::To),
            ("Call-ID: c1\r\n", Name::CallId),
            ("CSeq: 1 INVITE\r\n", Name::CSeq),
        ] {
            assert_eq!(with(line, ""), Err(Fault::Missing(name)));
            if name != Name::Via {
                assert_eq!(with(line, &line.repeat(2)), Err(Fault::Multiple(name)));
            }
        }
    }

    #[test]
    fn max_forwards_may_be_absent_but_not_out_of_range() {
        assert_eq!(with("Max-Forwards: 70\r\n", ""), Ok(()));
        for bad in ["256", "-1", "+1", "x", "99999999999"] {
            let line = format!("Max-Forwards: {bad}");
            assert_eq!(
                with("Max-Forwards: 70", &line),
                Err(Fault::Malformed(Name::MaxForwards)),
                "{bad}"
            );
        }
        assert_eq!(with("Max-Forwards: 70", "Max-Forwards: 0"), Ok(()));
    }

    #[test]
    fn cseq_names_the_method_and_stays_below_2_to_the_31() {
        assert_eq!(with("1 INVITE", "1 BYE"), Err(Fault::Method));
        assert_eq!(with("1 INVITE", "1 invite"), Err(Fault::Method));
        assert_eq!(with("1 INVITE", "2147483647 INVITE"), Ok(()));
        for bad in [
            "2147483648 INVITE",
            "36893488147419103232 INVITE",
            "1",
            "INVITE",
            "-1 INVITE",
            "+1 INVITE",
            "1 INV ITE",
            "",
        ] {
            assert_eq!(
                with("1 INVITE", bad),
                Err(Fault::Malformed(Name::CSeq)),
                "{bad}"
            );
        }
    }

    #[test]
    fn addresses_that_could_be_read_two_ways_are_refused() {
        for bad in [
            "<sip:a@b>, <sip:c@d>;tag=1",
            "\"open <sip:a@b>",
            "<sip:a@b>;tag=1;tag=2",
            "x",
        ] {
            assert_eq!(
                with("<sip:a@b>;tag=1", bad),
                Err(Fault::Malformed(Name::From)),
                "{bad}"
            );
        }
    }

    #[test]
    fn every_via_must_be_one() {
        assert_eq!(
            with("branch=z9hG4bK1", "branch=z9hG4bK1, ;"),
            Err(Fault::Malformed(Name::Via))
        );
    }

    #[test]
    fn a_request_uri_that_is_none_is_refused() {
        assert_eq!(
            with("INVITE sip:bot@h", "INVITE <sip:bot@h>"),
            Err(Fault::RequestUri)
        );
        assert_eq!(
            with("INVITE sip:bot@h", "INVITE sip:2001:db8::10"),
            Err(Fault::RequestUri)
        );
        assert_eq!(with("INVITE sip:bot@h", "INVITE nobody:knows"), Ok(()));
    }

    #[test]
    fn a_call_id_is_one_word() {
        assert_eq!(
            with("Call-ID: c1", "Call-ID: c1 c2"),
            Err(Fault::Malformed(Name::CallId))
        );
        assert_eq!(
            with("Call-ID: c1", "Call-ID:"),
            Err(Fault::Malformed(Name::CallId))
        );
    }

    #[test]
    fn a_response_is_held_to_the_same_fields() {
        let response = GOOD.replace("INVITE sip:bot@h SIP/2.0", "SIP/2.0 200 OK");
        assert_eq!(check(&response), Ok(()));
        assert_eq!(
            check(&response.replace("CSeq: 1", "CSeq: 9999999999")),
            Err(Fault::Malformed(Name::CSeq))
        );
    }

    #[test]
    fn a_fault_knows_its_answer() {
        assert_eq!(
            check(&GOOD.replace("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"))
                .unwrap_err()
                .status(),
            505
        );
        let fault = Fault::Malformed(Name::CallId);
        assert_eq!(
            (fault.status(), fault.reason().as_str()),
            (400, "Malformed Call-ID")
        );
        assert_eq!(Fault::StartLineTooLong.status(), 414);
        assert_eq!(Fault::TooManyHeaders.status(), 513);
    }
}
