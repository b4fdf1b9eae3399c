//! One dialog with all that goes on in it: the INVITE usage, offers, a transfer, and commands that must wait.
//!
//! ```text
//! UAS: Offered ──2xx──► Accepted ──ACK──► Confirmed ──► HangingUp ──► Over
//! UAC: Calling ──2xx────────────────────────┘
//! ```
//!
//! Each file holds one conversation: [`uas`] and [`uac`] how a call starts, [`requests`] what the peer asks in
//! it, [`reinvite`] another offer, [`transfer`] REFER and NOTIFY, [`hang_up`] its end. [`provisional`] rings so that it
//! arrives, [`early`] is the phones that ring for us, [`timer`] keeps the session alive, [`info`] reads keys.

mod challenged;
mod described;
mod early;
mod hang_up;
mod info;
mod provisional;
mod reinvite;
mod requests;
mod timer;
mod transfer;
mod uac;
mod uas;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::core::Core;
use super::event::{Command, DialogEvent, DialogId};
use super::layer::{Origin, Purpose, Silence};
use super::schedule::Wake;
use crate::sip::dialog::Dialog;
use crate::sip::dialog::invite_uas::Unacknowledged;
use crate::sip::dialog::refer::{Transferee, Transferor};
use crate::sip::dialog::reliable::Reliable;
use crate::sip::dialog::session_timer::SessionTimer;
use crate::sip::message::{BuildError, Response};
use crate::sip::transaction::TransactionId;

pub(super) use uac::{cancel_abandoned, hang_up_fork};
pub(super) use uas::Offered;

use described::Described;
use early::Early;
use reinvite::Negotiation;

/// Header fields as commands and events carry them.
type Fields = Vec<(String, String)>;

/// A dialog and its usages (RFC 5057).
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: DialogId,
    pub(super) dialog: Dialog,
    usage: Usage,
    negotiation: Negotiation,
    described: Described,
    timer: SessionTimer,
    /// The peer's Allow names UPDATE.
    peer_updates: bool,
    /// Provisionals of ours that must arrive.
    reliable: Option<Box<Reliable>>,
    /// Phones that ring for an INVITE of ours.
    early: Early,
    /// The trunk a call came by; its networks may speak in the dialog.
    pub(super) trunk: Option<String>,
    transferor: Transferor,
    transferee: Transferee,
    /// Commands that wait for the ACK, or for an offer to be answered.
    held: VecDeque<Command>,
    pub(super) wake: Wake,
}

/// Where the call is.
#[derive(Debug)]
enum Usage {
    /// UAS: no final response yet.
    Offered(Box<Offered>),
    /// UAS: 2xx sent, its ACK is awaited.
    Accepted {
        server: TransactionId,
        waiting: Unacknowledged,
        /// The INVITE had an offer, so nothing but the ACK is missing.
        answered: bool,
        /// A BYE that waits for the ACK (§15).
        bye: Option<Fields>,
    },
    /// UAC: no final response yet.
    Calling {
        client: TransactionId,
        cancel: Cancel,
    },
    /// UAC: their 2xx brought an offer, and the ACK waits for the call's answer to it.
    AnswerDue {
        client: TransactionId,
        /// Of the INVITE.
        cseq: u32,
        offer: Bytes,
        until: Instant,
    },
    /// Both sides agree that there is a call.
    Confirmed,
    /// Our BYE is on its way.
    HangingUp,
    /// The call is over; the dialog stays for NOTIFYs until then.
    Over { until: Instant },
    /// Nothing is left.
    Gone,
}

/// Where a CANCEL of ours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cancel {
    NotWanted,
    /// It may not be sent before something has come back (§9.1).
    AfterProvisional,
    Sent,
}

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no such dialog, or it is gone.
    #[error("no such dialog")]
    NoDialog,
    /// The dialog's state forbids it: an answer to nothing, a BYE before the answer, anything after the end.
    #[error("not in this state of the dialog")]
    WrongState,
    /// A status that this command cannot carry.
    #[error("{0} is no status for this")]
    Status(u16),
    /// A REFER still waits for its answer.
    #[error("a REFER is pending")]
    ReferPending,
    /// Too many commands wait already.
    #[error("too many commands are held back")]
    TooManyHeld,
    /// A header field or body that cannot be said.
    #[error(transparent)]
    Unspeakable(#[from] BuildError),
}

impl Session {
    /// An INVITE came in by this trunk; [`Session::offer_came`] gives it.
    pub(super) fn offered(id: DialogId, dialog: Dialog, trunk: String) -> Self {
        let mut session = Self::new(id, dialog, Usage::Gone);
        session.trunk = Some(trunk);
        session
    }

