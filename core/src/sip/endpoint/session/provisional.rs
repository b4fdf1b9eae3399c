//! Ringing to a peer that requires every ring to arrive (RFC 3262, as UAS).

use std::time::Instant;

use bytes::Bytes;

use super::uas::with_sdp;
use super::{CommandError, Session, Usage};
use crate::sip::dialog::Unanswered;
use crate::sip::dialog::reliable::{Due, RAck, Reliable, TAG};
use crate::sip::endpoint::core::{Core, Incoming};
use crate::sip::endpoint::event::DialogEvent;
use crate::sip::message::{Name, Request};

use super::reinvite::Negotiation;

impl Session {
    /// The INVITE requires reliable provisionals; one that only supports them gets ordinary ones.
    pub(in crate::sip::endpoint) fn require_reliable(&mut self, core: &mut Core, invite: &Request) {
        let headers = invite.headers();
        if headers.lists(Name::Require, TAG) {
            let cseq = headers.cseq().map_or(0, |cseq| cseq.number);
            self.reliable = Some(Box::new(Reliable::new(cseq, core.author.rseq())));
        }
    }

    /// A provisional that is said until it is acknowledged, or that waits for the one before it.
    pub(super) fn ring_reliably(
        &mut self,
        now: Instant,
        core: &mut Core,
        status: u16,
        body: Bytes,
    ) -> Result<Bytes, CommandError> {
        let Some(reliable) = &mut self.reliable else {
            return Err(CommandError::WrongState);
        };
        if reliable.is_waiting() {
            let queued = reliable.queue(status, body);
            return queued
                .map(|()| Bytes::new())
                .map_err(|_| CommandError::TooManyHeld);
        }
        let rseq = reliable.next_rseq().to_string();
        let offer = body.clone();
        let response = self.respond_to_offer(now, core, status, |response| {
            let response = response.header(Name::Require, TAG).header(Name::RSeq, rseq);
            with_sdp(response, body)
        })?;
        let described = !offer.is_empty();
        if described {
            self.describe_provisionally(offer);
        }
        if let Some(reliable) = &mut self.reliable {
            let sent = (status, response.clone());
            reliable.handle_sent(now, core.layer.timing(), sent, described);
        }
        Ok(response)
    }

    fn describe_provisionally(&mut self, ours: Bytes) {
        if let Usage::Offered(offered) = &self.usage {
            let theirs = offered.description();
            if theirs.is_empty() {
                self.described.offered(ours, theirs);
            } else {
                self.described.answered(theirs, ours);
            }
        }
    }

    pub(super) fn repeat_reliable(&mut self, now: Instant, core: &mut Core) {
        let (Usage::Offered(offered), Some(reliable)) = (&self.usage, &mut self.reliable) else {
            return;
        };
        let server = offered.server();
        match reliable.handle_timeout(now) {
            Due::Nothing => {}
            Due::Repeat(status, response) => {
                core.layer.counters.repeats_sent += 1;
                core.respond(now, server, status, &response);
            }
            Due::GiveUp => {
                // §3: a 5xx. Whoever cannot acknowledge a ring will not acknowledge an answer.
                if self.reject(now, core, 504, &[]).is_err() {
                    core.layer.counters.malformed += 1;
                    self.usage = Usage::Gone;
                }
                let why = "a provisional response was never acknowledged".to_owned();
                core.event(self.id, DialogEvent::Lost { why });
            }
        }
    }

    /// PRACK: the provisional arrived. It may bring an answer to an offer in it, or, once the session is described, a new
    /// offer (§5).
    pub(super) fn handle_prack(&mut self, now: Instant, core: &mut Core, incoming: Incoming) {
        let Some(rack) = RAck::of(incoming.request.headers()) else {
            core.answer(now, self.id, &incoming, 400, |response| {
                response.reason("Unreadable RAck")
            });
            return;
        };
        let body = incoming.description();
        let reliable = self.reliable.as_mut();
        let Some(described) = reliable.and_then(|reliable| reliable.handle_prack(&rack)) else {
            core.answer(now, self.id, &incoming, 481, |response| response);
            return;
        };
        if body.is_empty() {
            core.answer(now, self.id, &incoming, 200, |response| response);
        } else if described && self.is_our_offer_open() {
            core.answer(now, self.id, &incoming, 200, |response| response);
            self.described.offered(self.described.ours(), body.clone());
            core.event(self.id, DialogEvent::Acknowledged { body });
        } else {
            self.take_offer_in_prack(now, core, incoming, body);
        }
        self.say_next(now, core);
        self.release(now, core);
    }

    /// The INVITE had no offer, so what we said first about the session is one.
    pub(super) fn is_our_offer_open(&self) -> bool {
        matches!(&self.usage, Usage::Offered(offered) if offered.description().is_empty())
    }

    fn take_offer_in_prack(
        &mut self,
        now: Instant,
        core: &mut Core,
        incoming: Incoming,
        offer: Bytes,
    ) {
        let settled = self.reliable.as_ref().is_some_and(|one| one.is_settled());
        if !settled || !self.negotiation.is_idle() {
            let soon = core.author.retry_soon();
            return core.answer(now, self.id, &incoming, 500, |response| {
                response.header(Name::RetryAfter, soon)
            });
        }
        let Ok(server) = core.open(now, self.id, &incoming) else {
            core.layer.counters.malformed += 1;
            return;
        };
        self.negotiation = Negotiation::Asked(Box::new(Unanswered {
            server,
            source: incoming.source(),
            request: incoming.request,
            until: now + core.layer.timing().patience(),
        }));
        core.event(self.id, DialogEvent::Reinvited { offer });
    }

    /// The next provisional, if one waits and the call still rings.
    fn say_next(&mut self, now: Instant, core: &mut Core) {
        let is_ringing = matches!(self.usage, Usage::Offered(_));
        let next = self
            .reliable
            .as_mut()
            .and_then(|reliable| reliable.take_next());
        if let Some((status, body)) = next.filter(|_| is_ringing)
            && self.ring_reliably(now, core, status, body).is_err()
        {
            core.layer.counters.malformed += 1;
        }
    }
}
