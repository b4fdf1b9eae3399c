//! Enough HTTP for a test: one request per connection, JSON or text back.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// 200, 404, …
    pub(crate) status: u16,
    /// Everything behind the header.
    pub(crate) body: String,
}

/// `GET path`.
pub(crate) fn get(port: u16, path: &str) -> io::Result<Answer> {
    // HTTP/1.0: the answer ends with the connection and is not chunked.
    asks(
        port,
        &format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n"),
    )
}

/// `POST path` with JSON.
pub(crate) fn post(port: u16, path: &str, json: &str) -> io::Result<Answer> {
    let len = json.len();
    asks(
        port,
        &format!(
            "POST {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {len}\r\n\r\n{json}"
        ),
    )
}

fn asks(port: u16, request: &str) -> io::Result<Answer> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.write_all(request.as_bytes())?;
    let mut text = Vec::new();
    socket.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let no_status = || io::Error::other(format!("not an HTTP answer: {head}"));
    Ok(Answer {
        status: status.ok_or_else(no_status)?,
        body: body.to_owned(),
    })
}
