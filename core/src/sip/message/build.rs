//! Writes requests and responses. A built message is its own wire image, with the same table of spans a parsed
//! one has, so it reads and sends alike.

use super::headers::{Field, Headers, Span};
use super::lex::{has_line_end, is_token, split_outside};
use super::limits;
use super::method::Method;
use super::name::Name;
use super::status::reason_phrase;
use super::via::Via;
use super::{Request, Response};
use bytes::Bytes;
use bytestring::ByteString;
use std::net::SocketAddr;

/// Why a message cannot be written: always a mistake or an attack on our side of the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A method, URI or phrase that would break the start line.
    #[error("start line cannot hold {0:?}")]
    StartLine(String),
    /// A header name that is no token.
    #[error("no header name: {0:?}")]
    Name(String),
    /// CR, LF or NUL in the value of this header: it would become a header of its own.
    #[error("a line end in the value of {0}")]
    LineEnd(String),
    /// More than [`limits`] allow.
    #[error("larger than a message may be")]
    TooLarge,
    /// A tag that is no token.
    #[error("no tag: {0:?}")]
    Tag(String),
}

/// A header name to write: one we know, or any other text.
#[derive(Debug, Clone, Copy)]
pub struct FieldName<'a>(&'a str);

impl From<Name> for FieldName<'static> {
    fn from(name: Name) -> Self {
        FieldName(name.as_str())
    }
}

impl<'a> From<&'a str> for FieldName<'a> {
    fn from(name: &'a str) -> Self {
        FieldName(name)
    }
}

impl<'a> From<&'a String> for FieldName<'a> {
    fn from(name: &'a String) -> Self {
        FieldName(name)
    }
}

/// Header lines in the making, spans counted from the first of them.
#[derive(Debug, Clone, Default)]
struct Lines {
    octets: Vec<u8>,
    fields: Vec<Field>,
    error: Option<BuildError>,
}

impl Lines {
    fn with_capacity(octets: usize) -> Self {
        Self {
            octets: Vec::with_capacity(octets),
            fields: Vec::with_capacity(20),
            error: None,
        }
    }

    fn fail(&mut self, error: BuildError) {
        self.error.get_or_insert(error);
    }

    /// A line from us: checked, so that no value can become a header.
    fn add(&mut self, name: FieldName<'_>, value: &str) {
        let name = name.0;
        let known = Name::new(name);
        if known.is_none() && !is_token(name) {
            return self.fail(BuildError::Name(name.into()));
        }
        if known == Some(Name::ContentLength) {
            return; // counted when the body is known
        }
        if has_line_end(value) {
            return self.fail(BuildError::LineEnd(name.into()));
        }
        self.push(known, name, value.as_bytes());
    }

    /// A line whose value holds no line end, for it was a line when it came.
    fn push(&mut self, known: Option<Name>, name: &str, value: &[u8]) {
        if value.len() > limits::HEADER || self.fields.len() == limits::HEADERS {
            return self.fail(BuildError::TooLarge);
        }
        let start = self.octets.len();
        self.octets.extend_from_slice(name.as_bytes());
        self.octets.extend_from_slice(b": ");
        let value_start = self.octets.len();
        self.octets.extend_from_slice(value);
        self.fields.push(Field {
            known,
            name: Span::new(start, start + name.len()),
            value: Span::new(value_start, self.octets.len()),
        });
        self.octets.extend_from_slice(b"\r\n");
    }

    /// Every line of one name from a received message, octet by octet, under its canonical name.
    fn copy(&mut self, from: &Headers, name: Name) {
        for field in from.fields.iter().filter(|field| field.known == Some(name)) {
            self.push(Some(name), name.as_str(), from.octets(field.value));
        }
    }

    fn append(&mut self, other: Self) {
        let offset = self.octets.len();
        self.octets.extend_from_slice(&other.octets);
        self.fields
            .extend(other.fields.iter().map(|field| field.moved(offset)));
        if let Some(error) = other.error {
            self.fail(error);
        }
    }

