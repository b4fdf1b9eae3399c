//! A call we placed, until it is answered, refused or given up (RFC 3261 §13.2 and §9.1).

use std::time::Instant;

use super::early::Provisional;
use super::{Cancel, CommandError, Session, Usage};
use crate::sip::dialog::{Dialog, NewDialog};
use crate::sip::endpoint::author;
use crate::sip::endpoint::core::Core;
use crate::sip::endpoint::event::DialogEvent;
use crate::sip::endpoint::layer::{Origin, Purpose};
use crate::sip::message::{Method, Name, Request, Response, body};
use crate::sip::transaction::TransactionId;

impl Session {
    /// 1xx.
    pub(super) fn handle_progress(
        &mut self,
        now: Instant,
        core: &mut Core,
        (client, cseq): (TransactionId, u32),
        response: &Response,
    ) {
        let Usage::Calling { cancel, .. } = &mut self.usage else {
            return;
        };
        if *cancel == Cancel::AfterProvisional {
            *cancel = Cancel::Sent;
            send_cancel(now, core, client);
        }
        let status = response.status();
        if status == 100 {
            return;
        }
        match self.handle_ringing(now, core, (client, cseq), response) {
            Provisional::New => {
                let body = body::any_session_description(response.headers(), response.body());
                core.event(self.id, DialogEvent::Progress { status, body });
            }
            Provisional::OutOfTurn => core.layer.counters.repeats_received += 1,
        }
    }

    /// 300-699; its ACK has been sent.
    pub(super) fn handle_refused(&mut self, core: &mut Core, response: &Response) {
        self.usage = Usage::Gone;
        core.event(
            self.id,
            DialogEvent::Refused {
                status: response.status(),
                reason: response.reason().to_owned(),
                headers: fields_of(response),
            },
        );
    }

    /// No final response: 408 or 503 stands for it, or 487 when we had cancelled.
    pub(super) fn handle_no_answer(&mut self, core: &mut Core, status: u16, reason: &str) {
        let cancelled = !matches!(
            self.usage,
            Usage::Calling {
                cancel: Cancel::NotWanted,
                ..
            }
        );
        let (status, reason) = if cancelled {
            (487, "Request Terminated")
        } else {
            (status, reason)
        };
        self.usage = Usage::Gone;
        core.event(
            self.id,
            DialogEvent::Refused {
                status,
                reason: reason.to_owned(),
                headers: Vec::new(),
            },
        );
    }

    /// The first 2xx.
    ///
    /// * returns `false` when this dialog wants none any more, so the far end must be hung up.
    pub(in crate::sip::endpoint) fn handle_answer(
        &mut self,
        now: Instant,
        core: &mut Core,
        client: TransactionId,
        origin: Origin,
        response: &Response,
    ) -> bool {
        if origin.purpose == Purpose::Reinvite {
            self.handle_reinvite_answer(now, core, client, origin.cseq, response);
            return true;
        }
        let Usage::Calling { cancel, .. } = &self.usage else {
            return false;
        };
        let cancelled = *cancel != Cancel::NotWanted;
        let early = self.take_early(response);
        if let (Some(flow), Some(invite)) = (
            core.layer.client_flow(client),
            core.layer.client_request(client),
        ) {
            // The way that was answered may not be the first that was tried.
            let contact = invite.headers().get(Name::Contact).unwrap_or_default();
            self.dialog.handle_way(flow, contact);
        }
        if self.dialog.establish(response).is_err() {
            return false; // no To: it was checked, so this cannot be
        }
        let headers = response.headers();
        self.note_allow(headers);
        self.timer.handle_answer(now, headers);
        let mut body = body::any_session_description(headers, response.body());
        let offer_is_theirs = core.layer.is_without_offer(client);
        // Described while it rang, and PRACKed: then nothing is left to answer.
        let is_late = offer_is_theirs && early.is_empty() && !body.is_empty();
        if body.is_empty() {
            body = early;
        }
        if is_late && !cancelled {
            self.usage = Usage::AnswerDue {
                client,
                cseq: origin.cseq,
                offer: body.clone(),
                until: now + core.layer.timing().answer_due(),
            };
        } else {
            core.acknowledge(now, client, &self.dialog, origin.cseq);
            self.usage = Usage::Confirmed;
        }
        if !offer_is_theirs {
            let ours = core.layer.client_request(client);
            let ours = ours.map(|invite| invite.body().clone());
            self.described
                .offered(ours.unwrap_or_default(), body.clone());
        }
        if cancelled {
            // The 2xx crossed our CANCEL: there is a call, and nobody wants it (§9.1).
            self.hang_up(now, core, &[]);
        } else {
            core.event(
                self.id,
                DialogEvent::Answered {
                    body,
                    headers: fields_of(response),
                },
            );
        }
        true
    }

