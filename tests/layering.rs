//! Who may know whom: the table of docs/architecture.md as data, held against every path that the sources write.
//!
//! The checker is no Rust parser. It reads tokens: every `use` tree and every path that begins with `crate`,
//! `super`, `self`, `baton_core` or `baton`. What it cannot follow (globs of a crate's root, a root under another
//! name, a re-export of another domain's words) is a finding by itself, so nothing slips through by spelling.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "layering/source.rs"]
mod source;

use source::{Path as RustPath, Source};

/// One line of the table: a domain and what it may use besides itself, `vocab`, and (in tests) `testing`.
/// `a::b` allows only that part of `a`.
struct Domain {
    name: &'static str,
    may_use: &'static [&'static str],
}

const fn domain(name: &'static str, may_use: &'static [&'static str]) -> Domain {
    Domain { name, may_use }
}

/// Package `baton-core`, rings 0-2.
const CORE: &[Domain] = &[
    domain("vocab", &[]),
    domain("testing", &[]),
    domain("sip", &[]),
    domain("sdp", &[]),
    domain("media", &[]),
    domain("twilio", &[]),
    domain("agent", &["twilio::media_streams"]),
    domain("history", &[]),
    domain("transfer", &[]),
    domain("admission", &[]),
    domain("handoff", &["history", "transfer", "sip::message"]),
    domain("leg", &["media", "agent", "sdp"]),
    domain(
        "call",
        &["handoff", "history", "sip", "sdp", "media", "agent", "leg"],
    ),
];

/// Rings 0-2 as the shells see them.
const EVERY_CORE: &[&str] = &[
    "sip",
    "sdp",
    "media",
    "twilio",
    "agent",
    "history",
    "transfer",
    "admission",
    "handoff",
    "leg",
    "call",
];

/// Package `baton`, rings 3-5.
const SHELLS: &[Domain] = &[
    // Admission: asked before an INVITE is remembered, so where INVITEs arrive.
    domain(
        "net",
        &["sip", "media::rtp", "agent", "leg::event", "admission"],
    ),
    domain("store", &["history", "transfer"]),
    // Counters: the media threads' and the connections' are kept where those are.
    domain(
        "observe",
        &[
            "media",
            "sip",
            "call",
            "agent",
            "leg",
            "admission",
            "net::media_shard",
            "net::streams",
        ],
    ),
    domain(
        "bridge",
        &[
            "sip",
            "sdp",
            "media",
            "twilio",
            "agent",
            "history",
            "transfer",
            "admission",
            "handoff",
            "leg",
            "call",
            "net",
            "observe",
        ],
    ),
    domain(
        "ingress",
        &[
            "bridge",
            "admission",
            "call",
            "net",
            "twilio",
            "sip::endpoint",
        ],
    ),
    domain(
        "http",
        &[
            "bridge::registry",
            "history",
            "transfer",
            "handoff",
            "admission",
            "twilio",
            "observe",
            // What an agent may ask for is what an operator may ask for: one shape, read in one place.
            "agent",
        ],
    ),
    // The media threads' seam speaks of an agent's messages; a phone has none, and says so in their words.
    domain(
        "softphone",
        &[
            "sip",
            "sdp",
            "media",
            "net",
            "agent::Message",
            "agent::LinkOutput",
        ],
    ),
    // The Config of every module; that it takes nothing else from them is for review.
    domain(
        "config",
        &[
            "sip",
            "sdp",
            "media",
            "agent",
            "history",
            "transfer",
            "admission",
            "handoff",
            "leg",
            "call",
            "net",
            "store",
            "observe",
            "bridge",
            "ingress",
            "http",
            "softphone",
        ],
    ),
    domain("app", &["*"]),
    domain("cli", &["*"]),
    domain("main", &["cli", "app", "config"]),
];

/// Crates that baton-core may never depend on: whoever needs one belongs in a shell.
const TOUCHES_THE_WORLD: &[&str] = &[
    "tokio",
    "tokio-tungstenite",
    "tungstenite",
    "mio",
    "socket2",
    "async-std",
    "smol",
    "futures-util",
    "axum",
    "hyper",
    "reqwest",
    "redb",
    "redis",
    "fred",
    "tokio-postgres",
    "rustls",
    "tokio-rustls",
    "hickory-resolver",
    "webrtc-util",
    "getrandom",
    "rand",
    "clap",
    "toml",
    "prometheus-client",
    "tracing-subscriber",
    "quinn-udp",
];

/// Paths of std that baton-core may not write outside tests.
const WORLD_OF_STD: &[&str] = &[
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "std::os",
    "std::net::UdpSocket",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::time::SystemTime",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::mpsc",
];

/// What a core may name of them all the same, and why.
const ALLOWED_OF_STD: &[(&str, &str)] = &[
    // A backend for tests and simulations; the port takes `&self`, and a test shares it between two nodes.
    ("history::memory", "std::sync::Mutex"),
];

/// The one core that awaits: it joins a database's answer to a receipt, and names no runtime.
const MAY_AWAIT: &str = "history::commit";

/// Longer than this before its tests, a file has two concepts in it.
const LONGEST_FILE: usize = 800;

/// Which package a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Package {
    Core,
    Shell,
}

