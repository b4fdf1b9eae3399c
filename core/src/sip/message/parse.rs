//! Reads one message in one pass: the start line, a table of header spans, and where the body is.
//!
//! Lenient on purpose. What is wrong but can be answered becomes the message's [`Fault`]; the fields around it
//! are still read, because the answer needs them.

use super::error::{Fault, ParseError};
use super::headers::{Field, Headers, Span};
use super::lex::{is_space, is_token, is_token_octet, trim};
use super::limits;
use super::method::Method;
use super::name::Name;
use super::{Message, Request, Response};
use bytes::Bytes;

/// Reads a datagram, or a message that was cut out of a stream.
pub(super) fn message(datagram: &Bytes) -> Result<Message, ParseError> {
    if datagram.len() > limits::MESSAGE {
        return Err(ParseError::TooLarge);
    }
    // RFC 3261 §7.5: empty lines before the start line are ignored.
    let start = datagram.iter().position(|b| !matches!(b, b'\r' | b'\n'));
    let wire = datagram.slice(start.ok_or(ParseError::Empty)?..);
    match std::str::from_utf8(&wire) {
        Ok(text) => {
            let scan = Scan::run(text);
            finish(&wire, wire.clone(), scan)
        }
        Err(_) => {
            let shown = shown(&wire);
            let scan = Scan::run(&shown);
            let text = if wire[..scan.head_end] == shown.as_bytes()[..scan.head_end] {
                wire.clone()
            } else {
                Bytes::copy_from_slice(shown.as_bytes())
            };
            finish(&wire, text, scan)
        }
    }
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
    text: &'a str,
    start_line: &'a str,
    fields: Vec<Field>,
    /// The field the next continuation line belongs to.
    open: Option<usize>,
    folded: bool,
    /// Where the body starts.
    head_end: usize,
    fault: Option<Fault>,
}

impl<'a> Scan<'a> {
    fn run(text: &'a str) -> Self {
        let mut scan = Self {
            text,
            start_line: "",
            fields: Vec::with_capacity(24),
            open: None,
            folded: false,
            head_end: text.len(),
            fault: None,
        };
        let mut at = scan.first_line();
        loop {
            let Some(length) = text[at..].find('\n') else {
                // No empty line: what is left may be half a header, so it is not read.
                scan.fault(Fault::Truncated);
                break;
            };
            let next = at + length + 1;
            let line = &text[at..next - 1];
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.is_empty() {
                scan.head_end = next;
                break;
            }
            scan.line(at, line);
            at = next;
        }
        scan
    }

    fn fault(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    fn first_line(&mut self) -> usize {
        let end = self.text.find('\n').unwrap_or(self.text.len());
        let line = &self.text[..end];
        self.start_line = line.strip_suffix('\r').unwrap_or(line);
        if line.len() > limits::START_LINE {
            self.fault(Fault::StartLineTooLong);
        }
        (end + 1).min(self.text.len())
    }

    fn line(&mut self, at: usize, line: &str) {
        if line.starts_with(is_space) {
            return self.continuation(at + line.len());
        }
        self.open = None;
        if line.len() > limits::HEADER {
            return self.fault(Fault::HeaderTooLong);
        }
        if self.fields.len() == limits::HEADERS {
            return self.fault(Fault::TooManyHeaders);
        }
        let name_len = line
            .bytes()
            .position(|b| !is_token_octet(b))
            .unwrap_or(line.len());
        let (name, rest) = line.split_at(name_len);
        let Some(value) = rest.trim_start_matches(is_space).strip_prefix(':') else {
            return self.fault(Fault::HeaderLine);
        };
        if name.is_empty() {
            return self.fault(Fault::HeaderLine);
        }
        let start = at + line.len() - value.trim_start_matches(is_space).len();
        let end = start.max(at + line.trim_end_matches(is_space).len());
        self.open = Some(self.fields.len());
        // A bare CR is no line end; it is blanked like a fold.
        self.folded |= value.contains('\r');
        self.fields.push(Field {
            known: Name::new(name),
            name: Span::new(at, at + name_len),
            value: Span::new(start, end),
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
fn finish(wire: &Bytes, text: Bytes, scan: Scan<'_>) -> Result<Message, ParseError> {
    let mut fault = scan.fault;
    let start = StartLine::parse(scan.start_line, &mut fault)?;
    let (head_end, folded) = (scan.head_end, scan.folded);
    let same = text.as_ptr() == wire.as_ptr();
    let mut headers = Headers {
        wire: wire.clone(),
        text,
        fields: scan.fields,
    };
    if folded {
        headers.unfold(same);
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
    let first = lengths.next();
    let agree = lengths.all(|other| Some(other) == first);
    match headers.content_length() {
        Ok(None) => there,
        Ok(Some(length)) if agree && length <= there - head_end => head_end + length,
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
        if !words || uri.contains(|c: char| c <= ' ' || c == '\x7f') {
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
    fn unfold(&mut self, same: bool) {
        let mut wire = self.wire.to_vec();
        for field in &self.fields {
            blank_line_ends(&mut wire, field.value);
        }
        self.wire = Bytes::from(wire);
        if same {
            self.text = self.wire.clone();
        } else {
            let mut text = self.text.to_vec();
            for field in &self.fields {
                blank_line_ends(&mut text, field.value);
            }
            self.text = Bytes::from(text);
        }
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
