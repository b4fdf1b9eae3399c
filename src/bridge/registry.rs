//! Every live call of this node and the last few that ended: what the API and the console show, and how they steer.
//!
//! A call's task holds a [`Registration`] and writes its [`CallView`] through it; everybody else reads copies, and
//! reaches the task through a [`CallHandle`]. No lock is held across an `.await`, and no reader can stop a call:
//! the queue to a call is bounded and a full one is an error for the asker, a slow viewer of [`Registry::watch`]
//! loses events.

mod handle;
mod view;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, mpsc};

use baton_core::history::UnixMillis;
use baton_core::vocab::{CallId, HandoffKey};

pub use handle::{CallHandle, Operator, OperatorError, Refusal, Reply};
pub use view::{CallState, CallView, EndView, HandoffView, LadderStep, Timings};

/// Commands waiting for one call. A person steers it, so more than a few means that the call does not listen.
const OPERATOR_QUEUE: usize = 16;

/// How a call ended whose task panicked: a fault of ours.
pub const BROKE: &str = "the call's task broke";

/// Changes a viewer may lag behind before it loses some.
const WATCH_QUEUE: usize = 256;

/// One change worth showing at once, for `GET /v1/events`.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Change {
    /// A call began or moved on.
    Call {
        /// Which.
        call: CallId,
        /// Where it is now.
        state: CallState,
    },
    /// A handoff moved on.
    Handoff {
        /// Of which call.
        call: CallId,
        /// How it stands.
        handoff: HandoffView,
    },
    /// A call is over.
    Ended {
        /// Which.
        call: CallId,
        /// How.
        end: EndView,
    },
}

impl Change {
    /// The name of the server-sent event.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Call { .. } => "call",
            Self::Handoff { .. } => "handoff",
            Self::Ended { .. } => "ended",
        }
    }
}

/// The calls of this node.
#[derive(Debug)]
pub struct Registry {
    calls: Mutex<Calls>,
    changes: broadcast::Sender<Change>,
    keep_ended: usize,
}

#[derive(Debug, Default)]
struct Calls {
    live: BTreeMap<CallId, Live>,
    /// Oldest first.
    ended: VecDeque<CallView>,
}

impl Calls {
    /// Calls that were never answered may fill a quarter of what is remembered: whoever floods us with calls that we
    /// refuse, or that he gives up, does not push those off that people ask about.
    fn forget_beyond(&mut self, most: usize) {
        while self.ended.len() > most {
            let unanswered = |view: &&CallView| view.answered.is_none();
            let too_many = self.ended.iter().filter(unanswered).count() > most / 4;
            let oldest = self.ended.iter().position(|view| unanswered(&view));
            self.ended
                .remove(oldest.filter(|_| too_many).unwrap_or_default());
        }
    }
}

#[derive(Debug)]
struct Live {
    view: CallView,
    operator: mpsc::Sender<Operator>,
}

impl Default for Registry {
    /// Remembers the last 200 calls that ended.
    fn default() -> Self {
        Self::new(200)
    }
}

impl Registry {
    /// * `keep_ended`: calls remembered after their end, the newest ones.
    pub fn new(keep_ended: usize) -> Self {
        Self {
            calls: Mutex::default(),
            changes: broadcast::channel(WATCH_QUEUE).0,
            keep_ended,
        }
    }

    /// A call begins. What operators ask of it arrives at the receiver; it ends with [`Registration::end`].
    pub fn register(self: &Arc<Self>, view: CallView) -> (Registration, mpsc::Receiver<Operator>) {
        let (operator, commands) = mpsc::channel(OPERATOR_QUEUE);
        let (id, state) = (view.id.clone(), view.state);
        self.lock().live.insert(id.clone(), Live { view, operator });
        self.tell(Change::Call {
            call: id.clone(),
            state,
        });
        let registry = Arc::clone(self);
        let registration = Registration {
            registry,
            id,
            over: false,
        };
        (registration, commands)
    }

    /// Live calls, oldest first, then ended ones, newest first.
    pub fn calls(&self) -> Vec<CallView> {
        let calls = self.lock();
        let mut views: Vec<_> = calls.live.values().map(|live| live.view.clone()).collect();
        views.sort_by(|a, b| (a.started, &a.id).cmp(&(b.started, &b.id)));
        views.extend(calls.ended.iter().rev().cloned());
        views
    }

    /// How many calls are live.
    pub fn live_count(&self) -> usize {
        self.lock().live.len()
    }

