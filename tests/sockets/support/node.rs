//! Signalling alone, without calls or media: what the transports do, seen octet by octet.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use baton::net::dns::Dns;
use baton::net::listen::{Listening, listen};
use baton::net::sip_task::{self, Arrived, Signalling};
use baton::net::streams;
use baton_core::sip::endpoint::{Config, DialogEvent, Flow, OutgoingInvite, Transport};
use baton_core::vocab::Entropy;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Signalling on these transports of loopback, any port.
pub(crate) fn node(seed: u64, transports: &[Transport], streams: streams::Config) -> Signalling {
    let listeners = transports
        .iter()
        .map(|transport| {
            let wanted = Listening {
                transport: *transport,
                address: "127.0.0.1:0".parse().expect("an address"),
            };
            listen(wanted, "test").expect("loopback has a port")
        })
        .collect();
    let entropy = Entropy::from_number(seed);
    let dns = Dns::new(&[], Entropy::from_number(seed));
    sip_task::start(Config::default(), entropy, listeners, streams, dns, None).expect("it starts")
}

/// Where it listens so.
pub(crate) fn address(node: &Signalling, transport: Transport) -> SocketAddr {
    node.handle.address(transport).expect("it listens so")
}

/// A call from one node to an address.
pub(crate) fn invite(
    from: &Signalling,
    transport: Transport,
    remote: SocketAddr,
) -> OutgoingInvite {
    let local = from.handle.addresses()[0].address;
    OutgoingInvite {
        ways: Flow {
            transport,
            local,
            remote,
        }
        .into(),
        target: format!("sip:bot@{remote}"),
        from: format!("<sip:alice@{local}>"),
        to: String::new(),
        call_id: String::new(),
        account: None,
        headers: Vec::new(),
        body: Bytes::from_static(b"v=0\r\n"),
    }
}

pub(crate) async fn next(events: &mut mpsc::Receiver<DialogEvent>) -> DialogEvent {
    timeout(PATIENCE, events.recv())
        .await
        .expect("in time")
        .expect("an event")
}

pub(crate) async fn arrival(node: &mut Signalling) -> Arrived {
    timeout(PATIENCE, node.arrivals.recv())
        .await
        .expect("in time")
        .expect("a call")
}

/// A far end that writes its own octets to any stream.
pub(crate) struct Peer<S> {
    pub(crate) stream: S,
    heard: Vec<u8>,
}

impl Peer<TcpStream> {
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).expect("somebody listens");
        stream.set_nodelay(true).expect("a TCP socket");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a TCP socket");
        Self::over(stream)
    }

    /// Says no more.
    pub(crate) fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).expect("it is open");
    }
}

impl<S: Read + Write> Peer<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream,
            heard: Vec::new(),
        }
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).expect("it is open");
        self.stream.flush().expect("it is open");
    }

    /// The next message, without its body; panics when the stream ends before.
    pub(crate) fn hear(&mut self) -> String {
        loop {
            if let Some(end) = self.heard.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.heard.drain(..end + 4).collect();
                return String::from_utf8(head).expect("text");
            }
            assert!(
                self.fill(),
                "the stream ended after {:?}",
                String::from_utf8_lossy(&self.heard)
            );
        }
    }

    /// Exactly so many octets.
    pub(crate) fn hear_octets(&mut self, octets: usize) -> Vec<u8> {
        while self.heard.len() < octets {
            assert!(self.fill(), "the stream ended");
        }
        self.heard.drain(..octets).collect()
    }

    /// Everything up to the end, which must come.
    pub(crate) fn hear_out(&mut self) -> String {
        while self.fill() {}
        String::from_utf8_lossy(&std::mem::take(&mut self.heard)).into_owned()
    }

    /// Whether OPTIONS is answered 200.
    pub(crate) fn is_served(&mut self, branch: &str) -> bool {
        self.say(&options(branch));
        self.hear().starts_with("SIP/2.0 200 ")
    }

    /// Reads once; `false` at the end.
    fn fill(&mut self) -> bool {
        let mut octets = [0; 4096];
        match self.stream.read(&mut octets) {
            Ok(0) => false,
            Ok(read) => {
                self.heard.extend_from_slice(&octets[..read]);
                true
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came in {PATIENCE:?}")
            }
            // A reset is an end too.
            Err(_) => false,
        }
    }
}

/// OPTIONS outside any dialog.
pub(crate) fn options(branch: &str) -> String {
    format!(
        "OPTIONS sip:bot@127.0.0.1 SIP/2.0\r\n\
         Via: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bK{branch};rport\r\n\
         From: <sip:peer@127.0.0.1>;tag=p\r\nTo: <sip:bot@127.0.0.1>\r\nCall-ID: {branch}@peer\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}
