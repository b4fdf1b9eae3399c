//! The header fields of one message: a table of spans into the message's own octets.

use super::error::ParseError;
use super::lex::{self, is_space, split_outside, trim};
use super::limits;
use super::method::Method;
use super::name::Name;
use super::name_addr::NameAddr;
use super::params::Params;
use super::via::Via;
use bytes::Bytes;
use bytestring::ByteString;
use std::fmt;

/// A stretch of a message, in octets from its start. A message is at most 64 KiB, so `u32` is plenty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    /// Offsets are within one message, which [`limits::MESSAGE`] keeps far below `u32::MAX`.
    pub(super) fn new(start: usize, end: usize) -> Self {
        let offset = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            start: offset(start),
            end: offset(end),
        }
    }

    pub(super) const fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// One header field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) known: Option<Name>,
    pub(super) name: Span,
    pub(super) value: Span,
}

/// The header fields, in order.
///
/// `wire` is the message as received, or as it will be sent; only folds are replaced by spaces. `text` is its octets up
/// to the body as valid UTF-8: it *is* part of `wire` (no copy) unless there are octets that are no UTF-8, each of
/// which is shown as `_`. Spans fit both. Reading uses `text`; copying into a response uses `wire`.
#[derive(Clone)]
pub struct Headers {
    pub(super) wire: Bytes,
    pub(super) text: ByteString,
    pub(super) fields: Vec<Field>,
}

impl Headers {
    /// How many header fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// How many field lines of that name there are.
    pub fn count(&self, name: Name) -> usize {
        let is_it = |field: &&Field| field.known == Some(name);
        self.fields.iter().filter(is_it).count()
    }

    /// How many field lines there are of each name, by its place in the catalogue; all in one pass.
    pub(super) fn counts(&self) -> [u8; Name::COUNT] {
        let mut counts = [0_u8; Name::COUNT];
        for name in self.fields.iter().filter_map(|field| field.known) {
            // At most as many as a message may have fields, which a u8 holds.
            counts[name as usize] = counts[name as usize].saturating_add(1);
        }
        counts
    }

    /// Every field in order: its name if we know it, its value.
    pub fn lines(&self) -> impl Iterator<Item = (Option<Name>, &str)> {
        self.fields
            .iter()
            .map(|field| (field.known, self.text(field.value)))
    }

    /// The first field of that name: its whole value, unfolded, without white space at its ends.
    pub fn get(&self, name: Name) -> Option<&str> {
        self.all(name).next()
    }

