//! A voice agent in sixty lines: it speaks the native protocol (docs/agent-protocol.md), says back what it hears, and
//! hands the caller to a human on `0`.
//!
//!     cargo run --example echo_agent                  # ws://127.0.0.1:9000
//!     baton serve -c baton.toml                       # [[agent]] name = "echo", kind = "websocket", url = "ws://127.0.0.1:9000"
//!     baton call sip:bot@127.0.0.1

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:9000").await?;
    println!(
        "an agent waits for calls at ws://{}",
        listener.local_addr()?
    );
    loop {
        let (stream, _) = listener.accept().await?;
        #[expect(
            clippy::disallowed_methods,
            reason = "a program: one task for each call"
        )]
        tokio::spawn(async move {
            if let Err(error) = talk(stream).await {
                println!("a call ended: {error}");
            }
        });
    }
}

/// One call: one WebSocket.
async fn talk(stream: TcpStream) -> Result<(), Error> {
    let mut socket = accept_hdr_async(stream, speak_baton).await?;
    while let Some(message) = socket.next().await {
        match message? {
            // The caller, 20 ms of signed 16-bit PCM. Whatever is sent back is played at the caller's pace.
            Message::Binary(audio) => socket.send(Message::Binary(audio)).await?,
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).unwrap_or_default();
                println!("{frame}");
                if frame["type"] == "dtmf" && frame["digit"] == "0" {
                    let words = json!({"type": "transcript", "role": "caller", "text": "A person, please."});
                    let handoff = json!({"type": "handoff", "reason": "the caller pressed 0"});
                    for frame in [words, handoff] {
                        socket.send(Message::text(frame.to_string())).await?;
                    }
                }
            }
            Message::Close(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
    Ok(())
}

/// Agrees to the subprotocol that Baton asks for.
#[expect(
    clippy::result_large_err,
    reason = "the callback's signature is the library's"
)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the callback's signature is the library's"
)]
fn speak_baton(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let protocol = HeaderValue::from_static("baton.v1");
    response
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", protocol);
    Ok(response)
}
