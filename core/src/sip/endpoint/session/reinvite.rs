//! Another offer in a running call: re-INVITE (RFC 3261 §14) and UPDATE (RFC 3311), either way, one at a time.

use std::time::Instant;

use bytes::Bytes;

use super::uas::with_sdp;
use super::{CommandError, Session, Usage};
use crate::sip::dialog::Unanswered;
use crate::sip::dialog::invite_uas::{Due, Unacknowledged};
use crate::sip::endpoint::author::{ALLOW, SDP};
use crate::sip::endpoint::core::{Core, Incoming};
use crate::sip::endpoint::event::DialogEvent;
use crate::sip::endpoint::layer::Purpose;
use crate::sip::message::{Method, Name, Response};
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
    Asking { body: Bytes, tries: u8 },
    /// Ours crossed theirs: 491; it is made again then (§14.1).
    Crossed {
        body: Bytes,
        tries: u8,
        again: Instant,
    },
}

impl Negotiation {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Accepted { waiting, .. } => Some(waiting.deadline()),
            Self::Crossed { again, .. } => Some(*again),
            Self::Idle | Self::Asked(_) | Self::Asking { .. } => None,
        }
    }
}

/// Theirs.
impl Session {
    /// A re-INVITE, or an UPDATE with an offer.
    pub(super) fn handle_offer(&mut self, now: Instant, core: &mut Core, incoming: Incoming) {
        self.imply_ack(now, core);
        match (&self.usage, &self.negotiation) {
            (Usage::Confirmed, Negotiation::Idle | Negotiation::Crossed { .. }) => {
                self.ask(now, core, incoming);
            }
            // §14.2: ours is open, so is theirs now.
            (Usage::Confirmed, Negotiation::Asking { .. } | Negotiation::Accepted { .. })
            | (Usage::Accepted { .. }, _) => {
                core.answer(now, self.id, &incoming, 491, |response| response);
            }
            // §14.2: theirs is open already; or the call is not up yet (RFC 3311 §5.2).
            (Usage::Confirmed, Negotiation::Asked(_)) | (Usage::Offered(_), _) => {
                let soon = core.author.retry_soon();
                core.answer(now, self.id, &incoming, 500, |response| {
                    response.header(Name::RetryAfter, soon)
                });
            }
            (Usage::Calling { .. } | Usage::HangingUp | Usage::Over { .. } | Usage::Gone, _) => {
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
        if let Negotiation::Crossed { body, .. } =
            std::mem::replace(&mut self.negotiation, Negotiation::Idle)
        {
            // Theirs first; ours is made again when theirs is answered.
            self.held
                .push_front(crate::sip::endpoint::Command::Reinvite { body });
        }
        let offer = incoming.request.body().clone();
        self.negotiation = Negotiation::Asked(Box::new(Unanswered {
            server,
            source: incoming.source(),
            request: incoming.request,
        }));
        core.event(self.id, DialogEvent::Reinvited { offer });
    }

    pub(super) fn answer_reinvite(
        &mut self,
        now: Instant,
        core: &mut Core,
        status: u16,
        body: Bytes,
        headers: &[(String, String)],
    ) -> Result<(), CommandError> {
        let Negotiation::Asked(asked) = &self.negotiation else {
            return Err(CommandError::WrongState);
        };
        if !(200..700).contains(&status) {
            return Err(CommandError::Status(status));
        }
        let mut response = core.author.response(&asked.request, asked.source, status);
        if status < 300 {
            response = response
                .header(Name::Contact, self.dialog.contact())
                .header(Name::Allow, ALLOW);
        }
        let wire = with_sdp(response.headers(headers), body)
            .build()?
            .to_bytes();
        core.respond(now, asked.server, status, &wire);
        if status < 300 {
            self.dialog.refresh_target(asked.request.headers());
        }
        let is_invite = *asked.request.method() == Method::Invite;
        self.negotiation = if is_invite && status < 300 {
            let cseq = asked.request.headers().cseq().map_or(0, |cseq| cseq.number);
            Negotiation::Accepted {
                server: asked.server,
                waiting: Unacknowledged::new(now, core.layer.timing(), cseq, wire),
                answered: !asked.request.body().is_empty(),
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
        self.offer(now, core, body, 1)
    }

    fn offer(
        &mut self,
        now: Instant,
        core: &mut Core,
        body: Bytes,
        tries: u8,
    ) -> Result<(), CommandError> {
        let invite = (Method::Invite, Purpose::Reinvite);
        let offer = body.clone();
        core.request(now, Some(self.id), &mut self.dialog, invite, |invite| {
            let invite = invite.header(Name::Allow, ALLOW);
            if offer.is_empty() {
                invite
            } else {
                invite.body(SDP, offer)
            }
        })?;
        self.negotiation = Negotiation::Asking { body, tries };
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
        if !matches!(self.negotiation, Negotiation::Asking { .. }) {
            return; // the call has ended meanwhile
        }
        self.dialog.refresh_target(response.headers());
        self.negotiation = Negotiation::Idle;
        core.event(
            self.id,
            DialogEvent::ReinviteEnded {
                status: response.status(),
                body: response.body().clone(),
            },
        );
        self.release(now, core);
    }

    /// 300-699, 408 for silence, 503 for no way.
    pub(super) fn handle_reinvite_failed(&mut self, now: Instant, core: &mut Core, status: u16) {
        let Negotiation::Asking { body, tries } =
            std::mem::replace(&mut self.negotiation, Negotiation::Idle)
        else {
            return; // the call has ended meanwhile
        };
        if status == 491 && tries < TRIES {
            let again = now + core.author.glare_wait(self.dialog.is_uac());
            self.negotiation = Negotiation::Crossed { body, tries, again };
            return;
        }
        let body = Bytes::new();
        core.event(self.id, DialogEvent::ReinviteEnded { status, body });
        if matches!(status, 408 | 481) {
            // §14.1: there is no call any more.
            self.send_orphan_bye(now, core, &[]);
            let why = format!("{status} to a re-INVITE");
            core.event(self.id, DialogEvent::Lost { why });
            self.end(now, core);
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
            Negotiation::Crossed { body, tries, again } if *again <= now => {
                let (body, tries) = (body.clone(), *tries + 1);
                if self.offer(now, core, body, tries).is_err() {
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
