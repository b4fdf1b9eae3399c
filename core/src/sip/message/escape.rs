//! Percent-escaping in URIs (RFC 3261 §19.1.2, §25.1). `+` is a plus here, never a space.

use std::borrow::Cow;
use std::fmt::Write;

/// `unreserved` of the grammar, literal everywhere in a URI.
const fn is_unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric()
        || matches!(
            octet,
            b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')'
        )
}

/// Literal in a URI header's name and value: `hnv-unreserved / unreserved`.
const fn is_header_literal(octet: u8) -> bool {
    is_unreserved(octet) || matches!(octet, b'[' | b']' | b'/' | b'?' | b':' | b'+' | b'$')
}

/// Literal in a user part: `unreserved / user-unreserved`.
const fn is_user_literal(octet: u8) -> bool {
    is_unreserved(octet) || matches!(octet, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/')
}

/// Literal in a URI parameter: `param-unreserved / unreserved`.
const fn is_param_literal(octet: u8) -> bool {
    is_unreserved(octet) || matches!(octet, b'[' | b']' | b'/' | b':' | b'&' | b'+' | b'$')
}

/// Escapes what may not stand literally in the value (or name) of a URI header, and nothing else: a peer
/// that counts octets (256 in a Refer-To) pays for every needless `%HH`.
pub fn escape_header_value(text: &str) -> String {
    escape(text, is_header_literal)
}

/// Escapes a user part.
pub fn escape_user(text: &str) -> String {
    escape(text, is_user_literal)
}

/// Escapes a URI parameter's name or value.
pub fn escape_param(text: &str) -> String {
    escape(text, is_param_literal)
}

fn escape(text: &str, is_literal: fn(u8) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for octet in text.bytes() {
        if is_literal(octet) {
            escaped.push(char::from(octet));
        } else {
            let written = write!(escaped, "%{octet:02X}");
            debug_assert!(written.is_ok(), "a String takes everything");
        }
    }
    escaped
}

/// Decodes `%HH` once. What is no escape stays as it is; octets that are no UTF-8 become U+FFFD (use
/// [`unescape_octets`] to keep them).
pub fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    match String::from_utf8(unescape_octets(text)) {
        Ok(plain) => Cow::Owned(plain),
        Err(error) => Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()),
    }
}

/// Decodes `%HH` once, to octets.
pub fn unescape_octets(text: &str) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let decoded = match tail {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        if let Some((high, low)) = decoded {
            plain.push(high << 4 | low);
            rest = &rest[3..];
        } else {
            plain.push(*first);
            rest = tail;
        }
    }
    plain
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn header_values_escape_what_the_grammar_forbids_and_nothing_more() {
        let literal = "AZaz09-_.!~*'()[]/?:+$";
        assert_eq!(escape_header_value(literal), literal);
        assert_eq!(
            escape_header_value("&=;,@#%<>\"\\^{}|` "),
            "%26%3D%3B%2C%40%23%25%3C%3E%22%5C%5E%7B%7D%7C%60%20"
        );
        assert_eq!(escape_header_value("é\u{1}"), "%C3%A9%01");
        assert_eq!(escape_header_value("prod::live::42"), "prod::live::42");
    }

    #[test]
    fn replaces_is_escaped_as_peers_expect_it() {
        assert_eq!(
            escape_header_value("abc@192.0.2.5;to-tag=t1;from-tag=f1"),
            "abc%40192.0.2.5%3Bto-tag%3Dt1%3Bfrom-tag%3Df1"
        );
    }

    #[test]
    fn unescape_decodes_once_and_leaves_what_is_no_escape() {
        assert_eq!(unescape("a%2541"), "a%41");
        assert_eq!(unescape("100%"), "100%");
        assert_eq!(unescape("%zz%4"), "%zz%4");
        assert_eq!(unescape("%%41"), "%A");
        assert_eq!(unescape("1+2%20%2b"), "1+2 +");
        assert_eq!(unescape("%c3%A9"), "é");
    }

    #[test]
    fn escaped_octets_that_are_no_text_are_not_lost() {
        assert_eq!(unescape_octets("%00a%ff"), [0, b'a', 0xff]);
        assert_eq!(unescape("%ff"), "\u{fffd}");
    }

    #[test]
    fn every_code_point_from_space_to_ff_round_trips() {
        for c in '\u{20}'..='\u{ff}' {
            let text = format!("a{c}b");
            let escaped = escape_header_value(&text);
            assert!(
                escaped.bytes().all(|b| is_header_literal(b) || b == b'%'),
                "{escaped}"
            );
            assert_eq!(unescape(&escaped), text);
        }
    }

    #[test]
    fn every_octet_has_an_escape_that_is_read_back() {
        for octet in 0..=0xff_u8 {
            assert_eq!(
                unescape_octets(&format!("x%{octet:02X}y")),
                [b'x', octet, b'y']
            );
            assert_eq!(
                unescape_octets(&format!("x%{octet:02x}y")),
                [b'x', octet, b'y']
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_round_trips_through_every_escaping(text in any::<String>()) {
            let (header, user, param) = (escape_header_value(&text), escape_user(&text), escape_param(&text));
            prop_assert_eq!(unescape(&header), text.as_str());
            prop_assert_eq!(unescape(&user), text.as_str());
            prop_assert_eq!(unescape(&param), text.as_str());
            prop_assert!(header.bytes().chain(user.bytes()).chain(param.bytes()).all(|b| b.is_ascii_graphic()));
        }

        #[test]
        fn unescape_never_fails_and_never_grows_octets(text in "[ -~]{0,64}") {
            prop_assert!(unescape_octets(&text).len() <= text.len());
        }
    }
}
