//! What a message body is to us: a session description, or several things of which one may be (RFC 2046 §5.1, RFC 5621).
//!
//! SIP-I gateways put ISUP beside the SDP, recorders metadata, emergency callers a location: `multipart/mixed`. The
//! first part that is SDP is taken, however deep it lies; what lies beside it is left alone, unless it says in so many
//! words that it must be understood.
//!
//! Reading is linear in the body and bounded in parts and depth. Parts are slices of the message, nothing is copied.

use std::ops::Range;

use bytes::Bytes;

use super::lex::{find_line_feed, trim};
use super::{Headers, Name, Params};

/// The media type of a session description.
pub const SDP: &str = "application/sdp";
/// Multiparts within multiparts.
const DEPTH: usize = 3;
/// Parts of one multipart.
const PARTS: usize = 16;
/// RFC 2046 §5.1.1: a boundary is 1 to 70 characters long.
const BOUNDARY: usize = 70;
/// Lines before the body of one part.
const PART_HEADERS: usize = 32;

/// Why a body cannot be acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyFault {
    /// 415 with Accept.
    #[error("a body of a type we do not read")]
    MediaType,
    /// 415 with Accept-Encoding.
    #[error("a body in an encoding we do not undo")]
    Encoding,
    /// 400.
    #[error("a multipart body that is not one")]
    Multipart,
}

/// The session description a message carries; empty when it carries none and need not.
///
/// # Errors
/// There is a body that must be understood, and is not.
pub fn session_description(headers: &Headers, body: &Bytes) -> Result<Bytes, BodyFault> {
    if body.is_empty() {
        return Ok(Bytes::new());
    }
    let encodings: Vec<&str> = headers.values(Name::ContentEncoding).collect();
    let part = Part {
        content_type: headers.get(Name::ContentType).unwrap_or_default(),
        disposition: headers.get(Name::ContentDisposition).unwrap_or_default(),
        is_encoded: encodings.iter().any(|coding| !is_identity(coding)),
        octets: 0..body.len(),
    };
    let found = part.read(body, 0)?;
    Ok(found.map_or_else(Bytes::new, |range| body.slice(range)))
}

/// The session description of a message that is acted on whatever else it carries: a response, an ACK.
pub fn any_session_description(headers: &Headers, body: &Bytes) -> Bytes {
    session_description(headers, body).unwrap_or_default()
}

fn is_identity(coding: &str) -> bool {
    ["identity", "7bit", "8bit", "binary", ""]
        .iter()
        .any(|known| coding.eq_ignore_ascii_case(known))
}

/// A body, or one part of a multipart one.
#[derive(Debug)]
struct Part<'a> {
    content_type: &'a str,
    disposition: &'a str,
    is_encoded: bool,
    octets: Range<usize>,
}

impl<'a> Part<'a> {
    /// Where the session description in it lies.
    fn read(&self, body: &[u8], depth: usize) -> Result<Option<Range<usize>>, BodyFault> {
        let fault = match self.kind() {
            _ if self.is_encoded => BodyFault::Encoding,
            Kind::Sdp => return Ok(Some(self.octets.clone())),
            Kind::Multipart if depth < DEPTH => match self.read_parts(body, depth) {
                Ok(found) => return Ok(found),
                Err(fault) => fault,
            },
            Kind::Multipart | Kind::Other => BodyFault::MediaType,
        };
        if self.handling() == Some(false) {
            Ok(None)
        } else {
            Err(fault)
        }
    }

