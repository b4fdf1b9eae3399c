//! From, To, Contact, Route and their kin: a display name, a URI, parameters (RFC 3261 §20.10).

use super::lex::{find_outside, is_space, is_uri_octet, quoted_string, trim, unquote};
use super::params::Params;
use memchr::{memchr, memchr3};
use std::borrow::Cow;

/// One `"name" <uri>;param=value`, or a bare `uri;param=value`.
///
/// Without angle brackets every `;` starts a header parameter, never a URI parameter (§20). What stands in a
/// quoted display name or a quoted parameter is text: it cannot pass for the URI or the tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameAddr<'a> {
    display: &'a str,
    /// The URI as written, without brackets.
    pub uri: &'a str,
    /// Header parameters.
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Reads one value; `None` when it is none, or more than one.
    pub fn parse(text: &'a str) -> Option<Self> {
        let text = trim(text);
        let (display, rest) = if text.starts_with('"') {
            let quoted = quoted_string(text)?;
            let rest = text[quoted.len()..].trim_start_matches(is_space);
            (quoted, Some(rest.strip_prefix('<')?))
        } else {
            match memchr(b'<', text.as_bytes()) {
                Some(at) if is_plain_display(&text[..at]) => {
                    (trim(&text[..at]), Some(&text[at + 1..]))
                }
                // `sip:a@h;p="<"`: the bracket belongs to something else.
                _ => ("", None),
            }
        };
        let (uri, params) = match rest {
            Some(rest) => {
                let end = memchr(b'>', rest.as_bytes())?;
                (&rest[..end], &rest[end + 1..])
            }
            None => {
                text.split_at(memchr3(b';', b' ', b'\t', text.as_bytes()).unwrap_or(text.len()))
            }
        };
        let (uri, params) = (trim(uri), trim(params));
        let params = (params.is_empty() || params.starts_with(';')).then(|| Params::new(params))?;
        let one = params.as_str().is_empty()
            || (find_outside(params.as_str(), b',').is_none() && params.count("tag") <= 1);
        (one && is_uri_text(uri, rest.is_some())).then_some(Self {
            display,
            uri,
            params,
        })
    }

    /// The display name without quotes and escapes; `None` when there is none or it is empty.
    pub fn display_name(&self) -> Option<Cow<'a, str>> {
        let name = unquote(self.display);
        (!name.is_empty()).then_some(name)
    }

    /// The display name as written, quotes included; empty when there is none.
    pub const fn display_as_written(&self) -> &'a str {
        self.display
    }

    /// The dialog's tag (§19.3).
    pub fn tag(&self) -> Option<&'a str> {
        self.params.value("tag").filter(|tag| !tag.is_empty())
    }

    /// A header parameter's value as written.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params.value(name)
    }
}

/// Unquoted display names are tokens; peers also write other characters there, but none of those that
/// structure a header value, or a URI with a bracket behind it could hide.
fn is_plain_display(text: &str) -> bool {
    !text
        .bytes()
        .any(|octet| matches!(octet, b',' | b';' | b':' | b'"' | b'>' | b'\\'))
}

/// No white space, no control, nothing that delimits; commas only where brackets protect them.
fn is_uri_text(uri: &str, bracketed: bool) -> bool {
    uri.contains(':')
        && uri
            .bytes()
            .all(|o| is_uri_octet(o) && (bracketed || o != b','))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> NameAddr<'_> {
        NameAddr::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn the_three_usual_forms_are_read() {
        let quoted = read(r#""A. G. \"Bell\"" <sip:agb@bell.example>;tag=a48s"#);
        assert_eq!(quoted.display_name().as_deref(), Some(r#"A. G. "Bell""#));
        assert_eq!(
            (quoted.uri, quoted.tag()),
            ("sip:agb@bell.example", Some("a48s"))
        );

        let tokens = read("Anonymous Caller <sip:c8oqz84zk7z@privacy.org>;tag=hyh8");
        assert_eq!(tokens.display_name().as_deref(), Some("Anonymous Caller"));

        let bare = read("sip:+12125551212@server.example;tag=887s");
        assert_eq!(
            (bare.display_name(), bare.uri, bare.tag()),
            (None, "sip:+12125551212@server.example", Some("887s"))
        );
    }

    #[test]
    fn no_space_is_needed_before_the_bracket() {
        assert_eq!(
            read("caller<sip:caller@example.com>;tag=3")
                .display_name()
                .as_deref(),
            Some("caller")
        );
    }

    #[test]
    fn parameters_inside_brackets_belong_to_the_uri() {
        let contact = read("<sip:a@h;transport=tcp?X-Key=1>;expires=60;q=0.5");
        assert_eq!(contact.uri, "sip:a@h;transport=tcp?X-Key=1");
        assert_eq!(contact.param("expires"), Some("60"));
        assert_eq!(contact.param("transport"), None);
    }

    #[test]
    fn a_quoted_display_name_cannot_spoof_the_caller() {
        let from = read(r#""<sip:boss@corp.example>;tag=1" <sip:mallory@h>;tag=2"#);
        assert_eq!((from.uri, from.tag()), ("sip:mallory@h", Some("2")));
        let from = read(r#""Boss\" <sip:boss@corp.example>" <sip:mallory@h>"#);
        assert_eq!(from.uri, "sip:mallory@h");
    }

    #[test]
    fn a_parameter_cannot_spoof_the_caller() {
        let from = read(r#"sip:mallory@h;x="<sip:boss@corp.example>";tag=2"#);
        assert_eq!((from.uri, from.tag()), ("sip:mallory@h", Some("2")));
        let from = read(r#"<sip:mallory@h>;x="1;tag=boss";tag=2"#);
        assert_eq!(from.tag(), Some("2"));
    }

    #[test]
    fn other_schemes_and_empty_names_are_kept() {
        assert_eq!(read("<tel:+15551230000>").uri, "tel:+15551230000");
        assert_eq!(read(r#""" <sip:a@h>"#).display_name(), None);
        assert_eq!(read("< sip:a@h >").uri, "sip:a@h");
    }

    #[test]
    fn what_is_not_exactly_one_address_is_refused() {
        for text in [
            "",
            "*",
            "<>",
            "\"open <sip:a@h>",
            r#""name" sip:a@h"#,
            "<sip:a@h",
            "<sip:a@h> <sip:b@h>",
            "<sip:a@h>, <sip:b@h>",
            "sip:a@h,sip:b@h",
            "<sip:a@h>;tag=1;tag=2",
            "Bell, Alexander <sip:a@h>",
            "<sip:a b@h>",
            "sip:a @h",
            "sip:a@h;x=<sip:b@h>,c",
            "<sip:a@h>junk",
            "no-colon",
            "<sip:a@h\0>",
            "a:b <sip:a@h>",
        ] {
            assert!(NameAddr::parse(text).is_none(), "{text}");
        }
    }
}
