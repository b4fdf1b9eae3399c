//! A call that came in, until it is answered, refused, cancelled or given up (RFC 3261 §13.3).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{CommandError, Session, Usage};
use crate::sip::dialog::invite_uas::{Due, Unacknowledged};
use crate::sip::dialog::session_timer;
use crate::sip::endpoint::author::{ALLOW, EXTENSIONS, SDP};
use crate::sip::endpoint::core::Core;
use crate::sip::endpoint::event::DialogEvent;
use crate::sip::message::body;
use crate::sip::message::{Headers, Name, Request, ResponseBuilder};
use crate::sip::transaction::TransactionId;

/// How often a provisional is said again: proxies give a ringing call up after three minutes of silence (timer C),
/// so §13.3.1.1 wants one every minute.
const RING_AGAIN: Duration = Duration::from_mins(1);

/// An INVITE that waits for its final response.
#[derive(Debug)]
pub(in crate::sip::endpoint) struct Offered {
    server: TransactionId,
    request: Request,
    source: SocketAddr,
    ringing: Ringing,
}

#[derive(Debug)]
enum Ringing {
    /// Only 100 so far, which no proxy forwards.
    Silent,
    /// A provisional with our tag has been sent.
    Said {
        status: u16,
        response: Bytes,
        again: Instant,
    },
}

impl Offered {
    /// `request` came from `source` and its 100 has been sent.
    pub(in crate::sip::endpoint) fn new(
        server: TransactionId,
        request: Request,
        source: SocketAddr,
    ) -> Self {
        Self {
            server,
            request,
            source,
            ringing: Ringing::Silent,
        }
    }

    /// Its transaction.
    pub(super) fn server(&self) -> TransactionId {
        self.server
    }

    /// The header of the INVITE.
    pub(super) fn headers(&self) -> &Headers {
        self.request.headers()
    }

    /// The offer in the INVITE; empty when ours is wanted.
    pub(super) fn description(&self) -> Bytes {
        // What cannot be read was refused before there was a call.
        body::session_description(self.request.headers(), self.request.body()).unwrap_or_default()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.ringing {
            Ringing::Silent => None,
            Ringing::Said { again, .. } => Some(again),
        }
    }
}

impl Session {
    fn offered_ref(&self) -> Result<&Offered, CommandError> {
        if let Usage::Offered(offered) = &self.usage {
            Ok(offered)
        } else {
            Err(CommandError::WrongState)
        }
    }

    /// The response to the INVITE, as far as its status decides it.
    pub(super) fn respond_to_offer(
        &self,
        now: Instant,
        core: &mut Core,
        status: u16,
        more: impl FnOnce(ResponseBuilder<'_>) -> ResponseBuilder<'_>,
    ) -> Result<Bytes, CommandError> {
        let offered = self.offered_ref()?;
        let mut response = core
            .author
            .response(&offered.request, offered.source, status)
            .to_tag(self.dialog.local_tag());
        if status < 300 {
            // §12.1.1: what makes a dialog carries the route back, and our address.
            response = response
                .copy(Name::RecordRoute)
                .header(Name::Contact, self.dialog.contact())
                .header(Name::Allow, ALLOW);
        }
        let wire = more(response).build()?.to_bytes();
        core.respond(now, offered.server, status, &wire);
        Ok(wire)
    }

    /// 180, 183 and their kin.
    pub(super) fn ring(
        &mut self,
        now: Instant,
        core: &mut Core,
        status: u16,
        body: Bytes,
    ) -> Result<(), CommandError> {
        if !(101..200).contains(&status) {
            return Err(CommandError::Status(status));
        }
        let response = if self.reliable.is_some() {
            self.ring_reliably(now, core, status, body)?
        } else {
            self.respond_to_offer(now, core, status, |response| with_sdp(response, body))?
        };
        if let Usage::Offered(offered) = &mut self.usage {
            offered.ringing = Ringing::Said {
                status,
                response,
                again: now + RING_AGAIN,
            };
        }
        Ok(())
    }

    pub(super) fn repeat_ringing(&mut self, now: Instant, core: &mut Core) {
        let Usage::Offered(offered) = &mut self.usage else {
            return;
        };
        let Ringing::Said {
            status,
            response,
            again,
        } = &mut offered.ringing
        else {
            return;
        };
        if *again > now {
            return;
        }
        *again = now + RING_AGAIN;
        match &self.reliable {
            None => core.respond(now, offered.server, *status, response),
            // It is being repeated as it is.
            Some(reliable) if reliable.is_waiting() => {}
            // Who wants every ring acknowledged wants this one numbered too.
            Some(_) => {
                let status = *status;
                if self.ring_reliably(now, core, status, Bytes::new()).is_err() {
                    core.layer.counters.malformed += 1;
                }
            }
        }
    }

    /// 200.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        core: &mut Core,
        body: Bytes,
        headers: &[(String, String)],
    ) -> Result<(), CommandError> {
        let offered = self.offered_ref()?;
        if core.is_half_open(offered.source.ip()) {
            return self.refuse_half_open(now, core);
        }
        let (server, offer) = (offered.server, offered.description());
        let mut fields = session_timer::Fields::new();
        if let Usage::Offered(offered) = &self.usage {
            fields = self.timer.answer(now, offered.headers());
        }
        let offered = self.offered_ref()?;
        let cseq = offered
            .request
            .headers()
            .cseq()
            .map_or(0, |cseq| cseq.number);
        let ours = body.clone();
        let response = self.respond_to_offer(now, core, 200, |response| {
            with_sdp(supporting(response).headers(&fields).headers(headers), body)
        })?;
        let answered = !offer.is_empty();
        if !ours.is_empty() {
            self.described.answered(offer, ours);
        }
        if let Some(reliable) = &mut self.reliable {
            reliable.handle_final();
        }
        self.usage = Usage::Accepted {
            server,
            waiting: Unacknowledged::new(now, core.layer.timing(), cseq, response),
            answered,
            bye: None,
        };
        Ok(())
    }

