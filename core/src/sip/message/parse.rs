//! Reads one message in one pass: the start line, a table of header spans, and where the body is.
//!
//! Lenient on purpose. What is wrong but can be answered becomes the message's [`Fault`]; the fields around it
//! are still read, because the answer needs them.

use super::error::{Fault, ParseError};
use super::headers::{Field, Headers, Span};
use super::lex::{count_returns, find_line_feed, is_space, is_token, is_token_octet, trim};
use super::limits;
use super::method::Method;
use super::name::Name;
use super::{Message, Request, Response};
use bytes::Bytes;
use bytestring::ByteString;
use memchr::memchr;

/// Reads a datagram, or a message that was cut out of a stream.
pub(super) fn message(datagram: &Bytes) -> Result<Message, ParseError> {
    if datagram.len() > limits::MESSAGE {
        return Err(ParseError::TooLarge);
    }
    // RFC 3261 §7.5: empty lines before the start line are ignored.
    let start = datagram.iter().position(|b| !matches!(b, b'\r' | b'\n'));
    let wire = datagram.slice(start.ok_or(ParseError::Empty)?..);
    let scan = Scan::run(&wire);
    let head = wire.slice(..scan.head_end);
    let (text, is_wire) = match ByteString::try_from(head) {
        Ok(text) => (text, true),
        Err(_) => (ByteString::from(shown(&wire[..scan.head_end])), false),
    };
    finish(&wire, text, is_wire, scan)
}

/// The same octets as text, each that is no UTF-8 replaced by `_`: spans stay valid, and `_` has no meaning in
/// any header, so damage cannot turn into structure.
pub(super) fn shown(wire: &[u8]) -> String {
    let mut text = String::with_capacity(wire.len());
    for chunk in wire.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '_'));
    }
    text
}

/// What one pass over a message finds.
struct Scan<'a> {
    octets: &'a [u8],
    /// Where the start line ends, without its line end.
    start_line: usize,
    fields: Vec<Field>,
    /// The field the next continuation line belongs to.
    open: Option<usize>,
    folded: bool,
    /// Where the body starts.
    head_end: usize,
    fault: Option<Fault>,
}

impl<'a> Scan<'a> {
    fn run(octets: &'a [u8]) -> Self {
        let mut scan = Self {
            octets,
            start_line: 0,
            fields: Vec::with_capacity(24),
            open: None,
            folded: false,
            head_end: octets.len(),
            fault: None,
        };
        let mut at = scan.first_line();
        let mut returns = usize::from(scan.start_line + 2 == at);
        loop {
            let Some(feed) = find_line_feed(octets, at) else {
                // No empty line: what is left may be half a header, so it is not read.
                scan.fault(Fault::Truncated);
                break;
            };
            let has_return = feed > at && octets[feed - 1] == b'\r';
            returns += usize::from(has_return);
            let end = feed - usize::from(has_return);
            if end == at {
                scan.head_end = feed + 1;
                break;
            }
            scan.line(at, &octets[at..end]);
            at = feed + 1;
        }
        // A carriage return that ends no line is blanked like a fold, lest someone take it for a line end.
        scan.folded |= count_returns(&octets[..scan.head_end]) != returns;
        scan
    }

