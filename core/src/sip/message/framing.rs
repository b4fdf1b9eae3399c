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
        self.line_feeds += skipped
            .iter()
            .map(|b| usize::from(*b == b'\n'))
            .sum::<usize>();
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

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &[u8] =
        b"OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h\r\nContent-Length: 4\r\n\r\nbody";
    const BYE: &[u8] = b"BYE sip:h SIP/2.0\r\nl:\r\n 0\r\n\r\n";

    fn messages(framer: &mut Framer) -> Vec<Bytes> {
        std::iter::from_fn(|| framer.poll_message())
            .map(|message| message.unwrap())
            .collect()
    }

    fn error(octets: &[u8]) -> FramingError {
        let mut framer = Framer::new();
        framer.push(octets);
        let error = framer.poll_message().unwrap().unwrap_err();
        framer.push(OPTIONS);
        assert_eq!(framer.poll_message(), None, "nothing follows an error");
        error
    }

    #[test]
    fn messages_come_out_however_the_stream_is_cut() {
        let stream = [OPTIONS, b"\r\n", BYE, OPTIONS].concat();
        for step in 1..stream.len() {
            let mut framer = Framer::new();
            let mut seen = Vec::new();
            for piece in stream.chunks(step) {
                framer.push(piece);
                seen.extend(messages(&mut framer));
            }
            assert_eq!(seen, [OPTIONS, BYE, OPTIONS], "pieces of {step}");
            assert!(!framer.is_mid_message());
        }
    }

    #[test]
    fn half_a_message_is_waited_for() {
        let mut framer = Framer::new();
        framer.push(&OPTIONS[..OPTIONS.len() - 1]);
        assert_eq!(framer.poll_message(), None);
        assert!(framer.is_mid_message());
    }

    #[test]
    fn each_double_line_end_is_one_ping() {
        let mut framer = Framer::new();
        for piece in [&b"\r\n"[..], b"\r", b"\n", b"\r\n\r\n", b"\r\n"] {
            framer.push(piece);
            assert_eq!(framer.poll_message(), None);
        }
        assert_eq!(framer.take_pings(), 2);
        assert_eq!(framer.take_pings(), 0);
        framer.push(BYE);
        assert_eq!(messages(&mut framer), [BYE]);
        assert_eq!(framer.take_pings(), 0);
    }

    #[test]
    fn a_stream_without_content_length_is_answered_and_closed() {
        for line in [
            "",
            "Content-Length: -1\r\n",
            "l: x\r\n",
            "l: 4\r\nContent-Length: 5\r\n",
            "l:\r\n",
            "l: 99999999999999999999\r\n",
        ] {
            let head = format!("INVITE sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h\r\n{line}\r\n");
            let error = error(format!("{head}body").as_bytes());
            assert_eq!(error.status(), 400);
            let message = Message::parse(error.head().unwrap()).unwrap();
            assert!(message.headers().via().is_ok(), "{line}");
        }
    }

    #[test]
    fn two_lengths_that_agree_are_one() {
        let mut framer = Framer::new();
        framer.push(b"BYE sip:h SIP/2.0\r\nl: 1\r\nl: 1\r\n\r\nx");
        assert_eq!(messages(&mut framer).len(), 1);
    }

    #[test]
    fn a_body_over_the_limit_is_refused_before_it_is_read() {
        let error = error(b"INFO sip:h SIP/2.0\r\nContent-Length: 4000000000\r\n\r\n");
        assert_eq!((error.status(), error.head().is_some()), (513, true));
    }

    #[test]
    fn a_head_without_end_is_refused_at_the_limit() {
        let mut framer = Framer::new();
        let mut pushed = 0;
        let error = loop {
            framer.push(b"INVITE sip:h SIP/2.0\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n");
            pushed += 1;
            if let Some(message) = framer.poll_message() {
                break message.unwrap_err();
            }
            assert!(pushed < 5000, "bounded");
        };
        assert_eq!(error, FramingError::HeadTooLarge);
    }

    #[test]
    fn what_is_no_sip_is_refused() {
        for text in [
            "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
            "\x16\x03\x01\n\n",
            "SIP/2.0 abc\r\n\r\n",
        ] {
            assert!(
                matches!(error(text.as_bytes()), FramingError::NotSip(_)),
                "{text}"
            );
        }
    }

    #[test]
    fn the_framer_and_the_parser_agree_on_where_a_body_starts() {
        for head in [
            "BYE sip:h SIP/2.0\nl: 2\n\n",
            "BYE sip:h SIP/2.0\r\nl: 2\n\r\n",
            "BYE sip:h SIP/2.0\nl: 2\r\n\n",
        ] {
            let mut framer = Framer::new();
            framer.push(head.as_bytes());
            framer.push(b"hiBYE");
            let message = framer.poll_message().unwrap().unwrap();
            assert_eq!(
                Message::parse(&message).unwrap().body().as_ref(),
                b"hi",
                "{head:?}"
            );
        }
    }
}
