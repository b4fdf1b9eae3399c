//! Another offer in a running call: re-INVITE (RFC 3261 §14) and UPDATE (RFC 3311), either way, one at a time.

use std::time::Instant;

use bytes::Bytes;

use super::uas::{supporting, with_sdp};
use super::{CommandError, Session, Usage};
use crate::sip::dialog::Unanswered;
use crate::sip::dialog::invite_uas::{Due, Unacknowledged};
use crate::sip::endpoint::author::{ALLOW, EXTENSIONS, SDP};
use crate::sip::endpoint::core::{Core, Incoming};
use crate::sip::endpoint::event::{Command, DialogEvent};
use crate::sip::endpoint::layer::Purpose;
use crate::sip::message::{Headers, Method, Name, Response, body};
use crate::sip::transaction::TransactionId;

/// How often an offer of ours is made again after a 491 before it is given up.
const TRIES: u8 = 4;

/// Whose offer is open.
#[derive(Debug)]
pub(super) enum Negotiation {
    /// Nobody's.
    Idle,
    /// Theirs: the call has not answered yet.
    Asked(Box<Unanswered>),
    /// Theirs, in a re-INVITE: our 2xx waits for its ACK.
    Accepted {
        server: TransactionId,
        waiting: Unacknowledged,
        /// The re-INVITE had an offer, so nothing but the ACK is missing.
        answered: bool,
    },
    /// Ours: the re-INVITE has no final response yet.
    Asking {
        body: Bytes,
        tries: u8,
        asker: Asker,
    },
    /// Ours crossed theirs: 491; it is made again then (§14.1).
    Crossed {
        body: Bytes,
        tries: u8,
        asker: Asker,
        again: Instant,
    },
}

/// For whom an offer of ours is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// For the call, which is told how it ends.
    Call,
    /// For the session timer: it changes nothing.
    Timer,
}

impl Negotiation {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Accepted { waiting, .. } => Some(waiting.deadline()),
            Self::Crossed { again, .. } => Some(*again),
            Self::Asked(asked) => Some(asked.until),
            Self::Idle | Self::Asking { .. } => None,
        }
    }
}

/// Theirs.
impl Session {
    /// A re-INVITE, or an UPDATE with an offer.
    pub(super) fn handle_offer(&mut self, now: Instant, core: &mut Core, incoming: Incoming) {
        self.imply_ack(now, core);
        let is_update = *incoming.request.method() == Method::Update;
        let settled = self.reliable.as_ref().is_some_and(|one| one.is_settled());
        let opened = self.reliable.as_ref().is_some_and(|one| one.holds_answer());
        match (&self.usage, &self.negotiation) {
            (Usage::Confirmed, Negotiation::Idle | Negotiation::Crossed { .. }) => {
                self.ask(now, core, incoming);
            }
            // RFC 3311 §5.1: a session described while it rings may be described anew.
            (Usage::Offered(_), Negotiation::Idle) if is_update && settled => {
                self.ask(now, core, incoming);
            }
            (Usage::Offered(_), _) if is_update && opened && self.is_our_offer_open() => {
                core.answer(now, self.id, &incoming, 491, |response| response);
            }
            // §14.2: ours is open, so is theirs now.
            (Usage::Confirmed, Negotiation::Asking { .. } | Negotiation::Accepted { .. })
            | (Usage::Accepted { .. } | Usage::AnswerDue { .. }, _) => {
                core.answer(now, self.id, &incoming, 491, |response| response);
            }
            // §14.2: theirs is open already; or the call is not up yet (RFC 3311 §5.2).
            (Usage::Confirmed, Negotiation::Asked(_))
            | (Usage::Offered(_) | Usage::Calling { .. }, _) => {
                let soon = core.author.retry_soon();
                core.answer(now, self.id, &incoming, 500, |response| {
                    response.header(Name::RetryAfter, soon)
                });
            }
            (Usage::HangingUp | Usage::Over { .. } | Usage::Gone, _) => {
                core.answer(now, self.id, &incoming, 481, |response| response);
            }
        }
    }

    /// Whoever makes another offer has our 2xx, so its ACK was lost or comes late (RFC 5407 §3.1.4); unless that ACK
    /// must bring the answer.
    fn imply_ack(&mut self, now: Instant, core: &mut Core) {
        if matches!(
            self.usage,
            Usage::Accepted {
                answered: true,
                bye: None,
                ..
            }
        ) {
            self.confirm(now, core, Bytes::new());
        }
        if matches!(
            self.negotiation,
            Negotiation::Accepted { answered: true, .. }
        ) {
            self.negotiation = Negotiation::Idle;
        }
    }