    fn read_parts(&self, body: &[u8], depth: usize) -> Result<Option<Range<usize>>, BodyFault> {
        let boundary = Params::of(self.content_type)
            .unquoted("boundary")
            .filter(|boundary| (1..=BOUNDARY).contains(&boundary.len()))
            .ok_or(BodyFault::Multipart)?;
        let parts = split(body, self.octets.clone(), boundary.as_bytes())?;
        let (mut found, mut fault) = (None, None);
        for octets in parts {
            let part = Part::of(body, octets)?;
            match part.read(body, depth + 1) {
                Ok(Some(range)) => found = found.or(Some(range)),
                Ok(None) => {}
                Err(new) if part.handling() == Some(true) => return Err(new),
                Err(new) => fault = Some(new),
            }
        }
        // RFC 5621 would have every part understood that does not say otherwise; those who add parts do not know it.
        match (found, fault) {
            (None, Some(fault)) => Err(fault),
            (found, _) => Ok(found),
        }
    }

    /// Reads the header of a part.
    fn of(body: &'a [u8], octets: Range<usize>) -> Result<Self, BodyFault> {
        let mut part = Part {
            content_type: "text/plain", // RFC 2046 §5.1: what a part without a type is
            disposition: "",
            is_encoded: false,
            octets: octets.clone(),
        };
        let mut at = octets.start;
        for _ in 0..PART_HEADERS {
            let end = line_end(body, at, octets.end);
            let line =
                std::str::from_utf8(&body[at..end.text]).map_err(|_| BodyFault::Multipart)?;
            at = end.next;
            if line.is_empty() {
                part.octets = at..octets.end;
                return Ok(part);
            }
            if let Some((name, value)) = line.split_once(':') {
                part.note(trim(name), trim(value));
            }
            if at == octets.end {
                part.octets = at..at;
                return Ok(part); // a header and nothing under it
            }
        }
        Err(BodyFault::Multipart)
    }

    fn note(&mut self, name: &str, value: &'a str) {
        let encoding = "Content-Transfer-Encoding";
        match Name::new(name) {
            Some(Name::ContentType) => self.content_type = value,
            Some(Name::ContentDisposition) => self.disposition = value,
            Some(Name::ContentEncoding) => self.is_encoded |= !is_identity(value),
            _ if name.eq_ignore_ascii_case(encoding) => self.is_encoded |= !is_identity(value),
            _ => {}
        }
    }

    fn kind(&self) -> Kind {
        let media = trim(self.content_type.split(';').next().unwrap_or_default());
        let multipart = media
            .get(..10)
            .is_some_and(|start| start.eq_ignore_ascii_case("multipart/"));
        if multipart {
            Kind::Multipart
        } else if media.eq_ignore_ascii_case(SDP) && !self.is_early_session() {
            Kind::Sdp
        } else {
            Kind::Other
        }
    }

    /// RFC 3959: a description of other media than the session's.
    fn is_early_session(&self) -> bool {
        let disposition = self.disposition.split(';').next().unwrap_or_default();
        trim(disposition).eq_ignore_ascii_case("early-session")
    }