    /// The whole message: start line in pieces, these lines, Content-Length, body.
    fn finish(mut self, start_line: &[&str], body: &Bytes) -> Result<(Headers, Bytes), BuildError> {
        self.push(
            Some(Name::ContentLength),
            Name::ContentLength.as_str(),
            body.len().to_string().as_bytes(),
        );
        if let Some(error) = self.error {
            return Err(error);
        }
        let offset = start_line.iter().map(|piece| piece.len()).sum();
        let head = offset + self.octets.len() + 2;
        if head + body.len() > limits::MESSAGE {
            return Err(BuildError::TooLarge);
        }
        let mut wire = Vec::with_capacity(head + body.len());
        for piece in start_line {
            wire.extend_from_slice(piece.as_bytes());
        }
        wire.extend_from_slice(&self.octets);
        wire.extend_from_slice(b"\r\n");
        wire.extend_from_slice(body);
        for field in &mut self.fields {
            *field = field.moved(offset);
        }
        let wire = Bytes::from(wire);
        let headers = Headers {
            text: text_of(&wire.slice(..head)),
            wire: wire.clone(),
            fields: self.fields,
        };
        Ok((headers, wire.slice(head..)))
    }
}

/// Copied lines may hold octets that are no UTF-8; they are shown as `_`, as when they were parsed.
fn text_of(head: &Bytes) -> ByteString {
    ByteString::try_from(head.clone())
        .unwrap_or_else(|_| ByteString::from(super::parse::shown(head)))
}

impl Field {
    fn moved(&self, offset: usize) -> Self {
        let shift = |span: Span| Span::new(span.range().start + offset, span.range().end + offset);
        Self {
            known: self.known,
            name: shift(self.name),
            value: shift(self.value),
        }
    }
}

/// Writes a request; see [`Request::builder`].
#[derive(Debug, Clone)]
pub struct RequestBuilder {
    method: Method,
    uri: String,
    lines: Lines,
    body: Bytes,
}

impl RequestBuilder {
    pub(super) fn new(method: Method, uri: &str) -> Self {
        let mut lines = Lines::with_capacity(1024);
        if !is_token(method.as_str()) {
            lines.fail(BuildError::StartLine(method.as_str().into()));
        }
        if !is_start_line_word(uri) {
            lines.fail(BuildError::StartLine(uri.into()));
        }
        Self {
            method,
            uri: uri.into(),
            lines,
            body: Bytes::new(),
        }
    }

    /// A request of ours in the making once more: see [`Request::again`].
    pub(super) fn again(of: &Request, via: &str, cseq: Option<u32>, without: &[Name]) -> Self {
        let mut again = Self::new(of.method.clone(), of.uri()).header(Name::Via, via);
        let headers = &of.headers;
        let kept = headers.fields.iter().filter(|field| {
            let counted = [Name::Via, Name::ContentLength];
            field
                .known
                .is_none_or(|known| !counted.contains(&known) && !without.contains(&known))
        });
        for field in kept {
            match cseq {
                Some(number) if field.known == Some(Name::CSeq) => {
                    again = again.header(Name::CSeq, format!("{number} {}", of.method));
                }
                _ => again.lines.push(
                    field.known,
                    headers.text(field.name),
                    headers.octets(field.value),
                ),
            }
        }
        again.body = of.body.clone();
        again
    }

    /// Adds a header field after those before it. Content-Length is left out: it is always counted.
    #[must_use]
    pub fn header<'a>(mut self, name: impl Into<FieldName<'a>>, value: impl AsRef<str>) -> Self {
        self.lines.add(name.into(), value.as_ref());
        self
    }

    /// Adds many header fields.
    #[must_use]
    pub fn headers<'a>(mut self, fields: impl IntoIterator<Item = &'a (String, String)>) -> Self {
        for (name, value) in fields {
            self = self.header(name, value);
        }
        self
    }

    /// The body and its Content-Type.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: Bytes) -> Self {
        self.body = body;
        self.header(Name::ContentType, content_type)
    }

    /// The request.
    ///
    /// # Errors
    /// The first thing that could not be written; nothing is written then.
    pub fn build(self) -> Result<Request, BuildError> {
        let start = self.method.as_str().len() + 1;
        let (headers, body) = self.lines.finish(
            &[self.method.as_str(), " ", &self.uri, " SIP/2.0\r\n"],
            &self.body,
        )?;
        Ok(Request {
            uri: Span::new(start, start + self.uri.len()),
            method: self.method,
            headers,
            body,
            fault: None,
        })
    }
}

