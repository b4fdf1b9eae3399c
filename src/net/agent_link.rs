//! The WebSocket under every agent dialect (RFC 6455, client role).
//!
//! It knows frames, not what they mean. The socket is always read, so that a `clear` is never stuck behind audio.
//! What we send goes out at once as long as the far end reads; when it does not, control messages wait and audio
//! waits for one second at most, then the oldest goes (recognisers want now, not then).
//!
//! Driven by polling, so that a media shard can serve it in the same wake-up as the caller's packet; the `async`
//! methods are the same thing for everyone else.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use baton_core::agent::dialect::MessageKind;
use baton_core::agent::{LinkRequest, Message};
use bytes::{Bytes, BytesMut};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Request};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

/// Largest message an agent may send; above it the link closes with 1009.
pub const MAX_MESSAGE: usize = 1 << 20;

/// Audio messages that wait for a slow agent: one second of 20 ms frames.
const MAX_WAITING_AUDIO: usize = 50;
/// Control messages that wait for a slow agent. One that lets more pile up is not reading, and is given up.
const MAX_WAITING_CONTROL: usize = 256;
/// tungstenite keeps 128 KiB per socket unless told otherwise; an agent's frame is a few hundred octets.
const READ_BUFFER: usize = 4 << 10;
/// Written to the socket as soon as this much is buffered within one wake.
const WRITE_BUFFER: usize = 16 << 10;
/// What the kernel may hold for us: behind it our own queue can still drop stale audio, in front of it nobody can.
const KERNEL_SEND_BUFFER: usize = 32 << 10;
/// How long a closing link may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(2);

/// The link could not be opened. Texts name the place, never the path or query: they may hold a token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Not a WebSocket URL.
    #[error("{place}: {why}; an agent's url starts with ws:// or wss://")]
    BadUrl {
        /// Scheme and authority.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// A header field that HTTP cannot carry.
    #[error("{place}: header {name:?} cannot be sent")]
    BadHeader {
        /// Scheme and authority.
        place: String,
        /// Its name.
        name: String,
    },
    /// Nothing came back in time.
    #[error("{place}: no answer within {after:?}")]
    TimedOut {
        /// Scheme and authority.
        place: String,
        /// The setting.
        after: Duration,
    },
    /// The server answered, but not with 101.
    #[error("{place}: the upgrade was refused with HTTP {status}")]
    Refused {
        /// Scheme and authority.
        place: String,
        /// HTTP status.
        status: u16,
    },
    /// TCP, TLS or the handshake failed.
    #[error("{place}: {why}")]
    Unreachable {
        /// Scheme and authority.
        place: String,
        /// In the library's words.
        why: String,
    },
}

/// What happened on the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message.
    Binary(Bytes),
    /// It is over; nothing follows. [`AgentLink::farewell`] still ends it politely.
    Closed(Closed),
}

/// How a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// `true`: the far end said goodbye with 1000, 1001 or no code at all.
    pub clean: bool,
    /// For people.
    pub why: String,
    /// The close code: the far end's, or ours when it broke the rules (1009, 1007, 1002).
    pub code: Option<u16>,
}

struct Waiting {
    message: tungstenite::Message,
    kind: MessageKind,
}

/// An open link to an agent.
pub struct AgentLink {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Only used while `congested`.
    waiting: VecDeque<Waiting>,
    waiting_audio: usize,
    /// The last flush did not finish.
    congested: bool,
    /// Messages are cut from here, so that a frame costs a copy and no allocation.
    arena: BytesMut,
    dropped: u64,
    /// A fault found while sending, told by the next [`AgentLink::poll_event`].
    fault: Option<Closed>,
}

impl std::fmt::Debug for AgentLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentLink")
            .field("waiting", &self.waiting.len())
            .field("congested", &self.congested)
            .finish_non_exhaustive()
    }
}

