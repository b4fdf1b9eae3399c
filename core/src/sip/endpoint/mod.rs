//! The node's one SIP core: datagrams in; transmits, events and deadlines out.
//!
//! ```text
//!            handle_datagram          poll_transmit
//!  wire ──────────┬───────────────────────▲────────── wire
//!                 ▼                        │
//!        transaction layer (repeats, absorbs, forgets)
//!                 ▼                        │
//!        checks ─► sessions (one per dialog: INVITE usage, offers, transfer)
//!                 ▼                        │
//!  call ◄── poll_event                 command ◄── call
//! ```
//!
//! After every `handle_*`, [`Endpoint::invite`] and [`Endpoint::command`], drain [`Endpoint::poll_transmit`] and
//! [`Endpoint::poll_event`], then sleep until [`Endpoint::poll_timeout`].
//!
//! What is refused before a call sees it is answered without being remembered (RFC 3261 §8.2.7), so a flood of it
//! costs no memory; what is remembered is bounded by [`Limits`].

mod author;
mod belief;
mod config;
mod connections;
mod core;
mod counters;
mod dialogs;
pub mod event;
mod failover;
mod gate;
mod half_open;
mod identity;
mod layer;
mod locating;
mod receive;
mod registrations;
mod schedule;
mod screen;
mod session;
#[cfg(test)]
mod tests;
mod ways;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

pub use config::{Advertised, Config, Limits, Readiness};
pub use counters::Counters;
pub use event::{
    Command, DialogEvent, DialogId, Event, Flow, Invited, LocateId, NotifyState, Transmit,
    Transport,
};
pub use gate::{Busy, Gate};
pub use session::CommandError;
pub use ways::Ways;

use self::author::{Author, Draft};
use self::core::Core;
use self::dialogs::Dialogs;
use self::layer::{Origin, Purpose, Silence, TransactionLayer};
use self::locating::Locating;
use self::registrations::Registrations;
use self::schedule::Subject;
use self::session::Session;
use super::auth::{Account, Authenticator};
use super::dialog::{Acquaintance, Dialog, NewDialog};
use super::locate::Penalties;
use super::message::{BuildError, Name, NameAddr, Uri};
use super::trunk::Trunks;
use crate::vocab::Entropy;

/// All transactions and dialogs of one node.
#[derive(Debug)]
pub struct Endpoint {
    core: Core,
    dialogs: Dialogs,
    trunks: Trunks,
    readiness: Readiness,
    gate: Option<Box<dyn Gate>>,
    authenticator: Authenticator,
    registrations: Registrations,
}

/// A call to be placed.
#[derive(Debug, Clone)]
pub struct OutgoingInvite {
    /// By which ways, best first: where the target is (RFC 3263). Those that failed lately come last.
    pub ways: Ways,
    /// The Request-URI.
    pub target: String,
    /// From value without tag: `"Name" <sip:user@host>`.
    pub from: String,
    /// To value; empty: the target.
    pub to: String,
    /// Call-ID; empty: a random one.
    pub call_id: String,
    /// Answers the challenges of whoever is called; without it none is answered.
    pub account: Option<Arc<Account>>,
    /// Extra header fields.
    pub headers: Vec<(String, String)>,
    /// SDP. Without it the far end makes the offer, which [`Command::AnswerOffer`] answers.
    pub body: Bytes,
}

