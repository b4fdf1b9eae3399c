//! A request of ours that got nowhere goes its next way (RFC 3263 §4.3): after silence, after a 503, and when it could
//! not be sent. Its user sees the last failure only.
//!
//! ```text
//!  us            first           second
//!  ├─ INVITE ──────►│               │
//!  │   4 s, no 100  │               │     8·T1, because there is a second; the last one has 64·T1
//!  ├─ INVITE, new branch ──────────►│
//!  │◄────── 180 ────┤               │     so it lives after all: nobody waits for it any more
//!  ├─ CANCEL ──────►│               │
//!  │◄──────────────────────── 200 ──┤
//! ```
//!
//! Servers that failed are left alone for a while: later calls try them last ([`Penalties`]). Once a call is cancelled it
//! goes nowhere else.
//!
//! [`Penalties`]: crate::sip::locate::Penalties

use std::time::Instant;

use super::event::Flow;
use super::layer::{Origin, Purpose, Silence};
use super::session::cancel_abandoned;
use super::{Endpoint, Loss};
use crate::sip::locate::retry_after;
use crate::sip::message::{Name, Response};
use crate::sip::transaction::TransactionId;

impl Endpoint {
    /// No request of ours waits for an answer by this way any longer.
    pub(super) fn leave(&mut self, now: Instant, flow: &Flow, loss: Loss) {
        for client in self.core.layer.waiting_on(flow) {
            // A connection that was closed is no fault of its peer's: another connection first, by an address of the
            // peer that can be connected to if there is one.
            let same_kind = |next: &Flow| next.transport == flow.transport;
            if loss == Loss::Connection
                && (self.core.go_next_way(now, client, same_kind)
                    || self.core.layer.reconnect(client))
            {
                continue;
            }
            self.handle_failure(now, client, Silence::Unreachable);
        }
    }

    /// Nobody answered a request of ours: it goes its next way, or its user is told.
    pub(super) fn handle_failure(&mut self, now: Instant, client: TransactionId, how: Silence) {
        let way = self.core.layer.client_flow(client);
        let origin = self.core.layer.origin(client);
        if let (Some(way), true) = (way, origin.is_some_and(|origin| origin.is_awaited())) {
            self.core.penalties.handle_failure(now, &way, None);
        }
        let has_it = how == Silence::TimedOut;
        let elsewhere = |next: &Flow| way.is_none_or(|way| next.remote != way.remote);
        if self
            .core
            .go_next_way(now, client, |next| !has_it || elsewhere(next))
        {
            return;
        }
        let origin = self.core.layer.give_up(client);
        if let Some(Purpose::Register(id)) = origin.map(|origin| origin.purpose) {
            let status = if has_it { 408 } else { 503 };
            return self.handle_register_silence(now, client, id, status);
        }
        if let Some((origin, owner)) = origin.and_then(|origin| Some((origin, origin.owner?))) {
            self.with(owner, |session, core| {
                session.handle_silence(now, core, origin, how);
            });
        }
    }

    /// What a response says of the server that sent it.
    ///
    /// * returns `true` when it was a 503 and the request has gone another way, so that its user has nothing to see.
    pub(super) fn handle_health(
        &mut self,
        now: Instant,
        client: TransactionId,
        origin: Origin,
        response: &Response,
    ) -> bool {
        let Some(way) = self.core.layer.client_flow(client) else {
            return false;
        };
        if response.status() != 503 {
            self.core.penalties.handle_success(&way);
            return false;
        }
        if !origin.is_awaited() {
            return false; // the rest of an attempt that was given up
        }
        let wait = response.headers().get(Name::RetryAfter);
        let wait = wait.and_then(retry_after);
        self.core.penalties.handle_failure(now, &way, wait);
        // Another transport to the same server, or in a dialog another port of the peer, would say the same.
        let outside = matches!(origin.purpose, Purpose::Invite | Purpose::Register(_));
        self.core.go_next_way(now, client, |next| {
            next.remote != way.remote && (outside || next.remote.ip() != way.remote.ip())
        })
    }

    /// A provisional response to a request that nobody waits for: the INVITE that was given up for another way rings
    /// somewhere, and must not.
    pub(super) fn handle_orphan(
        &mut self,
        now: Instant,
        client: TransactionId,
        origin: Origin,
        response: &Response,
    ) {
        let invite = matches!(origin.purpose, Purpose::Invite | Purpose::Reinvite);
        if invite && response.status() < 200 && !self.core.layer.is_cancelled(client) {
            cancel_abandoned(now, &mut self.core, client);
        }
    }
}