impl Package {
    fn table(self) -> &'static [Domain] {
        match self {
            Self::Core => CORE,
            Self::Shell => SHELLS,
        }
    }
}

/// Every rule that `source` breaks, one line each.
fn findings(package: Package, source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    if !opens_with_its_doc(&source.text) {
        found.push("does not open with `//!`".to_owned());
    }
    if source.lines_before_tests() > LONGEST_FILE {
        let lines = source.lines_before_tests();
        found.push(format!(
            "{lines} lines before its tests: name the two concepts and split"
        ));
    }
    found.extend(fences(package, source));
    if package == Package::Core {
        found.extend(world(source));
    }
    let Some(own) = source.module.first() else {
        // lib.rs: the map. Re-exports there would hide where a word comes from.
        found.extend(
            source
                .paths()
                .iter()
                .filter(|p| p.exported)
                .map(|p| format!("re-exports {p} from the root")),
        );
        return found;
    };
    let Some(domain) = package.table().iter().find(|d| d.name == own) else {
        found.push(format!("`{own}` has no line in the table"));
        return found;
    };
    for path in source.paths() {
        found.extend(breaks(package, domain, &path));
    }
    found
}

/// `//!` first, or right behind the attribute by which a shell silences the fence.
fn opens_with_its_doc(text: &str) -> bool {
    let behind_attribute = || {
        let (_, rest) = text.strip_prefix("#![")?.split_once("]\n")?;
        rest.starts_with("//!").then_some(())
    };
    text.starts_with("//!") || behind_attribute().is_some()
}

/// Why `domain` may not write `path`, if it may not.
fn breaks(package: Package, domain: &Domain, path: &RustPath) -> Option<String> {
    let (other, segments) = match path.segments.split_first()? {
        (first, rest) if first == "crate" => (package, rest),
        (first, rest) if first == "baton_core" => (Package::Core, rest),
        (first, rest) if first == "baton" => (Package::Shell, rest),
        _ => return None,
    };
    if other == Package::Shell && package == Package::Core {
        return Some(format!("{path}: a core cannot see a shell"));
    }
    let Some(first) = segments.first() else {
        return Some(format!("{path}: a crate's root under another name"));
    };
    let own = first == domain.name && other == package;
    if own || (first == "testing" && path.in_tests) {
        return None;
    }
    if first == "*" {
        return Some(format!("{path}: a glob of a crate's root"));
    }
    if !other.table().iter().any(|d| d.name == first) {
        return Some(format!("{path}: not a domain of the table"));
    }
    let written = segments.join("::");
    let allowed = first == "vocab"
        || domain
            .may_use
            .iter()
            .any(|may| *may == "*" || written == *may || written.starts_with(&format!("{may}::")));
    if !allowed {
        return Some(format!("{path}: `{}` may not use it", domain.name));
    }
    (path.exported && first != "vocab")
        .then(|| format!("{path}: re-exports another domain's words"))
}

/// A pure ring neither awaits nor names the parts of std that touch the world.
fn world(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    if source.module.join("::") != MAY_AWAIT
        && source
            .words_outside_tests()
            .any(|w| w == "async" || w == "await")
    {
        found.push("awaits in a pure ring".to_owned());
    }
    for path in source.paths().iter().filter(|p| !p.in_tests) {
        let written = path.segments.join("::");
        let forbidden = WORLD_OF_STD
            .iter()
            .find(|std| written == **std || written.starts_with(&format!("{std}::")));
        let module = source.module.join("::");
        let forbidden = forbidden.filter(|std| !ALLOWED_OF_STD.contains(&(&module, std)));
        found.extend(forbidden.map(|std| format!("{path}: a core names no {std}")));
    }
    found
}

