//! What an `[[agent]]` and a route say about the call itself, with defaults.

use std::time::Duration;

/// A call's policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// When to answer.
    pub answer: AnswerPolicy,
    /// How long the agent may take to open.
    pub connect_timeout: Duration,
    /// What the caller's voice does to the agent's.
    pub barge_in: BargeIn,
    /// The agent closed cleanly without saying what next.
    pub on_close: OnClose,
    /// It cannot be reached, or broke.
    pub on_failure: OnAgentFailure,
    /// INVITE header fields that the agent gets to see: names, `*` at the end stands for anything.
    pub forward_headers: Vec<String>,
    /// How long one of our own prompts may hold a hang-up back.
    pub prompt_max: Duration,
    /// Our name in Warning headers.
    pub host: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            answer: AnswerPolicy::WhenReady,
            connect_timeout: Duration::from_secs(3),
            barge_in: BargeIn::Notify,
            on_close: OnClose::Handoff,
            on_failure: OnAgentFailure::Handoff,
            forward_headers: vec!["X-*".into(), "User-to-User".into()],
            prompt_max: Duration::from_secs(10),
            host: "baton".into(),
        }
    }
}

impl Config {
    /// Whether the agent may see a header field.
    pub fn forwards(&self, name: &str) -> bool {
        self.forward_headers
            .iter()
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => name
                    .get(..prefix.len())
                    .is_some_and(|head| head.eq_ignore_ascii_case(prefix)),
                None => pattern.eq_ignore_ascii_case(name),
            })
    }
}

/// When to answer a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AnswerPolicy {
    /// Ring until the agent can be talked to.
    #[default]
    WhenReady,
    /// At once; the agent connects while the line is open.
    AtOnce,
}

/// What the caller's voice does to the agent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BargeIn {
    /// Nothing; the agent is not even told.
    Off,
    /// The agent is told, and decides.
    #[default]
    Notify,
    /// It stops where it is, and goes on when the agent calls it a false alarm, or says nothing to it.
    Pause,
    /// It is dropped.
    Clear,
}

/// What follows a clean close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnClose {
    /// A human takes over.
    #[default]
    Handoff,
    /// The call is over.
    Hangup,
}

/// What follows a broken agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnAgentFailure {
    /// Say so, and hand over.
    #[default]
    Handoff,
    /// Say so, and hang up.
    Play,
    /// Hang up (or refuse, before the answer).
    Hangup,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_patterns_match_in_any_case_and_only_at_the_end() {
        let config = Config::default();
        for name in ["X-Tenant", "x-", "user-to-user"] {
            assert!(config.forwards(name), "{name}");
        }
        for name in ["", "X", "Via", "User-to-User-2", "Ünicode", "Xé-"] {
            assert!(!config.forwards(name), "{name}");
        }
        let all = Config {
            forward_headers: vec!["*".into()],
            ..Config::default()
        };
        assert!(all.forwards("Via"));
        let none = Config {
            forward_headers: vec![],
            ..Config::default()
        };
        assert!(!none.forwards("X-A"));
    }
}
