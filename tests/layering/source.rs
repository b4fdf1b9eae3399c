//! A Rust file as the layering test sees it: words, paths written out in full, attributes, and where tests begin.
//!
//! Not a parser of Rust. Comments and literals are dropped, the rest is cut into words and signs; `use` trees are
//! unfolded and `self` and `super` resolved against the module the words stand in.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

/// A path as it was meant: `crate::media::rtp`, whatever way it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    /// `crate`, `baton_core`, `std`, … and what follows; `*` for a glob.
    pub(crate) segments: Vec<String>,
    /// `true` for what a `pub use` (of any visibility) hands on.
    pub(crate) exported: bool,
    /// `true` inside `#[cfg(test)]`.
    pub(crate) in_tests: bool,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segments.join("::"))
    }
}

/// One file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Where it stands in its crate, the crate's own name left out.
    pub(crate) module: Vec<String>,
    /// As written.
    pub(crate) text: String,
    words: Vec<Word>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    text: String,
    line: usize,
}

impl Source {
    /// Reads `text`, the file of `module`.
    pub(crate) fn new(module: Vec<String>, text: &str) -> Self {
        Self {
            module,
            words: words(text),
            text: text.to_owned(),
        }
    }

    /// Lines before the module of unit tests, or all of them.
    pub(crate) fn lines_before_tests(&self) -> usize {
        match self.tests_begin() {
            Some(at) => self.words.get(at).map_or(0, |word| word.line),
            None => self.text.lines().count(),
        }
    }

    /// Words outside the module of unit tests.
    pub(crate) fn words_outside_tests(&self) -> impl Iterator<Item = &str> {
        let end = self.tests_begin().unwrap_or(self.words.len());
        self.words[..end].iter().map(|word| word.text.as_str())
    }

    /// Attributes that name `lint`, as words with blanks between.
    pub(crate) fn attributes_naming(&self, lint: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (at, word) in self.words.iter().enumerate() {
            if word.text != "#" {
                continue;
            }
            let attribute: Vec<&str> = self.words[at..]
                .iter()
                .map(|word| word.text.as_str())
                .take_while(|text| *text != "]")
                .collect();
            if attribute.contains(&lint) {
                found.push(attribute.join(" ").replace(" (", "("));
            }
        }
        found
    }

    /// Every path that starts at a crate: `use` trees unfolded, `self` and `super` resolved.
    pub(crate) fn paths(&self) -> Vec<Path> {
        let tests = self.tests_begin().unwrap_or(usize::MAX);
        let mut reader = Reader {
            words: &self.words,
            at: 0,
            module: self.module.clone(),
            depth: 0,
            inline: Vec::new(),
            found: Vec::new(),
            tests,
        };
        reader.read();
        reader.found
    }

    /// Index of the `#` of `#[cfg(test)]` before a `mod`; a file under `tests` is all test.
    fn tests_begin(&self) -> Option<usize> {
        if self.module.iter().any(|part| part == "tests") {
            return Some(0);
        }
        let sign = ["#", "[", "cfg", "(", "test", ")", "]"];
        (0..self.words.len()).find(|&at| {
            let here = &self.words[at..];
            let marked = here.len() > sign.len()
                && here.iter().zip(sign).all(|(word, sign)| word.text == sign);
            // Other attributes may stand between the marker and its module.
            marked
                && here[sign.len()..]
                    .iter()
                    .take(40)
                    .take_while(|word| !matches!(word.text.as_str(), "fn" | "use" | "impl" | "{"))
                    .any(|word| word.text == "mod")
        })
    }
}

/// Walks the words once.
struct Reader<'a> {
    words: &'a [Word],
    at: usize,
    module: Vec<String>,
    depth: usize,
    /// Inline modules around this word: the depth outside, and how long `module` was.
    inline: Vec<(usize, usize)>,
    found: Vec<Path>,
    tests: usize,
}