    /// The phone that answered may have had a dialog while it rang: its numbers go on.
    ///
    /// * returns what it said about the session then.
    fn take_early(&mut self, response: &Response) -> bytes::Bytes {
        let to = response.headers().to();
        let tag = to.ok().and_then(|to| to.tag()).unwrap_or_default();
        match self.early.take(tag) {
            Some((dialog, description)) => {
                self.dialog = dialog;
                description
            }
            None => bytes::Bytes::new(),
        }
    }

    /// Gives the ringing call up.
    pub(super) fn cancel(&mut self, now: Instant, core: &mut Core) -> Result<(), CommandError> {
        let Usage::Calling { client, cancel } = &mut self.usage else {
            return Err(CommandError::WrongState);
        };
        if *cancel != Cancel::NotWanted {
            return Ok(());
        }
        core.layer.stay(*client);
        if core.layer.is_calling(*client) {
            *cancel = Cancel::AfterProvisional;
        } else {
            *cancel = Cancel::Sent;
            send_cancel(now, core, *client);
        }
        Ok(())
    }
}

/// An INVITE that was given up for another way was received after all.
pub(in crate::sip::endpoint) fn cancel_abandoned(
    now: Instant,
    core: &mut Core,
    client: TransactionId,
) {
    send_cancel(now, core, client);
}

fn send_cancel(now: Instant, core: &mut Core, client: TransactionId) {
    let Some(invite) = core.layer.client_request(client) else {
        return;
    };
    let branch = invite
        .headers()
        .via()
        .ok()
        .and_then(|via| via.branch())
        .unwrap_or_default()
        .to_owned();
    let (Ok(cancel), Some(flow)) = (author::cancel(invite), core.layer.client_flow(client)) else {
        return;
    };
    let origin = Origin {
        owner: None,
        purpose: Purpose::Cancel,
        cseq: 0,
    };
    core.layer.start(now, flow.into(), cancel, &branch, origin);
    core.layer.handle_cancelled(now, client);
}

/// A second phone answered, or one whose call is gone: ACK, then BYE (§13.2.2.4).
pub(in crate::sip::endpoint) fn hang_up_fork(
    now: Instant,
    core: &mut Core,
    (client, spent): (TransactionId, Option<u32>),
    response: &Response,
) {
    let (Some(invite), Some(flow)) = (
        core.layer.client_request(client),
        core.layer.client_flow(client),
    ) else {
        return;
    };
    let Some(mut new) = new_dialog(invite) else {
        return;
    };
    let contact = invite
        .headers()
        .get(Name::Contact)
        .unwrap_or_default()
        .to_owned();
    let cseq = new.cseq;
    new.cseq = spent.unwrap_or(cseq); // it may have had PRACKs while it rang
    let mut dialog = Dialog::to_be(new, contact, flow);
    if dialog.establish(response).is_err() {
        return;
    }
    core.acknowledge(now, client, &dialog, cseq);
    let origin = core.layer.origin(client);
    if origin.is_some_and(|origin| origin.owner.is_none() && origin.purpose == Purpose::Reinvite) {
        return; // a re-INVITE that was given up for another way: the call it belongs to goes on
    }
    let bye = (Method::Bye, Purpose::Bye);
    if core
        .request(now, None, &mut dialog, bye, |bye| bye)
        .is_err()
    {
        core.layer.counters.malformed += 1;
    }
}

fn new_dialog(invite: &Request) -> Option<NewDialog> {
    let headers = invite.headers();
    Some(NewDialog {
        call_id: headers.call_id().ok()?.to_owned(),
        local: headers.get(Name::From)?.to_owned(),
        local_tag: headers.from().ok()?.tag()?.to_owned(),
        remote: headers.get(Name::To)?.to_owned(),
        target: invite.uri().to_owned(),
        cseq: headers.cseq().ok()?.number,
    })
}

fn fields_of(response: &Response) -> Vec<(String, String)> {
    response
        .headers()
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
