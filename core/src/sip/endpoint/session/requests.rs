//! What a peer asks in a dialog (RFC 3261 §12.2.2), sorted by method.

use std::time::Instant;

use super::uas::supporting;
use super::{Session, Usage};
use crate::sip::dialog::Dialog;
use crate::sip::dialog::refer::NotifyFault;
use crate::sip::endpoint::core::{Core, Incoming};
use crate::sip::endpoint::screen;
use crate::sip::message::{Method, Name, Request};

impl Session {
    /// A request other than ACK and CANCEL, whose To tag is ours.
    pub(in crate::sip::endpoint) fn handle_request(
        &mut self,
        now: Instant,
        core: &mut Core,
        incoming: Incoming,
    ) {
        let (request, flow) = (&incoming.request, &incoming.flow);
        if !self.dialog.is_from_peer(request) {
            return self.handle_early_request(now, core, incoming);
        }
        if !self.is_open_for(request.method()) || self.is_of_no_subscription(request) {
            // Without a trace: a refused request changes nothing, its CSeq included (§12.2.2).
            return core.refuse(request, flow, 481);
        }
        if !core.has_room() {
            let retry_after = core.author.retry_after();
            return core.refuse_overloaded(request, flow, &retry_after);
        }
        if let Err(refusal) = screen::in_dialog(request) {
            return core.refuse_for(request, flow, &refusal);
        }
        if !self.dialog.accepts_cseq(request.method(), incoming.cseq()) {
            let soon = core.author.retry_soon();
            return core.refuse_with(request, flow, 500, |response| {
                response.header(Name::RetryAfter, soon)
            });
        }
        self.dialog.follow(&incoming.flow);
        self.dispatch(now, core, incoming);
    }

    /// After the call only NOTIFYs are served; before our BYE is answered, whatever crosses it is.
    fn is_open_for(&self, method: &Method) -> bool {
        match self.usage {
            Usage::Gone => false,
            Usage::Over { .. } => *method == Method::Notify,
            Usage::Offered(_)
            | Usage::Accepted { .. }
            | Usage::Calling { .. }
            | Usage::AnswerDue { .. }
            | Usage::Confirmed
            | Usage::HangingUp => true,
        }
    }

    fn dispatch(&mut self, now: Instant, core: &mut Core, incoming: Incoming) {
        match incoming.request.method() {
            Method::Bye => self.handle_bye(now, core, &incoming),
            Method::Notify => self.handle_notify(now, core, &incoming),
            Method::Refer => self.handle_refer(now, core, incoming),
            Method::Info => self.handle_info(now, core, &incoming),
            Method::Options => {
                core.answer(now, self.id, &incoming, 200, screen::capabilities);
            }
            Method::Prack => self.handle_prack(now, core, incoming),
            Method::Update if incoming.description().is_empty() => {
                self.handle_refresh(now, core, &incoming);
            }
            Method::Invite | Method::Update => self.handle_offer(now, core, incoming),
            // Refused before a dialog was looked for.
            Method::Ack
            | Method::Cancel
            | Method::Register
            | Method::Message
            | Method::Subscribe
            | Method::Publish
            | Method::Other(_) => core.answer(now, self.id, &incoming, 501, |response| response),
        }
    }

    /// An UPDATE without an offer: a sign of life that may bring a new address (RFC 3311 §5.2).
    fn handle_refresh(&mut self, now: Instant, core: &mut Core, incoming: &Incoming) {
        let headers = incoming.request.headers();
        self.dialog.refresh_target(headers);
        self.note_allow(headers);
        let contact = self.dialog.contact().to_owned();
        let fields = self.timer.answer(now, headers);
        core.answer(now, self.id, incoming, 200, |response| {
            supporting(response.header(Name::Contact, contact)).headers(&fields)
        });
    }

    /// In a call we placed every phone that rings has its dialog, and may speak in it.
    fn handle_early_request(&mut self, now: Instant, core: &mut Core, incoming: Incoming) {
        let Some(early) = self.early.dialog_of(&incoming.request) else {
            return core.refuse(&incoming.request, &incoming.flow, 481);
        };
        std::mem::swap(early, &mut self.dialog);
        let tag = self.dialog.remote_tag().to_owned();
        self.handle_request(now, core, incoming);
        if let Some(early) = self.early.swapped(&tag, &self.dialog) {
            std::mem::swap(early, &mut self.dialog);
        }
    }

    /// Which of our dialogs a request belongs to.
    pub(in crate::sip::endpoint) fn dialog_of(&self, request: &Request) -> Option<&Dialog> {
        if self.dialog.is_from_peer(request) {
            return Some(&self.dialog);
        }
        self.early.find(request)
    }

    fn is_of_no_subscription(&self, request: &Request) -> bool {
        let event = request.headers().get(Name::Event);
        *request.method() == Method::Notify
            && self.transferor.check_notify(event) == Err(NotifyFault::NoSubscription)
    }
}
