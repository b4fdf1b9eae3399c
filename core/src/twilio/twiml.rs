//! TwiML documents: what Twilio's webhooks are answered with.

use std::fmt::Write;

use quick_xml::escape::escape;

/// Twilio's bound on the URI in `<Sip>`, headers not counted.
const MAX_URI: usize = 255;
/// And on those headers.
const MAX_URI_HEADERS: usize = 1024;
/// Name and value of one `<Parameter>`.
const MAX_PARAMETER: usize = 500;

/// A document Twilio would refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TwimlError {
    /// 255 characters or more before the `?`.
    #[error("SIP URI has {0} characters, Twilio takes 254")]
    UriTooLong(usize),
    /// 1024 characters or more after the `?`.
    #[error("SIP URI headers have {0} characters, Twilio takes 1023")]
    HeadersTooLong(usize),
    /// Name and value of 500 characters or more.
    #[error("parameter {0} has more than 499 characters")]
    ParameterTooLong(String),
    /// Error 31920: a stream URL is `wss` and has no query.
    #[error("a stream URL must start with wss:// and have no query")]
    StreamUrl,
}

/// The noun of a `<Dial>` to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipUri<'a> {
    /// User part, not escaped: the number that was called.
    pub user: &'a str,
    /// Our host, with a port where one is needed.
    pub host: &'a str,
    /// URI parameters: `transport=tls`, `secure=true`, `region=ie1`.
    pub parameters: &'a [(&'a str, &'a str)],
    /// Header fields of the INVITE; names begin with `x-`, or Twilio drops them.
    pub headers: &'a [(&'a str, &'a str)],
}

/// `<Dial answerOnBridge="true" referUrl=".."><Sip>..</Sip></Dial>`: brings a caller to us, in a way that a REFER of
/// ours is honoured and the caller hears ringing until we answer.
///
/// # Errors
/// What Twilio would refuse.
pub fn dial_sip(uri: &SipUri<'_>, refer_url: &str) -> Result<String, TwimlError> {
    let uri = print_uri(uri)?;
    Ok(document(&format!(
        r#"<Dial answerOnBridge="true" referUrl="{}"><Sip>{}</Sip></Dial>"#,
        xml(refer_url),
        xml(&uri)
    )))
}

/// `<Redirect method="POST">`: the answer of the refer-handler.
pub fn redirect(url: &str) -> String {
    document(&format!(
        r#"<Redirect method="POST">{}</Redirect>"#,
        xml(url)
    ))
}

