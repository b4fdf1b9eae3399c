//! By what a message is matched to its transaction (RFC 3261 §17.1.3 and §17.2.3).

use crate::sip::message::{Method, Request, Response};

/// Every branch made by RFC 3261 begins with it.
const MAGIC_COOKIE: &str = "z9hG4bK";

/// Names a server transaction: the top Via's branch and sent-by, and the method, where ACK counts as INVITE.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerKey {
    method: Method,
    id: Box<str>,
    sent_by_port: Option<u16>,
}

impl ServerKey {
    /// The port that the top Via names.
    pub fn sent_by_port(&self) -> Option<u16> {
        self.sent_by_port
    }

    /// The transaction a request belongs to; `None` when it lacks what the key is made of.
    pub fn of(request: &Request) -> Option<Self> {
        let method = request.method();
        if *method == Method::Ack {
            return Self::with_method(request, Method::Invite);
        }
        Self::with_method(request, method.clone())
    }

    /// The INVITE that a CANCEL means (§9.2).
    pub fn of_cancelled(cancel: &Request) -> Option<Self> {
        Self::with_method(cancel, Method::Invite)
    }

    fn with_method(request: &Request, method: Method) -> Option<Self> {
        let headers = request.headers();
        let via = headers.via().ok()?;
        let port = via.port.unwrap_or(0);
        let id = match via.branch() {
            Some(branch) if is_rfc3261(branch) => format!("{branch} {}:{port}", via.host),
            // RFC 2543: no branch that names anything, so the request itself does.
            branch => {
                let from = headers.from().ok()?;
                format!(
                    "{} {} {} {} {}:{port} {}",
                    request.uri(),
                    from.tag().unwrap_or_default(),
                    headers.call_id().ok()?,
                    headers.cseq().ok()?.number,
                    via.host,
                    branch.unwrap_or_default(),
                )
            }
        };
        Some(Self {
            method,
            id: id.into(),
            sent_by_port: via.port,
        })
    }
}

fn is_rfc3261(branch: &str) -> bool {
    branch
        .get(..MAGIC_COOKIE.len())
        .is_some_and(|cookie| cookie.eq_ignore_ascii_case(MAGIC_COOKIE))
        && branch.len() > MAGIC_COOKIE.len()
}

/// Names a client transaction: the branch we made, and the method, because a CANCEL shares its INVITE's branch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientKey {
    method: Method,
    branch: Box<str>,
}

impl ClientKey {
    /// Of a request we send with this branch.
    pub fn new(method: Method, branch: &str) -> Self {
        Self {
            method,
            branch: branch.into(),
        }
    }

    /// The transaction a response belongs to.
    pub fn of(response: &Response) -> Option<Self> {
        let headers = response.headers();
        Some(Self::new(
            headers.cseq().ok()?.method,
            headers.via().ok()?.branch()?,
        ))
    }
}

/// Finds merged requests: the same INVITE by two ways has two branches, but one From tag, Call-ID and `CSeq` (§8.2.2.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MergeKey(Box<str>);

impl MergeKey {
    /// Of an INVITE without a To tag.
    pub fn of(request: &Request) -> Option<Self> {
        let headers = request.headers();
        let from = headers.from().ok()?;
        let tag = from.tag().unwrap_or_default();
        let cseq = headers.cseq().ok()?.number;
        let call_id = headers.call_id().ok()?;
        Some(Self(format!("{call_id} {tag} {cseq}").into()))
    }
}
