//! One running bridge: the real binary with a configuration, ports and a data directory of its own.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::http;
use super::ports::Ports;

/// Nothing here takes longer on a loaded machine, unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running bridge; dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Baton {
    child: Child,
    /// A knock whenever the log has grown; knocks coalesce, the log never holds the bridge back.
    grown: Receiver<()>,
    log: Arc<Mutex<Vec<String>>>,
    pub(crate) ports: Ports,
    dir: TempDir,
}

impl Baton {
    /// Starts it with the scripted agent and a human at `sip:humans@127.0.0.1`.
    pub(crate) fn start() -> Self {
        Self::with("[[agent]]\nname = \"bot\"\nkind = \"scripted\"\n", "")
    }

    /// Starts it with these `[[agent]]` sections and further lines for `[sip]`.
    pub(crate) fn with(agents: &str, sip: &str) -> Self {
        let ports = Ports::take();
        let dir = TempDir::new().expect("a temporary directory");
        let file = dir.path().join("baton.toml");
        std::fs::write(&file, configuration(&ports, &dir, agents, sip)).expect("it can be written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_baton"))
            .arg("serve")
            .arg("-c")
            .arg(&file)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built with this test");
        let (knock, grown) = sync_channel(1);
        let log = Arc::new(Mutex::new(Vec::new()));
        follow(child.stdout.take().expect("piped"), &log, knock.clone());
        follow(child.stderr.take().expect("piped"), &log, knock);
        let mut baton = Self {
            child,
            grown,
            log,
            ports,
            dir,
        };
        baton.wait_until("it takes calls", |baton| {
            let ready = http::get(baton.ports.http(), "/readyz");
            ready.is_ok_and(|answer| answer.status == 200)
        });
        baton
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
        let answer = http::get(self.ports.http(), path)
            .unwrap_or_else(|error| panic!("GET {path}: {error}"));
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.body);
        serde_json::from_str(&answer.body)
            .unwrap_or_else(|error| panic!("GET {path}: {error}: {}", answer.body))
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
            self.dir.path().display(),
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

/// Lines of `from` into the log, with a knock for each.
fn follow(from: impl Read + Send + 'static, log: &Arc<Mutex<Vec<String>>>, knock: SyncSender<()>) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            log.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
            // Full: a knock waits already.
            let _ = knock.try_send(());
        }
    });
}

fn configuration(ports: &Ports, dir: &TempDir, agents: &str, sip: &str) -> String {
    let data = dir.path().display();
    let (first, last) = (ports.rtp().start().to_owned(), ports.rtp().end().to_owned());
    format!(
        r#"
[sip]
listen = ["udp:127.0.0.1:{sip_port}"]
public_address = "127.0.0.1"
drain_timeout = "1s"
{sip}

[media]
rtp_ports = "{first}-{last}"
recording_dir = "{data}/recordings"

[http]
listen = "127.0.0.1:{http_port}"

[store]
url = "embedded:{data}/store"

{agents}

[[handoff]]
name = "humans"
target = "sip:humans@127.0.0.1"
"#,
        sip_port = ports.sip(),
        http_port = ports.http(),
    )
}
