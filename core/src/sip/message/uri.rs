//! SIP and SIPS URIs (RFC 3261 §19.1), and enough of `tel:` (RFC 3966) and of unknown schemes to pass them on.

pub use super::escape::{
    escape_header_value, escape_param, escape_user, unescape, unescape_octets,
};
use super::lex::{has_line_end, is_uri_octet, trim};
use memchr::memchr;
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

/// Why a URI cannot be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    /// Nothing before the first colon, or what no scheme may be.
    #[error("no scheme")]
    Scheme,
    /// White space, a control, a quote or an angle bracket.
    #[error("a character that no URI may hold")]
    Character,
    /// No host, a host that is none, or an IPv6 address without brackets.
    #[error("no valid host")]
    Host,
    /// A port that is no number below 65536.
    #[error("no valid port")]
    Port,
    /// CR, LF or NUL in something to be written: it would become a header of its own at the far end.
    #[error("a line end inside a value")]
    LineEnd,
}

/// A URI in its parts, kept as written (a port loses leading zeros); accessors unescape.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Uri {
    scheme: String,
    user: Option<String>,
    password: Option<String>,
    host: String,
    port: Option<u16>,
    params: Vec<(String, Option<String>)>,
    headers: Vec<(String, Option<String>)>,
}

impl Uri {
    /// `sip:host`, to be filled with the setters below.
    ///
    /// # Errors
    /// [`UriError::Host`] for what is neither name nor address (IPv6 in brackets).
    pub fn sip(host: &str) -> Result<Self, UriError> {
        if !is_host(host) {
            return Err(UriError::Host);
        }
        Ok(Self {
            scheme: "sip".into(),
            user: None,
            password: None,
            host: host.into(),
            port: None,
            params: Vec::new(),
            headers: Vec::new(),
        })
    }

