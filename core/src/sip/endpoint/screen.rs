//! The checks a request must pass before a call or a dialog sees it (RFC 3261 §8.2.1 to §8.2.3), as questions about
//! one message. What fails is answered without being remembered.

use super::author::{ALLOW, EVENTS, EXTENSIONS};
use crate::sip::dialog::session_timer;
use crate::sip::message::body::{self, BodyFault};
use crate::sip::message::{Method, Name, Request, ResponseBuilder};

/// Why a request is refused, and what its answer must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 405 with Allow.
    MethodNotAllowed,
    /// 501.
    NotImplemented,
    /// 416.
    UriScheme,
    /// 420 with Unsupported.
    Extension(Vec<String>),
    /// 415 with Accept.
    MediaType,
    /// 415 with Accept-Encoding.
    Encoding,
    /// 406: the caller reads no answer that we can write.
    NotAcceptable,
    /// 400: a multipart body without parts.
    Multipart,
    /// 422 with Min-SE.
    Interval,
    /// 513: what an answer must copy would fill it.
    Bulk,
}

impl Refusal {
    pub(super) const fn status(&self) -> u16 {
        match self {
            Self::MethodNotAllowed => 405,
            Self::NotImplemented => 501,
            Self::UriScheme => 416,
            Self::Extension(_) => 420,
            Self::MediaType | Self::Encoding => 415,
            Self::NotAcceptable => 406,
            Self::Multipart => 400,
            Self::Interval => 422,
            Self::Bulk => 513,
        }
    }

    /// Adds what its answer must carry.
    pub(super) fn explain<'r>(&self, response: ResponseBuilder<'r>) -> ResponseBuilder<'r> {
        match self {
            Self::MethodNotAllowed | Self::NotImplemented => response.header(Name::Allow, ALLOW),
            Self::UriScheme | Self::NotAcceptable | Self::Bulk => response,
            Self::Extension(tags) => response.header(Name::Unsupported, tags.join(", ")),
            Self::MediaType => response.header(Name::Accept, ACCEPT),
            Self::Multipart => response.reason("Unreadable Multipart Body"),
            Self::Encoding => response.header(Name::AcceptEncoding, "identity"),
            Self::Interval => response.header(Name::MinSe, session_timer::MIN_SE.to_string()),
        }
    }
}

/// Bodies of an offer or answer that we read.
const ACCEPT: &str = "application/sdp, multipart/mixed";

/// §8.2.1: a method we answer.
pub(super) fn method(method: &Method) -> Result<(), Refusal> {
    match method {
        Method::Invite
        | Method::Ack
        | Method::Bye
        | Method::Cancel
        | Method::Options
        | Method::Refer
        | Method::Notify
        | Method::Update
        | Method::Prack
        | Method::Info => Ok(()),
        Method::Register | Method::Message | Method::Subscribe | Method::Publish => {
            Err(Refusal::MethodNotAllowed)
        }
        Method::Other(_) => Err(Refusal::NotImplemented),
    }
}

/// Lines an answer copies; proxies on the way add one Via and at most two Record-Routes each.
const COPIED_LINES: usize = 64;
/// Octets of all of them, and of each: an answer is then far from what a message may hold, whatever a call adds.
const COPIED_OCTETS: (usize, usize) = (16 * 1024, 4 * 1024);

/// Every answer to this request can be written, so none that is owed will ever be missing.
pub(super) fn answerable(request: &Request) -> Result<(), Refusal> {
    const COPIED: [Name; 7] = [
        Name::Via,
        Name::RecordRoute,
        Name::From,
        Name::To,
        Name::CallId,
        Name::CSeq,
        Name::Timestamp,
    ];
    let (mut lines, mut octets) = (0, 0);
    let copied = request.headers().lines().filter_map(|(name, line)| {
        let name = name?;
        COPIED.contains(&name).then_some(line)
    });
    for line in copied {
        lines += 1;
        octets += line.len();
        if lines > COPIED_LINES || octets > COPIED_OCTETS.0 || line.len() > COPIED_OCTETS.1 {
            return Err(Refusal::Bulk);
        }
    }
    Ok(())
}

/// Everything that can be asked of a request outside a dialog, in the order of §8.2.2 and §8.2.3.
pub(super) fn outside(request: &Request) -> Result<(), Refusal> {
    request_uri(request.uri())?;
    extensions(request)?;
    content(request)?;
    acceptable(request)?;
    interval(request)
}

/// §8.2.2.1: an address of a kind we can be. Any host is ours; a trunk may dial a bare number.
fn request_uri(uri: &str) -> Result<(), Refusal> {
    let scheme = uri.split(':').next().unwrap_or_default();
    let ours = ["sip", "sips", "tel"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    if ours {
        Ok(())
    } else {
        Err(Refusal::UriScheme)
    }
}

/// §8.2.2.3: nothing required that we do not have.
pub(super) fn extensions(request: &Request) -> Result<(), Refusal> {
    let unknown: Vec<String> = request
        .headers()
        .values(Name::Require)
        .filter(|tag| {
            !tag.is_empty() && !EXTENSIONS.iter().any(|ours| ours.eq_ignore_ascii_case(tag))
        })
        .map(str::to_owned)
        .collect();
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(Refusal::Extension(unknown))
    }
}

/// §8.2.3: a body we can read, where we read one. INFO and NOTIFY may carry anything, others we do not look at.
pub(super) fn content(request: &Request) -> Result<(), Refusal> {
    if !matches!(
        request.method(),
        Method::Invite | Method::Update | Method::Prack
    ) {
        return Ok(());
    }
    match body::session_description(request.headers(), request.body()) {
        Ok(_) => Ok(()),
        Err(BodyFault::Encoding) => Err(Refusal::Encoding),
        Err(BodyFault::Multipart) => Err(Refusal::Multipart),
        Err(_) => Err(Refusal::MediaType),
    }
}

/// What must hold of a request in a dialog.
pub(super) fn in_dialog(request: &Request) -> Result<(), Refusal> {
    extensions(request)?;
    content(request)?;
    interval(request)
}

/// RFC 4028 §9: a session interval that lets a session be noticed before it is over.
pub(super) fn interval(request: &Request) -> Result<(), Refusal> {
    let may_have_one = matches!(request.method(), Method::Invite | Method::Update);
    if may_have_one && session_timer::is_too_small(request.headers()) {
        Err(Refusal::Interval)
    } else {
        Ok(())
    }
}

/// §20.1: an INVITE is answered with a session description, so its Accept, if it has one, must have room for that.
fn acceptable(request: &Request) -> Result<(), Refusal> {
    let headers = request.headers();
    if *request.method() != Method::Invite || headers.get(Name::Accept).is_none() {
        return Ok(());
    }
    let takes_sdp = headers.values(Name::Accept).any(|range| {
        let range = range.split(';').next().unwrap_or(range).trim();
        [body::SDP, "application/*", "*/*"]
            .iter()
            .any(|ours| range.eq_ignore_ascii_case(ours))
    });
    if takes_sdp {
        Ok(())
    } else {
        Err(Refusal::NotAcceptable)
    }
}

/// What OPTIONS is told (§11.2).
pub(super) fn capabilities(response: ResponseBuilder<'_>) -> ResponseBuilder<'_> {
    response
        .header(Name::Allow, ALLOW)
        .header(Name::Accept, ACCEPT)
        .header(Name::AcceptEncoding, "identity")
        .header(Name::AllowEvents, EVENTS)
        .header(Name::Supported, EXTENSIONS.join(", "))
}
