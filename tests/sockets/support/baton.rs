//! One running bridge: the real binary with a configuration, ports and a data directory of its own.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::http;
use super::ports::Ports;

/// Nothing here takes longer on a loaded machine, unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// A bridge about to be started: its ports, its directory and its configuration.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) ports: Ports,
    dir: TempDir,
    agents: String,
    sip: String,
    on_ipv6: bool,
    /// Listens on TLS too.
    tls: bool,
    media: String,
    store: String,
    pub(crate) more: String,
    drain: &'static str,
    target: String,
    survives_full_disk: bool,
}

impl Setup {
    /// The scripted agent, and a human at `sip:humans@127.0.0.1`.
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        Self {
            on_ipv6: false,
            ports: Ports::take(),
            agents: "[[agent]]\nname = \"bot\"\nkind = \"scripted\"\n".into(),
            sip: String::new(),
            tls: false,
            media: String::new(),
            store: format!("embedded:{}/store", dir.path().display()),
            more: String::new(),
            drain: "1s",
            target: "target = \"sip:humans@127.0.0.1\"".into(),
            survives_full_disk: false,
            dir,
        }
    }

    /// These `[[agent]]` sections instead of the scripted one.
    pub(crate) fn agents(mut self, sections: &str) -> Self {
        sections.clone_into(&mut self.agents);
        self
    }

    /// Further lines of `[sip]`.
    pub(crate) fn sip(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.sip);
        self
    }

    /// SIP and RTP on IPv6 loopback.
    pub(crate) fn on_ipv6(mut self) -> Self {
        self.on_ipv6 = true;
        self
    }

    /// Listens on TLS too, with this certificate.
    pub(crate) fn tls(mut self, certificate: &Path, key: &Path) -> Self {
        self.tls = true;
        self.sip = format!(
            "tls = {{ certificate = \"{}\", key = \"{}\" }}",
            certificate.display(),
            key.display()
        );
        self
    }

    /// `[media] rtp_ports`, within this test's own ports.
    pub(crate) fn rtp_ports(mut self, first: u16, last: u16) -> Self {
        self.media = format!("rtp_ports = \"{first}-{last}\"");
        self
    }

    /// Further lines of `[media]`, on this test's own ports.
    pub(crate) fn media(self, lines: &str) -> Self {
        let rtp = self.ports.rtp();
        let mut setup = self.rtp_ports(*rtp.start(), *rtp.end());
        setup.media.push('\n');
        setup.media.push_str(lines);
        setup
    }

    /// `[store] url`.
    pub(crate) fn store(mut self, url: &str) -> Self {
        url.clone_into(&mut self.store);
        self
    }

    /// `[[handoff]] target`.
    pub(crate) fn human(mut self, uri: &str) -> Self {
        self.target = format!("target = \"{uri}\"");
        self
    }

    /// Further sections.
    pub(crate) fn more(mut self, sections: &str) -> Self {
        sections.clone_into(&mut self.more);
        self
    }

    /// `[sip] drain_timeout`.
    pub(crate) fn drain(mut self, timeout: &'static str) -> Self {
        self.drain = timeout;
        self
    }

    /// Nobody to hand a caller over to.
    pub(crate) fn no_handoff(mut self) -> Self {
        self.target.clear();
        self
    }

    /// A file size limit is an error for it, as a full disk is, and not its death by SIGXFSZ.
    pub(crate) fn survives_full_disk(mut self) -> Self {
        self.survives_full_disk = true;
        self
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `baton WORDS -c FILE`, with the file written; its output is read by nobody yet.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let file = self.write();
        let binary = env!("CARGO_BIN_EXE_baton");
        let mut command = if self.survives_full_disk {
            let mut shell = Command::new("sh");
            shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", binary]);
            shell
        } else {
            Command::new(binary)
        };
        command
            .args(words)
            .arg("-c")
            .arg(file)
            .current_dir(self.dir())
            .env_remove("BATON_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `baton WORDS -c FILE` to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Fate {
        let output = self.command(words).output().expect("the binary runs");
        Fate::of(&output)
    }

    /// Starts the bridge, and waits until it takes calls.
    pub(crate) fn start(self) -> Baton {
        let (child, grown, log) = spawn(&self);
        let mut baton = Baton {
            child,
            grown,
            log,
            setup: self,
        };
        baton.takes_calls();
        baton
    }

    /// Writes `baton.toml`.
    pub(crate) fn write(&self) -> PathBuf {
        let file = self.dir().join("baton.toml");
        let mut text = self.configuration();
        if self.on_ipv6 {
            text = text.replace("udp:127.0.0.1", "udp:[::1]");
            text = text.replace("public_address = \"127.0.0.1\"", "public_address = \"::1\"");
        }
        std::fs::write(&file, text).expect("it can be written");
        file
    }

    fn configuration(&self) -> String {
        let rtp = self.ports.rtp();
        let default_media = format!("rtp_ports = \"{}-{}\"", rtp.start(), rtp.end());
        format!(
            r#"
[sip]
listen = ["udp:127.0.0.1:{sip_port}", "tcp:127.0.0.1:{sip_port}"{secure}]
public_address = "127.0.0.1"
drain_timeout = "{drain}"
{sip}

[media]
{media}
recording_dir = "{data}/recordings"

[http]
listen = "127.0.0.1:{http_port}"

[store]
url = "{store}"

{agents}

[[handoff]]
name = "humans"
{target}

{more}
"#,
            sip_port = self.ports.sip(),
            secure = if self.tls {
                format!(", \"tls:127.0.0.1:{}\"", self.ports.sips())
            } else {
                String::new()
            },
            http_port = self.ports.http(),
            drain = self.drain,
            sip = self.sip,
            media = if self.media.is_empty() {
                &default_media
            } else {
                &self.media
            },
            data = self.dir().display(),
            store = self.store,
            agents = self.agents,
            target = self.target,
            more = self.more,
        )
    }
}