    fn fault(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// Where the line after it starts.
    fn first_line(&mut self) -> usize {
        let end = find_line_feed(self.octets, 0).unwrap_or(self.octets.len());
        self.start_line = match &self.octets[..end] {
            [line @ .., b'\r'] | line => line.len(),
        };
        if end > limits::START_LINE {
            self.fault(Fault::StartLineTooLong);
        }
        (end + 1).min(self.octets.len())
    }

    fn line(&mut self, at: usize, line: &[u8]) {
        let is_space = |octet: &u8| matches!(octet, b' ' | b'\t');
        if line.first().is_some_and(is_space) {
            return self.continuation(at + line.len());
        }
        self.open = None;
        if line.len() > limits::HEADER {
            return self.fault(Fault::HeaderTooLong);
        }
        if self.fields.len() == limits::HEADERS {
            return self.fault(Fault::TooManyHeaders);
        }
        let Some(colon) = memchr(b':', line) else {
            return self.fault(Fault::HeaderLine);
        };
        let mut name = &line[..colon];
        while let [rest @ .., b' ' | b'\t'] = name {
            name = rest;
        }
        let known = Name::of(name);
        if known.is_none() && (name.is_empty() || !name.iter().all(|o| is_token_octet(*o))) {
            return self.fault(Fault::HeaderLine);
        }
        let (mut start, mut end) = (colon + 1, line.len());
        while start < end && is_space(&line[start]) {
            start += 1;
        }
        while end > start && is_space(&line[end - 1]) {
            end -= 1;
        }
        self.open = Some(self.fields.len());
        self.fields.push(Field {
            known,
            name: Span::new(at, at + name.len()),
            value: Span::new(at + start, at + end),
        });
    }

    /// RFC 3261 §7.3.1: a line that starts with white space belongs to the field before it.
    fn continuation(&mut self, end: usize) {
        let Some(open) = self.open else {
            return self.fault(Fault::HeaderLine);
        };
        self.folded = true;
        let start = self.fields[open].name.start as usize;
        if end - start > limits::HEADER {
            self.fields.truncate(open);
            self.open = None;
            return self.fault(Fault::HeaderTooLong);
        }
        self.fields[open].value.end = Span::new(start, end).end;
    }
}

/// Turns the spans into a message that owns its octets.
fn finish(
    wire: &Bytes,
    text: ByteString,
    is_wire: bool,
    scan: Scan<'_>,
) -> Result<Message, ParseError> {
    let mut fault = scan.fault;
    let start = StartLine::parse(&text[..scan.start_line], &mut fault)?;
    let (head_end, folded) = (scan.head_end, scan.folded);
    let mut headers = Headers {
        wire: wire.clone(),
        text,
        fields: scan.fields,
    };
    if folded {
        headers.unfold(is_wire);
    }
    let body_end = body_end(&headers, head_end, &mut fault);
    headers.wire.truncate(body_end);
    let body = headers.wire.slice(head_end..);
    Ok(match start {
        StartLine::Request { method, uri } => Message::Request(Request {
            method,
            uri,
            headers,
            body,
            fault,
        }),
        StartLine::Response { status, reason } => Message::Response(Response {
            status,
            reason,
            headers,
            body,
            fault,
        }),
    })
}

/// Content-Length cuts what follows the message in a datagram (RFC 3261 §18.3); it cannot add what did not come.
fn body_end(headers: &Headers, head_end: usize, fault: &mut Option<Fault>) -> usize {
    let there = headers.wire.len();
    let mut lengths = headers.all(Name::ContentLength);
    let Some(first) = lengths.next() else {
        return there;
    };
    let agree = lengths.all(|other| other == first);
    let is_number = first.bytes().all(|o| o.is_ascii_digit()); // parse would take a sign
    match first.parse::<usize>() {
        Ok(length) if agree && is_number && length <= there - head_end => head_end + length,
        _ => {
            fault.get_or_insert(Fault::ContentLength);
            there
        }
    }
}

enum StartLine {
    Request { method: Method, uri: Span },
    Response { status: u16, reason: Span },
}

impl StartLine {
    fn parse(line: &str, fault: &mut Option<Fault>) -> Result<Self, ParseError> {
        let is_version = |word: &str| {
            word.get(..4)
                .is_some_and(|w| w.eq_ignore_ascii_case("SIP/"))
        };
        let mut check = |version: &str| {
            if !version.eq_ignore_ascii_case("SIP/2.0") {
                fault.get_or_insert(Fault::Version);
            }
        };
        if is_version(line) {
            let (version, rest) = line.split_once(' ').ok_or(ParseError::NotSip)?;
            check(version);
            return Self::status(rest, line.len());
        }
        let (method, rest) = line.split_once(' ').ok_or(ParseError::NotSip)?;
        let tidy = rest.trim_end_matches(is_space);
        let (uri, version) = tidy.rsplit_once(is_space).ok_or(ParseError::NotSip)?;
        if !is_version(version) {
            return Err(ParseError::NotSip);
        }
        check(version);
        let words = tidy.len() == rest.len() && is_token(method) && !uri.is_empty();
        if !words || uri.bytes().any(|o| o <= b' ' || o == 0x7f) {
            fault.get_or_insert(Fault::StartLine);
        }
        let start = method.len() + 1;
        Ok(Self::Request {
            method: Method::new(method),
            uri: Span::new(start, start + uri.len()),
        })
    }

