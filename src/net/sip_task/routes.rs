//! Which call hears of which dialog, and what happens when it does not listen fast enough.
//!
//! A call's queue holds 64 events. When it is full:
//!
//! * what a later event makes obsolete, or the peer may say as often as it likes, is dropped: provisional responses,
//!   INFO, a NOTIFY that is not the last word;
//! * what wants an answer from the call gets one from here: a re-INVITE 491, a REFER 500. The peer tries again;
//! * the rest happens a few times in a dialog at most. It waits in a backlog of 32, which is tried again every 20 ms.
//!
//! So a flood never ends a call, and a slow call never misses how its dialog ended.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use baton_core::sip::endpoint::{Command, DialogEvent, DialogId, NotifyState};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::DIALOG_QUEUE;

/// What one dialog may leave waiting beside its queue.
const BACKLOG: usize = 32;
/// Between two tries to hand a backlog over.
const RETRY: Duration = Duration::from_millis(20);
/// Between two looks for calls that went away without a word.
const SWEEP: Duration = Duration::from_secs(2);

/// A dialog whose call has gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Orphan(pub(super) DialogId);

#[derive(Debug)]
struct Route {
    call: mpsc::Sender<DialogEvent>,
    backlog: VecDeque<DialogEvent>,
    /// Nothing more will come; closed once the backlog is empty.
    is_last: bool,
}

/// Dialogs and their calls.
#[derive(Debug, Default)]
pub(super) struct Routes {
    calls: BTreeMap<DialogId, Route>,
    retry: Option<Instant>,
    sweep: Option<Instant>,
}

impl Routes {
    /// Opens a dialog's queue.
    pub(super) fn open(&mut self, now: Instant, dialog: DialogId) -> mpsc::Receiver<DialogEvent> {
        self.sweep.get_or_insert(now + SWEEP);
        let (call, events) = mpsc::channel(DIALOG_QUEUE);
        let route = Route {
            call,
            backlog: VecDeque::new(),
            is_last: false,
        };
        self.calls.insert(dialog, route);
        events
    }

    /// Forgets a dialog.
    pub(super) fn close(&mut self, dialog: DialogId) {
        self.calls.remove(&dialog);
    }

    /// Hands an event to its call. Returns what to say in the dialog when the call cannot.
    pub(super) fn deliver(
        &mut self,
        now: Instant,
        dialog: DialogId,
        event: DialogEvent,
    ) -> Option<Command> {
        let route = self.calls.get_mut(&dialog)?;
        route.is_last |= is_last(&event);
        let refused = if route.backlog.is_empty() {
            match route.call.try_send(event) {
                Ok(()) => None,
                Err(TrySendError::Full(event) | TrySendError::Closed(event)) => Some(event),
            }
        } else {
            Some(event)
        };
        let answer = refused.and_then(|event| {
            let (answer, waits) = when_full(event);
            if let Some(event) = waits
                && route.backlog.len() < BACKLOG
                && !route.call.is_closed()
            {
                route.backlog.push_back(event);
                self.retry.get_or_insert(now + RETRY);
            }
            answer
        });
        if route.is_last && route.backlog.is_empty() {
            self.calls.remove(&dialog);
        }
        answer
    }

    /// Tries backlogs again, and finds the calls that have gone.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<Orphan> {
        if self.retry.is_some_and(|at| at <= now) {
            let waiting = self.retry();
            self.retry = waiting.then(|| now + RETRY);
        }
        if self.sweep.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let orphans = self.sweep();
        self.sweep = (!self.calls.is_empty()).then(|| now + SWEEP);
        orphans
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.retry, self.sweep].into_iter().flatten().min()
    }

    /// Whether anything still waits.
    fn retry(&mut self) -> bool {
        let mut waiting = false;
        self.calls.retain(|_, route| {
            while let Some(event) = route.backlog.pop_front() {
                match route.call.try_send(event) {
                    Ok(()) => {}
                    Err(TrySendError::Full(event)) => {
                        route.backlog.push_front(event);
                        waiting = true;
                        return true;
                    }
                    Err(TrySendError::Closed(_)) => route.backlog.clear(),
                }
            }
            !route.is_last
        });
        waiting
    }

    fn sweep(&mut self) -> Vec<Orphan> {
        let mut orphans = Vec::new();
        self.calls.retain(|dialog, route| {
            let gone = route.call.is_closed();
            if gone {
                orphans.push(Orphan(*dialog));
            }
            !gone
        });
        orphans
    }
}

/// Whether the dialog is gone after it (BYE is not the end: NOTIFYs may follow).
fn is_last(event: &DialogEvent) -> bool {
    matches!(
        event,
        DialogEvent::Cancelled { .. }
            | DialogEvent::NeverAcknowledged
            | DialogEvent::Refused { .. }
            | DialogEvent::Lost { .. }
    )
}

