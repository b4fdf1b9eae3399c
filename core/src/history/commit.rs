//! Makes a history durable, and is the only maker of [`HistoryReceipt`]s: the one way to a REFER leads through here.

use super::{Backend, BackendError, Durability, Event};
use crate::vocab::{HandoffId, HandoffKey};

/// Proof that the history behind one handoff is durable. Sending a REFER, or a BYE that carries a target, takes
/// one by value; it cannot be copied, made elsewhere, or used twice.
///
/// A handoff before its history does not compile:
///
/// ```compile_fail,E0451
/// use baton_core::history::HistoryReceipt;
/// use baton_core::vocab::{Entropy, HandoffId, HandoffKey};
///
/// let key = HandoffKey::generate(&mut Entropy::from_number(1));
/// let forged = HistoryReceipt { key, handoff: HandoffId::from("ho-1") };
/// ```
///
/// and neither does a second one on the same receipt:
///
/// ```compile_fail,E0599
/// use baton_core::history::HistoryReceipt;
///
/// fn twice(receipt: HistoryReceipt) -> [HistoryReceipt; 2] {
///     [receipt.clone(), receipt]
/// }
/// ```
///
/// The lawful way, to show that it is the receipt which the two above stumble over:
///
/// ```
/// use baton_core::history::{Backend, CommitError, HistoryReceipt, Pending, commit};
/// use baton_core::vocab::{Entropy, HandoffId, HandoffKey};
///
/// async fn lawful(store: &dyn Backend, pending: Pending) -> Result<HistoryReceipt, CommitError> {
///     commit(store, pending).await
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a receipt is there to send a handoff with"]
pub struct HistoryReceipt {
    key: HandoffKey,
    handoff: HandoffId,
}

impl HistoryReceipt {
    /// Whose history.
    pub const fn key(&self) -> HandoffKey {
        self.key
    }

    /// For which handoff.
    pub const fn handoff(&self) -> &HandoffId {
        &self.handoff
    }
}

/// What has to be durable before a handoff may leave: everything not yet known to be stored. See
/// [`Journal::pending`](super::Journal::pending).
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// Whose history.
    pub key: HandoffKey,
    /// For which handoff.
    pub handoff: HandoffId,
    /// Sequence number of the first event.
    pub first_seq: u64,
    /// The events; none when the store has all of them already, if not durably.
    pub events: Vec<Event>,
    /// The handoff's own request is among them, or before them. Only a journal can say so.
    pub(super) recorded: bool,
}

/// Why a handoff may not leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The store said no.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// No recorded event names the handoff, so the commit would prove nothing about it.
    #[error("the history to commit does not mention handoff {0}")]
    NotRecorded(HandoffId),
}

/// Makes `pending`, and everything appended before it, durable.
///
/// Runtime-free: it awaits the store and nothing else. A store that is slower than its `commit_timeout` must
/// answer by itself (it makes the events durable on this node and uploads them later).
///
/// # Errors
/// [`CommitError`]; nothing may be sent then.
pub async fn commit(store: &dyn Backend, pending: Pending) -> Result<HistoryReceipt, CommitError> {
    let Pending {
        key,
        handoff,
        first_seq,
        events,
        recorded,
    } = pending;
    if !recorded {
        return Err(CommitError::NotRecorded(handoff));
    }
    store
        .append(key, first_seq, events, Durability::Durable)
        .await?;
    Ok(HistoryReceipt { key, handoff })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::history::event::tests::step;
    use crate::history::{HandoffState, Journal, Kind, Memory, UnixMillis};
    use crate::vocab::Entropy;

    /// Polls a future that never waits.
    pub(crate) fn now_or_never<T>(future: impl Future<Output = T>) -> T {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(future).poll(&mut context) {
            std::task::Poll::Ready(value) => value,
            std::task::Poll::Pending => panic!("the future waits"),
        }
    }

    /// A lawful receipt, by way of a store that forgets.
    pub(crate) fn receipt(key: HandoffKey, handoff: &HandoffId) -> HistoryReceipt {
        now_or_never(commit(&Memory::default(), pending(key, handoff))).expect("memory has room")
    }

    fn pending(key: HandoffKey, handoff: &HandoffId) -> Pending {
        let step = step(handoff.as_str(), HandoffState::Requested);
        let mut journal = Journal::new(key);
        journal.record(Event::new(UnixMillis(1), Kind::Handoff(Box::new(step))));
        journal.pending(handoff.clone())
    }

    fn key() -> HandoffKey {
        HandoffKey::generate(&mut Entropy::from_number(1))
    }

    #[test]
    fn a_receipt_names_what_became_durable() {
        let store = Memory::default();
        let receipt = now_or_never(commit(&store, pending(key(), &"ho-1".into()))).expect("stored");
        assert_eq!(receipt.key(), key());
        assert_eq!(receipt.handoff().as_str(), "ho-1");
        let events = now_or_never(store.read(key()))
            .expect("reads")
            .expect("is there");
        assert_eq!(events.len(), 1);
    }

    #[test]
    fn a_store_that_fails_gives_no_receipt() {
        for error in [
            BackendError::Full,
            BackendError::Expired,
            BackendError::Unavailable { why: "down".into() },
        ] {
            let store = Memory::failing(error.clone());
            let result = now_or_never(commit(&store, pending(key(), &"ho-1".into())));
            assert_eq!(result, Err(CommitError::Backend(error)));
        }
    }

    #[test]
    fn a_history_that_does_not_mention_the_handoff_gives_no_receipt() {
        let other = Journal::new(key()).pending("ho-2".into());
        let result = now_or_never(commit(&Memory::default(), other));
        assert_eq!(result, Err(CommitError::NotRecorded("ho-2".into())));
    }
}
