//! One table of deadlines for everything the endpoint waits for.

use std::collections::BTreeSet;
use std::time::Instant;

use super::event::DialogId;
use super::registrations::RegistrationId;
use crate::sip::transaction::TransactionId;

/// What a deadline belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A server transaction.
    Server(TransactionId),
    /// A client transaction.
    Client(TransactionId),
    /// A dialog.
    Dialog(DialogId),
    /// A registration.
    Registration(RegistrationId),
}

/// When a subject wants to be woken: one entry per subject, which the subject remembers as its [`Wake`].
#[derive(Debug, Default)]
pub(super) struct Schedule(BTreeSet<(Instant, Subject)>);

/// A subject's place in the schedule.
#[derive(Debug, Default)]
pub(super) struct Wake(Option<Instant>);

impl Schedule {
    /// Moves a subject to its new deadline, or takes it out.
    pub(super) fn set(&mut self, subject: Subject, wake: &mut Wake, at: Option<Instant>) {
        if wake.0 == at {
            return;
        }
        if let Some(old) = wake.0 {
            self.0.remove(&(old, subject));
        }
        if let Some(at) = at {
            self.0.insert((at, subject));
        }
        wake.0 = at;
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// The subject whose deadline is the earliest and due. It stays in the table: its owner moves it.
    pub(super) fn due(&self, now: Instant) -> Option<Subject> {
        self.0
            .first()
            .filter(|(at, _)| *at <= now)
            .map(|(_, subject)| *subject)
    }

    /// Takes an entry out whose subject is gone; only a mistake of ours leaves one.
    pub(super) fn forget_first(&mut self) {
        self.0.pop_first();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::t0;

    #[test]
    fn a_subject_has_one_place_however_often_it_moves() {
        let t0 = t0();
        let at = |ms| Some(t0 + Duration::from_millis(ms));
        let mut schedule = Schedule::default();
        let (mut a, mut b) = (Wake::default(), Wake::default());
        let (one, two) = (
            Subject::Server(TransactionId(1)),
            Subject::Dialog(DialogId(1)),
        );
        schedule.set(one, &mut a, at(10));
        schedule.set(one, &mut a, at(30));
        schedule.set(two, &mut b, at(20));
        assert_eq!(schedule.next(), at(20));
        assert_eq!(schedule.due(t0), None);
        assert_eq!(schedule.due(t0 + Duration::from_millis(20)), Some(two));
        schedule.set(two, &mut b, None);
        assert_eq!(schedule.next(), at(30));
        schedule.set(one, &mut a, None);
        assert_eq!(schedule.next(), None);
    }
}