/// What becomes of an event that a full queue refused: an answer given for the call, or the event itself to wait.
fn when_full(event: DialogEvent) -> (Option<Command>, Option<DialogEvent>) {
    match event {
        DialogEvent::Reinvited { .. } => {
            let answer = Command::AnswerReinvite {
                status: 491,
                body: bytes::Bytes::new(),
                headers: Vec::new(),
            };
            (Some(answer), None)
        }
        DialogEvent::Referred { .. } => (Some(Command::AnswerRefer { status: 500 }), None),
        DialogEvent::Progress { .. } | DialogEvent::Info { .. } => (None, None),
        DialogEvent::Notified {
            ref sipfrag,
            state: NotifyState::Active,
        } if sipfrag.as_ref().is_none_or(|(status, _)| *status < 200) => (None, None),
        DialogEvent::Cancelled { .. }
        | DialogEvent::Acknowledged { .. }
        | DialogEvent::NeverAcknowledged
        | DialogEvent::Answered { .. }
        | DialogEvent::Refused { .. }
        | DialogEvent::ReinviteEnded { .. }
        | DialogEvent::Bye { .. }
        | DialogEvent::ReferAnswered { .. }
        | DialogEvent::Notified { .. }
        | DialogEvent::NotifyAnswered { .. }
        | DialogEvent::ByeAnswered { .. }
        | DialogEvent::Lost { .. } => (None, Some(event)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALOG: DialogId = DialogId(7);

    fn info() -> DialogEvent {
        DialogEvent::Info {
            content_type: "application/dtmf-relay".into(),
            body: bytes::Bytes::new(),
        }
    }

    fn bye() -> DialogEvent {
        DialogEvent::Bye { reason: None }
    }

    #[expect(clippy::disallowed_methods, reason = "a test's epoch")]
    fn flooded() -> (Routes, mpsc::Receiver<DialogEvent>, Instant) {
        let t0 = Instant::now();
        let mut routes = Routes::default();
        let events = routes.open(t0, DIALOG);
        for _ in 0..1000 {
            assert_eq!(routes.deliver(t0, DIALOG, info()), None);
        }
        (routes, events, t0)
    }

    #[test]
    fn a_flood_of_info_is_dropped_and_the_bye_still_arrives() {
        let (mut routes, mut events, t0) = flooded();
        assert_eq!(routes.deliver(t0, DIALOG, bye()), None);
        let taken = std::iter::from_fn(|| events.try_recv().ok()).count();
        assert_eq!(taken, DIALOG_QUEUE);
        let retry = routes.poll_timeout().unwrap();
        assert!(routes.handle_timeout(retry).is_empty());
        assert_eq!(events.try_recv(), Ok(bye()));
    }

    #[test]
    fn a_reinvite_and_a_refer_that_a_busy_call_cannot_take_are_answered_for_it() {
        let (mut routes, _events, t0) = flooded();
        let offer = DialogEvent::Reinvited {
            offer: bytes::Bytes::new(),
        };
        assert!(matches!(
            routes.deliver(t0, DIALOG, offer),
            Some(Command::AnswerReinvite { status: 491, .. })
        ));
        let refer = DialogEvent::Referred {
            refer_to: "<sip:a@b>".into(),
            referred_by: None,
            headers: Vec::new(),
        };
        assert_eq!(
            routes.deliver(t0, DIALOG, refer),
            Some(Command::AnswerRefer { status: 500 })
        );
    }

    #[test]
    fn of_notifies_only_the_last_word_waits() {
        let (mut routes, mut events, t0) = flooded();
        let notified = |status: u16, state| DialogEvent::Notified {
            sipfrag: Some((status, String::new())),
            state,
        };
        routes.deliver(t0, DIALOG, notified(100, NotifyState::Active));
        routes.deliver(t0, DIALOG, notified(200, NotifyState::Terminated));
        while events.try_recv().is_ok() {}
        routes.handle_timeout(t0 + RETRY);
        assert_eq!(
            events.try_recv(),
            Ok(notified(200, NotifyState::Terminated))
        );
        assert!(events.try_recv().is_err());
    }

    #[test]
    fn what_cannot_be_dropped_is_bounded_too() {
        let (mut routes, mut events, t0) = flooded();
        for _ in 0..1000 {
            routes.deliver(t0, DIALOG, bye());
        }
        while events.try_recv().is_ok() {}
        routes.handle_timeout(t0 + RETRY);
        assert_eq!(
            std::iter::from_fn(|| events.try_recv().ok()).count(),
            BACKLOG
        );
    }

    #[test]
    fn a_call_that_went_away_is_found_once() {
        let (mut routes, events, t0) = flooded();
        drop(events);
        assert_eq!(routes.deliver(t0, DIALOG, bye()), None);
        assert_eq!(routes.handle_timeout(t0 + SWEEP), [Orphan(DIALOG)]);
        assert_eq!(routes.handle_timeout(t0 + SWEEP * 2), []);
        assert_eq!(routes.poll_timeout(), None);
    }

    #[test]
    fn after_the_last_event_the_queue_ends() {
        let t0 = flooded().2;
        let mut routes = Routes::default();
        let mut events = routes.open(t0, DIALOG);
        let lost = DialogEvent::Lost { why: "481".into() };
        routes.deliver(t0, DIALOG, lost.clone());
        assert_eq!(events.try_recv(), Ok(lost));
        assert_eq!(
            events.try_recv(),
            Err(mpsc::error::TryRecvError::Disconnected)
        );
    }
}