impl Reader<'_> {
    fn read(&mut self) {
        while let Some(word) = self.word(0) {
            match word {
                "{" => self.depth += 1,
                "}" => self.close(),
                "mod" if self.word(2) == Some("{") => {
                    self.inline.push((self.depth, self.module.len()));
                    let name = self.word(1).unwrap_or_default().to_owned();
                    self.module.push(name);
                    self.at += 1;
                }
                "use" => {
                    let exported = self.is_exported();
                    self.at += 1;
                    self.tree(&[], exported);
                    continue;
                }
                // The path inside a visibility says who may see, not what is used.
                "pub" if self.word(1) == Some("(") => {
                    while self.word(0).is_some_and(|word| word != ")") {
                        self.at += 1;
                    }
                }
                "crate" | "super" | "self" | "baton_core" | "baton" | "std"
                    if self.word(1) == Some("::") =>
                {
                    self.plain();
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    fn word(&self, ahead: usize) -> Option<&str> {
        self.words
            .get(self.at + ahead)
            .map(|word| word.text.as_str())
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if let Some(&(outside, len)) = self.inline.last()
            && outside == self.depth
        {
            self.module.truncate(len);
            self.inline.pop();
        }
    }

    /// Whether `pub` or `pub(..)` stands before this `use`.
    fn is_exported(&self) -> bool {
        let before = &self.words[..self.at];
        match before.last().map(|word| word.text.as_str()) {
            Some("pub") => true,
            Some(")") => before
                .iter()
                .rev()
                .take(8)
                .skip_while(|word| word.text != "(")
                .nth(1)
                .is_some_and(|word| word.text == "pub"),
            _ => false,
        }
    }

    /// A path in code: words joined by `::`, up to generics, a macro's `!`, or anything else.
    fn plain(&mut self) {
        let mut path = Vec::new();
        while let Some(word) = self.word(0).filter(|word| is_name(word)) {
            path.push(word.to_owned());
            self.at += 1;
            if self.word(0) != Some("::") {
                break;
            }
            self.at += 1;
        }
        self.take(&path, false);
    }

    /// One tree of a `use`: `a::b`, `a::*`, `a as b`, `a::{..}`; leaves `at` behind it.
    fn tree(&mut self, prefix: &[String], exported: bool) {
        let mut path = prefix.to_vec();
        loop {
            match self.word(0) {
                Some("::") => self.at += 1,
                Some("{") => {
                    self.at += 1;
                    while self.word(0).is_some_and(|word| word != "}") {
                        if self.word(0) == Some(",") {
                            self.at += 1;
                        } else {
                            self.tree(&path, exported);
                        }
                    }
                    self.at += 1;
                    return;
                }
                Some("*") => {
                    path.push("*".to_owned());
                    self.at += 1;
                }
                Some("as") => self.at += 2,
                // `a::{self}` means `a`.
                Some("self") if !path.is_empty() => self.at += 1,
                Some(word) if is_name(word) => {
                    path.push(word.to_owned());
                    self.at += 1;
                }
                Some("," | "}" | ";") | None => break,
                Some(_) => self.at += 1,
            }
        }
        self.take(&path, exported);
    }

    /// Keeps a path that starts at a crate, with `self` and `super` resolved.
    fn take(&mut self, path: &[String], exported: bool) {
        let mut segments: Vec<String> = Vec::new();
        for (index, segment) in path.iter().enumerate() {
            match segment.as_str() {
                "self" | "super" if index == 0 => {
                    segments = std::iter::once("crate".to_owned())
                        .chain(self.module.iter().cloned())
                        .collect();
                    if segment == "super" && segments.len() > 1 {
                        segments.pop();
                    }
                }
                "super" => {
                    if segments.len() > 1 {
                        segments.pop();
                    }
                }
                _ => segments.push(segment.clone()),
            }
        }
        let known = ["crate", "baton_core", "baton", "std"];
        if segments
            .first()
            .is_some_and(|first| known.contains(&first.as_str()))
        {
            self.found.push(Path {
                segments,
                exported,
                in_tests: self.at >= self.tests,
            });
        }
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c == '_' || c.is_alphabetic())
}

/// Cuts a file into names, `::`, and single signs. Comments, strings, characters and lifetimes are dropped.
fn words(text: &str) -> Vec<Word> {
    let mut cutter = Cutter {
        chars: text.chars().peekable(),
        line: 1,
        found: Vec::new(),
    };
    while let Some(c) = cutter.next() {
        cutter.cut(c);
    }
    cutter.found
}

struct Cutter<'a> {
    chars: Peekable<Chars<'a>>,
    line: usize,
    found: Vec<Word>,
}

impl Cutter<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.chars.next();
        self.line += usize::from(c == Some('\n'));
        c
    }

    fn skip(&mut self, sign: char) -> bool {
        let here = self.chars.peek() == Some(&sign);
        if here {
            self.next();
        }
        here
    }

    fn push(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.found.push(Word {
            text,
            line: self.line,
        });
    }

    fn cut(&mut self, c: char) {
        match c {
            '/' if self.skip('/') => {
                while self.chars.peek().is_some_and(|c| *c != '\n') {
                    self.next();
                }
            }
            '/' if self.skip('*') => self.block_comment(),
            '"' => self.string(),
            '\'' => self.character(),
            ':' if self.skip(':') => self.push("::"),
            c if c == '_' || c.is_alphanumeric() => self.name(c),
            c if c.is_whitespace() => {}
            c => self.push(c),
        }
    }

    fn name(&mut self, first: char) {
        let mut name = String::from(first);
        while let Some(c) = self
            .chars
            .peek()
            .filter(|c| **c == '_' || c.is_alphanumeric())
        {
            name.push(*c);
            self.next();
        }
        let raw_string = matches!(name.as_str(), "r" | "br" | "cr");
        match self.chars.peek() {
            Some('"') if raw_string => {
                self.next();
                self.raw(0);
            }
            Some('"') if matches!(name.as_str(), "b" | "c") => {
                self.next();
                self.string();
            }
            Some('\'') if name == "b" => {
                self.next();
                self.character();
            }
            Some('#') if raw_string => self.raw_or_identifier(&name),
            _ => self.push(name),
        }
    }

    /// After `r#`: a raw string, or a raw identifier that is its name without the prefix.
    fn raw_or_identifier(&mut self, prefix: &str) {
        let mut hashes = 0;
        while self.skip('#') {
            hashes += 1;
        }
        if self.skip('"') {
            self.raw(hashes);
        } else if prefix != "r" {
            self.push(prefix);
        }
    }

    fn block_comment(&mut self) {
        let mut open = 1;
        while open > 0 {
            match self.next() {
                Some('*') if self.skip('/') => open -= 1,
                Some('/') if self.skip('*') => open += 1,
                Some(_) => {}
                None => return,
            }
        }
    }

    fn string(&mut self) {
        while let Some(c) = self.next() {
            match c {
                '\\' => drop(self.next()),
                '"' => return,
                _ => {}
            }
        }
    }

    fn raw(&mut self, hashes: usize) {
        while let Some(c) = self.next() {
            if c == '"' && (0..hashes).all(|_| self.skip('#')) {
                return;
            }
        }
    }

    /// `'x'`, `'\n'`, or a lifetime, which is no literal.
    fn character(&mut self) {
        match self.next() {
            Some('\\') => {
                self.next();
                while self.next().is_some_and(|c| c != '\'') {}
            }
            Some(_) => drop(self.skip('\'')),
            None => {}
        }
    }
}