/// Who silences the clock fence says so at the head of the file, with a reason, and is a shell.
fn fences(package: Package, source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for attribute in source.attributes_naming("disallowed_methods") {
        if !attribute.contains("reason") {
            found.push(format!("silences the fence without a reason: {attribute}"));
        }
        if attribute.contains("allow(") {
            found.push(format!("silences the fence with a bare allow: {attribute}"));
        }
        let module = source.module.join("::");
        if package == Package::Core && module != "testing" {
            found.push(format!("a core silences the fence: {attribute}"));
        }
    }
    found
}

/// Names of `[dependencies]` in a manifest.
fn dependencies(manifest: &str) -> Vec<String> {
    let manifest: toml::Table = manifest.parse().expect("Cargo.toml is TOML");
    manifest
        .get("dependencies")
        .and_then(toml::Value::as_table)
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

/// Every `.rs` file under `dir`, in order, with its module path.
fn sources(dir: &Path) -> BTreeMap<PathBuf, Source> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository can be read") {
            let path = entry.expect("its entries too").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let text = fs::read_to_string(&path).expect("a source is UTF-8");
                let relative = path.strip_prefix(dir).expect("it lies under its folder");
                found.insert(path.clone(), Source::new(module_of(relative), &text));
            }
        }
    }
    found
}

/// `sip/dialog/mod.rs` is `sip::dialog`; `lib.rs` is the root.
fn module_of(file: &Path) -> Vec<String> {
    let mut module: Vec<String> = file
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if module
        .last()
        .is_some_and(|last| last == "mod" || last == "lib")
    {
        module.pop();
    }
    module
}

