//! A handoff as agents write it: our own fields, or the `connect_to_agent` object of IBM's watsonx Assistant as it is.
//!
//! Both the native protocol and the HTTP API read it, so it is checked here, once: what leaves [`HandoffFrame::check`]
//! can be put into a SIP message without escaping anything but URIs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::HandoffRequest;
use super::event::HeadersIn;

/// Octets of one header field value, and of a target.
const MAX_VALUE: usize = 1024;
/// Octets of a summary: a page, not a book.
const MAX_SUMMARY: usize = 16 * 1024;
/// Header fields an agent may add.
const MAX_HEADERS: usize = 32;
/// The styles of the `[[handoff]]` table.
const STYLES: [&str; 5] = ["refer", "attended", "bridge", "warm", "hangup"];
/// What a dialog itself writes; an agent that could would speak for us.
const OURS: [&str; 22] = [
    "via",
    "v",
    "from",
    "f",
    "to",
    "t",
    "call-id",
    "i",
    "cseq",
    "contact",
    "m",
    "max-forwards",
    "route",
    "record-route",
    "content-length",
    "l",
    "content-type",
    "c",
    "refer-to",
    "r",
    "referred-by",
    "b",
];

/// `handoff`, as read. Every field is optional: the route's `[[handoff]]` fills in.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub struct HandoffFrame {
    /// A SIP or tel URI.
    pub target: Option<String>,
    /// `refer`, `attended`, `bridge`, `warm` or `hangup`: tried first.
    pub style: Option<String>,
    /// Extra header fields for the target.
    pub headers: Option<BTreeMap<String, String>>,
    /// Why, in a word or two.
    pub reason: Option<String>,
    /// What the human should know before saying hello.
    pub summary: Option<String>,
    /// Wait until this mark was heard.
    pub say_first: Option<String>,
    /// IBM's object, in this field or in place of the fields above.
    #[serde(flatten)]
    pub ibm: ConnectToAgent,
}

/// IBM's `connect_to_agent`: alone, in a `generic` list, or in a field of that name.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub struct ConnectToAgent {
    /// `connect_to_agent`.
    pub response_type: Option<String>,
    /// Where to.
    pub transfer_info: Option<TransferInfo>,
    /// Becomes the summary.
    pub message_to_human_agent: Option<String>,
    /// A message of several responses.
    pub generic: Option<Vec<ConnectToAgent>>,
    /// The object in a field of its name.
    pub connect_to_agent: Option<Box<ConnectToAgent>>,
}

/// `transfer_info`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct TransferInfo {
    /// `target`.
    pub target: Target,
}

/// `transfer_info.target`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Target {
    /// `service_desk`.
    pub service_desk: ServiceDesk,
}

/// `transfer_info.target.service_desk`; other channels than `sip` are passed over.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ServiceDesk {
    /// `sip`.
    pub sip: Sip,
}

/// `transfer_info.target.service_desk.sip`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Sip {
    /// The target. Authoring tools leave backslashes before the `@`.
    pub uri: Option<String>,
    /// `refer` (default) or `hangup`.
    pub transfer_method: Option<String>,
    /// Extra header fields.
    pub transfer_headers: Option<Vec<TransferHeader>>,
    /// Where they go; `custom_header` when absent.
    pub transfer_headers_send_method: Option<HeadersIn>,
    /// With `hangup`: the header field of our BYE that names the target.
    pub transfer_target_header: Option<String>,
}

/// One of `transfer_headers`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub struct TransferHeader {
    /// Field name.
    pub name: String,
    /// Field value.
    pub value: String,
}

/// A handoff that asks for what cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandoffFault {
    /// Neither `sip:`, `sips:` nor `tel:`, too long, or with characters no URI has.
    #[error("target must be a sip:, sips: or tel: URI of at most 1024 characters")]
    Target,
    /// Not in the list of styles.
    #[error("style must be refer, attended, bridge, warm or hangup")]
    Style,
    /// Not a token, or a field that the dialog itself writes.
    #[error("header {0} cannot be set")]
    HeaderName(String),
    /// Control characters, or too long.
    #[error("value of header {0} has control characters or more than 1024 octets")]
    HeaderValue(String),
    /// More than 32.
    #[error("more than 32 headers")]
    TooManyHeaders,
    /// `reason`, `summary` or `say_first` beyond its bound.
    #[error("{0} is too long")]
    TooLong(&'static str),
}