impl AgentLink {
    /// Opens a link.
    ///
    /// # Errors
    /// [`LinkError`]; `timeout` covers name resolution, TCP, TLS and the upgrade together.
    pub async fn connect(request: &LinkRequest, timeout: Duration) -> Result<Self, LinkError> {
        let place = place(&request.url);
        match tokio::time::timeout(timeout, open(request)).await {
            Ok(opened) => opened,
            Err(_) => Err(LinkError::TimedOut {
                place,
                after: timeout,
            }),
        }
    }

    /// Queues a message and writes what the socket takes; never waits.
    pub fn send(&mut self, cx: &mut Context<'_>, message: Message<'_>, kind: MessageKind) {
        let message = self.own(message);
        if self.congested {
            self.wait(message, kind);
        } else {
            self.start(cx, message);
        }
    }

    /// Writes what is queued; once per wake is enough, after the last [`AgentLink::send`].
    pub fn flush(&mut self, cx: &mut Context<'_>) {
        loop {
            match Pin::new(&mut self.socket).poll_flush(cx) {
                Poll::Pending => {
                    self.congested = true;
                    return;
                }
                Poll::Ready(Err(error)) => return self.note(&error),
                Poll::Ready(Ok(())) => self.congested = false,
            }
            if self.waiting.is_empty() {
                return;
            }
            while let Some(next) = self.next_waiting() {
                self.start(cx, next);
                if self.congested {
                    break;
                }
            }
        }
    }

    /// The next event. After [`LinkEvent::Closed`] do not ask again.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<LinkEvent> {
        if let Some(fault) = self.fault.take() {
            return Poll::Ready(LinkEvent::Closed(fault));
        }
        loop {
            let Poll::Ready(read) = Pin::new(&mut self.socket).poll_next(cx) else {
                return Poll::Pending;
            };
            let event = match read {
                Some(Ok(tungstenite::Message::Text(text))) => LinkEvent::Text(text),
                Some(Ok(tungstenite::Message::Binary(octets))) => LinkEvent::Binary(octets),
                Some(Ok(tungstenite::Message::Close(frame))) => {
                    LinkEvent::Closed(Closed::by_peer(frame.as_ref()))
                }
                // Pings are answered by the socket itself, with the next read or flush.
                Some(Ok(_)) => continue,
                Some(Err(error)) => LinkEvent::Closed(Closed::by_fault(&error)),
                None => LinkEvent::Closed(Closed::vanished()),
            };
            return Poll::Ready(event);
        }
    }

    /// The next event, for tasks. Cancel-safe.
    pub async fn next(&mut self) -> LinkEvent {
        poll_fn(|cx| {
            if self.congested {
                self.flush(cx);
            }
            self.poll_event(cx)
        })
        .await
    }

    /// Sends one message and writes what the socket takes, for tasks.
    pub async fn say(&mut self, message: Message<'_>, kind: MessageKind) {
        poll_fn(|cx| {
            self.send(cx, message, kind);
            self.flush(cx);
            Poll::Ready(())
        })
        .await;
    }

    /// A fault was found while sending: [`AgentLink::poll_event`] has news.
    pub fn has_fault(&self) -> bool {
        self.fault.is_some()
    }

    /// Audio messages dropped because the far end did not keep up, since the last call.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Sends what is queued and a Close frame, then waits (two seconds at most) until the far end has closed too, so
    /// that it sees the frame and not a reset.
    pub async fn farewell(mut self, code: u16, reason: &str) {
        let goodbye = async {
            poll_fn(|cx| {
                self.flush(cx);
                if self.congested {
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            })
            .await;
            let frame = CloseFrame {
                code: CloseCode::from(code),
                reason: short(reason).into(),
            };
            // Fails when the far end has said goodbye already: then its answer is what remains to be flushed.
            let _ = self.socket.close(Some(frame)).await;
            self.drain().await;
        };
        // Whoever does not answer a goodbye is left.
        let _ = tokio::time::timeout(FAREWELL, goodbye).await;
    }

    /// Reads the naked stream to its end: octets left unread would turn our close into a reset.
    async fn drain(&mut self) {
        let mut scratch = [0; 1024];
        poll_fn(|cx| {
            loop {
                let mut buffer = ReadBuf::new(&mut scratch);
                match Pin::new(self.socket.get_mut()).poll_read(cx, &mut buffer) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                }
            }
        })
        .await;
    }

    fn own(&mut self, message: Message<'_>) -> tungstenite::Message {
        let (octets, is_text) = match message {
            Message::Text(text) => (text.as_bytes(), true),
            Message::Binary(octets) => (octets, false),
        };
        self.arena.extend_from_slice(octets);
        let octets = self.arena.split().freeze();
        if !is_text {
            return tungstenite::Message::Binary(octets);
        }
        let text = Utf8Bytes::try_from(octets).expect("it was a str a moment ago");
        tungstenite::Message::Text(text)
    }

    fn start(&mut self, cx: &mut Context<'_>, message: tungstenite::Message) {
        match Pin::new(&mut self.socket).poll_ready(cx) {
            Poll::Pending => {
                self.congested = true;
                // It was first in line and stays so.
                let kind = MessageKind::Control;
                self.waiting.push_front(Waiting { message, kind });
                return;
            }
            Poll::Ready(Err(error)) => return self.note(&error),
            Poll::Ready(Ok(())) => {}
        }
        if let Err(error) = Pin::new(&mut self.socket).start_send(message) {
            self.note(&error);
        }
    }

    fn wait(&mut self, message: tungstenite::Message, kind: MessageKind) {
        match kind {
            MessageKind::Audio if self.waiting_audio >= MAX_WAITING_AUDIO => {
                self.drop_oldest_audio();
            }
            MessageKind::Audio => self.waiting_audio += 1,
            MessageKind::Control => {
                let control = self.waiting.len() - self.waiting_audio;
                if control >= MAX_WAITING_CONTROL {
                    self.fault.get_or_insert_with(Closed::not_reading);
                    return;
                }
            }
        }
        self.waiting.push_back(Waiting { message, kind });
    }

    fn drop_oldest_audio(&mut self) {
        let oldest = self
            .waiting
            .iter()
            .position(|w| w.kind == MessageKind::Audio);
        if let Some(at) = oldest {
            self.waiting.remove(at);
            self.dropped += 1;
        }
    }

    fn next_waiting(&mut self) -> Option<tungstenite::Message> {
        let next = self.waiting.pop_front()?;
        if next.kind == MessageKind::Audio {
            self.waiting_audio -= 1;
        }
        Some(next.message)
    }

    fn note(&mut self, error: &tungstenite::Error) {
        self.waiting.clear();
        self.waiting_audio = 0;
        self.congested = false;
        // A write that fails because the far end closed is explained by what we read next.
        let explained_by_reading = matches!(
            error,
            tungstenite::Error::ConnectionClosed
                | tungstenite::Error::AlreadyClosed
                | tungstenite::Error::Protocol(tungstenite::error::ProtocolError::SendAfterClosing)
        );
        if !explained_by_reading {
            self.fault.get_or_insert_with(|| Closed::by_fault(error));
        }
    }
}

