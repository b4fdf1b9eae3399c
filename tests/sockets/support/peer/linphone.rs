//! linphonec as a phone: driven by what is typed into it, heard through the file it records.

use std::fs;
use std::io::Write as _;

use baton::softphone::audio_file;

use super::super::ports::PeerPorts;
use super::{Home, Peer, speech};

/// A running linphonec.
#[derive(Debug)]
pub(crate) struct Linphone {
    peer: Peer,
}

impl Linphone {
    /// `sip:USER@127.0.0.1` on these ports, over UDP; it speaks after two seconds.
    pub(crate) fn start(user: &str, ports: PeerPorts) -> Self {
        let home = Home::new()
            .word("USER", user)
            .word("SIP", ports.sip())
            .word("RTP_FIRST", ports.rtp().start())
            .word("RTP_LAST", ports.rtp().end());
        let file = home.fill("linphone/linphonerc").display().to_string();
        // Where it keeps its list of calls; without it there is an error on each call.
        fs::create_dir_all(home.path(".local/share/linphone")).expect("it can be made");
        let says = home.path("says.wav");
        audio_file::write(&says, &speech::caller_after(2)).expect("it can be written");
        let (says, hears) = (says.display().to_string(), home.path("heard.wav"));
        let words = ["-c", &file, "-d", "6", "-l", "/dev/stderr"];
        let mut peer = Peer::start("linphonec", "linphone-cli", home, &words);
        peer.says("Creating listening point");
        let mut phone = Self { peer };
        phone.types("soundcard use files");
        phone.peer.says("Using wav files instead of soundcard");
        phone.types(&format!("play {says}"));
        phone.types(&format!("record {}", hears.display()));
        phone
    }

    /// A line for its prompt; a digit alone is a key pressed.
    pub(crate) fn types(&mut self, line: &str) {
        writeln!(self.peer.stdin(), "{line}").expect("linphonec is there");
    }

    /// Calls this URI, and waits until both hear each other.
    pub(crate) fn calls(&mut self, uri: &str) {
        self.types(&format!("call {uri}"));
        self.says("Media streams established");
    }

    /// Waits until it has said this.
    pub(crate) fn says(&mut self, text: &str) {
        self.peer.says(text);
    }

    /// What it heard, once the call has ended.
    pub(crate) fn recording(&self) -> Vec<i16> {
        audio_file::read(&self.peer.home().path("heard.wav")).expect("a whole WAV file")
    }
}
