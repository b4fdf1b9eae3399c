//! Turns, key presses and handoffs on one line of time.

use baton_core::history::turn::MASKED;
use baton_core::history::{HandoffState, Session, Turn};

use super::{mood, words};

/// One line of the conversation.
#[derive(Debug, PartialEq)]
pub(super) enum Entry<'a> {
    /// Somebody said something.
    Turn {
        turn: &'a Turn,
        /// The agent had asked for the words to be left out.
        masked: bool,
    },
    /// The caller pressed keys, one after another; `None` for a masked one.
    Digits {
        digits: Vec<Option<char>>,
        at_ms: u64,
    },
    /// Something happened.
    Note(Note),
}

/// Something that happened to the call.
#[derive(Debug, PartialEq)]
pub(super) struct Note {
    pub(super) text: &'static str,
    pub(super) mood: &'static str,
    /// Media time; `None` when the call was not answered.
    pub(super) at_ms: Option<u64>,
}

/// Everything in the order in which it happened. A turn whose time is not known stays behind the one before it.
pub(super) fn of(session: &Session) -> Vec<Entry<'_>> {
    let mut entries = Vec::with_capacity(session.turns.len() + session.dtmf.len());
    let mut now = 0;
    for turn in &session.turns {
        now = turn.from_ms.unwrap_or(now).max(now);
        let masked = turn.text == MASKED;
        entries.push((now, Entry::Turn { turn, masked }));
    }
    for digit in &session.dtmf {
        let digits = vec![digit.digit];
        let at_ms = digit.at_ms;
        entries.push((at_ms, Entry::Digits { digits, at_ms }));
    }
    entries.extend(notes(session));
    entries.sort_by_key(|(at, _)| *at);
    let mut lines: Vec<Entry<'_>> = Vec::with_capacity(entries.len());
    for (_, entry) in entries {
        match (lines.last_mut(), entry) {
            (Some(Entry::Digits { digits, .. }), Entry::Digits { digits: more, .. }) => {
                digits.extend(more);
            }
            (_, entry) => lines.push(entry),
        }
    }
    lines
}

/// The steps of handoffs that a person wants to see between the turns.
fn notes(session: &Session) -> impl Iterator<Item = (u64, Entry<'_>)> {
    let steps = session.handoffs.iter().flat_map(|handoff| &handoff.steps);
    steps.filter_map(|step| {
        let shown = matches!(step.state, HandoffState::Requested | HandoffState::Resumed)
            || step.state.is_final();
        let at_ms = step
            .at
            .zip(session.answered_at)
            .map(|(at, answered)| at.0.saturating_sub(answered.0));
        let note = Note {
            text: words(step.state),
            mood: mood(step.state),
            at_ms,
        };
        shown.then(|| (at_ms.unwrap_or(u64::MAX), Entry::Note(note)))
    })
}
