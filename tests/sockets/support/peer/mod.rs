//! Programs of other people as the far end: started on ports of this test with configuration files of `tests/data`,
//! ended with the test.

pub(crate) mod baresip;
pub(crate) mod kamailio;
pub(crate) mod linphone;
pub(crate) mod speech;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::baton::{Log, PATIENCE, follow};

/// How long a peer may take to clean up behind itself.
const FAREWELL: Duration = Duration::from_secs(2);
/// As much of its log as a failure shows.
const TAIL: usize = 250;

/// Where a peer keeps its files, and what is filled into its templates.
#[derive(Debug)]
pub(crate) struct Home {
    dir: TempDir,
    words: Vec<(&'static str, String)>,
}

impl Home {
    /// An empty one. `@DIR@` is its path.
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let words = vec![("DIR", dir.path().display().to_string())];
        Self { dir, words }
    }

    /// `@WORD@` in templates stands for this.
    pub(crate) fn word(mut self, word: &'static str, text: impl std::fmt::Display) -> Self {
        self.words.push((word, format!("{text}")));
        self
    }

    /// A file in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Fills in `tests/data/TEMPLATE`, under the template's own name.
    pub(crate) fn fill(&self, template: &str) -> PathBuf {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let from = data.join(template);
        let mut text =
            fs::read_to_string(&from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        // The directory last: other words name files in it.
        for (word, value) in self.words.iter().rev() {
            text = text.replace(&format!("@{word}@"), value);
        }
        let to = self.path(template.rsplit('/').next().unwrap_or(template));
        fs::write(&to, text).expect("it can be written");
        to
    }
}

/// A running program; dropping it ends it and all it has started.
#[derive(Debug)]
pub(crate) struct Peer {
    name: &'static str,
    child: Child,
    grown: Receiver<()>,
    log: Log,
    home: Home,
}

impl Peer {
    /// Starts `program` of a Debian package in its home.
    ///
    /// It leads a process group of its own, and the kernel ends it should this process be killed.
    pub(crate) fn start(
        program: &'static str,
        package: &'static str,
        home: Home,
        words: &[&str],
    ) -> Self {
        let found = locate(program).unwrap_or_else(|| {
            panic!("{program} is missing: install the Debian package {package}, or run `make test`, which does")
        });
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(found)
            .args(words)
            .current_dir(home.dir.path())
            .env("HOME", home.dir.path())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("setpriv (Debian: util-linux): {error}"));
        let (knock, grown) = sync_channel(1);
        let log = Log::default();
        follow(child.stdout.take().expect("piped"), &log, knock.clone());
        follow(child.stderr.take().expect("piped"), &log, knock);
        Self {
            name: program,
            child,
            grown,
            log,
            home,
        }
    }

    /// Its home.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// Its standard input.
    pub(crate) fn stdin(&mut self) -> &mut std::process::ChildStdin {
        self.child.stdin.as_mut().expect("piped")
    }

    /// How many lines of its log contain this.
    pub(crate) fn count(&self, text: &str) -> usize {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().filter(|line| line.contains(text)).count()
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until it has said this.
    pub(crate) fn says(&mut self, text: &str) {
        self.wait_until(&format!("it says {text:?}"), |peer| peer.count(text) > 0);
    }

    /// Waits for `true`, asked again whenever it says something, and now and then when it is silent.
    pub(crate) fn wait_until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(self) {
            if self.grown.recv_timeout(Duration::from_millis(50))
                == Err(RecvTimeoutError::Disconnected)
            {
                panic!("{} ended before {what}", self.name);
            }
            assert!(
                Instant::now() < end,
                "{}: waited in vain until {what}",
                self.name
            );
        }
    }

    /// The same for something to be found.
    pub(crate) fn find<T>(&mut self, what: &str, mut find: impl FnMut() -> Option<T>) -> T {
        let mut found = None;
        self.wait_until(what, |_| {
            found = find();
            found.is_some()
        });
        found.expect("it was waited for")
    }

    /// Ends it as an operator does, and waits for it.
    pub(crate) fn stop(&mut self) {
        self.signal("TERM");
        let end = Instant::now() + FAREWELL;
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            // Both its pipes close with it.
            let _ = self.grown.recv_timeout(Duration::from_millis(20));
        }
        self.signal("KILL");
        // Itself once more, so that this wait has an end whatever the shell said.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends it without a word to anybody.
    pub(crate) fn kill(&mut self) {
        self.signal("KILL");
        let _ = self.child.wait();
    }

    /// To its whole group; failure means that nothing of it is left.
    fn signal(&self, name: &str) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("sh")
            .args(["-c", "kill -s \"$0\" -- \"$1\"", name, &group])
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.get(log.len().saturating_sub(TAIL)..).unwrap_or(&log);
            let _ = fs::write(self.home.path("log"), log.join("\n"));
            self.home.dir.disable_cleanup(true);
            eprintln!(
                "--- {} (all of it is kept in {})\n{}",
                self.name,
                self.home.dir.path().display(),
                tail.join("\n")
            );
        }
    }
}

/// Where a program is: in the path, or where Debian has what only root runs.
fn locate(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Whether this error says that nobody is there yet.
pub(crate) fn not_yet(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::NotFound
    )
}

/// A log that a thread fills.
pub(crate) type Shared<T> = Arc<Mutex<Vec<T>>>;
