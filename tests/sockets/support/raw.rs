//! A caller that writes its own octets: what the softphone would never send, and a look at what comes back.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::Baton;
use super::baton::PATIENCE;

/// One call, or one request, from sockets of its own.
#[derive(Debug)]
pub(crate) struct RawCaller {
    sip: UdpSocket,
    /// The caller's RTP socket.
    pub(crate) rtp: UdpSocket,
    bridge: SocketAddr,
    token: String,
    to_tag: String,
}

impl RawCaller {
    /// Sockets on loopback. `token` tells calls apart.
    pub(crate) fn new(baton: &Baton, token: &str) -> Self {
        let sip = loopback();
        sip.set_read_timeout(Some(Duration::from_millis(500)))
            .expect("a timeout");
        let rtp = loopback();
        rtp.set_read_timeout(Some(Duration::from_secs(2)))
            .expect("a timeout");
        Self {
            sip,
            rtp,
            bridge: (Ipv4Addr::LOCALHOST, baton.ports().sip()).into(),
            token: token.into(),
            to_tag: String::new(),
        }
    }

    /// A request as octets, the body's length right.
    pub(crate) fn request(&self, method: &str, cseq: u32, body: &str) -> Vec<u8> {
        let local = self.sip.local_addr().expect("bound");
        let (bridge, token, to_tag) = (self.bridge, &self.token, &self.to_tag);
        let content = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "{method} sip:bot@{bridge} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {local};branch=z9hG4bK-{token}-{cseq}-{method};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:raw@{local}>;tag={token}\r\nTo: <sip:bot@{bridge}>{to_tag}\r\n\
             Call-ID: {token}@raw\r\nCSeq: {cseq} {method}\r\nContact: <sip:raw@{local}>\r\n\
             {content}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    /// An offer of these payload types, at our RTP socket.
    pub(crate) fn offer(&self, formats: &str) -> String {
        let port = self.rtp.local_addr().expect("bound").port();
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP {formats}\r\n"
        )
    }

    /// Sends octets to the SIP port.
    pub(crate) fn sends(&self, octets: &[u8]) {
        // A port that is closed answers by ICMP, on the next call: also an answer.
        let _ = self.sip.send_to(octets, self.bridge);
    }

    /// Sends a request, again and again as UDP wants it, until it has a final response.
    pub(crate) fn asks(&self, request: &[u8]) -> String {
        let end = Instant::now() + PATIENCE;
        self.sends(request);
        while Instant::now() < end {
            match self.hears() {
                Some(text) if !text.starts_with("SIP/2.0 1") => return text,
                Some(_) => {}
                None => self.sends(request),
            }
        }
        panic!("no final answer to {}", String::from_utf8_lossy(request));
    }

    /// The next message, if one comes soon.
    pub(crate) fn hears(&self) -> Option<String> {
        let mut buffer = vec![0; 65_536];
        let (len, _) = self.sip.recv_from(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..len]).into_owned())
    }

    /// Asks whether the node takes calls; returns the status line.
    pub(crate) fn pings(&self) -> String {
        let answer = self.asks(&self.request("OPTIONS", 1, ""));
        answer.lines().next().unwrap_or_default().to_owned()
    }

    /// Calls with PCMU, and returns where the bridge wants our RTP.
    pub(crate) fn calls(&mut self) -> SocketAddr {
        let answer = self.asks(&self.request("INVITE", 1, &self.offer("0")));
        assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
        let tag = header(&answer, "To").and_then(|to| to.split_once(";tag="));
        self.to_tag = format!(";tag={}", tag.expect("a tag").1);
        self.sends(&self.request("ACK", 1, ""));
        let media = answer
            .lines()
            .find_map(|line| line.strip_prefix("m=audio "));
        let port = media.and_then(|media| media.split(' ').next()?.parse().ok());
        (Ipv4Addr::LOCALHOST, port.expect("a port")).into()
    }

    /// Hangs up.
    pub(crate) fn hangs_up(&self) {
        let answer = self.asks(&self.request("BYE", 2, ""));
        assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    }

    /// Waits for a packet of the bridge's: that is 20 ms of waiting, by its own clock.
    pub(crate) fn hears_rtp(&self) -> Vec<u8> {
        let mut buffer = [0; 2048];
        let (len, _) = self
            .rtp
            .recv_from(&mut buffer)
            .expect("a packet every 20 ms");
        buffer[..len].to_vec()
    }
}

/// A header field's value.
pub(crate) fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A PCMU packet: sequence number and timestamp of its place in the stream, all octets alike.
pub(crate) fn pcmu(ssrc: u32, n: u16, octet: u8) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(n.to_be_bytes());
    packet.extend((u32::from(n) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([octet; 160]);
    packet
}

/// A UDP socket on loopback.
pub(crate) fn loopback() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port")
}

/// Whether nothing has come to it.
pub(crate) fn is_untouched(socket: &UdpSocket) -> bool {
    socket.set_nonblocking(true).expect("a socket");
    let read = socket.recv_from(&mut [0; 2048]);
    socket.set_nonblocking(false).expect("a socket");
    read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}
