//! What travels with a handoff, and where on the wire: the key, the headers, the target. Written here, and read
//! back here for the refer-handler.
//!
//! ```text
//! Refer-To: <sip:queue@flex.example.com?X-Session-History-Key=KEY&X-Reason=billing>     URI headers, RFC 3261 §19.1.1
//! Referred-By: <sip:bot@voice.example.com>                                              RFC 3892
//! ```

mod read;

pub use read::{read_key, read_key_of};

use super::{Config, KeyPlacement, Request};
use crate::sip::message::uri::{escape_header_value, unescape};
use crate::sip::message::{Uri, UriError};
use crate::vocab::HandoffKey;

/// Octets of a Refer-To header field that Twilio takes: name, colon, space and brackets counted, to be safe.
pub const REFER_TO_MAX: usize = 256;
/// `Refer-To: <` and `>`.
const REFER_TO_FRAME: usize = 12;
/// Octets of a target URI.
pub const TARGET_MAX: usize = 512;
/// Header fields one handoff may add.
pub const HEADERS_MAX: usize = 16;
/// Octets of one header field's value.
pub const VALUE_MAX: usize = 1024;
/// Octets of the free text that goes into headers (`{reason}`).
const REASON_MAX: usize = 128;
/// RFC 7433.
const USER_TO_USER: &str = "User-to-User";

/// Header fields that belong to the messages themselves. An agent may not set them, neither in our request nor,
/// through a URI header, in the far end's INVITE (RFC 3261 §19.1.5). Compact forms included.
const FORBIDDEN: &[&str] = &[
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Alert-Info",
    "Allow",
    "Allow-Events",
    "Authorization",
    "Body",
    "Call-ID",
    "Call-Info",
    "Contact",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-Type",
    "CSeq",
    "Event",
    "Expires",
    "From",
    "Identity",
    "Max-Forwards",
    "Method",
    "MIME-Version",
    "Min-SE",
    "P-Asserted-Identity",
    "Path",
    "Privacy",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Require",
    "RAck",
    "Record-Route",
    "Refer-Sub",
    "Refer-To",
    "Referred-By",
    "Replaces",
    "Require",
    "Route",
    "RSeq",
    "Service-Route",
    "Session-Expires",
    "Subscription-State",
    "Supported",
    "Target-Dialog",
    "To",
    "Unsupported",
    "User-Agent",
    "Via",
    "WWW-Authenticate",
];

/// Why a handoff's request cannot be put on the wire. Ours to tell the agent; nothing has been sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// Neither the request nor the configuration names a target.
    #[error("no target: set one in [[handoff]], or name it in the handoff")]
    NoTarget,
    /// Not `sip:`, `sips:` or `tel:`.
    #[error("the target must be a sip:, sips: or tel: URI")]
    Scheme,
    /// Not a URI.
    #[error("the target is no URI: {0}")]
    Target(#[from] UriError),
    /// Longer than [`TARGET_MAX`].
    #[error("the target is longer than {TARGET_MAX} octets")]
    TargetTooLong,
    /// A header name that is no token (RFC 3261 §25.1).
    #[error("{0:?} is no header name")]
    HeaderName(String),
    /// A header that belongs to SIP itself.
    #[error("header {0} may not be set")]
    Forbidden(String),
    /// A control character, CR and LF above all: it would become a header of its own.
    #[error("the value of header {0} holds a control character")]
    HeaderValue(String),
    /// Longer than [`VALUE_MAX`].
    #[error("the value of header {0} is longer than {VALUE_MAX} octets")]
    ValueTooLong(String),
    /// More than [`HEADERS_MAX`].
    #[error("more than {HEADERS_MAX} headers")]
    TooManyHeaders,
}

/// A checked target and everything that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    target: Uri,
    key: (String, HandoffKey),
    headers: Vec<(String, String)>,
    placement: KeyPlacement,
    /// Who refers: our own URI.
    referrer: Option<String>,
}

/// What a REFER says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refer {
    /// The whole value of Refer-To, brackets included.
    pub refer_to: String,
    /// Further header fields of the REFER.
    pub headers: Vec<(String, String)>,
    /// URI headers for our Contact, escaped and joined with `&`; `None` as a rule.
    pub contact_headers: Option<String>,
}