/// How a process that ends by itself ended.
#[derive(Debug)]
pub(crate) struct Fate {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Fate {
    /// From what the system says of a process.
    pub(crate) fn of(output: &std::process::Output) -> Self {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        Self {
            code: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }
}

/// A running bridge; dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Baton {
    child: Child,
    /// A knock whenever the log has grown; knocks coalesce, the log never holds the bridge back.
    grown: Receiver<()>,
    log: Log,
    pub(crate) setup: Setup,
}

/// Lines that a process has said.
pub(crate) type Log = Arc<Mutex<Vec<String>>>;

impl Baton {
    /// Starts it with the scripted agent and a human at `sip:humans@127.0.0.1`.
    pub(crate) fn start() -> Self {
        Setup::new().start()
    }

    /// Starts it with these `[[agent]]` sections and further lines for `[sip]`.
    pub(crate) fn with(agents: &str, sip: &str) -> Self {
        Setup::new().agents(agents).sip(sip).start()
    }

    /// Its ports.
    pub(crate) fn ports(&self) -> &Ports {
        &self.setup.ports
    }

    /// `sip:bot@` where it listens.
    pub(crate) fn uri(&self) -> String {
        format!("sip:bot@127.0.0.1:{}", self.ports().sip())
    }

    fn takes_calls(&mut self) {
        self.wait_until("it takes calls", |baton| {
            let ready = http::get(baton.ports().http(), "/readyz");
            ready.is_ok_and(|answer| answer.status == 200)
        });
    }

    /// `kill -9`, and no more of it.
    pub(crate) fn kill_9(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is ours");
    }

    /// Starts it again with the same configuration on the same directory.
    pub(crate) fn start_again(&mut self) {
        (self.child, self.grown, self.log) = spawn(&self.setup);
        self.takes_calls();
    }