    /// Its INVITE was given to a call.
    pub(super) fn offer_came(&mut self, offered: Offered) {
        self.note_allow(offered.headers());
        self.usage = Usage::Offered(Box::new(offered));
    }

    /// An INVITE of ours went out.
    pub(super) fn calling(id: DialogId, dialog: Dialog, client: TransactionId) -> Self {
        Self::new(
            id,
            dialog,
            Usage::Calling {
                client,
                cancel: Cancel::NotWanted,
            },
        )
    }

    fn new(id: DialogId, dialog: Dialog, usage: Usage) -> Self {
        Self {
            id,
            dialog,
            usage,
            negotiation: Negotiation::Idle,
            described: Described::default(),
            timer: SessionTimer::default(),
            peer_updates: false,
            reliable: None,
            early: Early::default(),
            trunk: None,
            transferor: Transferor::default(),
            transferee: Transferee::default(),
            held: VecDeque::new(),
            wake: Wake::default(),
        }
    }

    /// Whose ACK is awaited for our answer.
    pub(super) fn unacknowledged_source(&self) -> Option<std::net::IpAddr> {
        matches!(self.usage, Usage::Accepted { .. }).then(|| self.dialog.flow().remote.ip())
    }

    /// Does what a call wants.
    pub(super) fn handle_command(
        &mut self,
        now: Instant,
        core: &mut Core,
        command: Command,
    ) -> Result<(), CommandError> {
        if self.must_wait(&command)? {
            if self.held.len() >= core.limits.pending_commands {
                return Err(CommandError::TooManyHeld);
            }
            self.held.push_back(command);
            return Ok(());
        }
        match command {
            Command::Ring { status, body } => self.ring(now, core, status, body),
            Command::Answer { body, headers } => self.accept(now, core, body, &headers),
            Command::Reject { status, headers } => self.reject(now, core, status, &headers),
            Command::AnswerReinvite {
                status,
                body,
                headers,
            } => self.answer_reinvite(now, core, status, body, &headers),
            Command::AnswerOffer { body } => self.answer_offer(now, core, body),
            Command::Reinvite { body } => self.reinvite(now, core, body),
            Command::Refer { refer_to, headers } => self.refer(now, core, &refer_to, &headers),
            Command::AnswerRefer { status } => self.answer_refer(now, core, status),
            Command::Notify { status, state } => self.notify(now, core, status, state),
            Command::Cancel => self.cancel(now, core),
            Command::Bye { headers } => self.bye(now, core, headers),
        }
    }

    /// Whether a command is legal, but not yet.
    fn must_wait(&self, command: &Command) -> Result<bool, CommandError> {
        let (unacknowledged, confirmed) = (
            matches!(self.usage, Usage::Accepted { bye: None, .. }),
            matches!(self.usage, Usage::Confirmed),
        );
        match command {
            Command::Refer { .. } | Command::Reinvite { .. } if !(unacknowledged || confirmed) => {
                Err(CommandError::WrongState)
            }
            Command::Refer { .. } if self.is_referring() => Err(CommandError::ReferPending),
            Command::Refer { .. } => Ok(unacknowledged),
            Command::Reinvite { .. } => Ok(unacknowledged || !self.negotiation.is_idle()),
            // RFC 3262 §3: what describes the session must have arrived.
            Command::Answer { .. } => {
                let held = self.reliable.as_ref().is_some_and(|one| one.holds_answer());
                Ok(held && matches!(self.usage, Usage::Offered(_)))
            }
            Command::Ring { .. }
            | Command::AnswerOffer { .. }
            | Command::Reject { .. }
            | Command::AnswerReinvite { .. }
            | Command::AnswerRefer { .. }
            | Command::Notify { .. }
            | Command::Cancel
            | Command::Bye { .. } => Ok(false),
        }
    }

    fn is_referring(&self) -> bool {
        let held = |command: &Command| matches!(command, Command::Refer { .. });
        self.transferor.is_waiting() || self.held.iter().any(held)
    }

    /// Does what was held back, as far as it goes now.
    fn release(&mut self, now: Instant, core: &mut Core) {
        for command in std::mem::take(&mut self.held) {
            if let Err(error) = self.handle_command(now, core, command.clone()) {
                self.report_failed(core, &command, &error);
            }
        }
    }

