//! Who is believed in a dialog. Its tags are random, but every proxy on the way and everybody who can listen knows them;
//! so a request in it must also come from where it can come from: the host the dialog was made with, a host of its route
//! set or of the peer's Contact, or the networks of the trunk the call came by.

use std::net::IpAddr;

use super::Endpoint;
use super::event::DialogId;
use super::session::Session;
use crate::sip::message::Request;

impl Endpoint {
    /// Whether a request in this dialog may come from there. One that is not the peer's by its tags is not judged here:
    /// it will be answered 481.
    pub(super) fn believes(&self, dialog: DialogId, request: &Request, source: IpAddr) -> bool {
        self.dialogs.get(dialog).is_none_or(|session| {
            session.dialog_of(request).is_none_or(|dialog| {
                // Who had to prove itself is not another host of the same network.
                let proved = dialog.acquaintance().proof().is_some();
                dialog.knows_host(source) || !proved && self.is_of_trunk(session, source)
            })
        })
    }

    /// Whether a CANCEL for the INVITE that made this dialog may come from there.
    pub(super) fn knows(&self, dialog: DialogId, source: IpAddr) -> bool {
        self.dialogs.get(dialog).is_none_or(|session| {
            session.dialog.knows_host(source) || self.is_of_trunk(session, source)
        })
    }

    fn is_of_trunk(&self, session: &Session, source: IpAddr) -> bool {
        let trunk = session.trunk.as_deref();
        trunk.is_some_and(|trunk| self.trunks.holds(trunk, source))
    }
}
