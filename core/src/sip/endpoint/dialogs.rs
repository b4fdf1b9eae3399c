//! Every dialog of this node, by number and by our tag.

use std::collections::HashMap;

use super::event::{DialogId, Flow};
use super::session::Session;

/// All dialogs, lingering ones included.
#[derive(Debug, Default)]
pub(super) struct Dialogs {
    last: u64,
    sessions: HashMap<DialogId, Session>,
    /// Our tag is random and ours alone, so it finds the dialog; Call-ID and the peer's tag are compared then.
    by_tag: HashMap<String, DialogId>,
}

impl Dialogs {
    /// A number that was never used.
    pub(super) fn next_id(&mut self) -> DialogId {
        self.last += 1;
        DialogId(self.last)
    }

    pub(super) fn insert(&mut self, session: Session) {
        self.by_tag
            .insert(session.dialog.local_tag().to_owned(), session.id);
        self.sessions.insert(session.id, session);
    }

    pub(super) fn remove(&mut self, id: DialogId) {
        if let Some(session) = self.sessions.remove(&id) {
            self.by_tag.remove(session.dialog.local_tag());
        }
    }

    pub(super) fn get_mut(&mut self, id: DialogId) -> Option<&mut Session> {
        self.sessions.get_mut(&id)
    }

    pub(super) fn get(&self, id: DialogId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    pub(super) fn by_tag(&self, tag: &str) -> Option<DialogId> {
        self.by_tag.get(tag).copied()
    }

    pub(super) fn any_on(&self, flow: &Flow) -> bool {
        self.sessions
            .values()
            .any(|session| session.dialog.flow() == *flow)
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }
}
