//! A voice agent that does what the test says: a WebSocket server, one call at a time.

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::baton::PATIENCE;

/// Where agents are called.
#[derive(Debug)]
pub(crate) struct AgentServer {
    listener: TcpListener,
}

/// One call, on the agent's side.
#[derive(Debug)]
pub(crate) struct Agent {
    socket: WebSocketStream<TcpStream>,
    /// `Authorization` of the upgrade.
    pub(crate) authorization: Option<String>,
    /// Every text frame so far, in order.
    pub(crate) frames: Vec<Value>,
    /// Every binary frame so far, end to end.
    pub(crate) octets: Vec<u8>,
}

impl AgentServer {
    /// On a free port.
    pub(crate) async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self { listener }
    }

    /// An `[[agent]]` section that leads here, with further lines.
    pub(crate) fn section(&self, kind: &str, lines: &str) -> String {
        let address = self.listener.local_addr().expect("it is bound");
        format!(
            "[[agent]]\nname = \"bot\"\nkind = \"{kind}\"\nurl = \"ws://{address}/call\"\n{lines}\n"
        )
    }

    /// Waits for the bridge, and takes its call.
    #[expect(
        clippy::result_large_err,
        reason = "the callback's signature is the library's"
    )]
    pub(crate) async fn answers(&self) -> Agent {
        let (stream, _) = timeout(PATIENCE, self.listener.accept())
            .await
            .expect("the bridge calls the agent")
            .expect("a connection");
        stream.set_nodelay(true).expect("a TCP socket");
        let mut authorization = None;
        let upgrade =
            |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
                let header = |name: &str| request.headers().get(name).cloned();
                authorization =
                    header("Authorization").and_then(|v| v.to_str().map(str::to_owned).ok());
                if let Some(protocol) = header("Sec-WebSocket-Protocol") {
                    response
                        .headers_mut()
                        .insert("Sec-WebSocket-Protocol", protocol);
                }
                Ok(response)
            };
        let socket = accept_hdr_async(stream, upgrade).await.expect("an upgrade");
        Agent {
            socket,
            authorization,
            frames: Vec::new(),
            octets: Vec::new(),
        }
    }
}

impl Agent {
    /// The next text frame of this type (or event, as Media Streams call it); what comes before is kept.
    pub(crate) async fn hears(&mut self, kind: &str) -> Value {
        self.hears_such(kind, |_| true).await
    }

    /// The next frame of this type of which this is true.
    pub(crate) async fn hears_such(&mut self, kind: &str, such: impl Fn(&Value) -> bool) -> Value {
        let found = async {
            loop {
                let before = self.frames.len();
                assert!(
                    self.takes().await,
                    "the bridge closed before {kind}: {:#?}",
                    self.said()
                );
                if let Some(frame) = self.frames.get(before)
                    && kind_of(frame) == Some(kind)
                    && such(frame)
                {
                    return frame.clone();
                }
            }
        };
        let found = timeout(PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("waited in vain for {kind}: {:#?}", self.said()))
    }

    /// Waits for so many octets of audio in binary frames since the call began.
    pub(crate) async fn hears_octets(&mut self, octets: usize) {
        let all = async {
            while self.octets.len() < octets {
                assert!(self.takes().await, "the bridge closed before all audio");
            }
        };
        timeout(PATIENCE, all)
            .await
            .expect("the caller's audio, every 20 ms");
    }

    /// The caller's audio so far, as the native protocol carries it.
    pub(crate) fn pcm(&self) -> Vec<i16> {
        let samples = self.octets.as_chunks::<2>().0;
        samples
            .iter()
            .map(|sample| i16::from_le_bytes(*sample))
            .collect()
    }

    /// Every text frame that is not audio.
    pub(crate) fn said(&self) -> Vec<&Value> {
        let frames = self.frames.iter();
        frames
            .filter(|frame| kind_of(frame) != Some("media"))
            .collect()
    }

    /// Sends a text frame.
    pub(crate) async fn says(&mut self, frame: &Value) {
        self.sends(Message::text(frame.to_string())).await;
    }

    /// Sends audio in one binary frame.
    pub(crate) async fn speaks(&mut self, samples: &[i16]) {
        let octets: Vec<u8> = samples
            .iter()
            .flat_map(|sample| sample.to_le_bytes())
            .collect();
        self.sends(Message::binary(octets)).await;
    }

    /// Sends anything.
    pub(crate) async fn sends(&mut self, message: Message) {
        self.socket.send(message).await.expect("the bridge reads");
    }

    /// Waits until the bridge closes, and returns the code it gave.
    pub(crate) async fn closed_with(&mut self) -> Option<u16> {
        let close = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                    Some(Ok(message)) => self.keep(&message),
                    Some(Err(error)) => panic!("the socket broke before its Close frame: {error}"),
                    None => panic!("no Close frame"),
                }
            }
        };
        timeout(PATIENCE, close).await.expect("a Close frame")
    }

    /// Closes with 1000 and waits for the bridge to do so too.
    pub(crate) async fn closes(mut self) {
        self.socket.close(None).await.expect("the bridge is there");
        let answer = async { while let Some(Ok(_)) = self.socket.next().await {} };
        timeout(PATIENCE, answer)
            .await
            .expect("the answer to our Close");
    }

    /// Hangs up on the TCP level, as a process does that dies.
    pub(crate) fn dies(self) {
        drop(self);
    }

    /// Takes one message; `false` at the end.
    async fn takes(&mut self) -> bool {
        match self.socket.next().await {
            Some(Ok(Message::Close(_)) | Err(_)) | None => false,
            Some(Ok(message)) => {
                self.keep(&message);
                true
            }
        }
    }

    fn keep(&mut self, message: &Message) {
        match message {
            Message::Text(text) => {
                let frame = serde_json::from_str(text).expect("the bridge speaks JSON");
                self.frames.push(frame);
            }
            Message::Binary(octets) => self.octets.extend_from_slice(octets),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
        }
    }
}

fn kind_of(frame: &Value) -> Option<&str> {
    frame.get("type").or(frame.get("event"))?.as_str()
}