    /// `486 Busy Here`, with any or no phrase (RFC 4475 §3.1.1.13).
    fn status(rest: &str, line_len: usize) -> Result<Self, ParseError> {
        let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        let status = code.parse().ok().filter(|_| code.len() == 3);
        Ok(Self::Response {
            status: status
                .filter(|s| (100..700).contains(s))
                .ok_or(ParseError::Status)?,
            reason: Span::new(line_len - reason.len(), line_len),
        })
    }
}

impl Headers {
    /// Blanks the line ends inside values, in a copy; spans stay as they are.
    fn unfold(&mut self, is_wire: bool) {
        let blanked = |octets: &[u8]| {
            let mut octets = octets.to_vec();
            for field in &self.fields {
                blank_line_ends(&mut octets, field.value);
            }
            Bytes::from(octets)
        };
        let head = self.text.len();
        let wire = blanked(&self.wire);
        let text = if is_wire {
            wire.slice(..head)
        } else {
            blanked(self.text.as_bytes())
        };
        self.wire = wire;
        // Blanks for line ends: what was text is text.
        self.text = ByteString::try_from(text).unwrap_or_default();
        for i in 0..self.fields.len() {
            let span = self.fields[i].value;
            let value = self.text(span);
            let start = span.range().start + value.len() - value.trim_start_matches(is_space).len();
            let trimmed = Span::new(start, start + trim(value).len());
            self.fields[i].value = trimmed;
        }
    }
}

fn blank_line_ends(octets: &mut [u8], span: Span) {
    for octet in octets.get_mut(span.range()).unwrap_or_default() {
        if matches!(*octet, b'\r' | b'\n') {
            *octet = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(octets: &[u8]) -> Result<Message, ParseError> {
        message(&Bytes::copy_from_slice(octets))
    }

    fn request(octets: &[u8]) -> Request {
        match read(octets).unwrap() {
            Message::Request(request) => request,
            Message::Response(_) => panic!("a response"),
        }
    }

    fn response(octets: &[u8]) -> Response {
        match read(octets).unwrap() {
            Message::Response(response) => response,
            Message::Request(_) => panic!("a request"),
        }
    }

    #[test]
    fn reading_copies_nothing() {
        let datagram = Bytes::from_static(b"INFO sip:a@h SIP/2.0\r\nX-Y:  1 \r\n\r\nbody");
        let message = message(&datagram).unwrap();
        assert_eq!(message.to_bytes().as_ptr(), datagram.as_ptr());
        assert_eq!(message.headers().named("x-y"), Some("1"));
        assert_eq!(
            message.body().as_ptr(),
            datagram[datagram.len() - 4..].as_ptr()
        );
    }

    #[test]
    fn a_status_line_may_lack_its_phrase() {
        let full = response(b"SIP/2.0 486 Busy Here\r\n\r\n");
        assert_eq!((full.status(), full.reason()), (486, "Busy Here"));
        for text in [&b"SIP/2.0 100 \r\n\r\n"[..], b"sip/2.0 100\r\n\r\n"] {
            let response = response(text);
            assert_eq!((response.status(), response.reason()), (100, ""));
        }
    }

    #[test]
    fn what_nobody_could_answer_is_an_error() {
        for (octets, error) in [
            (&b""[..], ParseError::Empty),
            (b"\r\n\r\n", ParseError::Empty),
            (b"\0\0\0\0", ParseError::NotSip),
            (b"hello", ParseError::NotSip),
            (b"INVITE sip:a@h\r\n\r\n", ParseError::NotSip),
            (b"GET / HTTP/1.1\r\n\r\n", ParseError::NotSip),
            (b"SIP/2.0\r\n\r\n", ParseError::NotSip),
            (
                b"SIP/2.0 4294967301 better not break the receiver\r\n\r\n",
                ParseError::Status,
            ),
            (b"SIP/2.0 099 x\r\n\r\n", ParseError::Status),
            (b"SIP/2.0 700 x\r\n\r\n", ParseError::Status),
            (b"SIP/2.0 +20 x\r\n\r\n", ParseError::Status),
        ] {
            assert_eq!(
                read(octets).unwrap_err(),
                error,
                "{}",
                octets.escape_ascii()
            );
        }
        assert_eq!(
            read(&vec![b'a'; limits::MESSAGE + 1]).unwrap_err(),
            ParseError::TooLarge
        );
    }

    #[test]
    fn a_request_line_is_three_words() {
        for line in [
            "INVITE  sip:a@h SIP/2.0",
            "INVITE sip:a@h  SIP/2.0",
            "INVITE sip:a@h SIP/2.0 ",
            "INVITE sip:a@h; lr SIP/2.0",
            "IN(VITE sip:a@h SIP/2.0",
            "INVITE sip:a\rb SIP/2.0",
            " INVITE sip:a@h SIP/2.0",
        ] {
            let request = request(format!("{line}\r\nVia: SIP/2.0/UDP h\r\n\r\n").as_bytes());
            assert_eq!(request.validate(), Err(Fault::StartLine), "{line}");
            assert!(request.headers().via().is_ok(), "{line}");
        }
    }

    #[test]
    fn empty_lines_before_the_message_are_skipped() {
        assert_eq!(
            request(b"\r\n\r\nBYE sip:a@h SIP/2.0\r\n\r\n").method(),
            &Method::Bye
        );
    }

    #[test]
    fn folded_values_are_read_as_one_line() {
        let request = request(b"BYE sip:a@h SIP/2.0\r\nSubject: one\r\n\ttwo\r\n   three\r\nTo:\r\n <sip:a@h>\r\n \r\nX: 1\r\n\r\nbody");
        let subject = request.headers().get(Name::Subject).unwrap();
        assert_eq!(
            subject.split_whitespace().collect::<Vec<_>>(),
            ["one", "two", "three"]
        );
        assert!(!subject.contains(['\r', '\n']));
        assert_eq!(request.headers().get(Name::To), Some("<sip:a@h>"));
        assert_eq!(request.headers().named("x"), Some("1"));
        assert_eq!(request.body().as_ref(), b"body");
    }

    #[test]
    fn a_bare_carriage_return_cannot_pass_for_a_line_end() {
        let request = request(b"BYE sip:a@h SIP/2.0\r\nX: a\rVia: SIP/2.0/UDP evil\r\n\r\n");
        assert_eq!(
            request.headers().named("x"),
            Some("a Via: SIP/2.0/UDP evil")
        );
        assert_eq!(request.headers().get(Name::Via), None);
        assert!(!request.to_bytes().windows(2).any(|w| w == b"a\r"));
    }

    #[test]
    fn bare_line_feeds_end_lines_too() {
        let request = request(b"BYE sip:a@h SIP/2.0\nX: 1\nTo: <sip:a@h>\n\nbody");
        assert_eq!(request.headers().len(), 2);
        assert_eq!(request.body().as_ref(), b"body");
    }

    #[test]
    fn octets_that_are_no_utf8_lose_neither_message_nor_body() {
        let datagram =
            b"INFO sip:a@h SIP/2.0\r\nX: J\xf6rg \xe2\x82\r\nCall-ID: c\r\nl: 3\r\n\r\n\xff\0\xfe";
        let request = request(datagram);
        assert_eq!(request.headers().named("X"), Some("J_rg __"));
        assert_eq!(request.headers().call_id(), Ok("c"));
        assert_eq!(request.body().as_ref(), b"\xff\0\xfe");
        assert_eq!(request.to_bytes().as_ref(), datagram);
    }

    #[test]
    fn folds_and_damage_together_are_read() {
        let request = request(b"INFO sip:a@h SIP/2.0\r\nX: a\xff\r\n b\r\nY: c\r\n\r\n\xff");
        assert_eq!(request.headers().named("X"), Some("a_   b"));
        assert_eq!(request.headers().named("Y"), Some("c"));
    }

    #[test]
    fn a_binary_body_costs_no_copy_of_the_head() {
        let datagram = Bytes::from_static(b"INFO sip:a@h SIP/2.0\r\nX: 1\r\n\r\n\xff\xfe");
        let message = message(&datagram).unwrap();
        assert_eq!(
            message.headers().text.as_bytes().as_ptr(),
            datagram.as_ptr()
        );
    }

    #[test]
    fn content_length_cuts_but_cannot_add() {
        let cut = request(b"INFO sip:a@h SIP/2.0\r\nl: 2\r\n\r\nhiINVITE");
        assert_eq!(cut.body().as_ref(), b"hi");
        assert!(cut.to_bytes().ends_with(b"\r\n\r\nhi"));
        let absent = request(b"INFO sip:a@h SIP/2.0\r\n\r\nall of it");
        assert_eq!(absent.body().as_ref(), b"all of it");
        for bad in [
            "5",
            "-2",
            "+2",
            "x",
            "2 2",
            "",
            "99999999999999999999999",
            "2\r\nl: 1",
        ] {
            let text = format!("INFO sip:a@h SIP/2.0\r\nl: {bad}\r\n\r\nhi");
            assert_eq!(
                request(text.as_bytes()).validate(),
                Err(Fault::ContentLength),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_line_that_is_no_header_does_not_hide_the_others() {
        for bad in [
            "no colon",
            ": no name",
            "two words: 1",
            "caf\u{e9}: 1",
            "X\rY: 1",
        ] {
            let text = format!(
                "BYE sip:a@h SIP/2.0\r\nCall-ID: 1\r\n{bad}\r\n folded\r\nCSeq: 1 BYE\r\n\r\n"
            );
            let request = request(text.as_bytes());
            assert_eq!(request.validate(), Err(Fault::HeaderLine), "{bad}");
            assert_eq!(request.headers().call_id(), Ok("1"));
            assert!(request.headers().cseq().is_ok());
        }
    }

    #[test]
    fn a_datagram_without_empty_line_is_truncated() {
        let request = request(b"BYE sip:a@h SIP/2.0\r\nCall-ID: 1\r\nCSeq: 1 B");
        assert_eq!(request.validate(), Err(Fault::Truncated));
        assert_eq!((request.headers().len(), request.body().len()), (1, 0));
        assert!(read(b"BYE sip:a@h SIP/2.0").is_ok());
    }

    #[test]
    fn limits_hold_and_leave_an_answer_possible() {
        let via = "Via: SIP/2.0/UDP h\r\n";
        let uri = format!(
            "BYE sip:{}@h SIP/2.0\r\n{via}\r\n",
            "a".repeat(limits::START_LINE)
        );
        assert_eq!(
            request(uri.as_bytes()).validate(),
            Err(Fault::StartLineTooLong)
        );

        let many = format!(
            "BYE sip:a@h SIP/2.0\r\n{via}{}\r\nbody",
            "X: 1\r\n".repeat(5000)
        );
        let many = request(many.as_bytes());
        assert_eq!(
            (many.validate(), many.headers().len()),
            (Err(Fault::TooManyHeaders), limits::HEADERS)
        );
        assert_eq!(many.body().as_ref(), b"body");

        let long = format!(
            "BYE sip:a@h SIP/2.0\r\nX: {}\r\n{via}\r\n",
            "y".repeat(limits::HEADER)
        );
        assert_eq!(
            request(long.as_bytes()).validate(),
            Err(Fault::HeaderTooLong)
        );

        let folded = format!(
            "BYE sip:a@h SIP/2.0\r\nX: 1\r\n{}{via}\r\n",
            " y\r\n".repeat(limits::HEADER)
        );
        let folded = request(folded.as_bytes());
        assert_eq!(folded.validate(), Err(Fault::HeaderTooLong));
        for request in [&many, &folded] {
            assert!(request.headers().via().is_ok());
        }
    }

    #[test]
    fn a_message_of_nothing_but_hostile_structure_is_refused() {
        let hostile = [
            ",", ";", "\"", "<", "\\", " ", "\r\n ", ":", "%", "\t\r", "\u{e9}",
        ];
        for piece in hostile {
            let value = piece.repeat(limits::HEADER / piece.len() - 64);
            let text = format!(
                "BYE sip:a@h SIP/2.0\r\n{}\r\n",
                format!("Via: {value}\r\n").repeat(7)
            );
            if let Ok(message) = read(text.as_bytes()) {
                assert!(message.validate().is_err(), "{piece:?}");
                assert!(message.headers().values(Name::Via).count() <= 7 * limits::HEADER);
            }
        }
    }
}