    /// Reads a URI, without angle brackets.
    ///
    /// # Errors
    /// See [`UriError`]; peers that send such a URI get 400, or 416 for a scheme we do not speak.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        let (scheme, rest) = split_scheme(text)?;
        if !is_sip(scheme) {
            return Ok(Self::parse_opaque(scheme, rest));
        }
        let parts = Parts::split(rest)?;
        Ok(Self {
            scheme: scheme.into(),
            user: parts.user.map(Into::into),
            password: parts.password.map(Into::into),
            host: parts.host.into(),
            port: parts.port,
            params: pairs(parts.params, ';'),
            headers: pairs(parts.headers, '&'),
        })
    }

    /// Would [`Uri::parse`] read it? Without keeping anything.
    ///
    /// # Errors
    /// As [`Uri::parse`].
    pub fn check(text: &str) -> Result<(), UriError> {
        let (scheme, rest) = split_scheme(text)?;
        if is_sip(scheme) {
            Parts::split(rest)?;
        }
        Ok(())
    }

    /// A number with parameters (`tel:+1555;phone-context=example.com`), or whatever another scheme means:
    /// all of it is the user part then, and there is no host.
    fn parse_opaque(scheme: &str, rest: &str) -> Self {
        let (user, params) = match rest.split_once(';') {
            Some((number, params)) if scheme.eq_ignore_ascii_case("tel") => {
                (number, pairs(Some(params), ';'))
            }
            _ => (rest, Vec::new()),
        };
        Self {
            scheme: scheme.into(),
            user: Some(user.into()),
            password: None,
            host: String::new(),
            port: None,
            params,
            headers: Vec::new(),
        }
    }

    /// The scheme as written; compare without regard to case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// `sip` or `sips`: the schemes that have a host, parameters and headers.
    pub fn is_sip(&self) -> bool {
        is_sip(&self.scheme)
    }

    /// The user part unescaped; the number of a `tel:`; all of an unknown scheme.
    pub fn user(&self) -> Option<Cow<'_, str>> {
        self.user.as_deref().map(unescape)
    }

    /// The user part as written.
    pub fn user_raw(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The password unescaped. Nobody should send one (§19.1.1).
    pub fn password(&self) -> Option<Cow<'_, str>> {
        self.password.as_deref().map(unescape)
    }

    /// Host as written: a name, an IPv4 address, or an IPv6 address in brackets; empty for other schemes.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host as an address, when it is one.
    pub fn host_ip(&self) -> Option<IpAddr> {
        host_ip(&self.host)
    }

    /// The port, when one is written.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// URI parameters in order, as written.
    pub fn params(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.params
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_deref()))
            .filter(|(name, _)| !name.is_empty())
    }

    /// A URI parameter unescaped: `None` when absent, `Some(None)` without value (`;lr`).
    pub fn param(&self, name: &str) -> Option<Option<Cow<'_, str>>> {
        self.params()
            .find(|(n, _)| unescape(n).eq_ignore_ascii_case(name))
            .map(|(_, value)| value.map(unescape))
    }

    /// URI headers in order, as written.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_deref().unwrap_or_default()))
            .filter(|(name, _)| !name.is_empty())
    }

    /// A URI header's value unescaped, by its name in any case.
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.headers()
            .find(|(n, _)| unescape(n).eq_ignore_ascii_case(name))
            .map(|(_, value)| unescape(value))
    }

    /// With this user part, escaped as needed.
    ///
    /// # Errors
    /// [`UriError::LineEnd`].
    pub fn with_user(mut self, user: &str) -> Result<Self, UriError> {
        self.user = Some(escape_user(one_line(user)?));
        Ok(self)
    }

    /// With this port, or without one.
    #[must_use]
    pub const fn with_port(mut self, port: Option<u16>) -> Self {
        self.port = port;
        self
    }

    /// With one more URI parameter, escaped as needed.
    ///
    /// # Errors
    /// [`UriError::LineEnd`].
    pub fn with_param(mut self, name: &str, value: Option<&str>) -> Result<Self, UriError> {
        let value = value.map(one_line).transpose()?.map(escape_param);
        self.params.push((escape_param(one_line(name)?), value));
        Ok(self)
    }

    /// With one more URI header, escaped as needed: `?Name=value`. Write the result in angle brackets.
    ///
    /// # Errors
    /// [`UriError::LineEnd`].
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, UriError> {
        let value = escape_header_value(one_line(value)?);
        self.headers
            .push((escape_header_value(one_line(name)?), Some(value)));
        Ok(self)
    }

    /// Without URI headers, as a Request-URI must be (§19.1.1).
    #[must_use]
    pub fn without_headers(mut self) -> Self {
        self.headers.clear();
        self
    }
}

/// A scheme, and what follows its colon.
fn split_scheme(text: &str) -> Result<(&str, &str), UriError> {
    let colon = memchr(b':', text.as_bytes()).ok_or(UriError::Scheme)?;
    let (scheme, rest) = (&text[..colon], &text[colon + 1..]);
    if !is_scheme(scheme) {
        return Err(UriError::Scheme);
    }
    if !rest.bytes().all(is_uri_octet) {
        return Err(UriError::Character);
    }
    Ok((scheme, rest))
}

/// `[user[:password]@]host[:port][;params][?headers]` as written.
struct Parts<'a> {
    user: Option<&'a str>,
    password: Option<&'a str>,
    host: &'a str,
    port: Option<u16>,
    params: Option<&'a str>,
    headers: Option<&'a str>,
}

