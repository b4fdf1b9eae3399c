//! Reads what an operator wants of a call from JSON: the native shape, and IBM's `connect_to_agent` as it is.

use std::time::Duration;

use serde_json::{Map, Value};

use baton_core::agent::{HandoffFrame, HandoffRequest};

use super::answer::ApiError;
use super::body::{self, text, wrong};

/// Longest reason.
const LINE_MAX: usize = 1024;
const DIGITS_MAX: usize = 64;

/// What an operator wants.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wish {
    Handoff(Box<HandoffRequest>),
    Hangup {
        reason: Option<String>,
    },
    Dtmf {
        digits: String,
        duration: Option<Duration>,
        gap: Option<Duration>,
    },
}

impl Wish {
    pub(super) fn verb(&self) -> &'static str {
        match self {
            Self::Handoff(_) => "handoff",
            Self::Hangup { .. } => "hangup",
            Self::Dtmf { .. } => "dtmf",
        }
    }
}

/// `{target?, style?, headers?, reason?, summary?}`, or IBM's `connect_to_agent` wherever it stands.
pub(super) fn handoff(bytes: &[u8]) -> Result<Wish, ApiError> {
    let mut object = body::object(bytes)?;
    // IBM's phone integration nests the message once more than its authoring tools do.
    if let Some(Value::Object(output)) = object.remove("output") {
        object.extend(output);
    }
    check_types(&object)?;
    let frame: HandoffFrame = serde_json::from_value(Value::Object(object))
        .map_err(|error| wrong("handoff", &error.to_string()))?;
    let request = frame
        .check()
        .map_err(|fault| wrong("handoff", &fault.to_string()))?;
    Ok(Wish::Handoff(Box::new(request)))
}

/// Names the field whose type is wrong; the values are checked where agents' handoffs are.
fn check_types(object: &Map<String, Value>) -> Result<(), ApiError> {
    for field in ["target", "style", "reason", "summary", "say_first"] {
        if object
            .get(field)
            .is_some_and(|value| !value.is_string() && !value.is_null())
        {
            return Err(wrong(field, "must be a string"));
        }
    }
    match object.get("headers") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(headers)) => {
            let odd = headers.iter().find(|(_, value)| !value.is_string());
            odd.map_or(Ok(()), |(name, _)| {
                Err(wrong(&format!("headers.{name}"), "must be a string"))
            })
        }
        Some(_) => Err(wrong("headers", "must be an object of strings")),
    }
}

/// `{reason?}`
pub(super) fn hangup(bytes: &[u8]) -> Result<Wish, ApiError> {
    let object = body::object(bytes)?;
    Ok(Wish::Hangup {
        reason: text(&object, "reason", LINE_MAX)?,
    })
}

/// `{digits, duration_ms?, gap_ms?}`
pub(super) fn dtmf(bytes: &[u8]) -> Result<Wish, ApiError> {
    let object = body::object(bytes)?;
    let digits = text(&object, "digits", DIGITS_MAX)?
        .ok_or_else(|| wrong("digits", "is missing"))?
        .to_ascii_uppercase();
    let known = |c: char| matches!(c, '0'..='9' | '*' | '#' | 'A'..='D');
    if digits.is_empty() || !digits.chars().all(known) {
        return Err(wrong("digits", "must be 1 to 64 of 0-9 * # A-D"));
    }
    Ok(Wish::Dtmf {
        digits,
        duration: body::millis(&object, "duration_ms", 40..=8_000)?,
        gap: body::millis(&object, "gap_ms", 20..=5_000)?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(body: &Value) -> Result<HandoffRequest, ApiError> {
        match handoff(body.to_string().as_bytes())? {
            Wish::Handoff(request) => Ok(*request),
            other @ (Wish::Hangup { .. } | Wish::Dtmf { .. }) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_native_handoff_is_read_and_everything_is_optional() {
        let wish = request(&json!({
            "target": "sip:q@h", "style": "bridge", "headers": {"X-Reason": "b"},
            "reason": "asked", "summary": "two\nlines", "unknown": 1
        }))
        .unwrap();
        assert_eq!(wish.target.as_deref(), Some("sip:q@h"));
        assert_eq!(wish.headers["X-Reason"], "b");
        assert_eq!(wish.summary.as_deref(), Some("two\nlines"));
        assert_eq!(handoff(b"").unwrap(), handoff(b" {} ").unwrap());
    }

    #[test]
    fn ibms_object_is_taken_as_it_is_wherever_it_stands() {
        let item = json!({
            "response_type": "connect_to_agent",
            "transfer_info": {"target": {"service_desk": {"sip": {
                "uri": "sip:queue\\@flex.example.com", "transfer_method": "refer",
                "transfer_headers": [{"name": "X-Reason", "value": "billing"}],
                "transfer_headers_send_method": "refer_to_header"}}}},
            "agent_available": {"message": "Connecting you."},
            "message_to_human_agent": "caller wants billing"
        });
        for body in [
            item.clone(),
            json!({"generic": [{"response_type": "text"}, item]}),
            json!({"output": {"generic": [item]}}),
        ] {
            let wish = request(&body).unwrap();
            assert_eq!(wish.target.as_deref(), Some("sip:queue@flex.example.com"));
            assert_eq!(wish.style.as_deref(), Some("refer"));
            assert_eq!(wish.headers["X-Reason"], "billing");
            assert_eq!(wish.summary.as_deref(), Some("caller wants billing"));
        }
        let bare = json!({"response_type": "connect_to_agent"});
        assert_eq!(request(&bare).unwrap(), HandoffRequest::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, named) in [
            (json!({"target": 5}), "target: "),
            (json!({"summary": ["a"]}), "summary: "),
            (json!({"headers": {"X-A": 5}}), "headers.X-A: "),
            (json!({"headers": "X-A: b"}), "headers: "),
            (json!({"target": "sip:a\r\nX: b"}), "handoff: target"),
            (json!({"target": "https://evil.example"}), "handoff: target"),
            (json!({"style": "teleport"}), "handoff: style"),
            (
                json!({"headers": {"X-A": "a\nb"}}),
                "handoff: value of header X-A",
            ),
            (json!({"headers": {"Via": "b"}}), "handoff: header Via"),
            (json!({"reason": "x".repeat(2000)}), "handoff: reason"),
            (json!({"generic": 5}), "handoff: "),
        ] {
            let error = request(&body).unwrap_err();
            assert_eq!(error.status, 422, "{body}");
            assert!(error.message.starts_with(named), "{}", error.message);
        }
        for body in ["[]", "5", "{", "\u{0}"] {
            assert_eq!(handoff(body.as_bytes()).unwrap_err().code, "bad_json");
        }
    }

    #[test]
    fn digits_are_checked() {
        let wish = dtmf(br#"{"digits":"12*#ad","duration_ms":200}"#).unwrap();
        assert_eq!(
            wish,
            Wish::Dtmf {
                digits: "12*#AD".into(),
                duration: Some(Duration::from_millis(200)),
                gap: None
            }
        );
        for body in [
            "{}",
            r#"{"digits":""}"#,
            r#"{"digits":"12w"}"#,
            r#"{"digits":12}"#,
            r#"{"digits":"1","duration_ms":0}"#,
            r#"{"digits":"1","gap_ms":-5}"#,
            r#"{"digits":"1","gap_ms":1e99}"#,
        ] {
            assert_eq!(dtmf(body.as_bytes()).unwrap_err().status, 422, "{body}");
        }
    }
}