    fn ask(&mut self, now: Instant, core: &mut Core, incoming: Incoming) {
        let Ok(server) = core.open(now, self.id, &incoming) else {
            core.layer.counters.malformed += 1;
            return;
        };
        if let Negotiation::Crossed { body, asker, .. } =
            std::mem::replace(&mut self.negotiation, Negotiation::Idle)
        {
            match asker {
                // Theirs first; ours is made again when theirs is answered.
                Asker::Call => self.held.push_front(Command::Reinvite { body }),
                Asker::Timer => self.timer.handle_failed(now),
            }
        }
        let offer = incoming.description();
        self.note_allow(incoming.request.headers());
        self.negotiation = Negotiation::Asked(Box::new(Unanswered {
            server,
            source: incoming.source(),
            request: incoming.request,
            until: now + core.layer.timing().patience(),
        }));
        if self.described.is_repeated_by(&offer) {
            let ours = self.described.ours();
            if self.answer_reinvite(now, core, 200, ours, &[]).is_err() {
                core.layer.counters.malformed += 1;
            }
        } else {
            core.event(self.id, DialogEvent::Reinvited { offer });
        }
    }

    pub(super) fn answer_reinvite(
        &mut self,
        now: Instant,
        core: &mut Core,
        status: u16,
        answer: Bytes,
        headers: &[(String, String)],
    ) -> Result<(), CommandError> {
        let Negotiation::Asked(asked) = &self.negotiation else {
            return Err(CommandError::WrongState);
        };
        if !(200..700).contains(&status) {
            return Err(CommandError::Status(status));
        }
        let asking = asked.request.headers();
        let method = asked.request.method();
        let offer = body::session_description(asking, asked.request.body()).unwrap_or_default();
        let mut response = core.author.response(&asked.request, asked.source, status);
        if status < 300 {
            response = supporting(response)
                .header(Name::Contact, self.dialog.contact())
                .header(Name::Allow, ALLOW);
            if *method != Method::Prack {
                response = response.headers(&self.timer.answer(now, asking));
            }
        }
        let wire = with_sdp(response.headers(headers), answer.clone())
            .build()?
            .to_bytes();
        core.respond(now, asked.server, status, &wire);
        if status < 300 {
            self.dialog.refresh_target(asking);
            self.described.answered(offer, answer);
        }
        let is_invite = *method == Method::Invite;
        self.negotiation = if is_invite && status < 300 {
            let cseq = asked.request.headers().cseq().map_or(0, |cseq| cseq.number);
            Negotiation::Accepted {
                server: asked.server,
                waiting: Unacknowledged::new(now, core.layer.timing(), cseq, wire),
                answered: !body::session_description(asking, asked.request.body())
                    .unwrap_or_default()
                    .is_empty(),
            }
        } else {
            Negotiation::Idle
        };
        self.release(now, core);
        Ok(())
    }

    /// The ACK of our 2xx to a re-INVITE. It is reported only when it brings an answer.
    pub(super) fn acknowledge_reinvite(
        &mut self,
        now: Instant,
        core: &mut Core,
        cseq: u32,
        body: &Bytes,
    ) {
        let Negotiation::Accepted { waiting, .. } = &self.negotiation else {
            return;
        };
        if !waiting.is_acknowledged_by(cseq) {
            return;
        }
        self.negotiation = Negotiation::Idle;
        if !body.is_empty() {
            self.described.offered(self.described.ours(), body.clone());
            core.event(self.id, DialogEvent::Acknowledged { body: body.clone() });
        }
        self.release(now, core);
    }

    /// A CANCEL took the re-INVITE back.
    pub(super) fn cancel_reinvite(&mut self, now: Instant, core: &mut Core, server: TransactionId) {
        if matches!(&self.negotiation, Negotiation::Asked(asked) if asked.server == server) {
            self.drop_negotiation(now, core);
            self.release(now, core);
        }
    }

    /// The call ends: their open offer gets 487 (§15.1.2), ours is forgotten.
    pub(super) fn drop_negotiation(&mut self, now: Instant, core: &mut Core) {
        if let Negotiation::Asked(asked) =
            std::mem::replace(&mut self.negotiation, Negotiation::Idle)
            && let Ok(response) = core
                .author
                .response(&asked.request, asked.source, 487)
                .build()
        {
            core.respond(now, asked.server, 487, &response.to_bytes());
        }
    }
}