    /// The value of each field line of that name, in order.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &str> {
        self.fields
            .iter()
            .filter(move |field| field.known == Some(name))
            .map(|field| self.text(field.value))
    }

    /// The elements of a comma-separated list over all its field lines, in order; commas inside quotes and angle
    /// brackets do not separate. Not for fields whose values hold bare commas (WWW-Authenticate, Date, Subject).
    pub fn values(&self, name: Name) -> impl Iterator<Item = &str> {
        self.all(name).flat_map(|line| split_outside(line, b','))
    }

    /// Does a list (Allow, Supported, Require) hold this token? Compared without regard to case.
    pub fn lists(&self, name: Name, token: &str) -> bool {
        self.values(name)
            .any(|value| value.eq_ignore_ascii_case(token))
    }

    /// The first field of any name, known or not, in any case. A compact form finds its long form.
    pub fn named(&self, name: &str) -> Option<&str> {
        match Name::new(name) {
            Some(known) => self.get(known),
            None => self
                .fields
                .iter()
                .filter(|field| field.known.is_none())
                .find(|field| self.text(field.name).eq_ignore_ascii_case(name))
                .map(|field| self.text(field.value)),
        }
    }

    /// Every field in order: its name as written, its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields
            .iter()
            .map(|field| (self.text(field.name), self.text(field.value)))
    }

    /// The topmost Via.
    ///
    /// # Errors
    /// Missing, or malformed: then there is nowhere to answer to.
    pub fn via(&self) -> Result<Via<'_>, ParseError> {
        let value = self.values(Name::Via).next();
        Via::parse(value.ok_or(ParseError::Missing(Name::Via))?)
            .ok_or(ParseError::Malformed(Name::Via))
    }

    /// From.
    ///
    /// # Errors
    /// Missing or malformed.
    pub fn from(&self) -> Result<NameAddr<'_>, ParseError> {
        self.address(Name::From, self.get(Name::From))
    }

    /// To.
    ///
    /// # Errors
    /// Missing or malformed.
    pub fn to(&self) -> Result<NameAddr<'_>, ParseError> {
        self.address(Name::To, self.get(Name::To))
    }

    /// The first Contact.
    ///
    /// # Errors
    /// Missing or malformed; `*` is no address.
    pub fn contact(&self) -> Result<NameAddr<'_>, ParseError> {
        self.address(Name::Contact, self.values(Name::Contact).next())
    }

    /// The first value of any field that holds addresses: Refer-To, Referred-By, Route, Diversion and so on.
    ///
    /// # Errors
    /// Missing or malformed.
    pub fn name_addr(&self, name: Name) -> Result<NameAddr<'_>, ParseError> {
        self.address(name, self.values(name).next())
    }

    #[expect(clippy::unused_self, reason = "ties the lifetime to the message")]
    fn address<'a>(
        &'a self,
        name: Name,
        value: Option<&'a str>,
    ) -> Result<NameAddr<'a>, ParseError> {
        NameAddr::parse(value.ok_or(ParseError::Missing(name))?).ok_or(ParseError::Malformed(name))
    }

    /// `CSeq`.
    ///
    /// # Errors
    /// Missing or malformed; a number of 2^31 and more is malformed.
    pub fn cseq(&self) -> Result<CSeq, ParseError> {
        let value = self
            .get(Name::CSeq)
            .ok_or(ParseError::Missing(Name::CSeq))?;
        CSeq::parse(value).ok_or(ParseError::Malformed(Name::CSeq))
    }

    /// Call-ID. Compared octet by octet.
    ///
    /// # Errors
    /// Missing, empty, or more than one word.
    pub fn call_id(&self) -> Result<&str, ParseError> {
        let value = self
            .get(Name::CallId)
            .ok_or(ParseError::Missing(Name::CallId))?;
        if value.is_empty() || value.contains(is_space) {
            return Err(ParseError::Malformed(Name::CallId));
        }
        Ok(value)
    }

    /// Max-Forwards; absent in old peers.
    ///
    /// # Errors
    /// Not a number from 0 to 255.
    pub fn max_forwards(&self) -> Result<Option<u8>, ParseError> {
        self.number(Name::MaxForwards)
    }

    /// Content-Length; mandatory only on streams.
    ///
    /// # Errors
    /// Not a number.
    pub fn content_length(&self) -> Result<Option<usize>, ParseError> {
        self.number(Name::ContentLength)
    }

    /// The media type of the body, without parameters, as written; compare without regard to case.
    pub fn content_type(&self) -> Option<&str> {
        let value = self.get(Name::ContentType)?;
        Some(trim(value.split(';').next().unwrap_or(value)))
    }

    /// The parameters of a field's first line: `id` of Event, `refresher` of Session-Expires.
    pub fn params(&self, name: Name) -> Params<'_> {
        self.get(name).map_or(Params::default(), Params::of)
    }

    fn number<T: std::str::FromStr>(&self, name: Name) -> Result<Option<T>, ParseError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        if !value.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ParseError::Malformed(name)); // from_str would take a sign
        }
        let number = value.parse().map_err(|_| ParseError::Malformed(name))?;
        Ok(Some(number))
    }

    /// What a span shows.
    pub(super) fn text(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or_default()
    }

    /// What a span holds.
    pub(super) fn octets(&self, span: Span) -> &[u8] {
        self.wire.get(span.range()).unwrap_or_default()
    }
}

impl fmt::Debug for Headers {
    /// Names only: values hold numbers and names of people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.fields.iter().map(|field| self.text(field.name)))
            .finish()
    }
}

/// `CSeq`: the order of requests in a dialog (RFC 3261 §20.16).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CSeq {
    /// Below 2^31.
    pub number: u32,
    /// The request's method.
    pub method: Method,
}

impl CSeq {
    /// Reads `314159 INVITE`.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, method) = text.split_once(is_space)?;
        let method = trim(method);
        if !number.bytes().all(|b| b.is_ascii_digit()) || !lex::is_token(method) {
            return None;
        }
        let number = number.parse().ok().filter(|n| *n < limits::CSEQ)?;
        Some(Self {
            number,
            method: Method::new(method),
        })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Message;

    fn read(lines: &str) -> Message {
        let text = format!("INVITE sip:a@h SIP/2.0\r\n{lines}\r\n");
        Message::parse(&Bytes::from(text)).unwrap()
    }