impl HandoffFrame {
    /// The request in it, checked.
    ///
    /// # Errors
    /// What its author should mend.
    pub fn check(self) -> Result<HandoffRequest, HandoffFault> {
        let ibm = self.ibm.find();
        let sip = ibm
            .and_then(|ibm| ibm.transfer_info.as_ref())
            .map(|info| &info.target.service_desk.sip);
        let mut headers = self.headers.unwrap_or_default();
        for header in sip
            .and_then(|sip| sip.transfer_headers.as_ref())
            .into_iter()
            .flatten()
        {
            headers
                .entry(header.name.clone())
                .or_insert_with(|| header.value.clone());
        }
        let request = HandoffRequest {
            target: self.target.or_else(|| sip?.uri.as_deref().map(unescape_at)),
            style: self
                .style
                .or_else(|| sip?.transfer_method.clone())
                .map(|s| s.to_ascii_lowercase()),
            headers,
            headers_in: sip.map(|sip| {
                sip.transfer_headers_send_method
                    .unwrap_or(HeadersIn::CustomHeader)
            }),
            target_header: sip.and_then(|sip| sip.transfer_target_header.clone()),
            reason: self.reason,
            summary: self.summary.or_else(|| ibm?.message_to_human_agent.clone()),
            say_first: self.say_first,
        };
        check(&request)?;
        Ok(request)
    }
}

impl ConnectToAgent {
    /// The object that says where to go; `None` when there is none.
    fn find(&self) -> Option<&Self> {
        if self.response_type.as_deref() == Some("connect_to_agent") || self.transfer_info.is_some()
        {
            return Some(self);
        }
        if let Some(inner) = &self.connect_to_agent {
            return Some(inner.find().unwrap_or(inner));
        }
        self.generic.as_ref()?.iter().find_map(Self::find)
    }
}

fn check(request: &HandoffRequest) -> Result<(), HandoffFault> {
    if request
        .target
        .as_deref()
        .is_some_and(|target| !is_target(target))
    {
        return Err(HandoffFault::Target);
    }
    if request
        .style
        .as_deref()
        .is_some_and(|style| !STYLES.contains(&style))
    {
        return Err(HandoffFault::Style);
    }
    let too_long = |text: &Option<String>, max| text.as_ref().is_some_and(|text| text.len() > max);
    for (name, text, max) in [
        ("reason", &request.reason, MAX_VALUE),
        ("summary", &request.summary, MAX_SUMMARY),
        ("say_first", &request.say_first, super::MAX_MARK),
    ] {
        if too_long(text, max) {
            return Err(HandoffFault::TooLong(name));
        }
    }
    if let Some(name) = request
        .target_header
        .as_deref()
        .filter(|name| !may_set(name))
    {
        return Err(HandoffFault::HeaderName(shortened(name)));
    }
    check_headers(
        request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    )
}

/// Header fields that may be added to a SIP request of ours: bounded, tokens, no line breaks, none of the dialog's.
pub(super) fn check_headers<'a>(
    headers: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(), HandoffFault> {
    for (count, (name, value)) in headers.enumerate() {
        if count >= MAX_HEADERS {
            return Err(HandoffFault::TooManyHeaders);
        }
        if !may_set(name) {
            return Err(HandoffFault::HeaderName(shortened(name)));
        }
        if value.len() > MAX_VALUE || value.chars().any(char::is_control) {
            return Err(HandoffFault::HeaderValue(shortened(name)));
        }
    }
    Ok(())
}

/// A SIP, SIPS or tel URI that can stand between angle brackets.
pub(super) fn is_target(uri: &str) -> bool {
    let scheme = uri.split_once(':').is_some_and(|(scheme, rest)| {
        !rest.is_empty()
            && ["sip", "sips", "tel"]
                .iter()
                .any(|s| s.eq_ignore_ascii_case(scheme))
    });
    scheme
        && uri.len() <= MAX_VALUE
        && uri
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"' | '\\'))
}

/// RFC 3261 §25.1: a token, and not one of the dialog's own fields.
fn may_set(name: &str) -> bool {
    let token = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b));
    token
        && !name.is_empty()
        && name.len() <= 64
        && !OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name))
}

fn shortened(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(40).collect()
}