impl Closed {
    fn by_peer(frame: Option<&CloseFrame>) -> Self {
        let Some(frame) = frame else {
            return Self {
                clean: true,
                why: "closed by the agent without a code".into(),
                code: None,
            };
        };
        let code = u16::from(frame.code);
        let mut why = format!("closed by the agent with {code}");
        if !frame.reason.is_empty() {
            why.push_str(": ");
            why.push_str(&frame.reason);
        }
        Self {
            clean: matches!(code, 1000 | 1001),
            why,
            code: Some(code),
        }
    }

    fn by_fault(error: &tungstenite::Error) -> Self {
        use tungstenite::Error;
        use tungstenite::error::ProtocolError;

        let (code, why) = if let Error::Capacity(_) = error {
            let why = format!("the agent sent a message over {MAX_MESSAGE} octets");
            (Some(1009), why)
        } else if let Error::Utf8(_) = error {
            (Some(1007), "the agent sent text that is not UTF-8".into())
        } else if let Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) = error {
            // Not a fault of its protocol: the connection went away under it.
            return Self::vanished();
        } else if let Error::Protocol(fault) = error {
            (Some(1002), fault.to_string())
        } else {
            (None, error.to_string())
        };
        Self {
            clean: false,
            why,
            code,
        }
    }

    fn vanished() -> Self {
        Self {
            clean: false,
            why: "the connection ended without a Close frame".into(),
            code: None,
        }
    }

    fn not_reading() -> Self {
        Self {
            clean: false,
            why: format!("the agent does not read its socket: {MAX_WAITING_CONTROL} messages wait"),
            code: Some(1008),
        }
    }
}