/// Why a call was not placed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InviteError {
    /// From or To is no address, or has a tag already.
    #[error("{0} is no address without tag")]
    Address(&'static str),
    /// This node holds as many dialogs as it may.
    #[error("too many dialogs")]
    TooManyDialogs,
    /// A header field or URI that cannot be said.
    #[error(transparent)]
    Unspeakable(#[from] BuildError),
}

impl Endpoint {
    /// An endpoint that takes calls at once.
    pub fn new(config: Config, mut entropy: Entropy) -> Self {
        let (mut secrets, dice) = (entropy.fork(), entropy.fork());
        let author = Author::new(
            config.advertised,
            config.user_agent,
            config.limits.retry_after,
            entropy,
        );
        Self {
            core: Core {
                layer: TransactionLayer::new(config.timing),
                author,
                events: VecDeque::new(),
                limits: config.limits,
                locating: Locating::default(),
                penalties: Penalties::default(),
                half_open: half_open::HalfOpen::default(),
            },
            dialogs: Dialogs::default(),
            trunks: config.trunks,
            readiness: Readiness::Ready,
            gate: None,
            authenticator: Authenticator::new(&config.realm, &config.algorithms, &mut secrets),
            registrations: Registrations::new(dice),
        }
    }

    /// Takes new calls, or answers them 503 from now on. Running calls are not touched.
    pub fn set_readiness(&mut self, readiness: Readiness) {
        self.readiness = readiness;
    }

    /// Asks this gate about each new call from now on; without one only [`Limits`] hold.
    pub fn set_gate(&mut self, gate: Box<dyn Gate>) {
        self.gate = Some(gate);
    }

    /// Who may call from now on.
    pub fn set_trunks(&mut self, trunks: Trunks) {
        self.trunks = trunks;
    }

    /// Places a call. What becomes of it is told in events: Progress, then Answered or Refused.
    ///
    /// # Errors
    /// Nothing has been sent then.
    pub fn invite(
        &mut self,
        now: Instant,
        invite: OutgoingInvite,
    ) -> Result<DialogId, InviteError> {
        if self.dialogs.len() >= self.core.limits.dialogs {
            return Err(InviteError::TooManyDialogs);
        }
        let from = untagged(&invite.from).ok_or(InviteError::Address("From"))?;
        let author = &mut self.core.author;
        let user = Uri::parse(from.uri)
            .ok()
            .and_then(|uri| uri.user_raw().map(str::to_owned));
        let penalties = &self.core.penalties;
        let ways = invite.ways.put_last(|way| penalties.is_bad(now, way));
        let flow = ways.flow();
        let contact = author.contact(&flow, user.as_deref());
        let to = match invite.to.as_str() {
            "" => format!("<{}>", invite.target),
            to if untagged(to).is_some() => to.to_owned(),
            _ => return Err(InviteError::Address("To")),
        };
        let local_tag = author.tag();
        let new = NewDialog {
            call_id: if invite.call_id.is_empty() {
                author.call_id()
            } else {
                invite.call_id
            },
            local: format!("{};tag={local_tag}", invite.from),
            local_tag,
            remote: to,
            target: invite.target,
            cseq: 0,
        };
        let mut dialog = Dialog::to_be(new, contact, flow);
        dialog.set_acquaintance(Acquaintance::new(invite.account, None));
        let Draft {
            builder,
            branch,
            cseq,
            ways,
        } = author.invite(&mut dialog, ways);
        let builder = builder.headers(&invite.headers);
        let request = if invite.body.is_empty() {
            builder.header(Name::Accept, author::SDP).build()?
        } else {
            builder.body(author::SDP, invite.body).build()?
        };
        let id = self.dialogs.next_id();
        let origin = Origin {
            owner: Some(id),
            purpose: Purpose::Invite,
            cseq,
        };
        self.core.layer.counters.calls_out += 1;
        let client = self.core.send(now, ways, request, &branch, origin);
        self.dialogs.insert(Session::calling(id, dialog, client));
        Ok(id)
    }

    /// Says something in a dialog.
    ///
    /// # Errors
    /// Nothing has been sent then.
    pub fn command(
        &mut self,
        now: Instant,
        dialog: DialogId,
        command: Command,
    ) -> Result<(), CommandError> {
        self.with(dialog, |session, core| {
            session.handle_command(now, core, command)
        })
        .unwrap_or(Err(CommandError::NoDialog))
    }

    /// A stream connection is open, whoever opened it. Requests for its peer go by it.
    ///
    /// * `identity`: the names (subject alternative names: DNS names, `sip:` URIs, addresses) of the certificate that the
    ///   peer showed and we verified, lower case; empty when there is none. It lasts until [`Endpoint::handle_closed`].
    pub fn handle_connected(&mut self, flow: &Flow, identity: Vec<String>) {
        self.core.layer.connections.insert(flow, identity);
    }

    /// A stream connection is gone. Requests of ours that wait for an answer by it take their other way, or are said once
    /// more by a new connection: the old one may have been closed before they arrived, and a repeat does no harm;
    /// answers that are still to come go by a new connection to where the Via says (§18.2.2).
    pub fn handle_closed(&mut self, now: Instant, flow: &Flow) {
        self.core.layer.handle_closed(flow);
        self.leave(now, flow, Loss::Connection);
        self.handle_registrar_lost(now, flow);
    }

    /// Sending on a flow failed. Requests waiting for an answer there take their next way if they have one, and fail at
    /// once if not; answers need no care, their askers ask again.
    pub fn handle_send_error(&mut self, now: Instant, flow: &Flow, why: &str) {
        tracing::debug!(transport = flow.transport.as_str(), why, "send failed");
        self.core.layer.counters.send_errors += 1;
        self.core.layer.connections.handle_refused(now, flow);
        self.leave(now, flow, Loss::Way);
    }

    /// Fires everything that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(subject) = self.core.layer.schedule.due(now) {
            match subject {
                Subject::Server(id) => self.core.layer.handle_server_timeout(now, id),
                Subject::Client(id) => {
                    if self.core.layer.handle_client_timeout(now, id) {
                        self.handle_failure(now, id, Silence::TimedOut);
                    }
                }
                Subject::Registration(id) => self.handle_registration_timeout(now, id),
                Subject::Dialog(id) => {
                    let found = self.with(id, |session, core| session.handle_timeout(now, core));
                    if found.is_none() {
                        self.core.layer.schedule.forget_first();
                    }
                }
            }
        }
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.core.layer.poll_transmit()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.events.pop_front()
    }

    /// When [`Endpoint::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.core.layer.schedule.next()
    }

    /// What it has seen so far.
    pub fn counters(&self) -> Counters {
        self.core.layer.counters
    }

    /// Dialogs alive, those included that linger for NOTIFYs.
    pub fn dialogs(&self) -> usize {
        self.dialogs.len()
    }

    /// Whether a dialog's requests go by this flow; looks at every dialog.
    pub fn has_dialog_on(&self, flow: &Flow) -> bool {
        self.dialogs.any_on(flow) || self.registrations.any_on(flow)
    }

    /// Transactions alive, server and client.
    pub fn transactions(&self) -> usize {
        self.core.layer.servers() + self.core.layer.clients()
    }

    /// Requests of ours that nobody has reacted to, so that they go on being repeated.
    pub fn unanswered(&self) -> usize {
        self.core.layer.waiting_clients()
    }

    /// Does something with a dialog, then puts it where its state belongs: into the schedule, or away.
    fn with<T>(
        &mut self,
        id: DialogId,
        act: impl FnOnce(&mut Session, &mut Core) -> T,
    ) -> Option<T> {
        let session = self.dialogs.get_mut(id)?;
        let before = session.unacknowledged_source();
        let done = act(session, &mut self.core);
        if session.is_up() {
            self.core.locate_next_hop(id, &mut session.dialog);
        }
        let after = session.unacknowledged_source();
        self.core.half_open.moved(before, after);
        let deadline = session.deadline().filter(|_| !session.is_gone());
        self.core
            .layer
            .schedule
            .set(Subject::Dialog(id), &mut session.wake, deadline);
        if session.is_gone() {
            self.dialogs.remove(id);
        }
        Some(done)
    }
}

/// What was lost with a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// A connection; there may be another to the same place.
    Connection,
    /// The way itself.
    Way,
}

fn untagged(value: &str) -> Option<NameAddr<'_>> {
    NameAddr::parse(value).filter(|address| address.tag().is_none())
}
