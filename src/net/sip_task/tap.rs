//! What went over the wire, one line per message, for the call ladder.

use std::time::Instant;

use baton_core::sip::endpoint::Flow;
use bytes::Bytes;
use tokio::sync::broadcast;

/// The longest line kept; request URIs can be longer than a screen.
const LINE: usize = 200;

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From us.
    Sent,
    /// To us.
    Received,
}

/// One message on the wire. Contains personal data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireLine {
    /// When it left or came.
    pub at: Instant,
    /// Which way.
    pub direction: Direction,
    /// Between whom.
    pub flow: Flow,
    /// Its dialog's (or request's) Call-ID.
    pub call_id: String,
    /// `INVITE sip:a@b SIP/2.0` or `SIP/2.0 200 OK`.
    pub start_line: String,
    /// The method of its `CSeq`: what a response answers.
    pub method: String,
    /// The status line a NOTIFY carries as its sipfrag.
    pub sipfrag: Option<String>,
}

impl WireLine {
    /// The status, if it is a response.
    pub fn status(&self) -> Option<u16> {
        let rest = self.start_line.strip_prefix("SIP/2.0 ")?;
        rest.split(' ').next()?.parse().ok()
    }

    /// As a ladder writes it: `INVITE`, `200 OK (INVITE)`, `NOTIFY 100 Trying`.
    pub fn label(&self) -> String {
        let sipfrag = self.sipfrag.as_deref().unwrap_or_default();
        match self.start_line.strip_prefix("SIP/2.0 ") {
            Some(status) => format!("{} ({})", status.trim(), self.method),
            None if sipfrag.is_empty() => self.method.clone(),
            None => format!("{} {}", self.method, sipfrag.trim_start_matches("SIP/2.0 ")),
        }
    }
}

/// Tells whoever watches. Nothing is read or copied while nobody does.
pub(super) fn tell(
    tap: &broadcast::Sender<WireLine>,
    at: Instant,
    direction: Direction,
    flow: Flow,
    message: &Bytes,
) {
    if tap.receiver_count() == 0 {
        return;
    }
    if let Some(line) = read(at, direction, flow, message) {
        // Fails when the last watcher left this very moment.
        let _ = tap.send(line);
    }
}

/// Reads the few fields a ladder shows. `None` for what is no SIP message (keep-alives).
fn read(at: Instant, direction: Direction, flow: Flow, message: &[u8]) -> Option<WireLine> {
    let text = String::from_utf8_lossy(message);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let start_line = cut(lines.next()?);
    if !start_line.contains("SIP/2.0") {
        return None;
    }
    let mut call_id = "";
    let mut method = "";
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let name = name.trim();
        if name.eq_ignore_ascii_case("call-id") || name.eq_ignore_ascii_case("i") {
            call_id = value.trim();
        } else if name.eq_ignore_ascii_case("cseq") {
            method = value.split_whitespace().nth(1).unwrap_or_default();
        }
    }
    let is_notify = method == "NOTIFY" && start_line.starts_with("NOTIFY");
    let sipfrag = body.lines().next().filter(|_| is_notify);
    Some(WireLine {
        at,
        direction,
        flow,
        call_id: cut(call_id),
        start_line,
        method: cut(method),
        sipfrag: sipfrag.map(cut),
    })
}

fn cut(line: &str) -> String {
    line[..line.floor_char_boundary(LINE)].to_owned()
}

#[cfg(test)]
mod tests {
    use baton_core::sip::endpoint::Transport;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test's epoch")]
    fn line(message: &[u8]) -> Option<WireLine> {
        let flow = Flow {
            transport: Transport::Udp,
            local: "127.0.0.1:5060".parse().unwrap(),
            remote: "127.0.0.1:5070".parse().unwrap(),
        };
        read(Instant::now(), Direction::Sent, flow, message)
    }

    #[test]
    fn a_ladder_names_requests_responses_and_what_a_notify_reports() {
        let label = |message: &[u8]| line(message).unwrap().label();
        assert_eq!(
            label(b"INVITE sip:a@b SIP/2.0\r\nCall-ID: x@y\r\nCSeq: 1 INVITE\r\n\r\n"),
            "INVITE"
        );
        assert_eq!(
            label(b"SIP/2.0 200 OK\r\ni:x@y\r\nCSeq:1 INVITE\r\n\r\nv=0"),
            "200 OK (INVITE)"
        );
        assert_eq!(
            label(b"NOTIFY sip:a@b SIP/2.0\r\nCSeq: 2 NOTIFY\r\n\r\nSIP/2.0 100 Trying\r\n"),
            "NOTIFY 100 Trying"
        );
        let response = line(b"SIP/2.0 486 Busy Here\r\nCall-ID:x@y\r\n\r\n").unwrap();
        assert_eq!(
            (response.status(), response.call_id.as_str()),
            (Some(486), "x@y")
        );
    }

    #[test]
    fn keep_alives_and_noise_are_no_lines_and_long_ones_are_cut() {
        assert_eq!(line(b"\r\n\r\n"), None);
        assert_eq!(line(b""), None);
        assert_eq!(line(&[0xff; 100]), None);
        let long = format!("INVITE sip:{}@b SIP/2.0 SIP/2.0\r\n\r\n", "ü".repeat(500));
        // The version is behind the cut, so it is no line we know.
        assert!(line(long.as_bytes()).is_none_or(|l| l.start_line.len() <= LINE));
    }
}
