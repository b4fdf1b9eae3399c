//! The documents against the code: the table of settings is the catalogue's, and no link leads nowhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use baton::config::keys::KEYS;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// `| sip | max_calls | 1000 | … |` as docs/configuration.md has it.
fn rows() -> Vec<String> {
    let quoted = |text: &str| match text {
        "" => String::new(),
        text => format!("`{}`", text.replace('|', "\\|")),
    };
    KEYS.iter()
        .map(|key| {
            let (name, default) = (quoted(key.name), quoted(key.default));
            format!("| {name} | {default} | {} |", key.does.replace('|', "\\|"))
        })
        .collect()
}

#[test]
fn the_table_of_settings_is_the_catalogue() {
    let page = read("docs/configuration.md");
    let written: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let expected = rows();
    assert_eq!(
        written,
        expected,
        "the rows should be\n{}",
        expected.join("\n")
    );
}

#[test]
fn every_section_has_its_heading() {
    let page = read("docs/configuration.md");
    let sections: BTreeSet<_> = KEYS.iter().map(|key| key.section).collect();
    for section in sections {
        let heading =
            |open: &str, close: &str| page.contains(&format!("\n## `{open}{section}{close}`\n"));
        assert!(heading("[", "]") || heading("[[", "]]"), "{section}");
    }
}

#[test]
fn the_example_in_the_page_is_a_configuration() {
    let page = read("docs/configuration.md");
    let (_, rest) = page.split_once("```toml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let config = baton::config::from_str(example, root()).unwrap_or_else(|error| panic!("{error}"));
    assert!(!config.agents.is_empty() && !config.handoffs.is_empty());
}

#[test]
fn every_decision_is_listed_and_fits_a_page() {
    let list = read("docs/adr/README.md");
    for entry in fs::read_dir(root().join("docs/adr")).expect("the folder is there") {
        let name = entry
            .expect("readable")
            .file_name()
            .to_string_lossy()
            .into_owned();
        if name == "README.md" {
            continue;
        }
        let text = read(&format!("docs/adr/{name}"));
        assert!(
            list.contains(&format!("({name})")),
            "{name} is not in the list"
        );
        assert!(text.lines().count() <= 60, "{name} is longer than a page");
        for part in ["## Context", "## Decision", "## Cost"] {
            assert!(text.contains(part), "{name} has no {part}");
        }
    }
}

#[test]
fn what_the_conformance_table_names_exists() {
    let page = read("docs/conformance.md");
    let named: BTreeSet<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.contains('/') && !code.contains('*'))
        .collect();
    assert!(named.len() > 15, "the table is read: {named:?}");
    let missing: Vec<_> = named
        .iter()
        .filter(|name| !root().join(name).exists())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn no_link_leads_nowhere() {
    let mut broken = Vec::new();
    for page in pages(root()) {
        let text = fs::read_to_string(&page).expect("a page is UTF-8");
        let folder = page.parent().expect("it lies in a folder");
        for link in links(&text) {
            if !folder.join(&link).exists() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn links_are_found_and_strangers_left_alone() {
    let text =
        "[a](x.md) ![b](y.svg) [c](https://example.com) [d](#here) [e](z.md#there) `[f](g)` a](b)";
    assert_eq!(links(text), ["x.md", "y.svg", "z.md"]);
}

/// Markdown pages of the repository: its root, `docs` and `sipp-scenarios`.
fn pages(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.join("docs"), root.join("sipp-scenarios")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "md") {
                found.push(path);
            }
        }
    }
    found.extend(["README.md", "CHANGELOG.md"].map(|name| root.join(name)));
    found
}

/// Targets of `[text](target)` inside the repository, anchors cut off; code is skipped.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let outside_code = text.split('`').step_by(2);
    for part in outside_code {
        for (at, _) in part.match_indices("](") {
            let target = &part[at + 2..];
            let Some(end) = target.find(')') else {
                continue;
            };
            let target = target[..end].split('#').next().unwrap_or_default();
            let opened = part[..at]
                .rfind('[')
                .is_some_and(|open| !part[open..at].contains(']'));
            if opened && !target.is_empty() && !target.contains("://") {
                found.push(target.to_owned());
            }
        }
    }
    found
}
