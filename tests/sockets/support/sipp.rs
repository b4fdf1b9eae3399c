//! SIPp as the far end of a call: one scenario, its verdict and what it wrote down.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::Baton;
use super::ports::Ports;

/// A scenario about to be played.
#[derive(Debug)]
pub(crate) struct Sipp {
    scenario: &'static str,
    options: Vec<String>,
}

/// How it went: SIPp was content, and this is what its scenario logged.
#[derive(Debug)]
pub(crate) struct FarEnd {
    /// Lines of the scenario's `<log>` actions.
    pub(crate) log: Vec<String>,
    /// Every message it sent or received.
    pub(crate) messages: String,
}

impl Sipp {
    /// `sipp-scenarios/NAME.xml`, one call.
    pub(crate) fn plays(scenario: &'static str) -> Self {
        Self {
            scenario,
            options: Vec::new(),
        }
    }

    /// Further command line words.
    pub(crate) fn with(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(ToString::to_string));
        self
    }

    /// Calls the bridge and waits for the scenario's end; anything but SIPp's exit code 0 fails the test with
    /// everything both sides wrote.
    pub(crate) fn calls(self, baton: &mut Baton) -> FarEnd {
        let target = format!("127.0.0.1:{}", baton.ports().sip());
        let playing = self.spawn(baton.ports(), Some(&target));
        playing.ends(|| baton.story())
    }

    /// Waits on its port for somebody to send the scenario's first request.
    pub(crate) fn waits(self, ports: &Ports) -> Playing {
        self.spawn(ports, None)
    }

    fn spawn(self, ports: &Ports, target: Option<&str>) -> Playing {
        let dir = TempDir::new().expect("a temporary directory");
        let path = |name: &str| dir.path().join(name);
        let scenario = scenarios().join(format!("{}.xml", self.scenario));
        assert!(scenario.is_file(), "{} is there", scenario.display());
        let screen = File::create(path("screen")).expect("it can be written");
        let child = Command::new(program())
            .args(target)
            .arg("-sf")
            .arg(&scenario)
            .args(["-s", "bot", "-i", "127.0.0.1", "-mi", "127.0.0.1"])
            .args(["-p", &ports.sipp().to_string()])
            .args(["-mp", &ports.sipp_media().to_string()])
            .args(["-cp", &ports.sipp_control().to_string()])
            .args(["-m", "1", "-nostdin", "-timeout", "40s", "-timeout_error"])
            .args(["-trace_msg", "-message_file"])
            .arg(path("messages"))
            .args(["-trace_err", "-error_file"])
            .arg(path("errors"))
            .args(["-trace_logs", "-log_file"])
            .arg(path("log"))
            .args(&self.options)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(screen.try_clone().expect("a second handle"))
            .stderr(screen)
            .spawn()
            .unwrap_or_else(|error| missing(&error));
        Playing {
            scenario: self.scenario,
            child,
            dir,
        }
    }
}

/// A scenario being played; dropping it ends SIPp.
#[derive(Debug)]
pub(crate) struct Playing {
    scenario: &'static str,
    child: Child,
    dir: TempDir,
}

impl Drop for Playing {
    fn drop(&mut self) {
        // Only this test's own child; failure means it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Playing {
    /// Waits for its end; anything but exit code 0 fails the test with everything both sides wrote.
    pub(crate) fn ends(mut self, story: impl FnOnce() -> String) -> FarEnd {
        let status = self.child.wait().expect("it is ours");
        let path = |name: &str| self.dir.path().join(name);
        let read = |name: &str| {
            fs::read(path(name)).map(|text| String::from_utf8_lossy(&text).into_owned())
        };
        let read = |name: &str| read(name).unwrap_or_default();
        assert!(
            status.success(),
            "{} is not content: {status}\n--- errors\n{}\n--- messages\n{}\n--- end of its screen\n{}\n{}",
            self.scenario,
            read("errors"),
            read("messages"),
            tail(&read("screen"), 40),
            story(),
        );
        FarEnd {
            log: read("log").lines().map(str::to_owned).collect(),
            messages: read("messages"),
        }
    }
}

impl FarEnd {
    /// What follows `word` in the line that starts with it.
    pub(crate) fn said(&self, word: &str) -> &str {
        self.log
            .iter()
            .find_map(|line| line.strip_prefix(word))
            .unwrap_or_else(|| panic!("no line `{word}…` in {:?}", self.log))
            .trim()
    }

    /// How many of its lines start with `word`.
    pub(crate) fn count(&self, word: &str) -> usize {
        self.log
            .iter()
            .filter(|line| line.starts_with(word))
            .count()
    }
}

/// Where the scenarios are.
fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sipp-scenarios")
}

/// The copy that `make test` made for people who are not root, or the one in the path.
fn program() -> PathBuf {
    let copy = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/sipp");
    if copy.is_file() { copy } else { "sipp".into() }
}

fn missing(error: &std::io::Error) -> ! {
    panic!(
        "sipp cannot be started ({error}): install the Debian package sip-tester, or run `make test`, which does"
    )
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