fn unescape_at(uri: &str) -> String {
    match uri.split_once('@') {
        Some((user, host)) => format!("{}@{host}", user.trim_end_matches('\\')),
        None => uri.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<HandoffRequest, HandoffFault> {
        serde_json::from_str::<HandoffFrame>(json).unwrap().check()
    }

    const IBM: &str = include_str!("../../../tests/data/golden/ibm-connect-to-agent.json");

    #[test]
    fn our_own_fields_are_taken_as_they_are() {
        let request = check(r#"{"target":"sip:q@x.example","style":"Refer","headers":{"X-A":"b"},"reason":"billing","summary":"s","say_first":"m1","new":1}"#).unwrap();
        assert_eq!(request.target.as_deref(), Some("sip:q@x.example"));
        assert_eq!(request.style.as_deref(), Some("refer"));
        assert_eq!(request.headers["X-A"], "b");
        assert_eq!(request.headers_in, None);
        assert_eq!(request.say_first.as_deref(), Some("m1"));
        assert_eq!(check("{}").unwrap(), HandoffRequest::default());
        assert_eq!(
            check(r#"{"target":null,"headers":null}"#).unwrap(),
            HandoffRequest::default()
        );
    }

    #[test]
    fn ibms_object_is_read_in_each_of_its_wrappings() {
        let whole: serde_json::Value = serde_json::from_str(IBM).unwrap();
        let bare = &whole["generic"][0];
        for json in [
            whole.clone(),
            bare.clone(),
            serde_json::json!({"type": "handoff", "connect_to_agent": bare}),
            serde_json::json!({"type": "handoff", "connect_to_agent": whole}),
            serde_json::json!({"generic": [{"response_type": "text", "text": "bye"}, bare]}),
        ] {
            let request = check(&json.to_string()).unwrap();
            assert_eq!(
                request.target.as_deref(),
                Some("sip:queue@flex.example.com"),
                "{json}"
            );
            assert_eq!(request.style.as_deref(), Some("refer"));
            assert_eq!(request.headers["X-Reason"], "billing");
            assert_eq!(request.headers["User-to-User"], "abc");
            assert_eq!(request.headers_in, Some(HeadersIn::ReferToHeader));
            assert_eq!(request.target_header.as_deref(), Some("Transfer-Target"));
            assert_eq!(request.summary.as_deref(), Some("caller wants billing"));
        }
    }

    #[test]
    fn ibms_defaults_hold_where_it_is_silent() {
        let request = check(r#"{"response_type":"connect_to_agent","transfer_info":{"target":{"service_desk":{"sip":{"uri":"sip:q\\\\@x.example"}}}}}"#).unwrap();
        assert_eq!(request.target.as_deref(), Some("sip:q@x.example"));
        assert_eq!(request.headers_in, Some(HeadersIn::CustomHeader));
        assert_eq!(request.style, None);
        let chat = check(r#"{"response_type":"connect_to_agent","transfer_info":{"target":{"chat":{"url":"x"}}}}"#).unwrap();
        assert_eq!(chat.target, None);
    }

    #[test]
    fn what_would_break_a_sip_message_is_refused() {
        for (json, fault) in [
            (r#"{"target":"+15551230000"}"#, HandoffFault::Target),
            (r#"{"target":"sip:"}"#, HandoffFault::Target),
            (r#"{"target":"sip:a@b>\r\nX: y"}"#, HandoffFault::Target),
            (r#"{"target":"javascript:x"}"#, HandoffFault::Target),
            (r#"{"style":"teleport"}"#, HandoffFault::Style),
            (
                r#"{"headers":{"X-A":"b\r\nVia: x"}}"#,
                HandoffFault::HeaderValue("X-A".into()),
            ),
            (
                r#"{"headers":{"X A":"b"}}"#,
                HandoffFault::HeaderName("X A".into()),
            ),
            (
                r#"{"headers":{"call-ID":"b"}}"#,
                HandoffFault::HeaderName("call-ID".into()),
            ),
            (
                r#"{"headers":{"":"b"}}"#,
                HandoffFault::HeaderName(String::new()),
            ),
        ] {
            assert_eq!(check(json), Err(fault), "{json}");
        }
    }

    #[test]
    fn what_is_huge_is_refused() {
        let long = "x".repeat(20_000);
        assert_eq!(
            check(&format!(r#"{{"target":"sip:{long}"}}"#)),
            Err(HandoffFault::Target)
        );
        for (field, name) in [
            ("reason", "reason"),
            ("summary", "summary"),
            ("say_first", "say_first"),
        ] {
            assert_eq!(
                check(&format!(r#"{{"{field}":"{long}"}}"#)),
                Err(HandoffFault::TooLong(name))
            );
        }
        assert_eq!(
            check(&format!(r#"{{"headers":{{"X":"{long}"}}}}"#)),
            Err(HandoffFault::HeaderValue("X".into()))
        );
        let many: BTreeMap<String, &str> = (0..33).map(|n| (format!("X-{n}"), "v")).collect();
        let json = serde_json::json!({ "headers": many }).to_string();
        assert_eq!(check(&json), Err(HandoffFault::TooManyHeaders));
    }
}