    /// What it says about being understood: `true` it must be, `false` it need not.
    fn handling(&self) -> Option<bool> {
        let handling = Params::of(self.disposition).unquoted("handling")?;
        Some(!handling.eq_ignore_ascii_case("optional"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sdp,
    Multipart,
    Other,
}

/// Where a line ends and the next begins.
struct LineEnd {
    text: usize,
    next: usize,
}

fn line_end(body: &[u8], from: usize, end: usize) -> LineEnd {
    match find_line_feed(&body[..end], from) {
        Some(feed) => LineEnd {
            text: if feed > from && body[feed - 1] == b'\r' {
                feed - 1
            } else {
                feed
            },
            next: feed + 1,
        },
        None => LineEnd {
            text: end,
            next: end,
        },
    }
}

/// The parts between the delimiter lines. What stands before the first and after the last is no part; a missing last
/// delimiter is forgiven, because Content-Length says where the body ends.
fn split(
    body: &[u8],
    octets: Range<usize>,
    boundary: &[u8],
) -> Result<Vec<Range<usize>>, BodyFault> {
    let (mut parts, mut begun) = (Vec::new(), None);
    // Where the part would end if the next line were a delimiter: its line end belongs to the delimiter.
    let (mut at, mut last) = (octets.start, octets.start);
    while at < octets.end {
        let line = line_end(body, at, octets.end);
        let delimiter = delimiter(&body[at..line.text], boundary);
        if delimiter != Delimiter::None {
            if let Some(start) = begun.take() {
                parts.push(start..last.max(start));
            }
            if delimiter == Delimiter::Last {
                break;
            }
            if parts.len() == PARTS {
                return Err(BodyFault::Multipart);
            }
            begun = Some(line.next);
        }
        (at, last) = (line.next, line.text);
    }
    if let Some(start) = begun {
        parts.push(start..octets.end.max(start));
    }
    if parts.is_empty() {
        return Err(BodyFault::Multipart);
    }
    Ok(parts)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delimiter {
    None,
    Next,
    Last,
}

fn delimiter(line: &[u8], boundary: &[u8]) -> Delimiter {
    let Some(rest) = line
        .strip_prefix(b"--")
        .and_then(|line| line.strip_prefix(boundary))
    else {
        return Delimiter::None;
    };
    match rest.trim_ascii() {
        b"" => Delimiter::Next,
        b"--" => Delimiter::Last,
        _ => Delimiter::None, // a longer boundary that begins with this one
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Message;

    fn read(headers: &str, body: &str) -> Result<String, BodyFault> {
        let body = body.replace('\n', "\r\n");
        let headers = headers.replace('\n', "\r\n");
        let text = format!(
            "INVITE sip:a@h SIP/2.0\r\n{headers}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let message = Message::parse(&Bytes::from(text)).unwrap();
        let Message::Request(request) = message else {
            unreachable!("it was written as a request");
        };
        session_description(request.headers(), request.body())
            .map(|sdp| String::from_utf8(sdp.to_vec()).unwrap())
    }

    const MIXED: &str = "Content-Type: multipart/mixed;boundary=\"b 1\"";
    const SIP_I: &str = "preamble
--b 1
Content-Type: application/ISUP;version=itu-t92+
Content-Disposition: signal;handling=optional

\u{1}\u{2}binary
--b 1  \nContent-Type: Application/SDP

v=0
s=-

--b 1--
epilogue";

    #[test]
    fn a_plain_body_is_the_description_or_a_fault() {
        assert_eq!(
            read("Content-Type: application/sdp; x=y", "v=0"),
            Ok("v=0".into())
        );
        assert_eq!(read("X: y", ""), Ok(String::new()));
        assert_eq!(
            read("Content-Type: text/plain", "hi"),
            Err(BodyFault::MediaType)
        );
        assert_eq!(read("X: y", "v=0"), Err(BodyFault::MediaType));
        let optional = "Content-Type: text/plain\nContent-Disposition: render;handling=optional";
        assert_eq!(read(optional, "hi"), Ok(String::new()));
        let packed = "Content-Type: application/sdp\nContent-Encoding: gzip";
        assert_eq!(read(packed, "v=0"), Err(BodyFault::Encoding));
        let early = "Content-Type: application/sdp\nContent-Disposition: early-session";
        assert_eq!(read(early, "v=0"), Err(BodyFault::MediaType));
    }

    #[test]
    fn the_description_is_found_among_other_parts() {
        assert_eq!(read(MIXED, SIP_I), Ok("v=0\r\ns=-\r\n".into()));
        let unfinished = SIP_I.split("\n--b 1--").next().unwrap();
        assert_eq!(read(MIXED, unfinished), Ok("v=0\r\ns=-\r\n".into()));
    }

    #[test]
    fn a_part_that_must_be_understood_is_a_fault_and_one_that_says_nothing_is_not() {
        let required = SIP_I.replace("handling=optional", "handling=REQUIRED");
        assert_eq!(read(MIXED, &required), Err(BodyFault::MediaType));
        let silent = SIP_I.replace(";handling=optional", "");
        assert_eq!(read(MIXED, &silent), Ok("v=0\r\ns=-\r\n".into()));
    }

    #[test]
    fn without_a_description_it_depends_on_what_is_there() {
        let isup = "--b 1\nContent-Type: application/isup\n\nx\n--b 1--";
        assert_eq!(read(MIXED, isup), Err(BodyFault::MediaType));
        let optional = "--b 1\nContent-Type: application/isup\n\
             Content-Disposition: signal;handling=optional\n\nx\n--b 1--";
        assert_eq!(read(MIXED, optional), Ok(String::new()));
        assert_eq!(
            read(MIXED, "--b 1\n\nplain text\n--b 1--"),
            Err(BodyFault::MediaType)
        );
    }

    #[test]
    fn multiparts_nest_and_there_is_an_end_to_it() {
        let wrap = |inner: &str, n: usize| {
            format!(
                "--b{n}\nContent-Type: multipart/mixed;boundary=b{}\n\n{inner}\n--b{n}--",
                n + 1
            )
        };
        let sdp = |n: usize| format!("--b{n}\nContent-Type: application/sdp\n\nv=0\n--b{n}--");
        let headers = "Content-Type: multipart/mixed;boundary=b1";
        assert_eq!(read(headers, &wrap(&wrap(&sdp(3), 2), 1)), Ok("v=0".into()));
        let deep = wrap(&wrap(&wrap(&sdp(4), 3), 2), 1);
        assert_eq!(read(headers, &deep), Err(BodyFault::MediaType));
    }

    #[test]
    fn what_is_no_multipart_is_a_fault() {
        for (headers, body) in [
            ("Content-Type: multipart/mixed", "--b\n\nx"),
            ("Content-Type: multipart/mixed;boundary=\"\"", "--\n\nx"),
            (MIXED, "no delimiter anywhere"),
            (MIXED, "--b 1--"),
            (MIXED, "--b 12\n\nx"),
        ] {
            assert_eq!(
                read(headers, body),
                Err(BodyFault::Multipart),
                "{headers} {body}"
            );
        }
        let long = format!("Content-Type: multipart/mixed;boundary={}", "b".repeat(71));
        assert_eq!(read(&long, "x"), Err(BodyFault::Multipart));
        let many = "--b 1\n\nx\n".repeat(PARTS + 1);
        assert_eq!(read(MIXED, &many), Err(BodyFault::Multipart));
        let heads = format!("--b 1\n{}\nx", "X: y\n".repeat(PART_HEADERS));
        assert_eq!(read(MIXED, &heads), Err(BodyFault::Multipart));
    }

    #[test]
    fn encoded_parts_are_not_read() {
        let base64 = "--b 1\nContent-Type: application/sdp\nContent-Transfer-Encoding: base64\n\ndj0w\n--b 1--";
        assert_eq!(read(MIXED, base64), Err(BodyFault::Encoding));
        let plain = base64.replace("base64", "8bit");
        assert_eq!(read(MIXED, &plain), Ok("dj0w".into()));
    }

    #[test]
    fn no_octets_make_it_panic() {
        let mut dice = crate::vocab::Entropy::from_number(7);
        let seed = SIP_I.replace('\n', "\r\n").into_bytes();
        for _ in 0..20_000 {
            let mut body = seed.clone();
            for _ in 0..=dice.below(8) {
                let at = usize::try_from(dice.below(body.len() as u64)).unwrap();
                match dice.below(3) {
                    0 => body[at] = dice.next_u32().to_le_bytes()[0],
                    1 => body.truncate(at.max(1)),
                    _ => body.insert(at, b"-\r\n: 1b"[usize::try_from(dice.below(7)).unwrap()]),
                }
            }
            let part = Part {
                content_type: "multipart/mixed;boundary=\"b 1\"",
                disposition: "",
                is_encoded: false,
                octets: 0..body.len(),
            };
            if let Ok(Some(found)) = part.read(&body, 0) {
                assert!(found.start <= found.end && found.end <= body.len());
            }
        }
    }
}