/// Writes a response; see [`Response::builder_for`].
#[derive(Debug, Clone)]
pub struct ResponseBuilder<'r> {
    request: &'r Request,
    status: u16,
    reason: Option<String>,
    to_tag: Option<String>,
    source: Option<SocketAddr>,
    lines: Lines,
    body: Bytes,
}

impl<'r> ResponseBuilder<'r> {
    pub(super) fn new(request: &'r Request, status: u16) -> Self {
        Self {
            request,
            status,
            reason: None,
            to_tag: None,
            source: None,
            lines: Lines::default(),
            body: Bytes::new(),
        }
    }

    /// Another phrase than the usual one.
    #[must_use]
    pub fn reason(mut self, reason: &str) -> Self {
        if has_line_end(reason) {
            self.lines.fail(BuildError::StartLine(reason.into()));
        }
        self.reason = Some(reason.into());
        self
    }

    /// Adds this tag to To when it has none (RFC 3261 §8.2.6.2).
    #[must_use]
    pub fn to_tag(mut self, tag: &str) -> Self {
        if !is_token(tag) {
            self.lines.fail(BuildError::Tag(tag.into()));
        }
        self.to_tag = Some(tag.into());
        self
    }

    /// Writes where the request really came from into the top Via: `received` when it differs from sent-by or
    /// `rport` was asked for (RFC 3261 §18.2.1, RFC 3581 §4).
    #[must_use]
    pub fn source(mut self, remote: SocketAddr) -> Self {
        self.source = Some(remote);
        self
    }

    /// Adds a header field after those before it. Content-Length is left out: it is always counted.
    #[must_use]
    pub fn header<'a>(mut self, name: impl Into<FieldName<'a>>, value: impl AsRef<str>) -> Self {
        self.lines.add(name.into(), value.as_ref());
        self
    }

    /// Adds many header fields.
    #[must_use]
    pub fn headers<'a>(mut self, fields: impl IntoIterator<Item = &'a (String, String)>) -> Self {
        for (name, value) in fields {
            self = self.header(name, value);
        }
        self
    }

    /// Copies every line of one name from the request, in order and verbatim: Record-Route, Timestamp.
    #[must_use]
    pub fn copy(mut self, name: Name) -> Self {
        self.lines.copy(&self.request.headers, name);
        self
    }

    /// The body and its Content-Type.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: Bytes) -> Self {
        self.body = body;
        self.header(Name::ContentType, content_type)
    }

    /// The response.
    ///
    /// # Errors
    /// The first thing that could not be written; nothing is written then.
    pub fn build(self) -> Result<Response, BuildError> {
        if !(100..700).contains(&self.status) {
            return Err(BuildError::StartLine(self.status.to_string()));
        }
        let phrase = self
            .reason
            .as_deref()
            .unwrap_or_else(|| reason_phrase(self.status));
        let status = self.status.to_string();
        let headers = &self.request.headers;
        let mut lines = Lines::with_capacity(1024);
        copy_vias(&mut lines, headers, self.source);
        lines.copy(headers, Name::From);
        copy_to(&mut lines, headers, self.to_tag.as_deref());
        lines.copy(headers, Name::CallId);
        lines.copy(headers, Name::CSeq);
        lines.append(self.lines);
        let reason = Span::new(12, 12 + phrase.len());
        let (headers, body) =
            lines.finish(&["SIP/2.0 ", &status, " ", phrase, "\r\n"], &self.body)?;
        Ok(Response {
            status: self.status,
            reason,
            headers,
            body,
            fault: None,
        })
    }
}

/// Via lines verbatim, the topmost value with the source it came from.
fn copy_vias(lines: &mut Lines, from: &Headers, source: Option<SocketAddr>) {
    let mut first = source;
    for field in from
        .fields
        .iter()
        .filter(|field| field.known == Some(Name::Via))
    {
        let text = from.text(field.value);
        match first.take().and_then(|source| stamped(text, source)) {
            Some(value) => lines.push(Some(Name::Via), Name::Via.as_str(), value.as_bytes()),
            None => lines.push(
                Some(Name::Via),
                Name::Via.as_str(),
                from.octets(field.value),
            ),
        }
    }
}