impl<'a> Parts<'a> {
    /// The first `@` ends the user part, because the user part may hold `;` and `?` but no `@`
    /// (RFC 4475 §3.1.1.9).
    fn split(rest: &'a str) -> Result<Self, UriError> {
        let (user, password, rest) = match rest.split_once('@') {
            Some((userinfo, rest)) => match userinfo.split_once(':') {
                Some((user, password)) => (Some(user), Some(password), rest),
                None => (Some(userinfo), None, rest),
            },
            None => (None, None, rest),
        };
        let is_end = |octet: u8| matches!(octet, b';' | b'?');
        let end = rest.bytes().position(is_end).unwrap_or(rest.len());
        let (host_port, rest) = rest.split_at(end);
        let (host, port) = split_host_port(host_port).ok_or_else(|| host_or_port(host_port))?;
        let (params, headers) = match rest.split_once('?') {
            Some((params, headers)) => (params, Some(headers)),
            None => (rest, None),
        };
        Ok(Self {
            user,
            password,
            host,
            port,
            params: params.strip_prefix(';'),
            headers,
        })
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme)?;
        if let Some(user) = &self.user {
            f.write_str(user)?;
        }
        if let Some(password) = &self.password {
            write!(f, ":{password}")?;
        }
        if self.is_sip() {
            let at = if self.user.is_some() { "@" } else { "" };
            write!(f, "{at}{}", self.host)?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write_pairs(f, &self.params, ";", ";")?;
        write_pairs(f, &self.headers, "?", "&")
    }
}

impl std::str::FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Self::parse(text)
    }
}

fn write_pairs(
    f: &mut fmt::Formatter<'_>,
    pairs: &[(String, Option<String>)],
    first: &str,
    next: &str,
) -> fmt::Result {
    for (i, (name, value)) in pairs.iter().enumerate() {
        write!(f, "{}{name}", if i == 0 { first } else { next })?;
        if let Some(value) = value {
            write!(f, "={value}")?;
        }
    }
    Ok(())
}

/// `name=value` pieces between separators, empty ones included, so that they are written back as they were.
fn pairs(text: Option<&str>, separator: char) -> Vec<(String, Option<String>)> {
    text.into_iter()
        .flat_map(|text| text.split(separator))
        .map(|piece| match piece.split_once('=') {
            Some((name, value)) => (name.into(), Some(value.into())),
            None => (piece.into(), None),
        })
        .collect()
}

fn one_line(text: &str) -> Result<&str, UriError> {
    if has_line_end(text) {
        return Err(UriError::LineEnd);
    }
    Ok(text)
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

fn is_sip(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips")
}

/// `host`, `host:port`, `[ipv6]`, `[ipv6]:port`, with white space around each; `None` when it is none of these.
pub(super) fn split_host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let from = memchr(b']', text.as_bytes()).unwrap_or(0);
    let (host, port) = match memchr(b':', &text.as_bytes()[from..]) {
        Some(at) => (&text[..from + at], Some(trim(&text[from + at + 1..]))),
        None => (text, None),
    };
    let host = trim(host);
    let port = match port {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
        Some(_) => return None,
        None => None,
    };
    is_host(host).then_some((host, port))
}

/// Which half of a refused `host:port` was wrong.
fn host_or_port(text: &str) -> UriError {
    let from = text.find(']').unwrap_or(0);
    let host = text[from..].find(':').map_or(text, |at| &text[..from + at]);
    if is_host(host) {
        UriError::Port
    } else {
        UriError::Host
    }
}