    /// One call, live or ended, by its id, its SIP Call-ID or its Twilio call SID.
    pub fn call(&self, name: &str) -> Option<CallView> {
        let calls = self.lock();
        let live = calls.live.values().map(|live| &live.view);
        live.chain(calls.ended.iter().rev())
            .find(|view| view.is_called(name))
            .cloned()
    }

    /// The way to a live call's task.
    pub fn live(&self, id: &CallId) -> Option<CallHandle> {
        let calls = self.lock();
        let live = calls.live.get(id)?;
        Some(CallHandle::new(id.clone(), live.operator.clone()))
    }

    /// The live call whose session has this key: the refer-handler tells it that its key was read.
    pub fn find_by_key(&self, key: &HandoffKey) -> Option<CallHandle> {
        let calls = self.lock();
        let (id, live) = calls
            .live
            .iter()
            .find(|(_, live)| live.view.session_history_key == *key)?;
        Some(CallHandle::new(id.clone(), live.operator.clone()))
    }

    /// Changes from here on. A receiver that lags more than 256 behind loses the oldest.
    pub fn watch(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    fn tell(&self, change: Change) {
        // No viewer is the normal case, and nobody's fault.
        let _ = self.changes.send(change);
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        // A panicking reader leaves whole views behind: each change to them is one assignment or push.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, id: &CallId, end: EndView) {
        {
            let mut calls = self.lock();
            let Some(live) = calls.live.remove(id) else {
                return;
            };
            let mut view = live.view;
            view.state = CallState::Ended;
            view.end = Some(end.clone());
            calls.ended.push_back(view);
            calls.forget_beyond(self.keep_ended);
        }
        self.tell(Change::Ended {
            call: id.clone(),
            end,
        });
    }
}

/// A call's place in the registry. Dropped without [`end`](Self::end) (its task broke), the call shows as failed,
/// so that no ghost stays on the console.
#[derive(Debug)]
pub struct Registration {
    registry: Arc<Registry>,
    id: CallId,
    over: bool,
}

impl Registration {
    /// Which call.
    pub fn id(&self) -> &CallId {
        &self.id
    }

    /// Changes the view; a new state or a changed handoff is told to the viewers.
    pub fn update(&self, change: impl FnOnce(&mut CallView)) {
        let mut news = Vec::new();
        {
            let mut calls = self.registry.lock();
            let Some(live) = calls.live.get_mut(&self.id) else {
                return;
            };
            let (state, handoffs) = (live.view.state, live.view.handoffs.clone());
            change(&mut live.view);
            if live.view.state != state {
                news.push(Change::Call {
                    call: self.id.clone(),
                    state: live.view.state,
                });
            }
            for handoff in &live.view.handoffs {
                if !handoffs.contains(handoff) {
                    news.push(Change::Handoff {
                        call: self.id.clone(),
                        handoff: handoff.clone(),
                    });
                }
            }
        }
        for change in news {
            self.registry.tell(change);
        }
    }

    /// The call moved on.
    pub fn state(&self, state: CallState) {
        self.update(|view| view.state = state);
    }

    /// One more arrow of the ladder.
    pub fn ladder(&self, step: LadderStep) {
        self.update(|view| view.push_step(step));
    }

    /// A handoff began or moved on; told apart by their ids.
    pub fn handoff(&self, handoff: HandoffView) {
        self.update(
            |view| match view.handoffs.iter_mut().find(|h| h.id == handoff.id) {
                Some(known) => *known = handoff,
                None => view.push_handoff(handoff),
            },
        );
    }

