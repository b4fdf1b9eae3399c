//! baresip as a phone: driven over its control port (JSON in netstrings), heard through its dump files.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use baton::softphone::audio_file;
use serde_json::{Value, json};

use super::super::ports::PeerPorts;
use super::{Home, Peer, Shared, not_yet, speech};

/// A running baresip with one account.
#[derive(Debug)]
pub(crate) struct Baresip {
    peer: Peer,
    control: TcpStream,
    heard: Shared<Value>,
    /// Events that a wait has gone past.
    past: usize,
}

/// A baresip about to be started.
#[derive(Debug)]
pub(crate) struct Phone {
    user: &'static str,
    ports: PeerPorts,
    registrar: Option<PeerPorts>,
    transport: &'static str,
    more: String,
    says: Vec<i16>,
}

impl Phone {
    /// `sip:USER@127.0.0.1` on these ports, over UDP; it speaks after two seconds.
    pub(crate) fn new(user: &'static str, ports: PeerPorts) -> Self {
        Self {
            user,
            ports,
            registrar: None,
            transport: "",
            more: String::new(),
            says: speech::caller_after(2),
        }
    }

    /// Over this transport: `tcp` or `tls`.
    pub(crate) fn over(mut self, transport: &'static str) -> Self {
        self.transport = transport;
        self
    }

    /// Further parameters of the account, each with its semicolon.
    pub(crate) fn with(mut self, parameters: &str) -> Self {
        self.more.push_str(parameters);
        self
    }

    /// Answers by itself.
    pub(crate) fn answers(self) -> Self {
        self.with(";answermode=auto")
    }

    /// Registers with who listens there, and belongs to that domain.
    pub(crate) fn registered_at(self, registrar: PeerPorts, password: &str) -> Self {
        let credentials = format!(";auth_user={};auth_pass={password}", self.user);
        let registrar = Some(registrar);
        Self { registrar, ..self }.with(&credentials)
    }

    /// What it says, 8 kHz.
    pub(crate) fn says(mut self, samples: Vec<i16>) -> Self {
        self.says = samples;
        self
    }

    /// Starts it, and waits until it takes commands.
    pub(crate) fn start(self) -> Baresip {
        let transport = match self.transport {
            "" => String::new(),
            name => format!(";transport={name}"),
        };
        let home = Home::new()
            .word("TLS", "")
            .word("USER", self.user)
            .word("SIP", self.ports.sip())
            .word("DOMAIN", self.registrar.unwrap_or(self.ports).sip())
            .word("EXPIRES", if self.registrar.is_some() { 60 } else { 0 })
            .word("CONTROL", self.ports.control())
            .word("RTP_FIRST", self.ports.rtp().start())
            .word("RTP_LAST", self.ports.rtp().end())
            .word("TRANSPORT", transport)
            .word("MORE", self.more)
            .word("MODULES", "/usr/lib/baresip/modules");
        home.fill("baresip/config");
        home.fill("baresip/accounts");
        audio_file::write(&home.path("says.wav"), &self.says).expect("it can be written");
        let dir = home.path("").display().to_string();
        let mut peer = Peer::start("baresip", "baresip-core", home, &["-s", "-v", "-f", &dir]);
        let control = peer.find("it takes commands", || {
            match TcpStream::connect(("127.0.0.1", self.ports.control())) {
                Ok(control) => Some(control),
                Err(error) if not_yet(&error) => None,
                Err(error) => panic!("baresip's control port: {error}"),
            }
        });
        let heard = Shared::default();
        let from = control.try_clone().expect("a second handle");
        let to = Arc::clone(&heard);
        std::thread::spawn(move || {
            let mut from = BufReader::new(from);
            while let Some(value) = netstring(&mut from) {
                to.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(value);
            }
        });
        Baresip {
            peer,
            control,
            heard,
            past: 0,
        }
    }
}

impl Baresip {
    /// One of its menu's commands, such as `dial`.
    pub(crate) fn does(&mut self, command: &str, parameters: &str) {
        let text =
            json!({ "command": command, "params": parameters, "token": command }).to_string();
        write!(self.control, "{}:{text},", text.len()).expect("baresip is there");
        let answer = self.next(command, |value| value["token"] == command);
        assert_eq!(answer["ok"], true, "{command} {parameters}: {answer}");
    }

    /// Calls this URI, and waits for the answer.
    pub(crate) fn calls(&mut self, uri: &str) {
        self.does("dial", uri);
        self.sees("CALL_ESTABLISHED");
    }

    /// Waits for its next event of this type.
    pub(crate) fn sees(&mut self, kind: &str) -> Value {
        self.next(kind, |value| value["type"] == kind)
    }

    /// The next thing it says like this. Answers and events come in any order, so only events move on.
    fn next(&mut self, what: &str, like: impl Fn(&Value) -> bool) -> Value {
        let past = self.past;
        let (at, value) = self.peer.find(&format!("it says {what}"), || {
            let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            let new = heard.iter().enumerate().skip(past);
            let found = new.into_iter().find(|(_, value)| like(value));
            found.map(|(at, value)| (at, value.clone()))
        });
        if value["event"] == true {
            self.past = at + 1;
        } else {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.remove(at);
        }
        value
    }

    /// Is gone without a word.
    pub(crate) fn dies(&mut self) {
        self.peer.kill();
    }

    /// How often its trace has this text, of messages in either direction.
    pub(crate) fn traced(&self, text: &str) -> usize {
        self.peer.count(text)
    }

    /// The first line of its trace that has this text.
    pub(crate) fn trace(&mut self, text: &str) -> String {
        self.peer.says(text);
        let log = self.peer.log();
        log.into_iter()
            .find(|line| line.contains(text))
            .expect("it was said")
    }

    /// Waits until so many milliseconds of its first call are written down: baresip writes a block at a time.
    pub(crate) fn has_heard(&mut self, ms: u64) {
        self.peer
            .wait_until(&format!("it has heard {ms} ms"), |peer| {
                let len = dump(peer).and_then(|file| file.metadata().ok());
                len.is_some_and(|file| file.len() >= ms * 16)
            });
    }

    /// What it heard in its first call, once it has ended.
    pub(crate) fn recording(&self) -> Vec<i16> {
        let file = dump(&self.peer).expect("a recording");
        audio_file::read(&file).expect("a whole WAV file")
    }
}

/// The file that holds what it heard in its first call.
fn dump(peer: &Peer) -> Option<PathBuf> {
    let files = std::fs::read_dir(peer.home().path("")).ok()?;
    let mut dumps: Vec<_> = files
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with("-dec.wav"))
        .collect();
    dumps.sort();
    dumps.into_iter().next()
}

/// `LENGTH:TEXT,`; nothing at the end.
fn netstring(from: &mut impl Read) -> Option<Value> {
    let mut len = 0;
    loop {
        let mut octet = [0];
        from.read_exact(&mut octet).ok()?;
        match octet {
            [digit @ b'0'..=b'9'] => len = len * 10 + usize::from(digit - b'0'),
            [_] => break,
        }
    }
    let mut text = vec![0; len + 1];
    from.read_exact(&mut text).ok()?;
    text.pop();
    let value = serde_json::from_slice(&text);
    Some(value.unwrap_or_else(|error| panic!("baresip's JSON: {error}")))
}