/// Ours.
impl Session {
    pub(super) fn reinvite(
        &mut self,
        now: Instant,
        core: &mut Core,
        body: Bytes,
    ) -> Result<(), CommandError> {
        self.offer(now, core, body, 1, Asker::Call)
    }

    pub(super) fn offer(
        &mut self,
        now: Instant,
        core: &mut Core,
        body: Bytes,
        tries: u8,
        asker: Asker,
    ) -> Result<(), CommandError> {
        let invite = (Method::Invite, Purpose::Reinvite);
        let (offer, fields) = (body.clone(), self.timer.ask());
        core.request(now, Some(self.id), &mut self.dialog, invite, |invite| {
            let invite = invite
                .header(Name::Allow, ALLOW)
                .header(Name::Supported, EXTENSIONS.join(", "))
                .headers(&fields);
            if offer.is_empty() {
                invite
            } else {
                invite.body(SDP, offer)
            }
        })?;
        self.negotiation = Negotiation::Asking { body, tries, asker };
        Ok(())
    }

    /// 2xx.
    pub(super) fn handle_reinvite_answer(
        &mut self,
        now: Instant,
        core: &mut Core,
        client: TransactionId,
        cseq: u32,
        response: &Response,
    ) {
        core.acknowledge(now, client, &self.dialog, cseq);
        let Negotiation::Asking {
            body: ours, asker, ..
        } = std::mem::replace(&mut self.negotiation, Negotiation::Idle)
        else {
            return; // the call has ended meanwhile
        };
        let (status, headers) = (response.status(), response.headers());
        let body = body::any_session_description(headers, response.body());
        self.handle_refreshed(now, core, status, Some(headers));
        if asker == Asker::Call {
            self.described.offered(ours, body.clone());
            core.event(self.id, DialogEvent::ReinviteEnded { status, body });
        }
        self.release(now, core);
    }

    /// 300-699, 408 for silence, 503 for no way.
    pub(super) fn handle_reinvite_failed(
        &mut self,
        now: Instant,
        core: &mut Core,
        status: u16,
        headers: Option<&Headers>,
    ) {
        let Negotiation::Asking { body, tries, asker } =
            std::mem::replace(&mut self.negotiation, Negotiation::Idle)
        else {
            return; // the call has ended meanwhile
        };
        if status == 491 && tries < TRIES {
            let again = now + core.author.glare_wait(self.dialog.is_uac());
            self.negotiation = Negotiation::Crossed {
                body,
                tries,
                asker,
                again,
            };
            return;
        }
        if asker == Asker::Timer {
            self.handle_refreshed(now, core, status, headers);
            return self.release(now, core);
        }
        let longer = status == 422 && headers.is_some_and(|h| self.timer.handle_too_small(h));
        if longer && self.offer(now, core, body, tries, asker).is_ok() {
            return;
        }
        let body = Bytes::new();
        core.event(self.id, DialogEvent::ReinviteEnded { status, body });
        if matches!(status, 408 | 481) {
            // §14.1: there is no call any more.
            self.lose(now, core, &format!("{status} to a re-INVITE"), &[]);
        } else {
            self.release(now, core);
        }
    }
}

impl Session {
    pub(super) fn handle_negotiation_timeout(&mut self, now: Instant, core: &mut Core) {
        match &mut self.negotiation {
            Negotiation::Accepted {
                server, waiting, ..
            } => match waiting.handle_timeout(now) {
                Due::Nothing => {}
                Due::Repeat(response) => {
                    core.layer.counters.repeats_sent += 1;
                    core.respond(now, *server, 200, &response);
                }
                Due::GiveUp => self.give_up(now, core, &[]),
            },
            // RFC 3261 §14.2 knows no limit, but who asks by UPDATE or PRACK gives up at timer F.
            Negotiation::Asked(asked) if asked.until <= now => {
                if self
                    .answer_reinvite(now, core, 500, Bytes::new(), &[])
                    .is_err()
                {
                    core.layer.counters.malformed += 1;
                    self.negotiation = Negotiation::Idle;
                }
            }
            Negotiation::Crossed {
                body,
                tries,
                asker,
                again,
            } if *again <= now => {
                let (body, tries, asker) = (body.clone(), *tries + 1, *asker);
                if self.offer(now, core, body, tries, asker).is_err() {
                    core.layer.counters.malformed += 1;
                }
            }
            Negotiation::Idle
            | Negotiation::Asked(_)
            | Negotiation::Asking { .. }
            | Negotiation::Crossed { .. } => {}
        }
    }
}
