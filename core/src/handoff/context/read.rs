//! The key, read back by the refer-handler.

use super::USER_TO_USER;
use crate::sip::message::uri::{unescape, unescape_octets};

/// The key's second name, for platforms that were built on it.
const WATSON_HEADER: &str = "X-Watson-Assistant-Session-History-Key";

/// Reads the key out of what a refer-handler is given: the contents of a Refer-To, in any form a platform may
/// pass them on.
///
/// The first that is there and not empty of: `configured_header`, `X-Watson-Assistant-Session-History-Key`,
/// `User-to-User`. Decoded once, never twice; `+` is a plus.
pub fn read_key(refer_transfer_target: &str, configured_header: &str) -> Option<String> {
    read_key_of(refer_transfer_target, [configured_header])
}

/// As [`read_key`], where several names are configured: all of them come before the platforms' own.
pub fn read_key_of<'a>(
    refer_transfer_target: &str,
    configured_headers: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let uri = addr_spec(refer_transfer_target);
    let pairs: Vec<(String, &str)> = uri_header_part(uri)?
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (header_name(name), value))
        .collect();
    configured_headers
        .into_iter()
        .chain([WATSON_HEADER, USER_TO_USER])
        .find_map(|wanted| {
            let of_that_name = |(name, value): &&(String, &str)| {
                name.eq_ignore_ascii_case(wanted) && !value.is_empty()
            };
            let (_, value) = pairs.iter().find(of_that_name)?;
            let key = if wanted.eq_ignore_ascii_case(USER_TO_USER) {
                user_to_user(&unescape(value))
            } else {
                unescape(value).into_owned()
            };
            (!key.is_empty()).then_some(key)
        })
}

/// The URI inside a name-addr; without brackets, up to the first white space.
fn addr_spec(text: &str) -> &str {
    let text = text.trim();
    let after_name = match text.strip_prefix('"') {
        Some(quoted) => &quoted[end_of_quoted(quoted)..],
        None => text,
    };
    match after_name.split_once('<') {
        Some((_, inner)) => inner.split('>').next().unwrap_or_default(),
        None => text.split([' ', '\t']).next().unwrap_or_default(),
    }
}

/// Where a quoted string ends, its opening quote already gone: a `<` in a display name opens nothing.
fn end_of_quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at,
            _ => {}
        }
    }
    0
}

/// What follows the `?` after the host. A user part may hold a `?` too, which only an `@` and another `?` behind
/// it give away; an `@` inside a header value should have been escaped.
fn uri_header_part(uri: &str) -> Option<&str> {
    let (before, after) = uri.split_once('?')?;
    if before.contains('@') {
        return Some(after);
    }
    match after
        .split_once('@')
        .and_then(|(_, rest)| rest.split_once('?'))
    {
        Some((_, headers)) => Some(headers),
        None => Some(after),
    }
}

/// `amp;NAME` is what an `&` escaped once too often leaves.
fn header_name(name: &str) -> String {
    let name = unescape(name);
    name.strip_prefix("amp;").unwrap_or(&name).to_owned()
}

/// RFC 7433: data, then parameters; of these only `encoding=hex` changes what the data is.
fn user_to_user(value: &str) -> String {
    let mut parts = value.split(';').map(str::trim);
    let data = parts.next().unwrap_or_default();
    let is_hex = |param: &str| {
        param.split_once('=').is_some_and(|(name, value)| {
            name.trim().eq_ignore_ascii_case("encoding") && value.trim().eq_ignore_ascii_case("hex")
        })
    };
    if parts.any(is_hex) {
        decode_hex(data).unwrap_or_else(|| data.to_owned())
    } else {
        data.trim_matches('"').to_owned()
    }
}

