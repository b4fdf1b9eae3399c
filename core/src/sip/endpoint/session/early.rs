//! The early dialogs of a call we placed, one for each phone that rings (RFC 3261 §12.1.2), and what they may want of us
//! before the call is up: PRACK (RFC 3262), and an answer when our INVITE made no offer.

use std::time::Instant;

use bytes::Bytes;

use super::{CommandError, Session, Usage};
use crate::sip::dialog::Dialog;
use crate::sip::dialog::reliable::{Taken, rseq_of};
use crate::sip::endpoint::core::Core;
use crate::sip::endpoint::layer::Purpose;
use crate::sip::message::{Method, Name, Request, Response, body};
use crate::sip::transaction::TransactionId;

/// Phones that may ring for one INVITE; provisionals of more are not acknowledged.
const FORKS: usize = 8;

/// The early dialogs of one INVITE.
#[derive(Debug, Default)]
pub(super) struct Early(Vec<Fork>);

/// One of them.
#[derive(Debug)]
struct Fork {
    dialog: Dialog,
    taken: Taken,
    /// The session description of a reliable provisional, which its 2xx need not repeat.
    description: Bytes,
    /// Value of `RAck` of a PRACK that waits for the call's answer.
    due: Option<(String, Instant)>,
}

impl Early {
    fn of(&mut self, tag: &str) -> Option<&mut Fork> {
        self.0
            .iter_mut()
            .find(|fork| fork.dialog.remote_tag() == tag)
    }

    /// The early dialog of a provisional, made if it is the first of that phone.
    fn note(&mut self, call: Dialog, tag: &str, response: &Response) -> Option<&mut Fork> {
        let known = self.0.iter().any(|fork| fork.dialog.remote_tag() == tag);
        if !known && self.0.len() < FORKS {
            let mut dialog = call;
            dialog.establish(response).ok()?;
            self.0.push(Fork {
                dialog,
                taken: Taken::default(),
                description: Bytes::new(),
                due: None,
            });
        }
        self.of(tag)
    }

    /// The dialog of the phone that answered, and what it said about the session while it rang.
    pub(super) fn take(&mut self, tag: &str) -> Option<(Dialog, Bytes)> {
        let at = self
            .0
            .iter()
            .position(|fork| fork.dialog.remote_tag() == tag)?;
        let fork = self.0.swap_remove(at);
        Some((fork.dialog, fork.description))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = self.0.iter().filter_map(|fork| fork.due.as_ref());
        due.map(|(_, until)| *until).min()
    }

    /// Where the dialog is that was swapped out of its place, now held by another.
    pub(super) fn swapped(&mut self, tag: &str, out: &Dialog) -> Option<&mut Dialog> {
        if out.remote_tag() != tag {
            return None;
        }
        self.0
            .iter_mut()
            .map(|fork| &mut fork.dialog)
            .find(|dialog| dialog.remote_tag().is_empty())
    }

    /// The early dialog a request belongs to.
    pub(super) fn find(&self, request: &Request) -> Option<&Dialog> {
        self.0
            .iter()
            .map(|fork| &fork.dialog)
            .find(|dialog| dialog.is_from_peer(request))
    }

    /// The early dialog with the phone of this tag.
    pub(super) fn with(&mut self, tag: &str) -> Option<&mut Dialog> {
        self.of(tag).map(|fork| &mut fork.dialog)
    }

    /// Whose early dialog a request belongs to.
    pub(super) fn dialog_of(&mut self, request: &Request) -> Option<&mut Dialog> {
        self.0
            .iter_mut()
            .map(|fork| &mut fork.dialog)
            .find(|dialog| dialog.is_from_peer(request))
    }
}

/// What a provisional is.
pub(super) enum Provisional {
    /// An ordinary one, or the next reliable one.
    New,
    /// A reliable one that came before, or whose predecessor is missing.
    OutOfTurn,
}

impl Session {
    /// 101-199: finds its early dialog, and acknowledges what must be.
    pub(super) fn handle_ringing(
        &mut self,
        now: Instant,
        core: &mut Core,
        (client, cseq): (TransactionId, u32),
        response: &Response,
    ) -> Provisional {
        let headers = response.headers();
        let tag = headers.to().ok().and_then(|to| to.tag());
        let rseq = rseq_of(headers);
        let call = self.dialog_by_way(core, client);
        let Some(fork) = tag.and_then(|tag| self.early.note(call, tag, response)) else {
            // Without a tag there is nobody to acknowledge to.
            return match rseq {
                Some(_) => Provisional::OutOfTurn,
                None => Provisional::New,
            };
        };
        let Some(rseq) = rseq else {
            return Provisional::New;
        };
        if !fork.taken.takes(rseq) {
            return Provisional::OutOfTurn;
        }
        let description = body::any_session_description(headers, response.body());
        let rack = format!("{rseq} {cseq} INVITE");
        if !description.is_empty() && core.layer.is_without_offer(client) {
            let until = now + core.layer.timing().answer_due();
            fork.due = Some((rack, until));
        } else {
            send_prack(now, core, self.id, &mut fork.dialog, &rack, Bytes::new());
        }
        if !description.is_empty() {
            fork.description = description;
        }
        Provisional::New
    }