/// The line with `received` and `rport` of its first value set; `None` when nothing changes.
fn stamped(line: &str, source: SocketAddr) -> Option<String> {
    let value = split_outside(line, b',').next()?;
    let via = Via::parse(value)?;
    let asked = via.rport().is_some();
    let ip = source.ip().to_canonical(); // a dual-stack socket shows IPv4 peers as ::ffff:a.b.c.d
    if !asked && via.host_ip() == Some(ip) && via.received().is_none() {
        return None;
    }
    let at = value.as_ptr() as usize - line.as_ptr() as usize;
    let params_at = value.len() - via.params.as_str().len();
    let mut stamped = String::with_capacity(line.len() + 48);
    stamped.push_str(value[..params_at].trim_end());
    // What the peer says it saw is not what we saw.
    for (name, value) in via.params.iter() {
        if name.eq_ignore_ascii_case("received") || name.eq_ignore_ascii_case("rport") {
            continue;
        }
        stamped.push(';');
        stamped.push_str(name);
        if let Some(value) = value {
            stamped.push('=');
            stamped.push_str(value);
        }
    }
    let port = asked.then(|| format!(";rport={}", source.port()));
    stamped.push_str(";received=");
    stamped.push_str(&ip.to_string());
    stamped.push_str(&port.unwrap_or_default());
    stamped.push_str(&line[at + value.len()..]);
    Some(stamped)
}

/// To verbatim, with our tag when it has none and we have one.
fn copy_to(lines: &mut Lines, from: &Headers, tag: Option<&str>) {
    let tag = tag.filter(|_| from.to().is_ok_and(|to| to.tag().is_none()));
    for field in from
        .fields
        .iter()
        .filter(|field| field.known == Some(Name::To))
    {
        let mut value = from.octets(field.value).to_vec();
        if let Some(tag) = tag {
            value.extend_from_slice(b";tag=");
            value.extend_from_slice(tag.as_bytes());
        }
        lines.push(Some(Name::To), Name::To.as_str(), &value);
    }
}

