//! SIPp as the far end of a call: one scenario, its verdict and what it wrote down.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::Baton;

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
        let dir = TempDir::new().expect("a temporary directory");
        let path = |name: &str| dir.path().join(name);
        let scenario = scenarios().join(format!("{}.xml", self.scenario));
        assert!(scenario.is_file(), "{} is there", scenario.display());
        let screen = File::create(path("screen")).expect("it can be written");
        let status = Command::new(program())
            .arg(format!("127.0.0.1:{}", baton.ports().sip()))
            .arg("-sf")
            .arg(&scenario)
            .args(["-s", "bot", "-i", "127.0.0.1", "-mi", "127.0.0.1"])
            .args(["-p", &baton.ports().sipp().to_string()])
            .args(["-mp", &baton.ports().sipp_media().to_string()])
            .args(["-cp", &baton.ports().sipp_control().to_string()])
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
            .status()
            .unwrap_or_else(|error| missing(&error));
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
            baton.story(),
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
