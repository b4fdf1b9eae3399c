//! SIP messages (RFC 3261 §7, §20, §25): read, checked, written.
//!
//! ```text
//! datagram ──► Message::parse ──► Request ──► validate() ──► Ok: act on it
//!   │ stream: Framer first   │                   └─ Err(Fault): answer fault.status() with fault.reason()
//!   │                        └──► Response ─► validate() ──► Err: drop it
//!   └─ Err(ParseError): nothing readable, drop it
//! ```
//!
//! * [`Message::parse`] is lenient: it reads whatever can be read, so that what is wrong can still be answered with
//!   the Via, From, To, Call-ID and `CSeq` it has. It fails only when there is nothing to answer.
//! * [`Request::validate`] is the gate: nobody acts on a request before it. A [`Fault`] says which status and
//!   phrase to answer with, provided [`Headers::via`] can be read (else drop) and the method is not ACK.
//!   After it [`Headers::via`], `from`, `to`, `call_id` and `cseq` succeed and the Request-URI parses.
//! * A message *is* its wire image, plus a table of spans into it. Reading a header copies nothing;
//!   [`Message::to_bytes`] is a reference count. Folds are blanked when the message is read.
//! * [`Request::builder`] and [`Response::builder_for`] refuse line ends in every part, so no value can inject a
//!   header, and always write the right Content-Length.
//!
//! Not here: which values are supported (methods, schemes, Require, body types). That is the endpoint's.

pub mod body;
mod build;
mod error;
mod escape;
pub mod framing;
mod headers;
mod lex;
pub mod limits;
mod method;
mod name;
mod name_addr;
mod params;
mod parse;
pub mod peek;
mod status;
pub mod uri;
mod validate;
mod via;

pub use build::{BuildError, FieldName, RequestBuilder, ResponseBuilder};
pub use error::{Fault, ParseError};
pub use framing::{Framer, FramingError};
pub use headers::{CSeq, Headers};
pub use lex::unquote;
pub use method::Method;
pub use name::Name;
pub use name_addr::NameAddr;
pub use params::Params;
pub use status::reason_phrase;
pub use uri::{Uri, UriError};
pub use via::Via;

use bytes::Bytes;
use headers::Span;

/// A request or a response.
#[derive(Debug, Clone)]
pub enum Message {
    /// Somebody wants something.
    Request(Request),
    /// Somebody answers.
    Response(Response),
}

impl Message {
    /// Reads one datagram, or one message out of a stream. Octets after the body are dropped (RFC 4475 §3.1.1.8).
    ///
    /// # Errors
    /// There is nothing to answer; see [`ParseError`].
    pub fn parse(datagram: &Bytes) -> Result<Self, ParseError> {
        parse::message(datagram)
    }

    /// The header fields.
    pub const fn headers(&self) -> &Headers {
        match self {
            Self::Request(request) => request.headers(),
            Self::Response(response) => response.headers(),
        }
    }

    /// The body, verbatim; empty when there is none.
    pub const fn body(&self) -> &Bytes {
        match self {
            Self::Request(request) => request.body(),
            Self::Response(response) => response.body(),
        }
    }

    /// The message as it travels.
    pub fn to_bytes(&self) -> Bytes {
        self.headers().wire.clone()
    }

    /// Is it fit to be acted on?
    ///
    /// # Errors
    /// See [`Request::validate`] and [`Response::validate`].
    pub fn validate(&self) -> Result<(), Fault> {
        match self {
            Self::Request(request) => request.validate(),
            Self::Response(response) => response.validate(),
        }
    }
}

/// A request (RFC 3261 §7.1).
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    uri: Span,
    headers: Headers,
    body: Bytes,
    fault: Option<Fault>,
}

impl Request {
    /// Starts a request; header fields follow in the order they are added.
    pub fn builder(method: Method, uri: &str) -> RequestBuilder {
        RequestBuilder::new(method, uri)
    }

    /// Starts the same request again, for another way or with more to say.
    ///
    /// * `via`: instead of its own.
    /// * `cseq`: instead of its number.
    /// * `without`: fields left out, for better ones to be added.
    pub fn again(&self, via: &str, cseq: Option<u32>, without: &[Name]) -> RequestBuilder {
        RequestBuilder::again(self, via, cseq, without)
    }

    /// What it asks for.
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The Request-URI as written.
    pub fn uri(&self) -> &str {
        self.headers.text(self.uri)
    }

    /// The header fields.
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The body, verbatim.
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The request as it travels.
    pub fn to_bytes(&self) -> Bytes {
        self.headers.wire.clone()
    }

    /// Is it fit to be acted on? Mandatory fields are there once and can be read, lengths are true, the version is ours.
    ///
    /// # Errors
    /// What to answer.
    pub fn validate(&self) -> Result<(), Fault> {
        match self.fault {
            Some(fault) => Err(fault),
            None => validate::request(&self.method, self.uri(), &self.headers),
        }
    }
}

/// A response (RFC 3261 §7.2).
#[derive(Debug, Clone)]
pub struct Response {
    status: u16,
    reason: Span,
    headers: Headers,
    body: Bytes,
    fault: Option<Fault>,
}

impl Response {
    /// Starts the answer to a request: its Via lines, From, To, Call-ID and `CSeq` verbatim, as far as it has them
    /// (RFC 3261 §8.2.6), then what is added.
    pub fn builder_for(request: &Request, status: u16) -> ResponseBuilder<'_> {
        ResponseBuilder::new(request, status)
    }

    /// 100-699.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The phrase as written; may be empty.
    pub fn reason(&self) -> &str {
        self.headers.text(self.reason)
    }

    /// The header fields.
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The body, verbatim.
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The response as it travels.
    pub fn to_bytes(&self) -> Bytes {
        self.headers.wire.clone()
    }

    /// Is it fit to be acted on?
    ///
    /// # Errors
    /// Why it must be dropped.
    pub fn validate(&self) -> Result<(), Fault> {
        match self.fault {
            Some(fault) => Err(fault),
            None => validate::response(&self.headers),
        }
    }
}