fn check(package: Package, folder: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for (file, source) in sources(&root.join(folder)) {
        let name = file
            .strip_prefix(root)
            .unwrap_or(&file)
            .display()
            .to_string();
        found.extend(
            findings(package, &source)
                .into_iter()
                .map(|f| format!("{name}: {f}")),
        );
    }
    assert!(
        found.is_empty(),
        "{} findings\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn every_core_file_looks_only_inward() {
    check(Package::Core, "core/src");
}

#[test]
fn every_shell_file_keeps_to_its_line_of_the_table() {
    check(Package::Shell, "src");
}

#[test]
fn baton_core_depends_on_nothing_that_touches_the_world() {
    let names = dependencies(include_str!("../core/Cargo.toml"));
    assert!(names.len() > 5, "the list is read: {names:?}");
    let strangers: Vec<_> = names
        .iter()
        .filter(|n| TOUCHES_THE_WORLD.contains(&n.as_str()))
        .collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}

#[test]
fn the_table_names_every_core_for_the_shells() {
    let cores: Vec<_> = CORE
        .iter()
        .map(|d| d.name)
        .filter(|n| !["vocab", "testing"].contains(n))
        .collect();
    for name in cores {
        assert!(EVERY_CORE.contains(&name), "{name}");
        let bridge = SHELLS
            .iter()
            .find(|d| d.name == "bridge")
            .expect("bridge is a shell");
        assert!(
            bridge.may_use.contains(&name),
            "bridge may use every core: {name}"
        );
    }
}

/// What the checker says about a file of `module` with this text.
fn says(package: Package, module: &str, text: &str) -> Vec<String> {
    let module = module
        .split("::")
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect();
    findings(
        package,
        &Source::new(module, &format!("//! A file.\n{text}")),
    )
}

#[test]
fn a_stranger_is_found_however_it_is_spelled() {
    for (module, text) in [
        ("sip::dialog", "use crate::sdp::Offer;"),
        ("sip::dialog", "use crate::{vocab::Timers, sdp};"),
        ("sip::dialog", "use crate::{vocab, media::{self, rtp}};"),
        ("sip::dialog", "use super::super::media::rtp;"),
        ("sip", "use super::media;"),
        ("sip", "pub use crate::media::Frame;"),
        ("sip", "pub(crate) use crate::media::Frame;"),
        ("sip", "fn f() { crate::media::play() }"),
        ("sip", "fn f() -> Vec<crate :: media :: Frame> {}"),
        ("sip", "macro_rules! m { () => { $crate::media::x() } }"),
        ("sip", "use crate::*;"),
        ("sip", "use crate as everything;"),
        ("sip", "mod inner { use super::super::media; }"),
        ("sip", "use crate::r#media::rtp;"),
        ("agent", "use crate::twilio;"),
        ("agent", "use crate::twilio::twiml::Response;"),
        ("handoff::plan", "use crate::sip::endpoint::Event;"),
        ("history", "use crate::call::Call;"),
        ("call", "use crate::admission::Limits;"),
        ("call", "use crate::nowhere::Thing;"),
        ("call", "use crate::testing::t0;"),
    ] {
        assert!(
            !says(Package::Core, module, text).is_empty(),
            "{module}: {text}"
        );
    }
    for (module, text) in [
        ("http::pages", "use baton_core::media::rtp;"),
        ("http::pages", "use crate::net::udp;"),
        ("http::pages", "use crate::bridge::call_task;"),
        ("net::udp", "use baton_core::call::Call;"),
        ("net::udp", "use baton_core::media::jitter::Buffer;"),
        ("net::udp", "use baton_core as core;"),
        ("net::udp", "use ::baton_core::history;"),
        ("softphone", "use crate::bridge::registry;"),
        ("bridge", "use crate::store::embedded;"),
        ("bridge", "use crate::cli::serve;"),
        ("bridge", "pub use baton_core::call::Call;"),
        ("store", "use baton_core::*;"),
        ("utils", "fn helpful() {}"),
        ("", "pub use baton_core::sip::Uri;"),
    ] {
        assert!(
            !says(Package::Shell, module, text).is_empty(),
            "{module}: {text}"
        );
    }
}

#[test]
fn what_the_table_allows_is_not_found() {
    for (module, text) in [
        (
            "sip::dialog",
            "use crate::vocab::{Timers, Entropy};\nuse super::message::Uri;",
        ),
        ("sip::dialog", "use super::super::sip::Uri;"),
        ("agent", "use crate::twilio::media_streams::{Frame, Role};"),
        (
            "handoff",
            "use crate::sip::message::Uri;\npub use crate::vocab::HandoffKey;",
        ),
        ("call", "pub(crate) fn f(x: crate::leg::Event) {}"),
        (
            "sip",
            "// use crate::media;\n/* use crate::media; /* nested */ */ const A: &str = \"crate::media::x\";",
        ),
        (
            "sip",
            "const A: &str = r#\"use crate::media; \"quoted\" \"#; const B: char = '\"'; fn f<'a>(x: &'a u8) {}",
        ),
        (
            "sip",
            "#[cfg(test)]\nmod tests { use super::*; use crate::testing::t0; }",
        ),
        (
            "sip::endpoint::tests::pair",
            "use crate::testing::t0; use std::sync::mpsc;",
        ),
        ("media", "use sdp::Offer; fn media() { self::wav::open(); }"),
    ] {
        assert_eq!(
            says(Package::Core, module, text),
            Vec::<String>::new(),
            "{module}: {text}"
        );
    }
    for (module, text) in [
        (
            "net::udp",
            "use baton_core::sip::endpoint::Endpoint;\nuse crate::net::ports;",
        ),
        ("http", "use crate::bridge::registry::Registry;"),
        ("cli::demo", "use crate::softphone::Phone;\nuse crate::app;"),
    ] {
        assert_eq!(
            says(Package::Shell, module, text),
            Vec::<String>::new(),
            "{module}: {text}"
        );
    }
}

#[test]
fn the_other_rules_can_fail_too() {
    let sip = || vec!["sip".to_owned()];
    let long = format!("//! Long.\n{}", "fn f() {}\n".repeat(LONGEST_FILE));
    assert_eq!(
        findings(Package::Core, &Source::new(sip(), "fn f() {}")).len(),
        1
    );
    assert_eq!(findings(Package::Core, &Source::new(sip(), &long)).len(), 1);
    let tested = format!(
        "//! Fine.\n#[cfg(test)]\nmod tests {{\n{}}}\n",
        "// x\n".repeat(LONGEST_FILE)
    );
    assert_eq!(
        findings(Package::Core, &Source::new(sip(), &tested)),
        Vec::<String>::new()
    );
    for text in [
        "async fn f() {}",
        "use std::net::UdpSocket;",
        "use std::{fs, io};",
        "fn f() { std::thread::yield_now() }",
        "#![expect(clippy::disallowed_methods, reason = \"a core that wants the time\")]",
    ] {
        assert_eq!(says(Package::Core, "sip", text).len(), 1, "{text}");
    }
    for text in [
        "#![expect(clippy::disallowed_methods)]",
        "#![allow(clippy::disallowed_methods, reason = \"shell\")]",
    ] {
        assert_eq!(says(Package::Shell, "net", text).len(), 1, "{text}");
    }
    let fine =
        "#![expect(\n    clippy::disallowed_methods,\n    reason = \"shell: owns the clock\"\n)]";
    assert_eq!(says(Package::Shell, "net", fine), Vec::<String>::new());
    assert_eq!(
        dependencies("[dependencies]\ntokio = \"1\"\n[dependencies.redb]\nversion = \"4\""),
        ["redb", "tokio"]
    );
}