fn decode_hex(text: &str) -> Option<String> {
    let all_hex = text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit());
    if !all_hex {
        return None;
    }
    let escaped: String = text
        .as_bytes()
        .chunks(2)
        .flat_map(|pair| ['%', char::from(pair[0]), char::from(pair[1])])
        .collect();
    String::from_utf8(unescape_octets(&escaped)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "X-Session-History-Key";

    #[test]
    fn the_key_is_read_from_every_form_a_platform_may_pass_on() {
        let watson = "X-Watson-Assistant-Session-History-Key";
        for (given, expected) in [
            (
                "<sip:queue@flex.example.com?X-Watson-Assistant-Session-History-Key=dev::latest::1>",
                Some("dev::latest::1"),
            ),
            (
                "sip:queue@flex.example.com?x-watson-assistant-session-history-key=a%3A%3Ab",
                Some("a::b"),
            ),
            (
                "<sip:q@h?User-to-User=k1%3Bencoding%3Dascii&X-Reason=b>",
                Some("k1"),
            ),
            ("<sip:q@h?User-to-User=6b31%3Bencoding%3Dhex>", Some("k1")),
            (
                "<sip:q@h?User-to-User=abc&X-Watson-Assistant-Session-History-Key=def>",
                Some("def"),
            ),
            (
                "<sip:q@h?X-Watson-Assistant-Session-History-Key=YWI=>",
                Some("YWI="),
            ),
            (
                "<sip:q@h?X-Watson-Assistant-Session-History-Key=a?b>",
                Some("a?b"),
            ),
            ("<sip:q@h?X-Watson-Assistant-Session-History-Key>;q=1", None),
            (
                "<sip:q@h?X-Watson-Assistant-Session-History-Key=100%zz>",
                Some("100%zz"),
            ),
            ("<tel:+15551230000>", None),
            (
                "\"Agents, A\" <sip:q@h;transport=tls?X-Watson-Assistant-Session-History-Key=k+v%20w>;x=y",
                Some("k+v w"),
            ),
        ] {
            assert_eq!(read_key(given, KEY).as_deref(), expected, "{given}");
            assert_eq!(read_key(given, watson).as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn the_rules_hold_beyond_the_published_cases() {
        for (given, expected) in [
            // the configured header wins over both others, in any order and case
            (
                "<sip:q@h?User-to-User=u&X-Watson-Assistant-Session-History-Key=w&x-session-history-key=c>",
                Some("c"),
            ),
            // an empty one is passed over; the first of two wins
            ("<sip:q@h?X-Session-History-Key=&User-to-User=u>", Some("u")),
            (
                "<sip:q@h?X-Session-History-Key=a&X-Session-History-Key=b>",
                Some("a"),
            ),
            // escaped once too often, empty pieces, parameters behind the bracket
            (
                "<sip:q@h?X-A=1&amp;X-Session-History-Key=k&&>;method=INVITE",
                Some("k"),
            ),
            // decoded once, never twice
            ("<sip:q@h?X-Session-History-Key=a%2541>", Some("a%41")),
            // without brackets, cut at white space
            ("sip:q@h?X-Session-History-Key=k ;tag=1", Some("k")),
            // a question mark in the user part, an at sign in a value
            ("<sip:a?b@h?X-Session-History-Key=k>", Some("k")),
            ("<sip:h?X-Session-History-Key=a@b>", Some("a@b")),
            // a bracket inside a display name
            (
                "\"<sip:x?X-Session-History-Key=no> \\\" \" <sip:q@h?X-Session-History-Key=yes>",
                Some("yes"),
            ),
            // hexadecimal that is none stays as it is; other parameters are dropped
            ("<sip:q@h?User-to-User=6b3%3Bencoding%3Dhex>", Some("6b3")),
            ("<sip:q@h?User-to-User=ff%3Bencoding%3Dhex>", Some("ff")),
            (
                "<sip:q@h?User-to-User=k1%3Bpurpose%3Disdn%3Bcontent%3Dx>",
                Some("k1"),
            ),
            ("", None),
            ("<", None),
            ("?", None),
            ("<sip:q@h?>", None),
            ("\"unclosed", None),
        ] {
            assert_eq!(read_key(given, KEY).as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn every_configured_name_comes_before_the_platforms_own() {
        let both = ["X-First", "X-Second"];
        let watson = "X-Watson-Assistant-Session-History-Key";
        for (headers, expected) in [
            ("X-Second=s&X-First=f", Some("f")),
            (&*format!("{watson}=w&User-to-User=u&x-second=s"), Some("s")),
            (&*format!("X-First=&{watson}=w&X-Second=s"), Some("s")),
            (&*format!("User-to-User=u&{watson}=w"), Some("w")),
            ("User-to-User=u", Some("u")),
            ("X-Third=t", None),
        ] {
            let given = format!("<sip:q@h?{headers}>");
            assert_eq!(read_key_of(&given, both).as_deref(), expected, "{given}");
        }
        assert_eq!(read_key_of("<sip:q@h?=x>", []), None);
        assert_eq!(
            read_key_of("<sip:q@h?User-to-User=u>", []).as_deref(),
            Some("u")
        );
    }

    proptest! {
        #[test]
        fn reading_a_key_never_panics(text in any::<String>()) {
            let key = read_key(&text, KEY);
            prop_assert!(key.is_none_or(|key| key.len() <= text.len()));
        }
    }
}
