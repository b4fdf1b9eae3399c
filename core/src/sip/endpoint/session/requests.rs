//! What a peer asks in a dialog (RFC 3261 §12.2.2), sorted by method.

use std::time::Instant;

use super::{Session, Usage};
use crate::sip::endpoint::core::{Core, Incoming};
use crate::sip::endpoint::event::DialogEvent;
use crate::sip::endpoint::screen;
use crate::sip::message::{Method, Name};

impl Session {
    /// A request other than ACK and CANCEL, whose To tag is ours.
    pub(in crate::sip::endpoint) fn handle_request(
        &mut self,
        now: Instant,
        core: &mut Core,
        incoming: Incoming,
    ) {
        let (request, flow) = (&incoming.request, &incoming.flow);
        if !self.dialog.is_from_peer(request) || !self.is_open_for(request.method()) {
            return core.refuse(request, flow, 481);
        }
        if !core.has_room() {
            let retry_after = core.author.retry_after();
            return core.refuse_overloaded(request, flow, &retry_after);
        }
        if let Err(refusal) = screen::extensions(request).and_then(|()| screen::content(request)) {
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
            Method::Update if incoming.request.body().is_empty() => {
                self.handle_refresh(now, core, &incoming);
            }
            Method::Invite | Method::Update => self.handle_offer(now, core, incoming),
            // Refused before a dialog was looked for.
            Method::Ack
            | Method::Cancel
            | Method::Register
            | Method::Prack
            | Method::Message
            | Method::Subscribe
            | Method::Publish
            | Method::Other(_) => core.answer(now, self.id, &incoming, 501, |response| response),
        }
    }

    fn handle_info(&mut self, now: Instant, core: &mut Core, incoming: &Incoming) {
        core.answer(now, self.id, incoming, 200, |response| response);
        let content_type = incoming
            .request
            .headers()
            .content_type()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let body = incoming.request.body().clone();
        core.event(self.id, DialogEvent::Info { content_type, body });
    }

    /// An UPDATE without an offer: a sign of life that may bring a new address (RFC 3311 §5.2).
    fn handle_refresh(&mut self, now: Instant, core: &mut Core, incoming: &Incoming) {
        self.dialog.refresh_target(incoming.request.headers());
        let contact = self.dialog.contact().to_owned();
        core.answer(now, self.id, incoming, 200, |response| {
            response.header(Name::Contact, contact)
        });
    }
}