async fn open(request: &LinkRequest) -> Result<AgentLink, LinkError> {
    let place = place(&request.url);
    let upgrade = upgrade(request, &place)?;
    if upgrade.uri().scheme_str() == Some("wss") {
        super::tls::install_provider();
    }
    let unreachable = |why: String| LinkError::Unreachable {
        place: place.clone(),
        why,
    };
    let stream = dial(&upgrade)
        .await
        .map_err(|e| unreachable(e.to_string()))?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let opened = client_async_tls_with_config(upgrade, stream, Some(config), None).await;
    let (socket, _response) = opened.map_err(|error| {
        if let tungstenite::Error::Http(response) = &error {
            let status = response.status().as_u16();
            let place = place.clone();
            return LinkError::Refused { place, status };
        }
        unreachable(error.to_string())
    })?;
    Ok(AgentLink {
        socket,
        waiting: VecDeque::new(),
        waiting_audio: 0,
        congested: false,
        arena: BytesMut::new(),
        dropped: 0,
        fault: None,
    })
}

fn upgrade(request: &LinkRequest, place: &str) -> Result<Request<()>, LinkError> {
    let bad_url = |why: String| LinkError::BadUrl {
        place: place.to_owned(),
        why,
    };
    let mut upgrade = request
        .url
        .as_str()
        .into_client_request()
        .map_err(|e| bad_url(e.to_string()))?;
    if !matches!(upgrade.uri().scheme_str(), Some("ws" | "wss")) {
        return Err(bad_url("not a WebSocket URL".into()));
    }
    let subprotocol = request
        .subprotocol
        .map(|name| ("Sec-WebSocket-Protocol".to_owned(), name.to_owned()));
    for (name, value) in request.headers.iter().cloned().chain(subprotocol) {
        let header = HeaderName::try_from(&name).ok();
        let value = HeaderValue::try_from(value).ok();
        let (Some(header), Some(value)) = (header, value) else {
            let place = place.to_owned();
            return Err(LinkError::BadHeader { place, name });
        };
        upgrade.headers_mut().append(header, value);
    }
    Ok(upgrade)
}

async fn dial(upgrade: &Request<()>) -> std::io::Result<TcpStream> {
    let uri = upgrade.uri();
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let default_port = if uri.scheme_str() == Some("wss") {
        443
    } else {
        80
    };
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(default_port))).await?;
    stream.set_nodelay(true)?;
    // Best effort: with the system's own size the link works, it only drops stale audio later.
    let _ = socket2::SockRef::from(&stream).set_send_buffer_size(KERNEL_SEND_BUFFER);
    Ok(stream)
}

/// Scheme and authority of a URL; what follows may be secret, and so may a user name and password.
fn place(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    if scheme.is_empty() {
        host.to_owned()
    } else {
        format!("{scheme}://{host}")
    }
}