    /// A command that was taken and cannot be done after all must still have its end.
    fn report_failed(&mut self, core: &mut Core, command: &Command, error: &CommandError) {
        tracing::debug!(%error, "a command that was held back failed");
        let event = if let Command::Refer { .. } = command {
            DialogEvent::ReferAnswered {
                status: 500,
                reason: error.to_string(),
            }
        } else {
            DialogEvent::ReinviteEnded {
                status: 500,
                body: Bytes::new(),
            }
        };
        core.event(self.id, event);
    }

    /// A final response to a request of ours other than the 2xx of an INVITE, or a provisional to an INVITE.
    pub(super) fn handle_response(
        &mut self,
        now: Instant,
        core: &mut Core,
        client: TransactionId,
        origin: Origin,
        response: &Response,
    ) {
        let status = response.status();
        match origin.purpose {
            Purpose::Invite if status < 200 => {
                self.handle_progress(now, core, (client, origin.cseq), response);
            }
            Purpose::Invite => self.handle_refused(core, response),
            Purpose::Reinvite if status < 200 => {}
            Purpose::Reinvite => {
                self.handle_reinvite_failed(now, core, status, Some(response.headers()));
            }
            Purpose::Refresh => {
                self.handle_refreshed(now, core, status, Some(response.headers()));
            }
            Purpose::Refer => {
                self.handle_refer_answer(now, core, origin.cseq, status, response.reason());
            }
            Purpose::Notify => self.handle_notify_answer(now, core, status),
            Purpose::Bye => self.handle_bye_answer(now, core, status),
            Purpose::Cancel | Purpose::Prack | Purpose::Register(_) => {}
        }
    }

    /// Nobody answered a request of ours.
    pub(super) fn handle_silence(
        &mut self,
        now: Instant,
        core: &mut Core,
        origin: Origin,
        silence: Silence,
    ) {
        let (status, reason) = match silence {
            Silence::TimedOut => (408, "Request Timeout"),
            Silence::Unreachable => (503, "Service Unavailable"),
        };
        match origin.purpose {
            Purpose::Invite => self.handle_no_answer(core, status, reason),
            Purpose::Reinvite => self.handle_reinvite_failed(now, core, status, None),
            Purpose::Refresh => self.handle_refreshed(now, core, status, None),
            Purpose::Refer => self.handle_refer_answer(now, core, origin.cseq, status, reason),
            Purpose::Notify => self.handle_notify_answer(now, core, status),
            Purpose::Bye => self.handle_bye_answer(now, core, status),
            Purpose::Cancel | Purpose::Prack | Purpose::Register(_) => {}
        }
    }

    /// Fires what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant, core: &mut Core) {
        match &self.usage {
            Usage::Offered(_) => {
                self.repeat_reliable(now, core);
                self.repeat_ringing(now, core);
            }
            Usage::Accepted { .. } => self.repeat_answer(now, core),
            Usage::Over { until } if *until <= now => self.usage = Usage::Gone,
            Usage::Calling { .. } | Usage::AnswerDue { .. } => {
                self.handle_answer_overdue(now, core);
            }
            Usage::Confirmed | Usage::HangingUp | Usage::Over { .. } | Usage::Gone => {}
        }
        self.handle_negotiation_timeout(now, core);
        self.handle_refer_overdue(now, core);
        self.handle_session_timer(now, core);
    }

    /// The earliest deadline.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let usage = match &self.usage {
            Usage::Offered(offered) => {
                let reliable = self.reliable.as_ref().and_then(|one| one.deadline());
                earliest([offered.deadline(), reliable])
            }
            Usage::Accepted { waiting, .. } => Some(waiting.deadline()),
            Usage::Over { until } | Usage::AnswerDue { until, .. } => Some(*until),
            Usage::Calling { .. } => self.early.deadline(),
            Usage::Confirmed | Usage::HangingUp | Usage::Gone => None,
        };
        earliest([
            usage,
            self.negotiation.deadline(),
            self.transferee.deadline(),
            self.timer_deadline(),
        ])
    }

    /// Whether there is a call whose requests need a way.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.usage, Usage::Accepted { .. } | Usage::Confirmed)
    }

    /// Whether the endpoint may forget it.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.usage, Usage::Gone)
    }

    /// The call is over: what still waits for an answer is refused, and the dialog goes, or stays for its NOTIFYs.
    fn end(&mut self, now: Instant, core: &mut Core) {
        self.held.clear();
        self.drop_negotiation(now, core);
        self.usage = if self.transferor.is_subscribed() || self.transferee.is_open() {
            Usage::Over {
                until: now + core.layer.timing().give_up(),
            }
        } else {
            Usage::Gone
        };
    }
}

fn earliest<const N: usize>(deadlines: [Option<Instant>; N]) -> Option<Instant> {
    deadlines.into_iter().flatten().min()
}