impl Context {
    /// Checks a request against the configuration; the request's own headers come before the configured ones
    /// and win over them.
    ///
    /// # Errors
    /// What cannot be said in SIP, or must not.
    pub fn new(
        config: &Config,
        request: &Request,
        key: HandoffKey,
        placement: KeyPlacement,
        referrer: Option<&str>,
    ) -> Result<Self, ContextError> {
        let target = request.target.as_ref().or(config.target.as_ref());
        let target = parse_target(target.ok_or(ContextError::NoTarget)?)?;
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, value) in &request.headers {
            headers.push((name.clone(), value.clone()));
        }
        for (name, template) in &config.headers {
            let value = fill(template, request.reason.as_deref());
            let known = headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
            if !value.is_empty() && !known {
                headers.push((name.clone(), value));
            }
        }
        check_header(&config.history_key_header, "")?;
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case(&config.history_key_header));
        if headers.len() > HEADERS_MAX {
            return Err(ContextError::TooManyHeaders);
        }
        for (name, value) in &headers {
            check_header(name, value)?;
        }
        Ok(Self {
            target,
            key: (config.history_key_header.clone(), key),
            headers,
            placement,
            referrer: referrer.and_then(own_uri),
        })
    }

    /// The target as it will be dialled.
    pub fn target(&self) -> String {
        self.target.to_string()
    }

    /// The REFER. When everything is more than [`REFER_TO_MAX`] octets of Refer-To, the key alone stays there and
    /// the rest rides as header fields of the REFER: late context is better than none, no key is the worst.
    pub fn refer(&self) -> Refer {
        let placement = if self.target.is_sip() {
            self.placement
        } else {
            KeyPlacement::CustomHeader // a tel: URI has no headers (RFC 3966 §3)
        };
        let (name, key) = (self.key.0.clone(), self.key.1.to_string());
        match placement {
            KeyPlacement::ReferToHeader => self.in_refer_to(&(name, key)),
            KeyPlacement::UserToUser => {
                self.in_refer_to(&(USER_TO_USER.into(), format!("{key};encoding=ascii")))
            }
            KeyPlacement::CustomHeader => Refer {
                refer_to: refer_to(&self.target, &[]),
                headers: self.fields(&[&[(name, key)], self.headers.as_slice()].concat()),
                contact_headers: None,
            },
            KeyPlacement::ContactHeader => Refer {
                refer_to: refer_to(&self.target, &[]),
                headers: self.fields(&[]),
                contact_headers: Some(uri_headers(
                    &[&[(name, key)], self.headers.as_slice()].concat(),
                )),
            },
        }
    }

    fn in_refer_to(&self, key: &(String, String)) -> Refer {
        let other_than_key = |(name, _): &&(String, String)| !name.eq_ignore_ascii_case(&key.0);
        let others: Vec<_> = self
            .headers
            .iter()
            .filter(other_than_key)
            .cloned()
            .collect();
        let everything = [std::slice::from_ref(key), others.as_slice()].concat();
        let whole = refer_to(&self.target, &everything);
        if whole.len() + REFER_TO_FRAME - 2 <= REFER_TO_MAX {
            return Refer {
                refer_to: whole,
                headers: self.fields(&[]),
                contact_headers: None,
            };
        }
        Refer {
            refer_to: refer_to(&self.target, std::slice::from_ref(key)),
            headers: self.fields(&others),
            contact_headers: None,
        }
    }

    /// Header fields of the BYE that hangs up and returns.
    pub fn bye_headers(&self, target_header: &str) -> Vec<(String, String)> {
        let mut headers = vec![
            (target_header.to_owned(), self.target()),
            (self.key.0.clone(), self.key.1.to_string()),
        ];
        headers.extend(self.headers.iter().cloned());
        headers
    }

    /// Contact of the 302 that sends the caller to the target before we ever answered.
    pub fn redirect_contact(&self) -> String {
        let key = (self.key.0.clone(), self.key.1.to_string());
        if self.target.is_sip() {
            self.in_refer_to(&key).refer_to
        } else {
            refer_to(&self.target, &[])
        }
    }

    fn fields(&self, more: &[(String, String)]) -> Vec<(String, String)> {
        let referrer = self
            .referrer
            .iter()
            .map(|uri| ("Referred-By".to_owned(), format!("<{uri}>")));
        referrer.chain(more.iter().cloned()).collect()
    }
}