    #[test]
    fn compact_and_odd_spellings_are_the_same_field() {
        let message = read(
            "v: SIP/2.0/UDP h1;branch=z9hG4bK1\r\nVIA : SIP/2.0/UDP h2\r\nvia:SIP/2.0/UDP h3\r\n",
        );
        let headers = message.headers();
        assert_eq!(headers.all(Name::Via).count(), 3);
        assert_eq!(headers.via().unwrap().host, "h1");
        assert_eq!(headers.named("Via"), headers.named("v"));
        let written: Vec<_> = headers.iter().map(|(name, _)| name).collect();
        assert_eq!(written, ["v", "VIA", "via"]);
    }

    #[test]
    fn lists_are_split_over_all_their_lines() {
        let message = read(
            "Route: <sip:p1;lr>, \"a, b\" <sip:p2,x;lr>\r\nRoute: <sip:p3>\r\nk: timer,100rel\r\n",
        );
        let headers = message.headers();
        assert_eq!(
            headers.values(Name::Route).collect::<Vec<_>>(),
            ["<sip:p1;lr>", "\"a, b\" <sip:p2,x;lr>", "<sip:p3>"]
        );
        assert!(headers.lists(Name::Supported, "100REL"));
        assert!(!headers.lists(Name::Supported, "rel"));
        assert!(!headers.lists(Name::Require, "timer"));
    }

    #[test]
    fn unknown_headers_are_found_in_any_case_and_kept_verbatim() {
        let message = read("X-Twilio-CallSid:   CA01 ; x=\"é\" \r\nx-empty:\r\n");
        assert_eq!(
            message.headers().named("x-twilio-callsid"),
            Some("CA01 ; x=\"é\"")
        );
        assert_eq!(message.headers().named("X-EMPTY"), Some(""));
        assert_eq!(message.headers().named("x-absent"), None);
    }

    #[test]
    fn addresses_are_read_where_they_stand() {
        let message = read(
            "From: \"A\" <sip:a@h>;tag=1\r\nTo: sip:b@h\r\nm: <sip:c@h>, <sip:d@h>\r\nr: <sip:q@h?X=1>\r\n",
        );
        let headers = message.headers();
        assert_eq!(headers.from().unwrap().tag(), Some("1"));
        assert_eq!(headers.to().unwrap().uri, "sip:b@h");
        assert_eq!(headers.contact().unwrap().uri, "sip:c@h");
        assert_eq!(headers.name_addr(Name::ReferTo).unwrap().uri, "sip:q@h?X=1");
        assert_eq!(
            headers.name_addr(Name::ReferredBy),
            Err(ParseError::Missing(Name::ReferredBy))
        );
        assert_eq!(
            read("Contact: *\r\n").headers().contact(),
            Err(ParseError::Malformed(Name::Contact))
        );
    }

    #[test]
    fn small_fields_are_read() {
        let message = read(
            "CSeq: 0009   INVITE\r\nMax-Forwards: 0068\r\nc: Application/SDP ; x=1\r\no: refer;id=93\r\nl: 0\r\n",
        );
        let headers = message.headers();
        assert_eq!(headers.cseq().unwrap().to_string(), "9 INVITE");
        assert_eq!(headers.max_forwards(), Ok(Some(68)));
        assert_eq!(headers.content_type(), Some("Application/SDP"));
        assert_eq!(headers.params(Name::Event).value("id"), Some("93"));
        assert_eq!(headers.content_length(), Ok(Some(0)));
        assert_eq!((headers.len(), headers.is_empty()), (5, false));
    }

    #[test]
    fn what_is_absent_says_so() {
        let message = read("");
        let headers = message.headers();
        assert!(headers.is_empty());
        assert_eq!(headers.via(), Err(ParseError::Missing(Name::Via)));
        assert_eq!(headers.call_id(), Err(ParseError::Missing(Name::CallId)));
        assert_eq!(headers.cseq(), Err(ParseError::Missing(Name::CSeq)));
        assert_eq!(headers.max_forwards(), Ok(None));
        assert_eq!(headers.content_type(), None);
        assert_eq!(headers.params(Name::Event).iter().count(), 0);
    }

    #[test]
    fn a_debug_print_shows_no_values() {
        let shown = format!("{:?}", read("From: <sip:+15551230000@h>\r\n"));
        assert!(shown.contains("From") && !shown.contains("1555"), "{shown}");
    }
}
