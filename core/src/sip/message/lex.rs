//! The few lexical rules everything else is read by (RFC 3261 §25.1): tokens, quotes, angle brackets.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memchr2, memchr3};

/// Octets a token may hold.
const TOKEN: [bool; 256] = token_table();

const fn token_table() -> [bool; 256] {
    let mut table = [false; 256];
    let mut octet = 0;
    while octet < 128_u8 {
        table[octet as usize] = octet.is_ascii_alphanumeric()
            || matches!(
                octet,
                b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
            );
        octet += 1;
    }
    table
}

/// Octets a URI may hold; those above ASCII are not legal, but harmless.
const URI: [bool; 256] = uri_table();

const fn uri_table() -> [bool; 256] {
    let mut table = [false; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = octet > 0x20 && !matches!(octet, 0x22 | 0x3c | 0x3e | 0x7f); // " < > DEL
        octet += 1;
    }
    table
}

/// Is this octet allowed in a token?
pub(super) const fn is_token_octet(octet: u8) -> bool {
    TOKEN[octet as usize]
}

/// Is all of this one token?
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_octet)
}

/// Octets that may stand in a URI as far as its surroundings go: no white space, control, quote or bracket.
pub(super) const fn is_uri_octet(octet: u8) -> bool {
    URI[octet as usize]
}

/// White space that may stand between tokens once lines are unfolded.
pub(super) const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// Without white space at either end.
pub(super) fn trim(text: &str) -> &str {
    let octets = text.as_bytes();
    let is_dark = |octet: &u8| !matches!(octet, b' ' | b'\t');
    match (
        octets.iter().position(is_dark),
        octets.iter().rposition(is_dark),
    ) {
        (Some(first), Some(last)) => &text[first..=last],
        _ => "",
    }
}

/// Where `separator` first stands outside quoted strings and angle brackets. What an unbalanced quote or
/// bracket opens runs to the end, so nothing inside it can pass for something outside.
pub(super) fn find_outside(text: &str, separator: u8) -> Option<usize> {
    let octets = text.as_bytes();
    let mut at = 0;
    loop {
        at += memchr3(separator, b'"', b'<', octets.get(at..)?)?;
        at += match octets[at] {
            b'"' => quoted_string(&text[at..])?.len(),
            b'<' => memchr(b'>', &octets[at..])? + 1,
            _ => return Some(at),
        };
    }
}

/// The pieces between separators that stand outside quotes and angle brackets, trimmed, empty ones left out.
pub(super) fn split_outside(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let piece = if let Some(at) = find_outside(text, separator) {
            rest = Some(&text[at + 1..]);
            &text[..at]
        } else {
            rest = None;
            text
        };
        Some(trim(piece))
    })
    .filter(|piece| !piece.is_empty())
}

/// The octets from an opening quote to its closing one, both included; `None` when it is never closed.
pub(super) fn quoted_string(text: &str) -> Option<&str> {
    let octets = text.as_bytes();
    let mut at = 1;
    loop {
        at += memchr2(b'"', b'\\', octets.get(at..)?)?;
        if octets[at] == b'"' {
            return Some(&text[..=at]);
        }
        at += 2; // what is escaped closes nothing
    }
}

/// Where the next line feed stands.
pub(super) fn find_line_feed(octets: &[u8], from: usize) -> Option<usize> {
    memchr(b'\n', octets.get(from..)?).map(|found| from + found)
}

/// How many of these octets are carriage returns.
pub(super) fn count_returns(octets: &[u8]) -> usize {
    memchr_iter(b'\r', octets).count()
}

/// CR, LF or NUL: what would end a line, or the text, at the far end.
pub(super) fn has_line_end(text: &str) -> bool {
    memchr3(b'\r', b'\n', 0, text.as_bytes()).is_some()
}

/// Takes quotes and the escapes inside them away; anything else is returned as it is.
pub fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inner) = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return Cow::Borrowed(text);
    };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' {
            chars.next().unwrap_or('\\')
        } else {
            c
        });
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<&str> {
        split_outside(text, b',').collect()
    }

    #[test]
    fn commas_inside_quotes_and_brackets_do_not_split() {
        assert_eq!(
            list(r#""a, b" <sip:x,y@h>;p="1,2", <sip:z@h>"#),
            [r#""a, b" <sip:x,y@h>;p="1,2""#, "<sip:z@h>"]
        );
    }

    #[test]
    fn an_escaped_quote_does_not_end_the_quotes() {
        assert_eq!(
            list(r#""a\", <sip:evil@h>" <sip:x@h>, b"#),
            [r#""a\", <sip:evil@h>" <sip:x@h>"#, "b"]
        );
        assert_eq!(list(r#""a\\", b"#), [r#""a\\""#, "b"]);
    }

    #[test]
    fn what_an_open_quote_or_bracket_starts_never_splits() {
        assert_eq!(list(r#""a, b, c"#), [r#""a, b, c"#]);
        assert_eq!(list("<sip:a, b"), ["<sip:a, b"]);
        assert_eq!(list(r#"a, "b\", c"#), ["a", r#""b\", c"#]);
        assert_eq!(list(r#""b\"#), [r#""b\"#]);
    }

    #[test]
    fn quotes_mean_nothing_in_brackets_and_brackets_nothing_in_quotes() {
        assert_eq!(
            list(r#"<sip:a"@h>, "<", b"#),
            [r#"<sip:a"@h>"#, r#""<""#, "b"]
        );
        assert_eq!(list("a>, b"), ["a>", "b"]);
    }

    #[test]
    fn empty_list_elements_are_left_out() {
        assert_eq!(list(" , a ,, b\t, "), ["a", "b"]);
        assert!(list("").is_empty());
    }

    #[test]
    fn unquote_takes_only_quotes_away() {
        assert_eq!(unquote(r#""a \"b\" \\ c""#), r#"a "b" \ c"#);
        assert_eq!(unquote("plain"), "plain");
        assert_eq!(unquote("\""), "\"");
        assert_eq!(unquote("\"\""), "");
        assert_eq!(unquote("\"é\\é\""), "éé");
    }

    #[test]
    fn line_ends_are_found_anywhere() {
        for evil in [
            "\r",
            "\n",
            "\0",
            "a\rb",
            "a long enough text to fill a vector\n",
            "\0é",
        ] {
            assert!(has_line_end(evil), "{evil:?}");
        }
        assert!(!has_line_end("") && !has_line_end("plain \t é text \u{2028}"));
        for length in [0, 1, 127, 128, 129, 1000] {
            assert_eq!(count_returns(&vec![b'\r'; length]), length);
            assert_eq!(count_returns(&vec![b'\n'; length]), 0);
        }
    }

    #[test]
    fn quoted_string_needs_its_end() {
        assert_eq!(quoted_string(r#""a\"b" rest"#), Some(r#""a\"b""#));
        assert_eq!(quoted_string(r#""a\""#), None);
        assert_eq!(quoted_string("\""), None);
    }
}
