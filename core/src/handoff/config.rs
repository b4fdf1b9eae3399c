//! What a `[[handoff]]` says, with its defaults.

use std::time::Duration;

use super::{Context, ContextError, Request, Style};
use crate::vocab::{Entropy, HandoffKey};

/// One way to a human.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Its name.
    pub name: String,
    /// A `sip:`, `sips:` or `tel:` URI; without it a handoff must name its own.
    pub target: Option<String>,
    /// Tried in this order.
    pub styles: Vec<Style>,
    /// The header that carries the history key.
    pub history_key_header: String,
    /// Further headers; `{reason}` in a value is what the agent said. One whose value comes out empty is left out.
    pub headers: Vec<(String, String)>,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// What then, when no style is left.
    pub on_failure: OnFailure,
    /// The caller's own way out; while the agent is broken `0` works besides.
    pub escape_digit: Option<char>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "default".into(),
            target: None,
            styles: vec![Style::Refer],
            history_key_header: "X-Session-History-Key".into(),
            headers: Vec::new(),
            timeouts: Timeouts::default(),
            on_failure: OnFailure::Resume,
            escape_digit: None,
        }
    }
}

impl Config {
    /// Whether a handoff that asks for nothing of its own could be put on the wire.
    ///
    /// # Errors
    /// What would be said to the agent in its place.
    pub fn check(&self) -> Result<(), ContextError> {
        let any_key = HandoffKey::generate(&mut Entropy::from_number(0));
        let placement = KeyPlacement::default();
        Context::new(self, &Request::default(), any_key, placement, None).map(|_| ())
    }
}

/// Bounds on a handoff's silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// How long the agent's last words may take (`say_first`).
    pub say_first: Duration,
    /// The store's answer (`commit_timeout`).
    pub commit: Duration,
    /// REFER to its final answer.
    pub refer: Duration,
    /// 202 to the first NOTIFY. Some SBCs send it only when the target has answered.
    pub notify: Duration,
    /// Between NOTIFYs.
    pub progress: Duration,
    /// REFER to its outcome.
    pub total: Duration,
    /// After the subscription ended without a word, or the far end hung up: how long proof may still come.
    pub grace: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            say_first: Duration::from_secs(10),
            commit: Duration::from_secs(3),
            refer: Duration::from_secs(10),
            notify: Duration::from_secs(30),
            progress: Duration::from_mins(1),
            total: Duration::from_mins(2),
            grace: Duration::from_secs(5),
        }
    }
}

/// What happens when no style worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// The agent is told, and talks on.
    #[default]
    Resume,
    /// The call ends.
    Hangup,
}

/// Where on the wire the key travels: a property of the trunk (`history_key_in`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyPlacement {
    /// URI headers of Refer-To: all that Twilio's referUrl gets to see.
    #[default]
    ReferToHeader,
    /// Header fields of the REFER: PBX dialplans.
    CustomHeader,
    /// URI headers of the REFER's Contact: some IVR platforms.
    ContactHeader,
    /// `User-to-User` (RFC 7433) as a URI header of Refer-To: contact centres.
    UserToUser,
}