/// Checks a target URI.
///
/// # Errors
/// See [`ContextError`].
pub fn parse_target(text: &str) -> Result<Uri, ContextError> {
    let text = text.trim_matches(' ');
    if text.len() > TARGET_MAX {
        return Err(ContextError::TargetTooLong);
    }
    let text = text
        .strip_prefix('<')
        .and_then(|inner| inner.strip_suffix('>'))
        .unwrap_or(text);
    // Authoring tools of assistants escape the at sign with a backslash.
    let uri = Uri::parse(&text.replace("\\@", "@"))?;
    if !uri.is_sip() && !uri.scheme().eq_ignore_ascii_case("tel") {
        return Err(ContextError::Scheme);
    }
    for (name, value) in uri.headers() {
        check_header(&unescape(name), &unescape(value))?;
    }
    Ok(uri)
}

/// Checks one header field that an agent, an operator or a configuration wants to send.
///
/// # Errors
/// See [`ContextError`].
pub fn check_header(name: &str, value: &str) -> Result<(), ContextError> {
    let shown = || name.chars().take(40).collect::<String>();
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(is_token) {
        return Err(ContextError::HeaderName(shown()));
    }
    // One letter is a compact form (RFC 3261 §7.3.3), known or to be registered.
    if name.len() == 1
        || FORBIDDEN
            .iter()
            .any(|taken| taken.eq_ignore_ascii_case(name))
    {
        return Err(ContextError::Forbidden(shown()));
    }
    if value.len() > VALUE_MAX {
        return Err(ContextError::ValueTooLong(shown()));
    }
    if value.chars().any(char::is_control) {
        return Err(ContextError::HeaderValue(shown()));
    }
    Ok(())
}

/// Fills `{reason}` in. Free text of an agent is made fit for a header instead of refused: a caller should not
/// lose the way to a human over a line break.
fn fill(template: &str, reason: Option<&str>) -> String {
    let mut reason: String = reason.unwrap_or_default().into();
    reason.truncate(reason.floor_char_boundary(REASON_MAX));
    let reason = reason.replace(char::is_control, " ");
    template.replace("{reason}", reason.trim())
}

/// Our own URI as Referred-By may show it: without headers and parameters, and only when it is one.
fn own_uri(text: &str) -> Option<String> {
    let uri = Uri::parse(text).ok().filter(Uri::is_sip)?;
    let user = uri
        .user_raw()
        .map(|user| format!("{user}@"))
        .unwrap_or_default();
    Some(format!("{}:{user}{}", uri.scheme(), uri.host()))
}

/// The value of Refer-To, always in brackets: without them `;` and `?` would be read as parts of the header
/// (RFC 3261 §20).
fn refer_to(target: &Uri, headers: &[(String, String)]) -> String {
    let target_text = target.to_string();
    if headers.is_empty() {
        return format!("<{target_text}>");
    }
    let joint = if target.headers().next().is_some() {
        '&'
    } else {
        '?'
    };
    format!("<{target_text}{joint}{}>", uri_headers(headers))
}

