//! Joins what was said with when it was heard. Words and timings come from different places and in either order:
//! some agents write before they speak, others after; a turn that was cut counts as far as it was heard.

use std::time::Duration;

use crate::history::turn::{MASKED, TEXT_MAX, bounded};
use crate::history::{Role, Turn};

/// The conversation as it forms.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    masked: bool,
    words: Words,
    /// A run of agent audio whose words have not come.
    played: Option<Played>,
    /// Media time up to which agent audio belongs to turns that were cut.
    cut_until: Duration,
    caller_from: Option<Duration>,
    caller_to: Option<Duration>,
}

/// The agent's words that have not been played to their end.
#[derive(Debug, Default)]
enum Words {
    #[default]
    None,
    /// They wait for the end of their audio.
    Waiting(String),
    /// They were written down before it, because somebody was about to read the history.
    Written,
}

#[derive(Debug, Clone, Copy)]
struct Played {
    from: Duration,
    to: Duration,
    heard: Option<Duration>,
}

impl Transcript {
    /// Mask words and digits from here on, or stop masking.
    pub(super) const fn mask(&mut self, on: bool) {
        self.masked = on;
    }

    pub(super) const fn is_masked(&self) -> bool {
        self.masked
    }

    pub(super) fn agent_said(&mut self, text: String) -> Option<Turn> {
        // Masked or not is settled when the words are said, not when their audio has been heard.
        let text = self.text(text);
        if let Some(played) = self.played.take() {
            return Some(Self::agent_turn(text, Some(played)));
        }
        match &mut self.words {
            Words::Waiting(words) if words.len() < TEXT_MAX => {
                words.push(' ');
                words.push_str(&text);
            }
            Words::Waiting(_) => {}
            Words::None | Words::Written => self.words = Words::Waiting(text),
        }
        None
    }

    /// A run of agent audio ended in the caller's ear.
    pub(super) fn agent_played(&mut self, from: Duration, to: Duration) -> Option<Turn> {
        if from < self.cut_until {
            return None; // what the cut left of it has been told already
        }
        let played = Played {
            from,
            to,
            heard: None,
        };
        match std::mem::take(&mut self.words) {
            Words::Waiting(words) => return Some(Self::agent_turn(words, Some(played))),
            Words::Written => {}
            Words::None => self.played = Some(played),
        }
        None
    }

    /// The caller's ear was silenced at `now`, after `heard` of the turn.
    pub(super) fn cut(&mut self, now: Duration, heard: Duration) -> Option<Turn> {
        self.cut_until = now;
        let played = Played {
            from: now.saturating_sub(heard),
            to: now,
            heard: Some(heard),
        };
        match std::mem::take(&mut self.words) {
            Words::Waiting(words) => return Some(Self::agent_turn(words, Some(played))),
            Words::Written => {}
            Words::None => self.played = (!heard.is_zero()).then_some(played),
        }
        None
    }

    pub(super) const fn caller_began(&mut self, at: Duration) {
        self.caller_from = Some(at);
        self.caller_to = None;
    }

    pub(super) const fn caller_paused(&mut self, at: Duration) {
        self.caller_to = Some(at);
    }

    pub(super) fn caller_said(&mut self, text: String) -> Turn {
        let turn = Turn {
            role: Role::Caller,
            text: self.text(text),
            from_ms: self.caller_from.map(ms),
            to_ms: self.caller_to.map(ms),
            heard_ms: None,
        };
        self.caller_from = None;
        self.caller_to = None;
        turn
    }

    /// Words that still wait for their audio: before a handoff leaves and at the end they are written as they are.
    pub(super) fn flush(&mut self) -> Option<Turn> {
        let Words::Waiting(words) = std::mem::take(&mut self.words) else {
            return None;
        };
        self.words = Words::Written;
        Some(Self::agent_turn(words, None))
    }

    fn agent_turn(text: String, played: Option<Played>) -> Turn {
        Turn {
            role: Role::Agent,
            text: bounded(text),
            from_ms: played.map(|p| ms(p.from)),
            to_ms: played.map(|p| ms(p.to)),
            heard_ms: played.and_then(|p| p.heard).map(ms),
        }
    }

