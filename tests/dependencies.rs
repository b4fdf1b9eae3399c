//! What the build may contain: `deny.toml`'s licences, bans and sources, held from `cargo metadata`.
//!
//! `cargo deny` reads the same file and does more, but costs minutes of compiling where it is not installed. This
//! test runs everywhere, and fails for the same reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Package {
    id: String,
    name: String,
    license: Option<String>,
    source: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Clone, Deserialize)]
struct Dependency {
    name: String,
    req: String,
    path: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Deny {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Licenses {
    allow: BTreeSet<String>,
    clarify: Vec<Clarify>,
}

#[derive(Debug, Deserialize)]
struct Clarify {
    #[serde(rename = "crate")]
    name: String,
    expression: String,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Debug, Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

impl Deny {
    fn read() -> Self {
        let text = include_str!("../deny.toml");
        toml::from_str(text).expect("deny.toml has the tables this test reads")
    }

    /// Every reason why `metadata` may not be built, one line each.
    fn findings(&self, metadata: &Metadata) -> Vec<String> {
        let mut found = Vec::new();
        for package in &metadata.packages {
            let member = metadata.workspace_members.contains(&package.id);
            found.extend(self.licence(package));
            if self.bans.deny.iter().any(|ban| ban.name == package.name) {
                found.push(format!("{}: banned", package.name));
            }
            if !member {
                found.extend(self.source(package));
                continue;
            }
            for needed in &package.dependencies {
                if needed.req == "*" && needed.path.is_none() {
                    found.push(format!("{}: {} has no version", package.name, needed.name));
                }
            }
        }
        found
    }

    fn licence(&self, package: &Package) -> Option<String> {
        let clarified: BTreeMap<_, _> = self
            .licenses
            .clarify
            .iter()
            .map(|c| (c.name.as_str(), c.expression.as_str()))
            .collect();
        let expression = package
            .license
            .as_deref()
            .or_else(|| clarified.get(package.name.as_str()).copied());
        match expression {
            None => Some(format!("{}: names no licence", package.name)),
            Some(text) if allows(text, &self.licenses.allow) => None,
            Some(text) => Some(format!("{}: licence {text}", package.name)),
        }
    }

    fn source(&self, package: &Package) -> Option<String> {
        let from = package.source.as_deref().unwrap_or("a path outside");
        let known = self
            .sources
            .allow_registry
            .iter()
            .any(|registry| from == format!("registry+{registry}"));
        (!known).then(|| format!("{}: comes from {from}", package.name))
    }
}

/// Whether an SPDX expression can be met with `allowed` licences. `/` is the old spelling of `OR`.
fn allows(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    either(&mut words, allowed) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

/// `a OR b`: the weakest binding.
fn either(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut met = both(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= both(words, allowed);
    }
    met
}

/// `a AND b`.
fn both(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

/// `(…)`, `NAME` or `NAME WITH EXCEPTION`.
fn one(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    match words.next() {
        Some("(") => {
            let met = either(words, allowed);
            met & words.next_if_eq(&")").is_some()
        }
        Some(name) if words.next_if_eq(&"WITH").is_some() => {
            let exception = words.next().unwrap_or_default();
            allowed.contains(&format!("{name} WITH {exception}"))
        }
        Some(name) => allowed.contains(name),
        None => false,
    }
}

#[test]
fn everything_built_is_allowed_by_deny_toml() {
    let host = "x86_64-unknown-linux-gnu"; // what CI and the image are built for
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked"])
        .args(["--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs: it started this test");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {complaint}");
    let metadata: Metadata = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    assert!(metadata.packages.len() > 50, "the whole graph is listed");
    let found = Deny::read().findings(&metadata);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn expressions_are_met_only_by_what_is_allowed() {
    let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]
        .map(String::from)
        .into();
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0-only OR MIT", true),
        ("GPL-3.0-only AND MIT", false),
        ("MIT/GPL-2.0", true),
        ("(MIT OR GPL-3.0-only) AND Apache-2.0", true),
        ("(MIT OR Apache-2.0) AND GPL-3.0-only", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("MIT WITH LLVM-exception", false),
        ("AGPL-3.0-only", false),
        ("(MIT", false),
        ("MIT MIT", false),
        ("", false),
    ] {
        assert_eq!(allows(expression, &allowed), met, "{expression}");
    }
}

#[test]
fn each_kind_of_stranger_is_found() {
    let stranger = |name: &str, license: Option<&str>, source: Option<&str>| Package {
        id: name.to_owned(),
        name: name.to_owned(),
        license: license.map(str::to_owned),
        source: source.map(str::to_owned),
        dependencies: Vec::new(),
    };
    let registry = Some("registry+https://github.com/rust-lang/crates.io-index");
    let mut ours = stranger("ours", Some("MIT"), None);
    ours.dependencies.push(Dependency {
        name: "anything".into(),
        req: "*".into(),
        path: None,
    });
    let metadata = Metadata {
        workspace_members: vec!["ours".into()],
        packages: vec![
            ours,
            stranger("fine", Some("MIT"), registry),
            stranger("copyleft", Some("GPL-3.0-only"), registry),
            stranger("silent", None, registry),
            stranger("openssl-sys", Some("MIT"), registry),
            stranger(
                "forked",
                Some("MIT"),
                Some("git+https://example.com/forked"),
            ),
        ],
    };
    assert_eq!(
        Deny::read().findings(&metadata),
        [
            "ours: anything has no version",
            "copyleft: licence GPL-3.0-only",
            "silent: names no licence",
            "openssl-sys: banned",
            "forked: comes from git+https://example.com/forked",
        ]
    );
}