fn uri_headers(headers: &[(String, String)]) -> String {
    let pairs: Vec<_> = headers
        .iter()
        .map(|(name, value)| {
            format!(
                "{}={}",
                escape_header_value(name),
                escape_header_value(value)
            )
        })
        .collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vocab::Entropy;

    const KEY: &str = "X-Session-History-Key";

    fn key() -> HandoffKey {
        HandoffKey::generate(&mut Entropy::from_number(1))
    }

    fn config(target: &str) -> Config {
        Config {
            target: Some(target.into()),
            ..Config::default()
        }
    }

    fn context(config: &Config, request: &Request, placement: KeyPlacement) -> Context {
        let us = Some("sip:bot@voice.example.com:5061;transport=tls");
        Context::new(config, request, key(), placement, us).expect("valid")
    }

    fn with_header(name: &str, value: &str) -> Request {
        Request {
            headers: vec![(name.into(), value.into())],
            ..Request::default()
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for placement in [KeyPlacement::ReferToHeader, KeyPlacement::UserToUser] {
            let refer = context(
                &config("sip:queue@flex.example.com"),
                &Request::default(),
                placement,
            )
            .refer();
            assert_eq!(
                read_key(&refer.refer_to, KEY).as_deref(),
                Some(key().as_str())
            );
        }
    }

    #[test]
    fn the_refer_carries_the_key_and_the_headers_in_refer_to() {
        let mut config = config("sip:queue@flex.example.com;transport=tls");
        config.headers = vec![
            ("X-Reason".into(), "{reason}".into()),
            ("X-Empty".into(), "{reason}".into()),
        ];
        let request = Request {
            headers: vec![("x-empty".into(), "a=b;c".into())],
            reason: Some("billing & refund".into()),
            ..Request::default()
        };
        let refer = context(&config, &request, KeyPlacement::ReferToHeader).refer();
        let key = key();
        assert_eq!(
            refer.refer_to,
            format!(
                "<sip:queue@flex.example.com;transport=tls?X-Session-History-Key={key}&x-empty=a%3Db%3Bc&X-Reason=billing%20%26%20refund>"
            )
        );
        assert_eq!(
            refer.headers,
            [(
                "Referred-By".to_owned(),
                "<sip:bot@voice.example.com>".to_owned()
            )]
        );
    }

    #[test]
    fn the_other_places_for_the_key() {
        let (config, request) = (config("sip:q@h?X-A=1"), with_header("X-B", "a b"));
        let key = key();
        let custom = context(&config, &request, KeyPlacement::CustomHeader).refer();
        assert_eq!(custom.refer_to, "<sip:q@h?X-A=1>");
        assert_eq!(
            custom.headers[1],
            ("X-Session-History-Key".to_owned(), key.to_string())
        );
        assert_eq!(custom.headers[2], ("X-B".to_owned(), "a b".to_owned()));
        let contact = context(&config, &request, KeyPlacement::ContactHeader).refer();
        assert_eq!(
            contact.contact_headers,
            Some(format!("X-Session-History-Key={key}&X-B=a%20b"))
        );
        let uui = context(&config, &request, KeyPlacement::UserToUser).refer();
        assert_eq!(
            uui.refer_to,
            format!("<sip:q@h?X-A=1&User-to-User={key}%3Bencoding%3Dascii&X-B=a%20b>")
        );
    }

    #[test]
    fn a_tel_uri_has_no_headers_so_the_key_rides_beside_it() {
        let refer = context(
            &config("tel:+15551230000"),
            &Request::default(),
            KeyPlacement::ReferToHeader,
        )
        .refer();
        assert_eq!(refer.refer_to, "<tel:+15551230000>");
        assert!(
            refer
                .headers
                .contains(&("X-Session-History-Key".into(), key().to_string()))
        );
    }

    #[test]
    fn the_key_survives_when_the_rest_is_too_long_for_twilio() {
        let fits = |length: usize| {
            let request = with_header("X-Long", &"x".repeat(length));
            let refer = context(&config("sip:q@h"), &request, KeyPlacement::ReferToHeader).refer();
            let whole = format!("Refer-To: {}", refer.refer_to);
            assert!(whole.len() <= REFER_TO_MAX, "{}", whole.len());
            assert_eq!(
                read_key(&refer.refer_to, KEY).as_deref(),
                Some(key().as_str())
            );
            refer.refer_to.contains("X-Long")
        };
        let longest = (0..256)
            .rev()
            .find(|length| fits(*length))
            .expect("something fits");
        let request = with_header("X-Long", &"x".repeat(longest));
        let refer = context(&config("sip:q@h"), &request, KeyPlacement::ReferToHeader).refer();
        assert_eq!(format!("Refer-To: {}", refer.refer_to).len(), REFER_TO_MAX);
        let request = with_header("X-Long", &"x".repeat(longest + 1));
        let refer = context(&config("sip:q@h"), &request, KeyPlacement::ReferToHeader).refer();
        assert!(refer.headers.iter().any(|(name, _)| name == "X-Long"));
    }

    #[test]
    fn targets_that_cannot_be_dialled_are_refused() {
        let long = format!("sip:{}@h", "x".repeat(TARGET_MAX));
        for (target, error) in [
            ("http://example.com", ContextError::Scheme),
            ("javascript:alert(1)", ContextError::Scheme),
            ("queue", ContextError::Target(UriError::Scheme)),
            (
                "sip:q@h\r\nVia: x",
                ContextError::Target(UriError::Character),
            ),
            (
                "sip:q@h>;x=<sip:evil@e",
                ContextError::Target(UriError::Character),
            ),
            ("sip:q@", ContextError::Target(UriError::Host)),
            ("sip:q@h:99999", ContextError::Target(UriError::Port)),
            (
                "sip:q@h?Replaces=a%40b",
                ContextError::Forbidden("Replaces".into()),
            ),
            (
                "sip:q@h?X-A=b%0d%0aVia:x",
                ContextError::HeaderValue("X-A".into()),
            ),
            (&long, ContextError::TargetTooLong),
        ] {
            assert_eq!(parse_target(target), Err(error), "{target}");
        }
        assert_eq!(
            parse_target("<sip:q\\@h>").expect("valid").to_string(),
            "sip:q@h"
        );
        let none = Context::new(
            &Config::default(),
            &Request::default(),
            key(),
            KeyPlacement::ReferToHeader,
            None,
        );
        assert_eq!(none, Err(ContextError::NoTarget));
    }

    #[test]
    fn headers_that_belong_to_sip_or_break_it_are_refused() {
        for name in [
            "Via",
            "ROUTE",
            "cseq",
            "Content-Length",
            "Refer-To",
            "r",
            "Replaces",
            "body",
        ] {
            assert_eq!(
                check_header(name, "x"),
                Err(ContextError::Forbidden(name.into())),
                "{name}"
            );
        }
        for name in ["", "X A", "X:A", "X\r\nA", "Xé"] {
            assert_eq!(
                check_header(name, "x"),
                Err(ContextError::HeaderName(name.into())),
                "{name}"
            );
        }
        for value in ["a\r\nVia: x", "a\nb", "\0", "a\tb", "\u{7f}"] {
            assert_eq!(
                check_header("X-A", value),
                Err(ContextError::HeaderValue("X-A".into()))
            );
        }
        let huge = "x".repeat(VALUE_MAX + 1);
        assert_eq!(
            check_header("X-A", &huge),
            Err(ContextError::ValueTooLong("X-A".into()))
        );
        assert_eq!(check_header("User-to-User", "6b31;encoding=hex"), Ok(()));
        let request = Request {
            headers: (0..=HEADERS_MAX)
                .map(|i| (format!("X-{i}"), "x".into()))
                .collect(),
            ..Request::default()
        };
        let result = Context::new(
            &config("sip:q@h"),
            &request,
            key(),
            KeyPlacement::default(),
            None,
        );
        assert_eq!(result, Err(ContextError::TooManyHeaders));
    }

    #[test]
    fn an_agents_line_breaks_do_not_cost_the_caller_the_human() {
        let mut config = config("sip:q@h");
        config.headers = vec![("X-Reason".into(), "{reason}".into())];
        let request = Request {
            reason: Some(format!("angry\r\nVia: evil {}", "ß".repeat(500))),
            ..Request::default()
        };
        let refer = context(&config, &request, KeyPlacement::CustomHeader).refer();
        let (_, value) = refer.headers.last().expect("there");
        assert!(value.starts_with("angry  Via: evil ß") && value.len() <= REASON_MAX);
    }

    #[test]
    fn an_agent_cannot_replace_the_key() {
        let refer = context(
            &config("sip:q@h"),
            &with_header("x-session-history-key", "forged"),
            KeyPlacement::ReferToHeader,
        )
        .refer();
        assert_eq!(refer.refer_to.matches("istory").count(), 1);
        assert_eq!(
            read_key(&refer.refer_to, KEY).as_deref(),
            Some(key().as_str())
        );
    }

    proptest! {
        #[test]
        fn any_header_value_survives_the_refer_to(value in "[^\\p{Cc}]{0,40}") {
            let request = with_header("X-Any", &value);
            let context = context(&config("sip:q@h"), &request, KeyPlacement::ReferToHeader);
            let refer_to = refer_to(&context.target, &context.headers);
            let expected = Some(value).filter(|value| !value.is_empty());
            prop_assert_eq!(read_key(&refer_to, "X-Any"), expected);
        }
    }
}