fn is_start_line_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() < limits::START_LINE
        && text.chars().all(|c| c > ' ' && c != '\x7f')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Message;

    fn invite(via: &str) -> Request {
        let text = format!(
            "INVITE sip:bot@h SIP/2.0\r\n{via}\r\nFrom: \"J\" <sip:a@b>;tag=1\r\nTo:   <sip:bot@h>\r\n\
             i: c1@h\r\nCSeq: 7 INVITE\r\nRecord-Route: <sip:p1;lr>\r\nRecord-Route: <sip:p2;lr>\r\n\r\n"
        );
        request(text.as_bytes())
    }

    fn request(octets: &[u8]) -> Request {
        match Message::parse(&Bytes::copy_from_slice(octets)).unwrap() {
            Message::Request(request) => request,
            Message::Response(_) => panic!("a response"),
        }
    }

    fn top_via(via: &str, source: &str) -> String {
        let request = invite(via);
        let response = Response::builder_for(&request, 200)
            .source(source.parse().unwrap())
            .build()
            .unwrap();
        response.headers().get(Name::Via).unwrap().to_owned()
    }

    #[test]
    fn a_request_is_written_as_it_is_said() {
        let request = Request::builder(Method::Refer, "sip:a@h;transport=udp")
            .header(Name::Via, "SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bK1")
            .header("X-Session-Key", "k-42")
            .body("text/plain", Bytes::from_static(b"hi"))
            .build()
            .unwrap();
        assert_eq!(
            request.to_bytes(),
            "REFER sip:a@h;transport=udp SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bK1\r\n\
             X-Session-Key: k-42\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"
        );
        assert_eq!(
            (request.uri(), request.body().as_ref()),
            ("sip:a@h;transport=udp", &b"hi"[..])
        );
        assert_eq!(request.headers().named("x-session-key"), Some("k-42"));
        assert_eq!(request.headers().content_length(), Ok(Some(2)));
    }

    #[test]
    fn a_response_copies_what_ties_it_to_its_request() {
        let request = invite(
            "Via: SIP/2.0/TLS 192.0.2.60;branch=z9hG4bK1\r\nv: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK0",
        );
        let response = Response::builder_for(&request, 180)
            .to_tag("our1")
            .copy(Name::RecordRoute)
            .header(Name::Contact, "<sip:bot@192.0.2.10>")
            .build()
            .unwrap();
        assert_eq!(
            response.to_bytes(),
            "SIP/2.0 180 Ringing\r\nVia: SIP/2.0/TLS 192.0.2.60;branch=z9hG4bK1\r\n\
             Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK0\r\nFrom: \"J\" <sip:a@b>;tag=1\r\nTo: <sip:bot@h>;tag=our1\r\n\
             Call-ID: c1@h\r\nCSeq: 7 INVITE\r\nRecord-Route: <sip:p1;lr>\r\nRecord-Route: <sip:p2;lr>\r\n\
             Contact: <sip:bot@192.0.2.10>\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!((response.status(), response.reason()), (180, "Ringing"));
        assert_eq!(response.validate(), Ok(()));
    }

    #[test]
    fn a_to_tag_that_is_there_stays() {
        let request = request(b"BYE sip:bot@h SIP/2.0\r\nTo: <sip:bot@h>;tag=old\r\n\r\n");
        let response = Response::builder_for(&request, 481)
            .to_tag("new")
            .build()
            .unwrap();
        assert_eq!(
            response.headers().get(Name::To),
            Some("<sip:bot@h>;tag=old")
        );
    }

    #[test]
    fn what_a_broken_request_lacks_its_answer_lacks_too() {
        let request =
            request(b"INVITE sip:bot@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\r\n");
        let fault = request.validate().unwrap_err();
        let response = Response::builder_for(&request, fault.status())
            .reason(&fault.reason())
            .build()
            .unwrap();
        assert_eq!(
            response.to_bytes(),
            "SIP/2.0 400 Missing From\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn octets_that_are_no_utf8_are_copied_as_they_came() {
        let request =
            request(b"OPTIONS sip:h SIP/2.0\r\nFrom: \"Jos\xe9\" <sip:a@b>;tag=1\r\n\r\n");
        assert_eq!(
            request.headers().get(Name::From),
            Some("\"Jos_\" <sip:a@b>;tag=1")
        );
        let response = Response::builder_for(&request, 200).build().unwrap();
        assert!(response.to_bytes().windows(6).any(|w| w == b"\"Jos\xe9\""));
        assert_eq!(response.headers().from().unwrap().tag(), Some("1"));
    }

    #[test]
    fn the_top_via_gets_the_source_it_really_had() {
        let source = "192.0.2.9:40000";
        assert_eq!(
            top_via(
                "Via: SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bK1, SIP/2.0/UDP h2",
                source
            ),
            "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;received=192.0.2.9;rport=40000, SIP/2.0/UDP h2"
        );
        assert_eq!(
            top_via("Via: SIP/2.0/UDP host.example.com ;branch=z9hG4bK1", source),
            "SIP/2.0/UDP host.example.com;branch=z9hG4bK1;received=192.0.2.9"
        );
        let honest = "SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK1";
        assert_eq!(top_via(&format!("Via: {honest}"), source), honest);
        assert_eq!(
            top_via(&format!("Via: {honest}"), "[::ffff:192.0.2.9]:40000"),
            honest
        );
        assert_eq!(
            top_via("Via: SIP/2.0/UDP h;branch=z9hG4bK1", "[2001:db8::1]:5060"),
            "SIP/2.0/UDP h;branch=z9hG4bK1;received=2001:db8::1"
        );
    }

    #[test]
    fn a_source_the_peer_wrote_itself_is_not_believed() {
        assert_eq!(
            top_via(
                "Via: SIP/2.0/UDP 192.0.2.9;received=198.51.100.1;rport=1;branch=z9hG4bK1",
                "192.0.2.9:40000"
            ),
            "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1;received=192.0.2.9;rport=40000"
        );
    }

    #[test]
    fn no_value_can_inject_a_header() {
        for evil in ["a\r\nX: 1", "a\nX: 1", "a\rX: 1", "a\0b", "\r\n"] {
            let request = Request::builder(Method::Bye, "sip:a@h")
                .header("X-A", evil)
                .build();
            assert_eq!(request.unwrap_err(), BuildError::LineEnd("X-A".into()));
            let typed = Request::builder(Method::Bye, "sip:a@h")
                .body(evil, Bytes::new())
                .build();
            assert!(typed.is_err());
            let named = Request::builder(Method::Bye, "sip:a@h")
                .header(evil, "1")
                .build();
            assert_eq!(named.unwrap_err(), BuildError::Name(evil.into()));
            assert!(
                Request::builder(Method::Bye, &format!("sip:{evil}"))
                    .build()
                    .is_err()
            );
            assert!(
                Request::builder(Method::new(evil), "sip:a@h")
                    .build()
                    .is_err()
            );
            let request = invite("Via: SIP/2.0/UDP h");
            assert!(
                Response::builder_for(&request, 200)
                    .reason(evil)
                    .build()
                    .is_err()
            );
            assert!(
                Response::builder_for(&request, 200)
                    .to_tag(evil)
                    .build()
                    .is_err()
            );
            assert!(
                Response::builder_for(&request, 200)
                    .header("X-A", evil)
                    .build()
                    .is_err()
            );
        }
        for name in ["", "X A", "X:", "é", "X-A:1"] {
            assert!(
                Request::builder(Method::Bye, "sip:a@h")
                    .header(name, "1")
                    .build()
                    .is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn start_lines_that_would_break_are_refused() {
        assert!(Request::builder(Method::Bye, "").build().is_err());
        assert!(
            Request::builder(Method::Bye, "sip:a@h SIP/2.0")
                .build()
                .is_err()
        );
        assert!(
            Request::builder(Method::new("BYE sip:x"), "sip:a@h")
                .build()
                .is_err()
        );
        let request = invite("Via: SIP/2.0/UDP h");
        for status in [0, 99, 700, u16::MAX] {
            assert!(Response::builder_for(&request, status).build().is_err());
        }
    }

    #[test]
    fn content_length_is_counted_whatever_is_asked_for() {
        let request = Request::builder(Method::Info, "sip:a@h")
            .header("Content-Length", "9999")
            .header("l", "8")
            .body("a/b", Bytes::from_static(b"123"))
            .build()
            .unwrap();
        assert_eq!(
            request
                .headers()
                .all(Name::ContentLength)
                .collect::<Vec<_>>(),
            ["3"]
        );
    }

    #[test]
    fn a_request_said_again_changes_its_via_its_number_and_what_is_replaced() {
        let first = Request::builder(Method::Invite, "sip:bot@h")
            .header(Name::Via, "SIP/2.0/UDP us;branch=z9hG4bK1")
            .header(Name::CSeq, "1 INVITE")
            .header("X-Odd", "\u{e9}")
            .header(Name::Authorization, "old")
            .body("application/sdp", Bytes::from_static(b"v=0"))
            .build()
            .unwrap();
        let via = "SIP/2.0/TCP us;branch=z9hG4bK2";
        let again = first.again(via, Some(2), &[Name::Authorization]);
        let again = again.header(Name::Authorization, "new").build().unwrap();
        let expected = "INVITE sip:bot@h SIP/2.0\r\nVia: SIP/2.0/TCP us;branch=z9hG4bK2\r\nCSeq: 2 INVITE\r\n\
                        X-Odd: \u{e9}\r\nContent-Type: application/sdp\r\nAuthorization: new\r\nContent-Length: 3\r\n\r\nv=0";
        assert_eq!(std::str::from_utf8(&again.to_bytes()), Ok(expected));
        // And a line end smuggled into what is new is refused as ever.
        let forged = first.again(via, None, &[]).header("X-A", "1\r\nX-B: 2");
        assert!(matches!(forged.build(), Err(BuildError::LineEnd(_))));
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let build = |body: usize| {
            Request::builder(Method::Info, "sip:a@h")
                .body("a/b", Bytes::from(vec![0; body]))
                .build()
        };
        assert!(build(60_000).is_ok());
        assert_eq!(build(limits::MESSAGE).unwrap_err(), BuildError::TooLarge);
        let long = "x".repeat(limits::HEADER + 1);
        let request = Request::builder(Method::Info, "sip:a@h")
            .header("X", &long)
            .build();
        assert_eq!(request.unwrap_err(), BuildError::TooLarge);
        let many: Vec<_> = (0..limits::HEADERS)
            .map(|i| (format!("X-{i}"), String::new()))
            .collect();
        let request = Request::builder(Method::Info, "sip:a@h")
            .headers(&many)
            .build();
        assert_eq!(request.unwrap_err(), BuildError::TooLarge);
    }
}