    /// 503 in place of an answer: who leaves so many unacknowledged gets no more of them. The call hears that its dialog
    /// is lost.
    fn refuse_half_open(&mut self, now: Instant, core: &mut Core) -> Result<(), CommandError> {
        let retry_after = core.author.retry_after();
        core.layer.counters.overloaded += 1;
        self.respond_to_offer(now, core, 503, |response| {
            response.header(Name::RetryAfter, retry_after)
        })?;
        self.usage = Usage::Gone;
        let why = "this source leaves too many of our answers unacknowledged".to_owned();
        core.event(self.id, DialogEvent::Lost { why });
        Ok(())
    }

    /// 300-699: the dialog is gone.
    pub(super) fn reject(
        &mut self,
        now: Instant,
        core: &mut Core,
        status: u16,
        headers: &[(String, String)],
    ) -> Result<(), CommandError> {
        if !(300..700).contains(&status) {
            return Err(CommandError::Status(status));
        }
        self.respond_to_offer(now, core, status, |response| response.headers(headers))?;
        self.drop_negotiation(now, core);
        self.usage = Usage::Gone;
        Ok(())
    }

    /// A CANCEL came for one of our INVITE transactions; its 200 has been sent.
    pub(in crate::sip::endpoint) fn handle_cancel(
        &mut self,
        now: Instant,
        core: &mut Core,
        server: TransactionId,
        reason: Option<String>,
    ) {
        let is_ours = matches!(&self.usage, Usage::Offered(offered) if offered.server == server);
        if !is_ours {
            return self.cancel_reinvite(now, core, server);
        }
        if self.terminate_offer(now, core).is_err() {
            core.layer.counters.malformed += 1;
        }
        self.drop_negotiation(now, core);
        self.usage = Usage::Gone;
        core.event(self.id, DialogEvent::Cancelled { reason });
    }

    /// 487: the INVITE is taken back, by CANCEL or BYE.
    pub(super) fn terminate_offer(
        &mut self,
        now: Instant,
        core: &mut Core,
    ) -> Result<(), CommandError> {
        self.respond_to_offer(now, core, 487, |response| response)
            .map(drop)
    }

    /// An ACK for a 2xx of ours.
    pub(in crate::sip::endpoint) fn handle_ack(
        &mut self,
        now: Instant,
        core: &mut Core,
        cseq: u32,
        body: &Bytes,
    ) {
        let is_first = matches!(
            &self.usage,
            Usage::Accepted { waiting, .. } if waiting.is_acknowledged_by(cseq)
        );
        if is_first {
            self.confirm(now, core, body.clone());
        } else {
            self.acknowledge_reinvite(now, core, cseq, body);
        }
    }

    /// The peer has our 2xx.
    pub(super) fn confirm(&mut self, now: Instant, core: &mut Core, body: Bytes) {
        let usage = std::mem::replace(&mut self.usage, Usage::Confirmed);
        if !body.is_empty() {
            self.described.offered(self.described.ours(), body.clone());
        }
        core.event(self.id, DialogEvent::Acknowledged { body });
        if let Usage::Accepted {
            bye: Some(fields), ..
        } = usage
        {
            self.hang_up(now, core, &fields);
        } else {
            self.release(now, core);
        }
    }

    pub(super) fn repeat_answer(&mut self, now: Instant, core: &mut Core) {
        let Usage::Accepted {
            server,
            waiting,
            bye,
            ..
        } = &mut self.usage
        else {
            return;
        };
        match waiting.handle_timeout(now) {
            Due::Nothing => {}
            Due::Repeat(response) => {
                core.layer.counters.repeats_sent += 1;
                core.respond(now, *server, 200, &response);
            }
            Due::GiveUp => {
                let fields = bye.take().unwrap_or_default();
                self.give_up(now, core, &fields);
            }
        }
    }

    /// §13.3.1.4: 64·T1 without ACK; the session is ended with a BYE whose answer nobody waits for.
    pub(super) fn give_up(&mut self, now: Instant, core: &mut Core, fields: &[(String, String)]) {
        self.send_orphan_bye(now, core, fields);
        core.event(self.id, DialogEvent::NeverAcknowledged);
        self.end(now, core);
    }
}

/// The body, if there is one.
pub(super) fn with_sdp(response: ResponseBuilder<'_>, body: Bytes) -> ResponseBuilder<'_> {
    if body.is_empty() {
        response
    } else {
        response.body(SDP, body)
    }
}

/// Supported.
pub(super) fn supporting(response: ResponseBuilder<'_>) -> ResponseBuilder<'_> {
    response.header(Name::Supported, EXTENSIONS.join(", "))
}
