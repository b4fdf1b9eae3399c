//! Header and URI parameters: `;name`, `;name=value`, `;name="quoted value"` (RFC 3261 §7.3.1).

use super::lex::{split_outside, trim, unquote};
use memchr::memchr;
use std::borrow::Cow;

/// The parameters after a value, read where they stand. Names compare without regard to case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Params<'a>(&'a str);

impl<'a> Params<'a> {
    /// Parameters as written, with or without the first `;`.
    pub const fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The parameters of a whole header value such as `refer;id=1`: all after the first `;`.
    pub fn of(value: &'a str) -> Self {
        super::lex::find_outside(value, b';').map_or(Self(""), |at| Self(&value[at..]))
    }

    /// As written.
    pub const fn as_str(&self) -> &'a str {
        self.0
    }

    /// Name and value of each in order; the value as written, quotes included. Empty parameters are left out.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        split_outside(self.0, b';').map(|param| match memchr(b'=', param.as_bytes()) {
            Some(at) => (trim(&param[..at]), Some(trim(&param[at + 1..]))),
            None => (param, None),
        })
    }

    /// The first parameter of that name: `None` when absent, `Some(None)` when it has no value.
    pub fn get(self, name: &str) -> Option<Option<&'a str>> {
        self.iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The first parameter's value as written; `None` when absent or without a value.
    pub fn value(self, name: &str) -> Option<&'a str> {
        self.get(name).flatten()
    }

    /// The first parameter's value without quotes and escapes.
    pub fn unquoted(self, name: &str) -> Option<Cow<'a, str>> {
        self.value(name).map(unquote)
    }

    /// Is it there, with or without value?
    pub fn has(self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// How many of that name there are: more than one `tag` or `branch` is an attack or a mistake.
    pub fn count(self, name: &str) -> usize {
        self.iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_quotes_and_flags_are_told_apart() {
        let params = Params::new(r#";rport;Branch = z9hG4bK1 ;text="a;b=c";lr"#);
        assert_eq!(params.get("rport"), Some(None));
        assert_eq!(params.value("branch"), Some("z9hG4bK1"));
        assert_eq!(params.value("text"), Some(r#""a;b=c""#));
        assert_eq!(params.unquoted("text").as_deref(), Some("a;b=c"));
        assert!(params.has("lr"));
        assert_eq!(params.get("b"), None);
    }

    #[test]
    fn a_quoted_value_cannot_smuggle_a_parameter() {
        let params = Params::new(r#";x="1;tag=evil";tag=real"#);
        assert_eq!(params.value("tag"), Some("real"));
        assert_eq!(params.count("tag"), 1);
    }

    #[test]
    fn an_open_quote_swallows_the_rest() {
        assert_eq!(Params::new(r#";x="1;tag=evil"#).get("tag"), None);
    }

    #[test]
    fn empty_parameters_are_left_out() {
        assert_eq!(
            Params::new(";;a;;").iter().collect::<Vec<_>>(),
            [("a", None)]
        );
        assert_eq!(Params::new("").iter().count(), 0);
        assert_eq!(Params::new(";a=").value("a"), Some(""));
    }

    #[test]
    fn of_skips_the_value_itself() {
        assert_eq!(Params::of("refer;id=93").value("id"), Some("93"));
        assert_eq!(Params::of(r#""a;b" <sip:x;y@h>;tag=1"#).as_str(), ";tag=1");
        assert_eq!(Params::of("refer").iter().count(), 0);
    }
}
