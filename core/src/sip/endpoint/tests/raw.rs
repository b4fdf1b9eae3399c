//! One endpoint and a far end played by hand, octet by octet.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::{
    Command, Config, DialogEvent, DialogId, Endpoint, Event, Flow, Invited, Transport,
};
use crate::testing::t0;
use crate::vocab::Entropy;

pub(super) struct Raw {
    pub(super) now: Instant,
    pub(super) endpoint: Endpoint,
    pub(super) flow: Flow,
}

impl Raw {
    pub(super) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(super) fn with(config: Config) -> Self {
        Self {
            now: t0(),
            endpoint: Endpoint::new(config, Entropy::from_number(9)),
            flow: Flow {
                transport: Transport::Udp,
                local: "10.0.0.2:5060".parse().unwrap(),
                remote: "10.0.0.1:5060".parse().unwrap(),
            },
        }
    }

    /// Sends lines and returns what came back.
    pub(super) fn send(&mut self, text: &str) -> Vec<String> {
        let wire = text
            .trim_start()
            .replace("\r\n", "\n")
            .replace('\n', "\r\n");
        self.send_octets(wire.as_bytes())
    }

    pub(super) fn send_octets(&mut self, octets: &[u8]) -> Vec<String> {
        self.endpoint
            .handle_datagram(self.now, self.flow, &Bytes::copy_from_slice(octets));
        self.sent()
    }

    pub(super) fn sent(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.endpoint.poll_transmit())
            .map(|transmit| String::from_utf8_lossy(&transmit.payload).into_owned())
            .collect()
    }

    /// Lets time pass and returns what was sent meanwhile.
    pub(super) fn run(&mut self, time: Duration) -> Vec<String> {
        let until = self.now + time;
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.endpoint.handle_timeout(self.now);
        }
        self.now = until;
        self.sent()
    }

    pub(super) fn command(&mut self, dialog: DialogId, command: Command) -> Vec<String> {
        self.endpoint.command(self.now, dialog, command).unwrap();
        self.sent()
    }

    pub(super) fn invited(&mut self) -> Option<Invited> {
        match self.endpoint.poll_event() {
            Some(Event::Invited(invited)) => Some(*invited),
            _ => None,
        }
    }

    pub(super) fn events(&mut self) -> Vec<DialogEvent> {
        std::iter::from_fn(|| self.endpoint.poll_event())
            .filter_map(|event| match event {
                Event::Dialog { event, .. } => Some(event),
                Event::Invited(_) | Event::Locate { .. } | Event::Registration { .. } => None,
            })
            .collect()
    }

    /// A call that is up: its dialog and our tag.
    pub(super) fn talking(&mut self) -> (DialogId, String) {
        self.send(&invite("z9hG4bKi", ""));
        let dialog = self.invited().unwrap().dialog;
        let answer = Command::Answer {
            body: Bytes::from_static(b"v=0"),
            headers: Vec::new(),
        };
        let sent = self.command(dialog, answer);
        let tag = tag_of(&sent[0]);
        assert!(
            self.send(&in_dialog("ACK", 1, &tag, "z9hG4bKa", "", ""))
                .is_empty()
        );
        assert_eq!(self.events().len(), 1);
        (dialog, tag)
    }
}

/// Status of a response, or 0.
pub(super) fn status(message: &str) -> u16 {
    message
        .strip_prefix("SIP/2.0 ")
        .and_then(|rest| rest[..3].parse().ok())
        .unwrap_or_default()
}

pub(super) fn statuses(messages: &[String]) -> Vec<u16> {
    messages.iter().map(|message| status(message)).collect()
}

/// The value of a header in a message.
pub(super) fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.lines().find_map(|line| {
        let (n, value) = line.split_once(':')?;
        n.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

pub(super) fn tag_of(response: &str) -> String {
    let to = header(response, "To").unwrap();
    to.split_once(";tag=").unwrap().1.to_owned()
}

/// A whole request with a body.
pub(super) fn request(line: &str, headers: &str, body: &str) -> String {
    let headers = headers.trim();
    let gap = if headers.is_empty() { "" } else { "\n" };
    format!(
        "{line} SIP/2.0\n{headers}{gap}Content-Length: {}\n\n{body}",
        body.len()
    )
}

/// An INVITE with SDP and more header lines.
pub(super) fn invite(branch: &str, more: &str) -> String {
    let headers = format!(
        "Via: SIP/2.0/UDP 10.0.0.1:5060;branch={branch};rport
From: \"Caller\" <sip:+1555@10.0.0.1>;tag=far
To: <sip:bot@10.0.0.2>
Call-ID: c1@far
CSeq: 1 INVITE
Contact: <sip:+1555@10.0.0.1:5060>
Content-Type: application/sdp
{more}"
    );
    request("INVITE sip:bot@10.0.0.2", &headers, "v=0")
}

/// A request in the dialog that [`invite`] makes.
pub(super) fn in_dialog(
    method: &str,
    cseq: u32,
    tag: &str,
    branch: &str,
    more: &str,
    body: &str,
) -> String {
    let headers = format!(
        "Via: SIP/2.0/UDP 10.0.0.1:5060;branch={branch};rport
From: \"Caller\" <sip:+1555@10.0.0.1>;tag=far
To: <sip:bot@10.0.0.2>;tag={tag}
Call-ID: c1@far
CSeq: {cseq} {method}
Contact: <sip:+1555@10.0.0.1:5060>
{more}"
    );
    request(&format!("{method} sip:bot@10.0.0.2"), &headers, body)
}

/// A request outside any dialog.
pub(super) fn outside(method: &str, branch: &str, more: &str) -> String {
    let headers = format!(
        "Via: SIP/2.0/UDP 10.0.0.1:5060;branch={branch};rport
From: <sip:x@10.0.0.1>;tag=far
To: <sip:bot@10.0.0.2>
Call-ID: c9@far
CSeq: 7 {method}
{more}"
    );
    request(&format!("{method} sip:bot@10.0.0.2"), &headers, "")
}

/// The answer to a request of ours.
pub(super) fn response(request: &str, status: &str, more: &str) -> String {
    let copied: Vec<&str> = request
        .lines()
        .filter(|line| {
            ["Via:", "From:", "To:", "Call-ID:", "CSeq:"]
                .iter()
                .any(|name| line.starts_with(name))
        })
        .collect();
    let copied = copied.join("\n");
    let more = more.trim();
    let gap = if more.is_empty() { "" } else { "\n" };
    format!("SIP/2.0 {status}\n{copied}\n{more}{gap}Content-Length: 0\n\n")
}