/// A close reason fits a control frame (RFC 6455 §5.5): 123 octets.
fn short(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(123)]
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_hdr_async;
    use tokio_tungstenite::tungstenite::Message as Frame;
    use tokio_tungstenite::tungstenite::handshake::server;

    use super::*;

    type Server = WebSocketStream<TcpStream>;
    const SOON: Duration = Duration::from_secs(5);

    /// An agent's server that takes one connection and does as it is told.
    async fn agent<F, Fut>(behave: F) -> (LinkRequest, impl Future<Output = ()>)
    where
        F: FnOnce(Server, Vec<(String, String)>) -> Fut,
        Fut: Future<Output = ()>,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let request = LinkRequest {
            url: format!("ws://{}/call?token=secret", listener.local_addr().unwrap()),
            subprotocol: Some("baton.v1"),
            headers: vec![("Authorization".into(), "Bearer k".into())],
        };
        let server = async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut seen = Vec::new();
            #[expect(clippy::result_large_err, reason = "the library's callback type")]
            let look = |request: &server::Request, mut response: server::Response| {
                for (name, value) in request.headers() {
                    seen.push((name.to_string(), value.to_str().unwrap().to_owned()));
                }
                let protocol = request.headers()["sec-websocket-protocol"].clone();
                response
                    .headers_mut()
                    .insert("sec-websocket-protocol", protocol);
                Ok(response)
            };
            let socket = accept_hdr_async(stream, look).await.unwrap();
            behave(socket, seen).await;
        };
        (request, server)
    }

    async fn connected(request: &LinkRequest) -> AgentLink {
        AgentLink::connect(request, SOON).await.unwrap()
    }

    #[tokio::test]
    async fn messages_travel_both_ways_with_headers_and_subprotocol() {
        let (request, server) = agent(async |mut socket: Server, headers| {
            assert!(headers.contains(&("authorization".into(), "Bearer k".into())));
            assert!(headers.contains(&("sec-websocket-protocol".into(), "baton.v1".into())));
            assert_eq!(socket.next().await.unwrap().unwrap(), Frame::text("hello"));
            assert_eq!(
                socket.next().await.unwrap().unwrap(),
                Frame::binary(vec![1, 2, 3])
            );
            socket.send(Frame::text("there")).await.unwrap();
            socket.send(Frame::binary(vec![9])).await.unwrap();
            socket.close(None).await.unwrap();
            while socket.next().await.is_some() {}
        })
        .await;
        let client = async {
            let mut link = connected(&request).await;
            link.say(Message::Text("hello"), MessageKind::Control).await;
            link.say(Message::Binary(&[1, 2, 3]), MessageKind::Audio)
                .await;
            assert_eq!(link.next().await, LinkEvent::Text("there".into()));
            assert_eq!(
                link.next().await,
                LinkEvent::Binary(Bytes::from_static(&[9]))
            );
            let LinkEvent::Closed(closed) = link.next().await else {
                panic!("not closed");
            };
            assert!(closed.clean, "{closed:?}");
            link.farewell(1000, "").await;
        };
        tokio::join!(client, server);
    }

    #[tokio::test]
    async fn a_ping_is_answered_while_we_read() {
        let (request, server) = agent(async |mut socket: Server, _| {
            socket.send(Frame::Ping("x".into())).await.unwrap();
            assert_eq!(
                socket.next().await.unwrap().unwrap(),
                Frame::Pong("x".into())
            );
            socket.send(Frame::text("alive")).await.unwrap();
        })
        .await;
        let client = async {
            let mut link = connected(&request).await;
            assert_eq!(link.next().await, LinkEvent::Text("alive".into()));
        };
        tokio::join!(client, server);
    }

    #[tokio::test]
    async fn a_message_over_the_limit_closes_with_1009_and_the_agent_sees_it() {
        let (request, server) = agent(async |mut socket: Server, _| {
            let huge = vec![0_u8; MAX_MESSAGE + 1];
            let _ = socket.send(Frame::binary(huge)).await;
            let code = loop {
                match socket.next().await {
                    Some(Ok(Frame::Close(frame))) => break frame.map(|f| u16::from(f.code)),
                    Some(Ok(_)) => {}
                    other => panic!("no close frame: {other:?}"),
                }
            };
            assert_eq!(code, Some(1009));
        })
        .await;
        let client = async {
            let mut link = connected(&request).await;
            let LinkEvent::Closed(closed) = link.next().await else {
                panic!("not closed");
            };
            assert_eq!(
                (closed.clean, closed.code),
                (false, Some(1009)),
                "{closed:?}"
            );
            link.farewell(1009, &closed.why).await;
        };
        tokio::join!(client, server);
    }

    #[tokio::test]
    async fn a_connection_that_breaks_is_not_a_clean_close() {
        let (request, server) = agent(async |socket: Server, _| drop(socket)).await;
        let client = async {
            let mut link = connected(&request).await;
            let LinkEvent::Closed(closed) = link.next().await else {
                panic!("not closed");
            };
            assert!(!closed.clean, "{closed:?}");
        };
        tokio::join!(client, server);
    }

    #[tokio::test]
    async fn an_error_code_is_not_a_clean_close_and_its_reason_is_told() {
        let (request, server) = agent(async |mut socket: Server, _| {
            let frame = CloseFrame {
                code: CloseCode::Error,
                reason: "model crashed".into(),
            };
            socket.close(Some(frame)).await.unwrap();
            while socket.next().await.is_some() {}
        })
        .await;
        let client = async {
            let mut link = connected(&request).await;
            let LinkEvent::Closed(closed) = link.next().await else {
                panic!("not closed");
            };
            assert_eq!((closed.clean, closed.code), (false, Some(1011)));
            assert!(closed.why.contains("model crashed"));
            link.farewell(1000, "").await;
        };
        tokio::join!(client, server);
    }

    #[tokio::test]
    async fn an_agent_that_does_not_read_loses_the_oldest_audio_and_is_given_up_in_the_end() {
        let (request, server) = agent(async |socket: Server, _| {
            // Holds the socket without reading until the other side is done.
            tokio::time::timeout(SOON, std::future::pending::<()>())
                .await
                .unwrap_err();
            drop(socket);
        })
        .await;
        let client = async {
            let mut link = connected(&request).await;
            let frame = [0; 16 << 10];
            while link.take_dropped() == 0 {
                link.say(Message::Binary(&frame), MessageKind::Audio).await;
            }
            assert_eq!(link.waiting_audio, MAX_WAITING_AUDIO);
            for _ in 0..=MAX_WAITING_CONTROL {
                link.say(Message::Text("{}"), MessageKind::Control).await;
            }
            let LinkEvent::Closed(closed) = link.next().await else {
                panic!("not closed");
            };
            assert!(closed.why.contains("does not read"), "{closed:?}");
        };
        tokio::select! { () = client => {}, () = server => panic!("the agent was first") }
    }

    #[tokio::test]
    async fn who_cannot_be_reached_is_told_without_the_secret_part_of_the_url() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let request = |url: String| LinkRequest {
            url,
            subprotocol: None,
            headers: Vec::new(),
        };

        // Accepts TCP, says nothing.
        let silent = request(format!("ws://{address}/x?token=secret"));
        let error = AgentLink::connect(&silent, Duration::from_millis(50))
            .await
            .unwrap_err();
        assert!(matches!(error, LinkError::TimedOut { .. }), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");

        drop(listener);
        let error = AgentLink::connect(&silent, SOON).await.unwrap_err();
        assert!(matches!(error, LinkError::Unreachable { .. }), "{error}");

        for url in ["http://a.example/", "not a url", ""] {
            let error = AgentLink::connect(&request(url.into()), SOON)
                .await
                .unwrap_err();
            assert!(matches!(error, LinkError::BadUrl { .. }), "{url}: {error}");
        }
        let mut hostile = silent;
        hostile.headers.push(("X-A".into(), "a\r\nX-B: b".into()));
        let error = AgentLink::connect(&hostile, SOON).await.unwrap_err();
        assert!(matches!(error, LinkError::BadHeader { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_refused_upgrade_tells_its_status() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let request = LinkRequest {
            url: format!("ws://{}", listener.local_addr().unwrap()),
            subprotocol: None,
            headers: Vec::new(),
        };
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut scratch = [0; 1024];
            let _ = stream.read(&mut scratch).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
                .await
                .unwrap();
        };
        let (error, ()) = tokio::join!(AgentLink::connect(&request, SOON), server);
        let error = error.unwrap_err();
        assert!(
            matches!(error, LinkError::Refused { status: 401, .. }),
            "{error}"
        );
    }

    #[test]
    fn a_place_holds_no_secret() {
        assert_eq!(
            place("wss://u:p@bot.example.com:8443/t/abc?k=v"),
            "wss://bot.example.com:8443"
        );
        assert_eq!(place("bot.example.com/x"), "bot.example.com");
    }
}