    /// The dialog to be, by the way its INVITE went last, which may not be the first that was tried.
    fn dialog_by_way(&self, core: &Core, client: TransactionId) -> Dialog {
        let mut dialog = self.dialog.clone();
        if let (Some(flow), Some(invite)) = (
            core.layer.client_flow(client),
            core.layer.client_request(client),
        ) {
            let contact = invite.headers().get(Name::Contact).unwrap_or_default();
            dialog.handle_way(flow, contact);
        }
        dialog
    }

    /// The call answers an offer of theirs: in the PRACK when a provisional brought it, else in the ACK.
    pub(super) fn answer_offer(
        &mut self,
        now: Instant,
        core: &mut Core,
        answer: Bytes,
    ) -> Result<(), CommandError> {
        match &self.usage {
            Usage::AnswerDue { .. } => {
                self.acknowledge_with(now, core, answer);
                self.release(now, core);
                Ok(())
            }
            Usage::Calling { .. } => {
                let waiting = self.early.0.iter_mut().find(|fork| fork.due.is_some());
                let fork = waiting.ok_or(CommandError::WrongState)?;
                let (rack, _) = fork.due.take().ok_or(CommandError::WrongState)?;
                self.described
                    .offered(answer.clone(), fork.description.clone());
                send_prack(now, core, self.id, &mut fork.dialog, &rack, answer);
                Ok(())
            }
            Usage::Offered(_)
            | Usage::Accepted { .. }
            | Usage::Confirmed
            | Usage::HangingUp
            | Usage::Over { .. }
            | Usage::Gone => Err(CommandError::WrongState),
        }
    }

    /// ACK of a 2xx that waited for it.
    pub(super) fn acknowledge_with(&mut self, now: Instant, core: &mut Core, answer: Bytes) {
        let usage = std::mem::replace(&mut self.usage, Usage::Confirmed);
        let Usage::AnswerDue {
            client,
            cseq,
            offer,
            ..
        } = usage
        else {
            self.usage = usage;
            return;
        };
        if !answer.is_empty() {
            self.described.answered(offer, answer.clone());
        }
        core.acknowledge_with(now, client, &self.dialog, cseq, answer);
    }

    /// The call was given an offer and has not answered it in time: there is no session.
    pub(super) fn handle_answer_overdue(&mut self, now: Instant, core: &mut Core) {
        match &self.usage {
            Usage::AnswerDue { until, .. } if *until <= now => {
                self.acknowledge_with(now, core, Bytes::new());
                self.lose(now, core, "an offer was not answered in time", &[]);
            }
            Usage::Calling { .. } if self.early.deadline().is_some_and(|at| at <= now) => {
                for fork in &mut self.early.0 {
                    fork.due.take_if(|(_, until)| *until <= now);
                }
                // It cannot fail: the call is ringing. Its end is told when the 487 comes.
                let _ = self.cancel(now, core);
            }
            Usage::AnswerDue { .. }
            | Usage::Calling { .. }
            | Usage::Offered(_)
            | Usage::Accepted { .. }
            | Usage::Confirmed
            | Usage::HangingUp
            | Usage::Over { .. }
            | Usage::Gone => {}
        }
    }

    /// Whether a 2xx with this tag waits for the call's answer already.
    pub(in crate::sip::endpoint) fn holds_ack_for(&self, tag: &str) -> bool {
        matches!(self.usage, Usage::AnswerDue { .. }) && self.dialog.remote_tag() == tag
    }

    /// The number that a request of ours used last in the early dialog with this tag.
    pub(in crate::sip::endpoint) fn spent_on(&mut self, tag: &str) -> Option<u32> {
        self.early.of(tag).map(|fork| fork.dialog.local_cseq())
    }
}

fn send_prack(
    now: Instant,
    core: &mut Core,
    owner: crate::sip::endpoint::DialogId,
    dialog: &mut Dialog,
    rack: &str,
    answer: Bytes,
) {
    let prack = (Method::Prack, Purpose::Prack);
    let sent = core.request(now, Some(owner), dialog, prack, |prack| {
        let prack = prack.header(Name::RAck, rack);
        if answer.is_empty() {
            prack
        } else {
            prack.body(body::SDP, answer)
        }
    });
    if sent.is_err() {
        core.layer.counters.malformed += 1; // an address that cannot be said
    }
}
