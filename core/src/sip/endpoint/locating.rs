//! Names that must be looked up before a request can go to them: asked by an event, answered by
//! [`Endpoint::handle_located`]. Nothing waits: until the answer is there, requests go the way they would without it.

use std::collections::BTreeMap;
use std::time::Instant;

use super::Endpoint;
use super::core::Core;
use super::event::{DialogId, Event, Flow, LocateId};
use super::registrations::RegistrationId;
use crate::sip::dialog::Dialog;
use crate::sip::locate::TARGETS;

/// Who wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    /// A dialog whose next hop is a name.
    Dialog(DialogId),
    /// A registration.
    Registration(RegistrationId),
}

/// The questions that have no answer yet.
#[derive(Debug, Default)]
pub(super) struct Locating {
    last: u64,
    askers: BTreeMap<LocateId, Asker>,
}

impl Locating {
    fn ask(&mut self, asker: Asker) -> LocateId {
        self.last += 1;
        let id = LocateId(self.last);
        self.askers.insert(id, asker);
        id
    }
}

impl Core {
    /// Asks where a dialog's next hop is, if it has another one than before and that is a name.
    pub(super) fn locate_next_hop(&mut self, owner: DialogId, dialog: &mut Dialog) {
        if !dialog.has_moved() {
            return;
        }
        // One question per dialog; those of dialogs that are gone are as many only while nobody answers.
        if self.locating.askers.len() >= self.limits.dialogs {
            return;
        }
        let Some(uri) = dialog.handle_moved() else {
            return;
        };
        let id = self.locating.ask(Asker::Dialog(owner));
        if let Some(outdated) = dialog.handle_asked(&uri, id) {
            self.locating.askers.remove(&outdated);
        }
        self.events.push_back(Event::Locate { id, uri });
    }

    /// Asks where a registrar is. There are as many as are configured, each with one question at a time.
    pub(super) fn locate_registrar(&mut self, asker: RegistrationId, uri: &str) {
        let asker = Asker::Registration(asker);
        self.locating.askers.retain(|_, old| *old != asker);
        let id = self.locating.ask(asker);
        let uri = uri.to_owned();
        self.events.push_back(Event::Locate { id, uri });
    }
}

impl Endpoint {
    /// The answer to an [`Event::Locate`].
    ///
    /// * `ways`: to the targets of the URI in the order of RFC 3263; empty when there are none, or nobody could say.
    pub fn handle_located(&mut self, now: Instant, id: LocateId, mut ways: Vec<Flow>) {
        ways.retain(|way| way.local != way.remote); // a name that means ourselves is no way out
        ways.truncate(TARGETS);
        match self.core.locating.askers.remove(&id) {
            Some(Asker::Dialog(dialog)) => {
                self.with(dialog, |session, _| session.dialog.handle_located(id, ways));
            }
            Some(Asker::Registration(registration)) => {
                self.handle_registrar_located(now, registration, ways);
            }
            None => {} // outdated
        }
    }
}
