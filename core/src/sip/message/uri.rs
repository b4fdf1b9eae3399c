//! SIP and SIPS URIs (RFC 3261 §19.1), and enough of `tel:` (RFC 3966) and of unknown schemes to pass them on.

pub use super::escape::{
    escape_header_value, escape_param, escape_user, unescape, unescape_octets,
};
use super::lex::trim;
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

/// A URI in its parts, kept exactly as written; accessors unescape.
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
        let (scheme, rest) = text.split_once(':').ok_or(UriError::Scheme)?;
        if !is_scheme(scheme) {
            return Err(UriError::Scheme);
        }
        if text
            .chars()
            .any(|c| c <= ' ' || matches!(c, '\x7f' | '<' | '>' | '"'))
        {
            return Err(UriError::Character);
        }
        if is_sip(scheme) {
            Self::parse_sip(scheme, rest)
        } else {
            Ok(Self::parse_opaque(scheme, rest))
        }
    }

    /// `[user[:password]@]host[:port][;params][?headers]`. The first `@` ends the user part, because the user
    /// part may hold `;` and `?` but no `@` (RFC 4475 §3.1.1.9).
    fn parse_sip(scheme: &str, rest: &str) -> Result<Self, UriError> {
        let (user, password, rest) = match rest.split_once('@') {
            Some((userinfo, rest)) => match userinfo.split_once(':') {
                Some((user, password)) => (Some(user), Some(password), rest),
                None => (Some(userinfo), None, rest),
            },
            None => (None, None, rest),
        };
        let end = rest.find([';', '?']).unwrap_or(rest.len());
        let (host_port, rest) = rest.split_at(end);
        let (host, port) = split_host_port(host_port).ok_or_else(|| host_or_port(host_port))?;
        let (params, headers) = rest.split_once('?').unwrap_or((rest, ""));
        Ok(Self {
            scheme: scheme.into(),
            user: user.map(Into::into),
            password: password.map(Into::into),
            host: host.into(),
            port,
            params: pairs(params.strip_prefix(';').unwrap_or(params), ';'),
            headers: pairs(headers, '&'),
        })
    }

    /// A number with parameters (`tel:+1555;phone-context=example.com`), or whatever another scheme means:
    /// all of it is the user part then, and there is no host.
    fn parse_opaque(scheme: &str, rest: &str) -> Self {
        let (user, params) = match rest.split_once(';') {
            Some((number, params)) if scheme.eq_ignore_ascii_case("tel") => {
                (number, pairs(params, ';'))
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
        self.params.iter().map(|(n, v)| (n.as_str(), v.as_deref()))
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

/// `name=value` pieces between separators; empty pieces are left out.
fn pairs(text: &str, separator: char) -> Vec<(String, Option<String>)> {
    text.split(separator)
        .filter(|piece| !piece.is_empty())
        .map(|piece| match piece.split_once('=') {
            Some((name, value)) => (name.into(), Some(value.into())),
            None => (piece.into(), None),
        })
        .collect()
}

fn one_line(text: &str) -> Result<&str, UriError> {
    if text.contains(['\r', '\n', '\0']) {
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
    let from = text.find(']').unwrap_or(0);
    let (host, port) = match text[from..].find(':') {
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
        .or_else(|error| match inner.contains(":::") {
            true => inner.replacen(":::", "::", 1).parse(),
            false => Err(error),
        })
        .ok()
}