    fn text(&self, text: String) -> String {
        if self.masked {
            MASKED.into()
        } else {
            bounded(text)
        }
    }
}

/// Milliseconds of a media time.
pub(super) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn words_before_their_audio_and_after_it_make_the_same_turn() {
        let mut before = Transcript::default();
        assert_eq!(before.agent_said("Hello".into()), None);
        let mut after = Transcript::default();
        assert_eq!(after.agent_played(at(20), at(900)), None);
        let turn = before.agent_played(at(20), at(900)).expect("complete");
        assert_eq!(after.agent_said("Hello".into()), Some(turn.clone()));
        assert_eq!(
            (turn.from_ms, turn.to_ms, turn.heard_ms),
            (Some(20), Some(900), None)
        );
    }

    #[test]
    fn words_are_masked_by_what_held_when_they_were_said() {
        let mut transcript = Transcript::default();
        transcript.agent_said("Where to?".into());
        transcript.mask(true);
        let before = transcript.agent_played(at(0), at(500)).expect("complete");
        assert_eq!(before.text, "Where to?");
        transcript.agent_said("Your number is 4111".into());
        transcript.mask(false);
        let meanwhile = transcript.agent_played(at(500), at(900)).expect("complete");
        assert_eq!(meanwhile.text, MASKED);
    }

    #[test]
    fn a_turn_that_was_cut_is_kept_as_far_as_it_was_heard() {
        let mut transcript = Transcript::default();
        transcript.agent_said("A long story".into());
        let turn = transcript.cut(at(1000), at(300)).expect("told");
        assert_eq!(
            (turn.from_ms, turn.to_ms, turn.heard_ms),
            (Some(700), Some(1000), Some(300))
        );
        assert_eq!(transcript.agent_played(at(700), at(1000)), None);
        assert_eq!(transcript.agent_said("Next".into()), None);
        let next = transcript
            .agent_played(at(1500), at(2000))
            .expect("complete");
        assert_eq!((next.text.as_str(), next.from_ms), ("Next", Some(1500)));
    }

    #[test]
    fn words_that_come_after_the_cut_belong_to_what_was_cut() {
        let mut transcript = Transcript::default();
        assert_eq!(transcript.cut(at(1000), at(300)), None);
        let turn = transcript
            .agent_said("A long story".into())
            .expect("complete");
        assert_eq!(turn.heard_ms, Some(300));
    }

    #[test]
    fn words_that_were_never_played_are_kept_at_the_end() {
        let mut transcript = Transcript::default();
        transcript.agent_said("One".into());
        transcript.agent_said("two".into());
        assert_eq!(transcript.flush().expect("words").text, "One two");
        assert_eq!(transcript.flush(), None);
    }

    #[test]
    fn audio_of_words_that_were_written_early_is_not_taken_for_the_next_ones() {
        let mut transcript = Transcript::default();
        transcript.agent_said("One moment".into());
        assert!(transcript.flush().is_some());
        assert_eq!(transcript.agent_played(at(20), at(900)), None);
        assert_eq!(transcript.agent_said("Sorry".into()), None);
        let turn = transcript
            .agent_played(at(5000), at(6000))
            .expect("complete");
        assert_eq!(turn.from_ms, Some(5000));
    }

    #[test]
    fn a_caller_turn_bears_the_times_of_its_speech() {
        let mut transcript = Transcript::default();
        transcript.caller_began(at(100));
        transcript.caller_paused(at(800));
        let turn = transcript.caller_said("hi".into());
        assert_eq!((turn.from_ms, turn.to_ms), (Some(100), Some(800)));
        assert_eq!(transcript.caller_said("again".into()).from_ms, None);
    }

    #[test]
    fn masked_words_are_never_kept() {
        let mut transcript = Transcript::default();
        transcript.mask(true);
        assert_eq!(transcript.caller_said("4111".into()).text, MASKED);
        transcript.agent_said("4111".into());
        assert_eq!(transcript.flush().expect("a turn").text, MASKED);
    }

    #[test]
    fn an_agent_that_never_stops_writing_is_bounded() {
        let mut transcript = Transcript::default();
        for _ in 0..100 {
            transcript.agent_said("x".repeat(10_000));
        }
        assert!(transcript.flush().expect("words").text.len() <= TEXT_MAX);
    }
}