    /// `kill -NAME`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("sh")
            .args(["-c", "kill -\"$0\" \"$1\"", name, &pid])
            .status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "kill -{name} {pid}"
        );
    }

    /// Octets that its files may have from now on; `None`: as many as they like.
    pub(crate) fn limit_files(&self, octets: Option<u64>) {
        let limit = octets.map_or("unlimited".to_owned(), |octets| octets.to_string());
        let set = Command::new("prlimit")
            .args(["--pid", &self.child.id().to_string()])
            .arg(format!("--fsize={limit}:unlimited"))
            .status();
        assert!(
            set.is_ok_and(|status| status.success()),
            "prlimit (Debian: util-linux)"
        );
    }

    /// Waits for its end, and returns its exit code.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let end = Instant::now() + PATIENCE;
        // Both its pipes close with it.
        while self.grown.recv_timeout(Duration::from_millis(50))
            != Err(RecvTimeoutError::Disconnected)
        {
            assert!(Instant::now() < end, "it does not end\n{}", self.story());
        }
        self.child.wait().expect("it is ours").code()
    }

    /// Resident memory, KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("it runs on Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
        number
            .and_then(|n| n.trim().parse().ok())
            .expect("VmRSS in kB")
    }

    /// Waits until it has said this.
    pub(crate) fn says(&mut self, text: &str) {
        self.wait_until(&format!("it says {text:?}"), |baton| baton.has_said(text));
    }

    /// Whether it has said this.
    pub(crate) fn has_said(&self, text: &str) -> bool {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().any(|line| line.contains(text))
    }

    /// `GET /v1/sessions/{key}`.
    pub(crate) fn session(&self, key: &str) -> Value {
        self.json(&format!("/v1/sessions/{key}"))
    }

    /// Waits for `true`, asked again whenever the bridge says something, and now and then when it is silent.
    pub(crate) fn wait_until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(self) {
            if self.grown.recv_timeout(Duration::from_millis(50))
                == Err(RecvTimeoutError::Disconnected)
            {
                panic!("it ended before {what}\n{}", self.story());
            }
            assert!(
                Instant::now() < end,
                "waited in vain until {what}\n{}",
                self.story()
            );
        }
    }

    /// `GET path` as JSON.
    pub(crate) fn json(&self, path: &str) -> Value {
        let answer = http::get(self.ports().http(), path)
            .unwrap_or_else(|error| panic!("GET {path}: {error}"));
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.body);
        serde_json::from_str(&answer.body)
            .unwrap_or_else(|error| panic!("GET {path}: {error}: {}", answer.body))
    }

    /// `POST /v1/calls/{id}/VERB` for the only live call.
    pub(crate) fn steers(&mut self, verb: &str) {
        let live = |baton: &Self| baton.calls().into_iter().find(|call| call["end"].is_null());
        self.wait_until("a call is live", |baton| live(baton).is_some());
        let call = live(self).expect("it was");
        let path = format!("/v1/calls/{}/{verb}", text(&call["id"]));
        let answer = http::post(self.ports().http(), &path, "{}")
            .unwrap_or_else(|error| panic!("POST {path}: {error}"));
        assert!(
            matches!(answer.status, 200..=299),
            "POST {path}: {} {}",
            answer.status,
            answer.body
        );
    }

    /// Live and recent calls, as the bridge sees them.
    pub(crate) fn calls(&self) -> Vec<Value> {
        let answer = self.json("/v1/calls");
        let list = answer.get("calls").unwrap_or(&answer);
        list.as_array().expect("a list of calls").clone()
    }

    /// Waits until `count` calls have ended, and returns them.
    pub(crate) fn ended_calls(&mut self, count: usize) -> Vec<Value> {
        self.wait_until(&format!("{count} calls have ended"), |baton| {
            let calls = baton.calls();
            calls.len() == count && calls.iter().all(|call| !call["end"].is_null())
        });
        self.calls()
    }

    /// Waits until the only call has ended, and returns it with its session history.
    pub(crate) fn ended_call(&mut self) -> (Value, Value) {
        let call = self.ended_calls(1).remove(0);
        let id = text(&call["id"]);
        let call = self.json(&format!("/v1/calls/{id}"));
        let key = text(&call["session_history_key"]);
        // The last events are written behind the call's end.
        self.wait_until("its history has an end", |baton| {
            !baton.json(&format!("/v1/sessions/{key}"))["end"].is_null()
        });
        let session = self.json(&format!("/v1/sessions/{key}"));
        (call, session)
    }

    /// Everything the bridge said so far, for a failure message.
    pub(crate) fn story(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        format!(
            "--- baton ({})\n{}",
            self.setup.dir().display(),
            log.join("\n")
        )
    }
}

impl Drop for Baton {
    fn drop(&mut self) {
        // Only this test's own child; failure means it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.story());
        }
    }
}

/// A JSON string's text.
pub(crate) fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("a string, not {value}"))
}

fn spawn(setup: &Setup) -> (Child, Receiver<()>, Log) {
    let mut child = setup
        .command(&["serve"])
        .spawn()
        .expect("the binary was built with this test");
    let (knock, grown) = sync_channel(1);
    let log = Log::default();
    follow(child.stdout.take().expect("piped"), &log, knock.clone());
    follow(child.stderr.take().expect("piped"), &log, knock);
    (child, grown, log)
}

/// Lines of `from` into the log, with a knock for each.
pub(crate) fn follow(from: impl Read + Send + 'static, log: &Log, knock: SyncSender<()>) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            log.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
            // Full: a knock waits already.
            let _ = knock.try_send(());
        }
    });
}
