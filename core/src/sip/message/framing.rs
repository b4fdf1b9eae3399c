//! Cuts messages out of a TCP or TLS stream (RFC 3261 §18.3): head up to the empty line, then Content-Length octets.

use super::limits;
use super::{Headers, Message, ParseError};
use bytes::{Bytes, BytesMut};

/// Why the stream cannot go on: close it, after answering what [`FramingError::head`] still shows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FramingError {
    /// The head has no end within [`limits::MESSAGE`].
    #[error("head of a message longer than {} octets", limits::MESSAGE)]
    HeadTooLarge,
    /// What came is no SIP.
    #[error("not SIP: {0}")]
    NotSip(ParseError),
    /// No Content-Length, one that is no number, or two that differ: nobody knows where the next message starts.
    #[error("no usable Content-Length")]
    ContentLength {
        /// The message's head, which [`Message::parse`] reads for the answer.
        head: Bytes,
    },
    /// Content-Length over [`limits::BODY`], or head and body over [`limits::MESSAGE`].
    #[error("body larger than {} octets", limits::BODY)]
    BodyTooLarge {
        /// The message's head, which [`Message::parse`] reads for the answer.
        head: Bytes,
    },
}

impl FramingError {
    /// The head that can still be answered.
    pub const fn head(&self) -> Option<&Bytes> {
        match self {
            Self::ContentLength { head } | Self::BodyTooLarge { head } => Some(head),
            Self::HeadTooLarge | Self::NotSip(_) => None,
        }
    }

    /// What to answer: 400, or 513 for what is too large.
    pub const fn status(&self) -> u16 {
        match self {
            Self::BodyTooLarge { .. } | Self::HeadTooLarge => 513,
            Self::ContentLength { .. } | Self::NotSip(_) => 400,
        }
    }
}

/// One stream's octets on their way to messages. Holds at most one unfinished message.
///
/// Push what was read, then poll until `None`; a shell reads the next octets only after that, so the buffer
/// holds at most one read more than a message. After an error nothing more comes out.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    state: State,
    /// Octets of the buffer known to hold no end of head.
    searched: usize,
    /// Line feeds in a row between messages.
    line_feeds: usize,
    pings: usize,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    /// The head was read; the whole message has this many octets.
    Body { message: usize },
    /// Framing is lost.
    Broken,
}

impl Framer {
    /// A framer at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what was read.
    pub fn push(&mut self, octets: &[u8]) {
        if !matches!(self.state, State::Broken) {
            self.buffer.extend_from_slice(octets);
        }
    }

    /// The next whole message; `None` when more octets are needed.
    pub fn poll_message(&mut self) -> Option<Result<Bytes, FramingError>> {
        if matches!(self.state, State::Head) {
            self.skip_keep_alives();
            match self.read_head() {
                Ok(Some(message)) => self.state = State::Body { message },
                Ok(None) => return None,
                Err(error) => {
                    self.state = State::Broken;
                    self.buffer = BytesMut::new();
                    return Some(Err(error));
                }
            }
        }
        match self.state {
            State::Body { message } if self.buffer.len() >= message => {
                self.state = State::Head;
                self.searched = 0;
                self.line_feeds = 0;
                Some(Ok(self.buffer.split_to(message).freeze()))
            }
            State::Head | State::Body { .. } | State::Broken => None,
        }
    }

    /// Pings since the last call: a double CRLF between messages, each owed a single CRLF (RFC 5626 §4.4.1).
    pub fn take_pings(&mut self) -> usize {
        std::mem::take(&mut self.pings)
    }

    /// Is a message half here? Such a stream must not wait for ever.
    pub fn is_mid_message(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Line ends before a start line are keep-alives (RFC 3261 §7.5).
    fn skip_keep_alives(&mut self) {
        let end = self.buffer.iter().position(|b| !matches!(b, b'\r' | b'\n'));
        let skipped = self.buffer.split_to(end.unwrap_or(self.buffer.len()));
        if skipped.is_empty() {
            return;
        }
        self.line_feeds += skipped.iter().filter(|b| **b == b'\n').count();
        self.pings += self.line_feeds / 2;
        self.line_feeds %= 2;
        self.searched = 0;
    }

    /// The length of the whole message once its head is here.
    fn read_head(&mut self) -> Result<Option<usize>, FramingError> {
        let Some(head) = self.find_head_end() else {
            if self.buffer.len() > limits::MESSAGE {
                return Err(FramingError::HeadTooLarge);
            }
            return Ok(None);
        };
        if head > limits::MESSAGE {
            return Err(FramingError::HeadTooLarge);
        }
        let octets = Bytes::copy_from_slice(&self.buffer[..head]);
        // The same reader as for the message itself: two readers that disagree are how smuggling works.
        let message = Message::parse(&octets).map_err(FramingError::NotSip)?;
        match content_length(message.headers()) {
            Some(body) if body > limits::BODY || head + body > limits::MESSAGE => {
                Err(FramingError::BodyTooLarge { head: octets })
            }
            Some(body) => Ok(Some(head + body)),
            None => Err(FramingError::ContentLength { head: octets }),
        }
    }

    /// One past the empty line, looking at each octet once however it arrives.
    fn find_head_end(&mut self) -> Option<usize> {
        let mut at = self.searched;
        while let Some(found) = self.buffer[at..].iter().position(|b| *b == b'\n') {
            let line_end = at + found + 1;
            match &self.buffer[line_end..] {
                [b'\n', ..] => return Some(line_end + 1),
                [b'\r', b'\n', ..] => return Some(line_end + 2),
                [] | [b'\r'] => {
                    self.searched = line_end - 1; // what follows decides
                    return None;
                }
                _ => at = line_end,
            }
        }
        self.searched = self.buffer.len();
        None
    }
}

/// The one Content-Length all its lines agree on.
fn content_length(headers: &Headers) -> Option<usize> {
    let mut lines = headers.all(super::Name::ContentLength);
    let first = lines.next();
    lines
        .all(|other| Some(other) == first)
        .then(|| headers.content_length().ok().flatten())
        .flatten()
}
