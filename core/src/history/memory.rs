//! A store that forgets: for tests, simulations and a bridge that is only tried out. It keeps the rules of
//! [`Backend`] except surviving the process.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{Backend, BackendError, BoxFuture, Durability, Event, Listed};
use crate::vocab::HandoffKey;

type Sessions = BTreeMap<HandoffKey, BTreeMap<u64, Event>>;

/// Histories in memory, or a store that always fails.
#[derive(Debug, Default)]
pub struct Memory {
    sessions: Mutex<Sessions>,
    fault: Option<BackendError>,
}

impl Memory {
    /// A store that answers everything with `fault`.
    pub fn failing(fault: BackendError) -> Self {
        Self {
            fault: Some(fault),
            ..Self::default()
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Sessions) -> T) -> Result<T, BackendError> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(work(&mut sessions))
    }
}

impl Backend for Memory {
    fn append(
        &self,
        key: HandoffKey,
        first_seq: u64,
        events: Vec<Event>,
        _durability: Durability,
    ) -> BoxFuture<'_, Result<(), BackendError>> {
        let result = self.with(|sessions| {
            let session = sessions.entry(key).or_default();
            for (seq, event) in (first_seq..).zip(events) {
                session.entry(seq).or_insert(event);
            }
        });
        Box::pin(std::future::ready(result))
    }

    fn read(&self, key: HandoffKey) -> BoxFuture<'_, Result<Option<Vec<Event>>, BackendError>> {
        let result = self.with(|sessions| {
            let session = sessions.get(&key)?;
            Some(session.values().cloned().collect())
        });
        Box::pin(std::future::ready(result))
    }

    fn sessions(&self, limit: usize) -> BoxFuture<'_, Result<Vec<Listed>, BackendError>> {
        let result = self.with(|sessions| {
            let mut listed: Vec<_> = sessions
                .iter()
                .filter_map(|(key, events)| {
                    let started_at = events.values().next()?.at;
                    Some(Listed {
                        key: *key,
                        started_at,
                    })
                })
                .collect();
            listed.sort_by_key(|session| std::cmp::Reverse(session.started_at));
            listed.truncate(limit);
            listed
        });
        Box::pin(std::future::ready(result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::commit::tests::now_or_never;
    use crate::history::{Kind, UnixMillis};
    use crate::vocab::Entropy;

    fn at(ms: u64) -> Event {
        Event::new(UnixMillis(ms), Kind::Answered)
    }

    #[test]
    fn a_repeated_append_changes_nothing_and_order_is_by_number() {
        let store = Memory::default();
        let key = HandoffKey::generate(&mut Entropy::from_number(1));
        let append =
            |seq, events| now_or_never(store.append(key, seq, events, Durability::Buffered));
        append(2, vec![at(20)]).expect("room");
        append(0, vec![at(0), at(10)]).expect("room");
        append(0, vec![at(7), at(7)]).expect("room");
        let events = now_or_never(store.read(key))
            .expect("reads")
            .expect("is there");
        assert_eq!(events, [at(0), at(10), at(20)]);
    }

    #[test]
    fn recent_sessions_come_newest_first_and_an_unknown_key_is_none() {
        let store = Memory::default();
        let mut entropy = Entropy::from_number(1);
        let keys: Vec<_> = (0..3).map(|_| HandoffKey::generate(&mut entropy)).collect();
        for (key, ms) in keys.iter().zip([5, 9, 7]) {
            now_or_never(store.append(*key, 0, vec![at(ms)], Durability::Buffered)).expect("room");
        }
        let listed = now_or_never(store.sessions(2)).expect("lists");
        assert_eq!(
            listed.iter().map(|l| l.started_at.0).collect::<Vec<_>>(),
            [9, 7]
        );
        let unknown = HandoffKey::generate(&mut entropy);
        assert_eq!(now_or_never(store.read(unknown)), Ok(None));
    }
}
