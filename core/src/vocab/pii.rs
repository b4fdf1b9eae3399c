//! Personal data in logs: numbers, SIP URIs and transcripts print masked unless asked for.

use std::fmt;

/// Personal data. `Display` and `Debug` keep the last two characters, so that a log line can be matched with a
/// complaint but not read as a phone book; [`Pii::reveal`] is searchable.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pii<T>(pub T);

impl<T> Pii<T> {
    /// The value itself, for the wire and the history.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T: AsRef<str>> fmt::Display for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.as_ref();
        let tail = text.char_indices().rev().nth(1).map_or(0, |(at, _)| at);
        if text.chars().count() <= 4 {
            f.write_str("…")
        } else {
            write!(f, "…{}", &text[tail..])
        }
    }
}

impl<T: AsRef<str>> fmt::Debug for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tail_is_shown() {
        assert_eq!(Pii("+15559870042").to_string(), "…42");
        assert_eq!(Pii("bob").to_string(), "…");
        assert_eq!(Pii("größe").to_string(), "…ße");
    }
}
