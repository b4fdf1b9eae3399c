//! What can be wrong with a message, sorted by what can be done about it.

use super::name::Name;

/// Nothing can be read, so nothing can be answered: drop it, or ignore what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Only line ends: a keep-alive (RFC 5626 §3.5.1).
    #[error("empty, a keep-alive")]
    Empty,
    /// Over [`limits::MESSAGE`](super::limits::MESSAGE).
    #[error("larger than a message may be")]
    TooLarge,
    /// The first line is neither Request-Line nor Status-Line.
    #[error("not SIP")]
    NotSip,
    /// A status outside 100-699, or no number.
    #[error("no valid status code")]
    Status,
    /// A header field that was asked for is not there.
    #[error("no {0}")]
    Missing(Name),
    /// A header field that was asked for cannot be read.
    #[error("{0} cannot be read")]
    Malformed(Name),
}

/// What is wrong with a message that was read: a request is answered with [`Fault::status`] and
/// [`Fault::reason`], a response is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A protocol version other than 2.0.
    #[error("Version Not Supported")]
    Version,
    /// Not exactly method, URI and version between single spaces.
    #[error("Malformed Start Line")]
    StartLine,
    /// Over [`limits::START_LINE`](super::limits::START_LINE).
    #[error("Request-URI Too Long")]
    StartLineTooLong,
    /// The Request-URI cannot be read.
    #[error("Malformed Request-URI")]
    RequestUri,
    /// A line that is no header field.
    #[error("Malformed Header Field")]
    HeaderLine,
    /// Over [`limits::HEADER`](super::limits::HEADER).
    #[error("Header Field Too Long")]
    HeaderTooLong,
    /// Over [`limits::HEADERS`](super::limits::HEADERS).
    #[error("Too Many Header Fields")]
    TooManyHeaders,
    /// The datagram ends before the empty line.
    #[error("No End Of Header")]
    Truncated,
    /// Content-Length is no number, larger than what came, or there are two that differ.
    #[error("Wrong Content-Length")]
    ContentLength,
    /// A mandatory header field is missing.
    #[error("Missing {0}")]
    Missing(Name),
    /// A header field that may stand once stands twice.
    #[error("Multiple {0}")]
    Multiple(Name),
    /// A header field every request depends on cannot be read.
    #[error("Malformed {0}")]
    Malformed(Name),
    /// `CSeq` names another method than the Request-Line.
    #[error("CSeq Method Mismatch")]
    Method,
}

impl Fault {
    /// The status that says so.
    pub const fn status(self) -> u16 {
        match self {
            Self::Version => 505,
            Self::StartLineTooLong => 414,
            Self::HeaderTooLong | Self::TooManyHeaders => 513,
            Self::StartLine
            | Self::RequestUri
            | Self::HeaderLine
            | Self::Truncated
            | Self::ContentLength
            | Self::Missing(_)
            | Self::Multiple(_)
            | Self::Malformed(_)
            | Self::Method => 400,
        }
    }

    /// A reason phrase that names the fault, as RFC 3261 §21.4.1 asks for.
    pub fn reason(self) -> String {
        self.to_string()
    }
}
