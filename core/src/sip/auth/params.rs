//! The syntax that challenges and credentials share: `Scheme name=value, name="quoted, value"` (RFC 9110 §11).
//!
//! One header may hold several schemes, and commas separate both schemes and parameters; a word without `=` after it
//! starts the next scheme. A quoted comma, equals sign or scheme is text.

use std::borrow::Cow;

use super::DigestError;
use crate::sip::message::unquote;

/// Schemes of one header that are looked at.
const SCHEMES: usize = 8;
/// Parameters of one scheme that are looked at.
const PARAMS: usize = 32;

/// One scheme with its parameters, unescaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scheme<'a> {
    pub(super) name: &'a str,
    params: Vec<(&'a str, Cow<'a, str>)>,
}

impl<'a> Scheme<'a> {
    pub(super) fn is_digest(&self) -> bool {
        self.name.eq_ignore_ascii_case("Digest")
    }

    /// A parameter by its name in any case.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut params = self.params.iter();
        params
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_ref())
    }

    /// One that must be there.
    pub(super) fn need(&self, name: &'static str) -> Result<&str, DigestError> {
        self.get(name).ok_or(DigestError::Missing(name))
    }

    fn add(&mut self, name: &'a str, value: Cow<'a, str>) -> Result<(), DigestError> {
        if self.get(name).is_some() {
            return Err(DigestError::Duplicate(name.to_owned()));
        }
        if self.params.len() == PARAMS {
            return Err(DigestError::TooMany);
        }
        self.params.push((name, value));
        Ok(())
    }
}

/// Reads a whole header value, in one pass.
pub(super) fn parse(text: &str) -> Result<Vec<Scheme<'_>>, DigestError> {
    let mut schemes: Vec<Scheme<'_>> = Vec::new();
    let mut rest = text.trim_start_matches(is_gap);
    while !rest.is_empty() {
        let (word, after) = take_while(rest, is_word);
        if word.is_empty() {
            return Err(DigestError::Syntax);
        }
        rest = after.trim_start_matches(is_space);
        if let Some(value) = rest.strip_prefix('=') {
            let scheme = schemes.last_mut().ok_or(DigestError::Syntax)?;
            let (value, after) = take_value(value.trim_start_matches(is_space))?;
            scheme.add(word, value)?;
            rest = after;
        } else if schemes.len() == SCHEMES {
            return Err(DigestError::TooMany);
        } else {
            schemes.push(Scheme {
                name: word,
                params: Vec::new(),
            });
        }
        rest = rest.trim_start_matches(is_gap);
    }
    if schemes.is_empty() {
        return Err(DigestError::Syntax);
    }
    Ok(schemes)
}

/// A quoted string without its quotes and escapes, or all until the next gap.
fn take_value(text: &str) -> Result<(Cow<'_, str>, &str), DigestError> {
    if !text.starts_with('"') {
        let (value, rest) = take_while(text, |c| !is_gap(c) && c != '"');
        return Ok((Cow::Borrowed(value), rest));
    }
    let mut escaped = true; // the opening quote closes nothing
    let close = text.bytes().position(|octet| {
        if escaped {
            escaped = false;
            return false;
        }
        escaped = octet == b'\\';
        octet == b'"'
    });
    let close = close.ok_or(DigestError::Syntax)?;
    Ok((unquote(&text[..=close]), &text[close + 1..]))
}

fn take_while(text: &str, is_part: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()))
}

const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

const fn is_gap(c: char) -> bool {
    is_space(c) || c == ','
}

/// A token (RFC 3261 §25.1).
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c)
}

/// A value as a quoted string.
pub(super) fn quote(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(text: &str) -> Result<String, DigestError> {
        let schemes = parse(text)?;
        let one = |scheme: &Scheme<'_>| {
            let params = scheme.params.iter();
            let params: Vec<_> = params.map(|(n, v)| format!("{n}={v}")).collect();
            format!("{}({})", scheme.name, params.join("|"))
        };
        Ok(schemes.iter().map(one).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn schemes_and_parameters_are_told_apart_by_what_follows() {
        for (text, read) in [
            (
                r#"Digest realm="a, b", nonce=n"#,
                "Digest(realm=a, b|nonce=n)",
            ),
            (
                r#"Digest realm="a",nonce="n" , Digest realm="b", nonce="m""#,
                "Digest(realm=a|nonce=n) Digest(realm=b|nonce=m)",
            ),
            (
                r#"Basic, Digest a="Digest x=y, z""#,
                "Basic() Digest(a=Digest x=y, z)",
            ),
            (r#",, Digest  a = "1" ,, b=2,"#, "Digest(a=1|b=2)"),
            (r#"Digest a="1" b="2""#, "Digest(a=1|b=2)"),
            (r#"Digest a="q\"u\\o", b="#, "Digest(a=q\"u\\o|b=)"),
            ("Digest uri=sip:a@b;x=y", "Digest(uri=sip:a@b;x=y)"),
            ("Negotiate abc==", "Negotiate(abc==)"),
            ("Digest", "Digest()"),
        ] {
            assert_eq!(flat(text).as_deref(), Ok(read), "{text}");
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_not_read() {
        for text in [
            "",
            " , ",
            "=",
            "a=b",
            "\"Digest\" a=b",
            "Digest a=\"open",
            "Digest a=\"open\\\"",
            "Digest ;a=b",
            "Digest a=b\"c\"",
        ] {
            assert_eq!(parse(text), Err(DigestError::Syntax), "{text}");
        }
        assert_eq!(
            parse("Digest nonce=a, NONCE=b"),
            Err(DigestError::Duplicate("NONCE".into()))
        );
    }

    #[test]
    fn there_is_an_end_to_schemes_and_parameters() {
        assert_eq!(parse(&"Digest, ".repeat(9)), Err(DigestError::TooMany));
        let many: Vec<_> = (0..33).map(|n| format!("p{n}=1")).collect();
        let many = format!("Digest {}", many.join(","));
        assert_eq!(parse(&many), Err(DigestError::TooMany));
        assert!(parse(&"Digest, ".repeat(8)).is_ok());
    }

    #[test]
    fn what_is_quoted_is_read_back() {
        for value in ["", "plain", "a\"b", "\\", "a, b=\"c\"", "é"] {
            let text = format!("Digest a={}", quote(value));
            assert_eq!(parse(&text).unwrap()[0].get("A"), Some(value));
        }
    }
}