    /// The call is over.
    pub fn end(mut self, ended: UnixMillis, end: EndView) {
        self.update(|view| view.ended = Some(ended));
        self.over = true;
        self.registry.finish(&self.id, end);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if !self.over {
            self.registry.finish(
                &self.id,
                EndView {
                    kind: "failed".into(),
                    by: "bridge".into(),
                    reason: Some(BROKE.into()),
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_core::vocab::{Entropy, HandoffId};

    fn view(number: u64) -> CallView {
        let mut entropy = Entropy::from_number(number);
        CallView::new(
            CallId::generate(&mut entropy),
            HandoffKey::generate(&mut entropy),
            UnixMillis(1_000 + number),
        )
    }

    fn ended(kind: &str) -> EndView {
        EndView {
            kind: kind.into(),
            by: "caller".into(),
            reason: None,
        }
    }

    #[test]
    fn live_calls_come_first_and_only_the_newest_ended_ones_are_kept() {
        let registry = Arc::new(Registry::new(2));
        for number in 0..5 {
            let (call, _) = registry.register(view(number));
            call.end(UnixMillis(9), ended("caller_hung_up"));
        }
        let (_live, _commands) = registry.register(view(9));
        let calls = registry.calls();
        let times: Vec<_> = calls.iter().map(|view| view.started.0).collect();
        assert_eq!(times, [1_009, 1_004, 1_003]);
        assert_eq!(calls[0].state, CallState::Offered);
        assert_eq!(calls[1].state, CallState::Ended);
        assert_eq!(registry.live_count(), 1);
    }

    #[test]
    fn a_flood_of_calls_that_were_never_answered_leaves_the_answered_ones_on_the_list() {
        let registry = Arc::new(Registry::new(8));
        let end = |number: u64, answered: bool| {
            let (call, _) = registry.register(view(number));
            if answered {
                call.update(|view| view.answered = Some(UnixMillis(2_000)));
            }
            call.end(UnixMillis(9), ended("rejected"));
        };
        let kept = || -> Vec<_> {
            let calls = registry.calls();
            calls.iter().map(|view| view.started.0 - 1_000).collect()
        };
        (0..20).for_each(|number| end(number, true));
        (100..1_000).for_each(|number| end(number, false));
        assert_eq!(kept(), [999, 998, 19, 18, 17, 16, 15, 14]);
        (2_000..2_006).for_each(|number| end(number, true));
        assert_eq!(
            kept(),
            [2_005, 2_004, 2_003, 2_002, 2_001, 2_000, 999, 998],
            "the refused keep their share, too"
        );
        (2_006..2_008).for_each(|number| end(number, true));
        assert_eq!(kept().len(), 8);
    }

    #[test]
    fn a_call_whose_task_breaks_shows_as_failed_not_as_live() {
        let registry = Arc::new(Registry::default());
        let (call, commands) = registry.register(view(1));
        let id = call.id().clone();
        drop((call, commands));
        assert!(registry.live(&id).is_none());
        let view = registry.call(id.as_str()).unwrap();
        assert_eq!(view.end.unwrap().kind, "failed");
    }

    #[test]
    fn a_call_is_found_by_any_of_its_names_and_its_key_only_while_it_lives() {
        let registry = Arc::new(Registry::default());
        let mut known = view(1);
        known.sip_call_id = "abc@192.0.2.1".into();
        known.twilio_call_sid = Some("CA01".into());
        let (id, key) = (known.id.clone(), known.session_history_key);
        let (call, _commands) = registry.register(known);
        for name in [id.as_str(), "abc@192.0.2.1", "CA01"] {
            assert_eq!(registry.call(name).unwrap().id, id, "{name}");
        }
        assert!(registry.call("").is_none());
        assert_eq!(registry.find_by_key(&key).unwrap().id(), &id);
        call.end(UnixMillis(9), ended("transferred"));
        assert!(registry.find_by_key(&key).is_none());
    }

    #[test]
    fn viewers_see_states_and_handoffs_change_but_not_every_ladder_step() {
        let registry = Arc::new(Registry::default());
        let mut watch = registry.watch();
        let (call, _commands) = registry.register(view(1));
        call.state(CallState::Talking);
        call.state(CallState::Talking);
        call.ladder(LadderStep {
            at_ms: 5,
            from: "trunk".into(),
            to: "baton".into(),
            what: "INVITE".into(),
        });
        let mut handoff = HandoffView::new(HandoffId::from("ho-1"), "refer", 7);
        call.handoff(handoff.clone());
        handoff.state = "failed".into();
        call.handoff(handoff);
        call.end(UnixMillis(9), ended("caller_hung_up"));
        let names: Vec<_> = std::iter::from_fn(|| watch.try_recv().ok())
            .map(|change| change.name())
            .collect();
        assert_eq!(names, ["call", "call", "handoff", "handoff", "ended"]);
        assert_eq!(registry.calls()[0].handoffs.len(), 1);
    }

    #[test]
    fn a_viewer_who_sleeps_loses_events_and_the_calls_go_on() {
        let registry = Arc::new(Registry::default());
        let mut sleeper = registry.watch();
        for number in 0..1_000 {
            let (call, _) = registry.register(view(number));
            call.end(UnixMillis(9), ended("caller_hung_up"));
        }
        let lagged = sleeper.try_recv();
        assert!(matches!(
            lagged,
            Err(broadcast::error::TryRecvError::Lagged(_))
        ));
        assert_eq!(registry.calls().len(), 200);
    }
}
