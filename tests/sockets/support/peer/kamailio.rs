//! Kamailio as a provider: a proxy in the path of each call, and a registrar that asks for a password.

use super::super::ports::{PeerPorts, Ports};
use super::{Home, Peer};

/// A running Kamailio, on the third peer's ports.
#[derive(Debug)]
pub(crate) struct Kamailio {
    peer: Peer,
    ports: PeerPorts,
}

/// Everybody's.
pub(crate) const PASSWORD: &str = "tiger";
/// What it protects.
pub(crate) const REALM: &str = "pbx.test";

impl Kamailio {
    /// Between phones and the bridge on these ports: over UDP and TCP.
    pub(crate) fn start(baton: &Ports) -> Self {
        Self::with(baton, &[], &[])
    }

    fn with(baton: &Ports, files: &[(&str, &str)], words: &[&str]) -> Self {
        let ports = baton.peer(2);
        let home = Home::new()
            .word("SIP", ports.sip())
            .word("TLS", ports.tls())
            .word("NOBODY", ports.control())
            .word("BATON", baton.sip())
            .word("BATON_TLS", baton.sips())
            .word("REALM", REALM)
            .word("PASSWORD", PASSWORD);
        for (name, text) in files {
            std::fs::write(home.path(name), text).expect("it can be written");
        }
        let file = home.fill("kamailio/kamailio.cfg");
        let (file, dir) = (
            file.display().to_string(),
            home.path("").display().to_string(),
        );
        // In the foreground, its log on standard error, and no more memory than a few calls need.
        let mut all = vec![
            "-DD", "-E", "-f", &file, "-w", &dir, "-Y", &dir, "-m", "16", "-M", "4",
        ];
        all.extend(words);
        let mut peer = Peer::start("kamailio", "kamailio and kamailio-tls-modules", home, &all);
        // Its last child is up.
        peer.says("io_listen_loop:  using");
        Self { peer, ports }
    }

    /// `sip:USER@` where it listens for this transport.
    pub(crate) fn uri(&self, user: &str, transport: &str) -> String {
        let port = match transport {
            "tls" => self.ports.tls(),
            _ => self.ports.sip(),
        };
        format!("sip:{user}@127.0.0.1:{port}")
    }

    /// Waits until it has seen such a request.
    pub(crate) fn sees(&mut self, request: &str) {
        self.peer.says(request);
    }

    /// How many lines of its log have this.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.peer.count(text)
    }
}
