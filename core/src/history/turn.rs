//! One turn of the conversation.

use serde::{Deserialize, Serialize};

/// Who spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The caller.
    Caller,
    /// The agent.
    Agent,
}

/// What stands where words were masked.
pub const MASKED: &str = "[masked]";

/// Longest text kept of one turn, in octets. A person reads it; a longer one is a fault or an attack.
pub const TEXT_MAX: usize = 16 * 1024;

/// Words and when they were in the caller's ear or mouth. Times are ms on the call's media clock, from the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who.
    pub role: Role,
    /// What; [`MASKED`] while the agent had asked for it.
    pub text: String,
    /// Its beginning, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ms: Option<u64>,
    /// Its end, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_ms: Option<u64>,
    /// Only when it was cut short: how much of it the caller heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_ms: Option<u64>,
}

/// Cuts a text to [`TEXT_MAX`] octets at a character boundary.
pub fn bounded(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        text.truncate(text.floor_char_boundary(TEXT_MAX));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_was_heard_whole_does_not_mention_it() {
        let turn = Turn {
            role: Role::Agent,
            text: "Hello".into(),
            from_ms: Some(20),
            to_ms: Some(900),
            heard_ms: None,
        };
        let json = serde_json::to_string(&turn).expect("serializes");
        assert_eq!(
            json,
            r#"{"role":"agent","text":"Hello","from_ms":20,"to_ms":900}"#
        );
    }

    #[test]
    fn a_huge_text_is_cut_between_two_characters() {
        let text = bounded("ß".repeat(TEXT_MAX));
        assert!(text.len() <= TEXT_MAX && text.ends_with('ß'));
        assert_eq!(bounded("short".into()), "short");
    }
}
