//! Which styles a handoff tries, and in what order.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

/// A way to hand a caller over. A new one is a file in `styles/` and one line here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Style {
    /// Blind transfer: REFER in the dialog (RFC 3515, RFC 5589 §6).
    Refer,
    /// Hang up and return: BYE with the target in a header. Final, so always the last.
    Hangup,
    /// 302 with the target, before the answer only; asked for by an agent, never configured.
    Redirect,
}

impl Style {
    /// Every style that can be named in a configuration or a request.
    pub const ALL: &[Self] = &[Self::Refer, Self::Hangup];

    /// The word for it, in configuration and in the history.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refer => "refer",
            Self::Hangup => "hangup",
            Self::Redirect => "redirect",
        }
    }

    /// Whether the call is gone afterwards, whatever the outcome.
    const fn ends_the_call(self) -> bool {
        matches!(self, Self::Hangup | Self::Redirect)
    }
}

impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not a style.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no handoff style {0:?}; there are refer and hangup")]
pub struct UnknownStyle(pub String);

impl FromStr for Style {
    type Err = UnknownStyle;

    fn from_str(text: &str) -> Result<Self, UnknownStyle> {
        Self::ALL
            .iter()
            .find(|style| style.as_str() == text)
            .copied()
            .ok_or_else(|| UnknownStyle(text.chars().take(40).collect()))
    }
}

/// The styles that are left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    left: VecDeque<Style>,
}

impl Plan {
    /// `wanted` first, then the configured ones, each once, one that ends the call last.
    ///
    /// A peer whose Allow does not name REFER is spared it when there is another way. When there is none it is
    /// tried all the same: Allow lists are often shorter than what a peer can do, and 405 costs one round trip.
    pub fn new(wanted: Option<Style>, configured: &[Style], allows_refer: bool) -> Self {
        let mut left: Vec<Style> = Vec::new();
        for style in wanted.iter().chain(configured) {
            if !left.contains(style) {
                left.push(*style);
            }
        }
        if let Some(last) = left.iter().position(|style| style.ends_the_call()) {
            left.truncate(last + 1);
        }
        if !allows_refer && left.len() > 1 {
            left.retain(|style| *style != Style::Refer);
        }
        if left.is_empty() {
            left.push(Style::Refer);
        }
        Self { left: left.into() }
    }

    /// The next one to try.
    pub fn next_style(&mut self) -> Option<Style> {
        self.left.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(wanted: Option<Style>, configured: &[Style], allows_refer: bool) -> Vec<Style> {
        let mut plan = Plan::new(wanted, configured, allows_refer);
        std::iter::from_fn(|| plan.next_style()).collect()
    }

    #[test]
    fn styles_are_tried_in_order_and_once() {
        use Style::{Hangup, Refer};
        assert_eq!(plan(None, &[Refer], true), [Refer]);
        assert_eq!(plan(None, &[Refer, Hangup], true), [Refer, Hangup]);
        assert_eq!(plan(Some(Refer), &[Refer, Hangup], true), [Refer, Hangup]);
        assert_eq!(plan(None, &[], true), [Refer]);
    }

    #[test]
    fn nothing_comes_after_hanging_up() {
        use Style::{Hangup, Refer};
        assert_eq!(plan(Some(Hangup), &[Refer], true), [Hangup]);
        assert_eq!(plan(None, &[Hangup, Refer], true), [Hangup]);
    }

    #[test]
    fn a_peer_that_does_not_allow_refer_is_spared_it_when_there_is_another_way() {
        use Style::{Hangup, Refer};
        assert_eq!(plan(None, &[Refer, Hangup], false), [Hangup]);
        assert_eq!(plan(None, &[Refer], false), [Refer]);
    }

    #[test]
    fn words_round_trip_and_others_are_refused() {
        for style in Style::ALL {
            assert_eq!(style.as_str().parse(), Ok(*style));
        }
        for text in ["", "REFER", "teleport", "refer "] {
            assert_eq!(text.parse::<Style>(), Err(UnknownStyle(text.into())));
        }
        let long = "x".repeat(100_000).parse::<Style>().unwrap_err();
        assert!(long.0.len() <= 40);
    }
}
