//! INFO: keys of gateways that do not send them as RTP, and packages nobody negotiated (RFC 6086).

use std::time::Instant;

use super::Session;
use crate::sip::digit_info::{self, NoDigit};
use crate::sip::endpoint::core::{Core, Incoming};
use crate::sip::endpoint::event::DialogEvent;
use crate::sip::message::Name;

impl Session {
    /// * an Info Package: 469, we asked for none (RFC 6086 §4.2.2);
    /// * no body: 200, a sign of life;
    /// * a key: 200, and the call is told; one that cannot be read: 400, so that its loss is known;
    /// * any other body: 415, as RFC 2976 had it.
    pub(super) fn handle_info(&mut self, now: Instant, core: &mut Core, incoming: &Incoming) {
        let headers = incoming.request.headers();
        if headers.named("Info-Package").is_some() {
            return core.answer(now, self.id, incoming, 469, |response| {
                response.header("Recv-Info", "")
            });
        }
        let content_type = headers
            .content_type()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let body = incoming.request.body().clone();
        match digit_info::read(&content_type, &body) {
            _ if body.is_empty() => core.answer(now, self.id, incoming, 200, |response| response),
            Ok(_) => {
                core.answer(now, self.id, incoming, 200, |response| response);
                core.event(self.id, DialogEvent::Info { content_type, body });
            }
            Err(NoDigit::Malformed) => {
                core.answer(now, self.id, incoming, 400, |response| {
                    response.reason("Unreadable Signal")
                });
            }
            Err(NoDigit::MediaType) => {
                core.answer(now, self.id, incoming, 415, |response| {
                    response.header(Name::Accept, digit_info::TYPES)
                });
            }
        }
    }
}
