//! Numbers a call's events and keeps those that no store has acknowledged yet.

use std::collections::VecDeque;

use super::{Event, Kind, Pending};
use crate::vocab::{HandoffId, HandoffKey};

/// Events kept while the store is away. Beyond it turns, digits and context are dropped (and counted): a handoff
/// and the end always find room, since there are few of them.
pub const UNSTORED_MAX: usize = 1024;

/// Events of kinds that a caller or an agent can cause at will, over a whole session. A conversation has hundreds.
pub const SESSION_MAX: u64 = 50_000;

/// The writer's end of one session's history.
#[derive(Debug)]
pub struct Journal {
    key: HandoffKey,
    /// Sequence number of `unstored[0]`.
    first_seq: u64,
    unstored: VecDeque<Event>,
    /// The handoff whose steps were recorded last: it may be with the store already when its commit comes.
    handoff: Option<HandoffId>,
    dropped: u64,
}

impl Journal {
    /// An empty one.
    pub const fn new(key: HandoffKey) -> Self {
        Self {
            key,
            first_seq: 0,
            unstored: VecDeque::new(),
            handoff: None,
            dropped: 0,
        }
    }

    /// Adds an event.
    pub fn record(&mut self, event: Event) {
        let next_seq = self.first_seq + self.unstored.len() as u64;
        let full = self.unstored.len() >= UNSTORED_MAX || next_seq >= SESSION_MAX;
        if full && is_droppable(&event.kind) {
            self.dropped += 1;
        } else {
            if let Kind::Handoff(step) = &event.kind {
                self.handoff = Some(step.id.clone());
            }
            self.unstored.push_back(event);
        }
    }

    /// What to append next, oldest first: the first sequence number and at most `max` events. They stay here
    /// until [`Journal::stored`].
    pub fn batch(&self, max: usize) -> Option<(u64, Vec<Event>)> {
        let events: Vec<_> = self.unstored.iter().take(max).cloned().collect();
        (!events.is_empty()).then_some((self.first_seq, events))
    }

    /// Everything a commit of `handoff` has to make durable.
    pub fn pending(&self, handoff: HandoffId) -> Pending {
        Pending {
            recorded: self.handoff.as_ref() == Some(&handoff),
            key: self.key,
            handoff,
            first_seq: self.first_seq,
            events: self.unstored.iter().cloned().collect(),
        }
    }

    /// The store has everything before `seq`. Repeats and lower numbers change nothing.
    pub fn stored(&mut self, seq: u64) {
        while self.first_seq < seq && self.unstored.pop_front().is_some() {
            self.first_seq += 1;
        }
    }

    /// Whose history.
    pub const fn key(&self) -> HandoffKey {
        self.key
    }

    /// Events that wait for the store.
    pub fn len(&self) -> usize {
        self.unstored.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.unstored.is_empty()
    }

    /// Events lost to the two limits.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Whether losing it leaves the session's story true, if shorter.
const fn is_droppable(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Turn(_) | Kind::Dtmf { .. } | Kind::Context { .. } | Kind::Recording { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::event::tests::step;
    use crate::history::{HandoffState, UnixMillis};
    use crate::vocab::Entropy;

    fn journal() -> Journal {
        Journal::new(HandoffKey::generate(&mut Entropy::from_number(1)))
    }

    fn digit(at_ms: u64) -> Event {
        let digit = Some('1');
        Event::new(UnixMillis(at_ms), Kind::Dtmf { digit, at_ms })
    }

    fn handoff() -> Event {
        let step = Box::new(step("ho-1", HandoffState::Requested));
        Event::new(UnixMillis(0), Kind::Handoff(step))
    }

    #[test]
    fn events_stay_until_the_store_has_them() {
        let mut journal = journal();
        assert_eq!(journal.batch(10), None);
        (0..5).for_each(|at| journal.record(digit(at)));
        let (seq, events) = journal.batch(3).expect("waiting");
        assert_eq!((seq, events.len()), (0, 3));
        assert_eq!(journal.batch(3).expect("still waiting").0, 0);
        journal.stored(3);
        journal.stored(1);
        let (seq, events) = journal.batch(10).expect("waiting");
        assert_eq!((seq, events.len()), (3, 2));
        journal.stored(99);
        assert!(journal.is_empty());
        journal.record(digit(9));
        assert_eq!(journal.batch(1).expect("waiting").0, 5);
    }

    #[test]
    fn a_commit_takes_all_that_waits_in_order() {
        let mut journal = journal();
        journal.record(digit(0));
        journal.stored(1);
        journal.record(digit(1));
        journal.record(handoff());
        let pending = journal.pending("ho-1".into());
        assert_eq!((pending.first_seq, pending.events.len()), (1, 2));
        assert_eq!(pending.key, journal.key());
    }

    #[test]
    fn a_handoff_that_waited_for_the_agents_last_words_is_recorded_though_stored_already() {
        let mut journal = journal();
        journal.record(handoff());
        journal.stored(1);
        let pending = journal.pending("ho-1".into());
        assert!(pending.recorded && pending.events.is_empty());
        assert!(!journal.pending("ho-2".into()).recorded);
    }

    #[test]
    fn a_flood_of_digits_never_crowds_a_handoff_out() {
        let mut journal = journal();
        (0..5000).for_each(|at| journal.record(digit(at)));
        assert_eq!(journal.len(), UNSTORED_MAX);
        assert_eq!(journal.dropped(), 5000 - UNSTORED_MAX as u64);
        journal.record(handoff());
        assert_eq!(journal.len(), UNSTORED_MAX + 1);
    }

    #[test]
    fn a_session_without_end_stops_growing() {
        let mut journal = journal();
        for at in 0..SESSION_MAX + 10 {
            journal.record(digit(at));
            journal.stored(u64::MAX);
        }
        assert_eq!(journal.dropped(), 10);
        journal.record(handoff());
        assert_eq!(journal.len(), 1);
    }
}