/// `<Connect action=".."><Stream url=".."><Parameter ../></Stream></Connect>`: a caller without SIP.
///
/// # Errors
/// What Twilio would refuse.
pub fn connect_stream(
    url: &str,
    action: Option<&str>,
    parameters: &[(&str, &str)],
) -> Result<String, TwimlError> {
    if !url.starts_with("wss://") || url.contains('?') {
        return Err(TwimlError::StreamUrl);
    }
    let mut text = String::from("<Connect");
    if let Some(action) = action {
        let _ = write!(text, r#" action="{}""#, xml(action));
    }
    let _ = write!(text, r#"><Stream url="{}">"#, xml(url));
    for (name, value) in parameters {
        if name.len() + value.len() >= MAX_PARAMETER {
            return Err(TwimlError::ParameterTooLong(
                name.chars().take(40).collect(),
            ));
        }
        let (name, value) = (xml(name), xml(value));
        let _ = write!(text, r#"<Parameter name="{name}" value="{value}"/>"#);
    }
    text.push_str("</Stream></Connect>");
    Ok(document(&text))
}

/// `<Hangup/>`.
pub fn hangup() -> String {
    document("<Hangup/>")
}

fn document(verbs: &str) -> String {
    format!(r#"<?xml version="1.0" encoding="UTF-8"?><Response>{verbs}</Response>"#)
}

/// Text or an attribute's value. XML 1.0 has no way to write control characters, so they go.
fn xml(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    escape(text.as_str()).into_owned()
}

fn print_uri(uri: &SipUri<'_>) -> Result<String, TwimlError> {
    let mut text = String::from("sip:");
    // RFC 3261 §25.1 "user", without what TwiML or a query would read another way.
    percent(&mut text, uri.user, b"-_.!~*'()+");
    text.push('@');
    text.extend(
        uri.host
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || ".-:[]".contains(*c)),
    );
    for (name, value) in uri.parameters {
        text.push(';');
        percent(&mut text, name, b"-_.!~*'()");
        text.push('=');
        percent(&mut text, value, b"-_.!~*'()");
    }
    if text.len() >= MAX_URI {
        return Err(TwimlError::UriTooLong(text.len()));
    }
    let mut headers = String::new();
    for (name, value) in uri.headers {
        headers.push(if headers.is_empty() { '?' } else { '&' });
        percent(&mut headers, name, b"-_.!~*'()");
        headers.push('=');
        percent(&mut headers, value, b"-_.!~*'():");
    }
    if headers.len() > MAX_URI_HEADERS {
        return Err(TwimlError::HeadersTooLong(headers.len() - 1));
    }
    text.push_str(&headers);
    Ok(text)
}

/// Appends `text`, escaping what is neither alphanumeric nor in `keep`.
fn percent(into: &mut String, text: &str, keep: &[u8]) {
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || keep.contains(&octet) {
            into.push(char::from(octet));
        } else {
            let _ = write!(into, "%{octet:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri<'a>(user: &'a str, headers: &'a [(&'a str, &'a str)]) -> SipUri<'a> {
        SipUri {
            user,
            host: "voice.example.com:5061",
            parameters: &[("transport", "tls")],
            headers,
        }
    }

    #[test]
    fn a_call_is_dialled_to_us_with_a_way_back() {
        let headers = [("x-parent-callsid", "CA02"), ("x-note", "a&b c;\"d\"")];
        assert_eq!(
            dial_sip(
                &uri("+15551230000", &headers),
                "https://b.example.com/twilio/refer-handler?a=1&b=2"
            )
            .unwrap(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Dial answerOnBridge=\"true\" \
             referUrl=\"https://b.example.com/twilio/refer-handler?a=1&amp;b=2\"><Sip>sip:+15551230000@voice.example.com:5061;transport=tls\
             ?x-parent-callsid=CA02&amp;x-note=a%26b%20c%3B%22d%22</Sip></Dial></Response>"
        );
    }

    #[test]
    fn a_redirect_keeps_its_query() {
        assert_eq!(
            redirect(
                "https://webhooks.twilio.com/v1/Accounts/ACx/Flows/FWx?FlowEvent=return&SessionHistoryKey=prod%3A%3Alive"
            ),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Redirect method=\"POST\">\
             https://webhooks.twilio.com/v1/Accounts/ACx/Flows/FWx?FlowEvent=return&amp;SessionHistoryKey=prod%3A%3Alive</Redirect></Response>"
        );
    }

    #[test]
    fn hostile_values_cannot_leave_their_place() {
        let text = dial_sip(&uri("1</Sip><Hangup/>@evil", &[]), "\"><Hangup/>\r\n\0").unwrap();
        assert!(!text.contains("<Hangup/>") && !text.contains('\0') && !text.contains('\n'));
        assert!(text.contains("sip:1%3C%2FSip%3E%3CHangup%2F%3E%40evil@voice.example.com"));
        assert!(!redirect("</Redirect><Hangup/>").contains("<Hangup/>"));
    }

    #[test]
    fn what_twilio_refuses_is_refused_here() {
        let long = "9".repeat(255);
        assert!(matches!(
            dial_sip(&uri(&long, &[]), "u"),
            Err(TwimlError::UriTooLong(_))
        ));
        let long = "v".repeat(1024);
        assert!(matches!(
            dial_sip(&uri("1", &[("x-a", &long)]), "u"),
            Err(TwimlError::HeadersTooLong(1028))
        ));
        assert_eq!(
            connect_stream("https://x/y", None, &[]),
            Err(TwimlError::StreamUrl)
        );
        assert_eq!(
            connect_stream("wss://x/y?z", None, &[]),
            Err(TwimlError::StreamUrl)
        );
        assert_eq!(
            connect_stream("wss://x/y", None, &[("k", &long)]),
            Err(TwimlError::ParameterTooLong("k".into()))
        );
    }

    #[test]
    fn a_stream_is_connected_with_its_parameters() {
        assert_eq!(
            connect_stream(
                "wss://b.example.com/twilio/stream/t",
                Some("https://b.example.com/done"),
                &[("k", "a\"b")]
            )
            .unwrap(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Connect action=\"https://b.example.com/done\">\
             <Stream url=\"wss://b.example.com/twilio/stream/t\"><Parameter name=\"k\" value=\"a&quot;b\"/></Stream></Connect></Response>"
        );
        assert!(hangup().ends_with("<Response><Hangup/></Response>"));
    }
}
