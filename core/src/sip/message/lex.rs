//! The few lexical rules everything else is read by (RFC 3261 §25.1): tokens, quotes, angle brackets.

use std::borrow::Cow;

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

/// Is this octet allowed in a token?
pub(super) const fn is_token_octet(octet: u8) -> bool {
    TOKEN[octet as usize]
}

/// Is all of this one token?
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_octet)
}

/// White space that may stand between tokens once lines are unfolded.
pub(super) const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// Without white space at either end.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Where `separator` first stands outside quoted strings and angle brackets. What an unbalanced quote or
/// bracket opens runs to the end, so nothing inside it can pass for something outside.
pub(super) fn find_outside(text: &str, separator: u8) -> Option<usize> {
    let (mut quoted, mut bracketed, mut escaped) = (false, false, false);
    text.bytes().position(|octet| {
        if escaped {
            escaped = false;
            return false;
        }
        match octet {
            b'\\' if quoted => escaped = true,
            b'"' if !bracketed => quoted = !quoted,
            b'<' if !quoted => bracketed = true,
            b'>' if !quoted => bracketed = false,
            _ => return octet == separator && !quoted && !bracketed,
        }
        false
    })
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
    let mut escaped = true; // the opening quote itself closes nothing
    let close = text.bytes().position(|octet| {
        if escaped {
            escaped = false;
            return false;
        }
        escaped = octet == b'\\';
        octet == b'"'
    })?;
    Some(&text[..=close])
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
    fn quoted_string_needs_its_end() {
        assert_eq!(quoted_string(r#""a\"b" rest"#), Some(r#""a\"b""#));
        assert_eq!(quoted_string(r#""a\""#), None);
        assert_eq!(quoted_string("\""), None);
    }
}