/// A name or an address. Underscores stand in real host names; IPv6 is checked only for its characters, since
/// RFC 5118 §4.10 wants `[2001:db8:::192.0.2.1]` tolerated.
fn is_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[') {
        return inner.strip_suffix(']').is_some_and(|address| {
            address.contains(':')
                && address
                    .bytes()
                    .all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))
        });
    }
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// A host as an address: IPv4, or IPv6 with or without brackets, three colons read as two (RFC 5118 §4.10).
pub fn host_ip(host: &str) -> Option<IpAddr> {
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    inner
        .parse()
        .or_else(|error| {
            if inner.contains(":::") {
                inner.replacen(":::", "::", 1).parse()
            } else {
                Err(error)
            }
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Uri {
        Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_part_is_read_and_written_back_as_it_was() {
        let text = "sips:alice%20b:pw@[2001:db8::1]:5061;transport=tcp;lr;x=%41?X-Key=a%3Db&Subject=hi%20all";
        let uri = read(text);
        assert_eq!(
            (uri.scheme(), uri.user().as_deref()),
            ("sips", Some("alice b"))
        );
        assert_eq!(uri.user_raw(), Some("alice%20b"));
        assert_eq!(uri.password().as_deref(), Some("pw"));
        assert_eq!((uri.host(), uri.port()), ("[2001:db8::1]", Some(5061)));
        assert_eq!(uri.host_ip(), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(uri.param("Transport"), Some(Some("tcp".into())));
        assert_eq!(uri.param("lr"), Some(None));
        assert_eq!(uri.param("x"), Some(Some("A".into())));
        assert_eq!(uri.param("y"), None);
        assert_eq!(uri.header("x-key").as_deref(), Some("a=b"));
        assert_eq!(uri.header("subject").as_deref(), Some("hi all"));
        assert_eq!(uri.to_string(), text);
    }

    #[test]
    fn uri_headers_survive_with_and_without_parameters() {
        for text in [
            "sip:x@h?X-Session-Key=k-42",
            "sip:x@h;transport=tls?X-Session-Key=k-42",
            "sip:h?X-Session-Key=k-42",
            "sip:x@h:5060?A=1&x-session-key=k-42&B",
        ] {
            let uri = read(text);
            assert_eq!(
                uri.header("X-Session-Key").as_deref(),
                Some("k-42"),
                "{text}"
            );
            assert_eq!(uri.host(), "h");
            assert_eq!(uri.to_string(), text);
        }
    }

    #[test]
    fn a_user_part_may_hold_what_looks_like_parameters_and_headers() {
        let uri = read("sip:user;par=u%40example.net?a=b@example.com;p");
        assert_eq!(uri.user().as_deref(), Some("user;par=u@example.net?a=b"));
        assert_eq!(uri.host(), "example.com");
        assert_eq!(uri.param("par"), None);
    }

    #[test]
    fn an_at_sign_in_a_header_value_does_not_move_the_host() {
        let uri = read("sip:x@good.example?X-Key=a@evil.example");
        assert_eq!(
            (uri.host(), uri.header("X-Key").as_deref()),
            ("good.example", Some("a@evil.example"))
        );
    }

    #[test]
    fn empty_parameters_and_headers_are_no_parameters_but_stay() {
        for text in [
            "sip:h;",
            "sip:h;;lr;",
            "sip:h?",
            "sip:a@h;?&X=1&",
            "tel:1;;a",
            "sip:@h",
            "sip::@h",
            "sip:a:@h",
        ] {
            let uri = read(text);
            assert_eq!(uri.to_string(), text);
            assert!(
                uri.params().count() <= 1 && uri.headers().count() <= 1,
                "{text}"
            );
        }
        assert_eq!(read("sip:h;;lr;").param("lr"), Some(None));
        assert_eq!(read("sip:a@h;?&X=1&").header("x").as_deref(), Some("1"));
    }

    #[test]
    fn an_escaped_null_does_not_end_the_user() {
        assert_eq!(
            read("sip:null-%00-null@example.com").user().as_deref(),
            Some("null-\0-null")
        );
    }

    #[test]
    fn numbers_and_unknown_schemes_are_kept() {
        let tel = read("tel:+1-555-123;phone-context=example.com");
        assert_eq!(tel.user().as_deref(), Some("+1-555-123"));
        assert_eq!(tel.param("phone-context"), Some(Some("example.com".into())));
        assert!(!tel.is_sip());
        for text in [
            "tel:+1-555-123;phone-context=example.com",
            "soap.beep://192.0.2.103:3002",
            "urn:service:sos",
            "SIP:a@h",
        ] {
            assert_eq!(read(text).to_string(), text);
        }
    }

    #[test]
    fn three_colons_are_tolerated_as_two() {
        let uri = read("sip:user@[2001:db8:::192.0.2.1]");
        assert_eq!(uri.host_ip(), Some("2001:db8::192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_uri_is_refused_with_its_reason() {
        for (text, error) in [
            ("", UriError::Scheme),
            ("alice@h", UriError::Scheme),
            (":a@h", UriError::Scheme),
            ("<sip:a@h>", UriError::Scheme),
            ("1sip:a@h", UriError::Scheme),
            ("sip:a b@h", UriError::Character),
            ("sip:a@h\r\nX: 1", UriError::Character),
            ("sip:a@h\0", UriError::Character),
            ("sip:\"a\"@h", UriError::Character),
            ("sip:", UriError::Host),
            ("sip:a@", UriError::Host),
            ("sip:a@b@c", UriError::Host),
            ("sip:a@h,b", UriError::Host),
            ("sip:a@[::1", UriError::Host),
            ("sip:a@[]", UriError::Host),
            ("sip:a@[1]", UriError::Host),
            ("sip:2001:db8::10", UriError::Port),
            ("sip:a@h:", UriError::Port),
            ("sip:a@h:65536", UriError::Port),
            ("sip:a@h:+5", UriError::Port),
            ("sip:a@h:5060x", UriError::Port),
        ] {
            assert_eq!(Uri::parse(text), Err(error), "{text}");
            assert_eq!(Uri::check(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_uri_is_built_with_what_must_be_escaped_escaped() {
        let uri = Uri::sip("flex.example.com")
            .unwrap()
            .with_user("queue 1@x")
            .unwrap()
            .with_port(Some(5061))
            .with_param("transport", Some("tls"))
            .unwrap()
            .with_param("lr", None)
            .unwrap()
            .with_header("X-Session-History-Key", "prod::live=42")
            .unwrap()
            .with_header("Replaces", "abc@h;to-tag=t1")
            .unwrap();
        assert_eq!(
            uri.to_string(),
            "sip:queue%201%40x@flex.example.com:5061;transport=tls;lr\
             ?X-Session-History-Key=prod::live%3D42&Replaces=abc%40h%3Bto-tag%3Dt1"
        );
        assert_eq!(uri.without_headers().headers().count(), 0);
    }

    #[test]
    fn line_ends_are_refused_wherever_they_would_be_written() {
        let uri = Uri::sip("h").unwrap();
        for evil in ["a\r\nVia: x", "a\nb", "\r", "\0"] {
            assert_eq!(uri.clone().with_user(evil), Err(UriError::LineEnd));
            assert_eq!(uri.clone().with_param(evil, None), Err(UriError::LineEnd));
            assert_eq!(
                uri.clone().with_param("p", Some(evil)),
                Err(UriError::LineEnd)
            );
            assert_eq!(uri.clone().with_header(evil, "v"), Err(UriError::LineEnd));
            assert_eq!(uri.clone().with_header("X", evil), Err(UriError::LineEnd));
            assert_eq!(Uri::sip(evil), Err(UriError::Host));
        }
    }

    proptest! {
        #[test]
        fn a_header_value_comes_back_from_the_written_uri(value in "[^\r\n\0]{0,40}", name in "X-[A-Za-z]{1,12}") {
            let uri = Uri::sip("h").unwrap().with_user("q").unwrap().with_header(&name, &value).unwrap();
            let read = Uri::parse(&uri.to_string()).unwrap();
            prop_assert_eq!(read.header(&name).unwrap(), value.as_str());
            prop_assert_eq!(read.host(), "h");
        }

        #[test]
        fn what_is_read_is_written_as_it_was(text in "sip:([a-z%;?/=]{1,8}@)?[a-z.]{1,8}(:[1-9][0-9]{0,3})?(;[a-z]{1,4}(=[a-z%]{1,4})?){0,3}") {
            if let Ok(uri) = Uri::parse(&text) {
                prop_assert_eq!(uri.to_string(), text);
            }
        }

        #[test]
        fn any_text_is_read_or_refused_and_never_panics(text in any::<String>()) {
            let _ = Uri::parse(&text).map(|uri| (uri.to_string(), uri.header("a").is_some(), uri.host_ip()));
            let _ = Uri::parse(&format!("sip:{text}"));
        }
    }
}
