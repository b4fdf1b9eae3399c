//! The transaction layer: every transaction of this node, found by key, woken by one schedule.
//!
//! It repeats, absorbs and forgets; what a message means is decided above it.

mod clients;
mod servers;

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::connections::Connections;
use super::counters::Counters;
use super::event::{DialogId, Flow, Transmit};
use super::registrations::RegistrationId;
use super::schedule::Schedule;
use crate::sip::transaction::{ClientKey, MergeKey, ServerKey, Timing, TransactionId};
use clients::Client;
pub(super) use servers::Matched;
use servers::Server;

/// All transactions.
#[derive(Debug)]
pub(super) struct TransactionLayer {
    timing: Timing,
    last: u64,
    servers: HashMap<TransactionId, Server>,
    servers_by_key: HashMap<ServerKey, TransactionId>,
    invites: HashMap<MergeKey, TransactionId>,
    clients: HashMap<TransactionId, Client>,
    clients_by_key: HashMap<ClientKey, TransactionId>,
    pub(super) schedule: Schedule,
    pub(super) connections: Connections,
    transmits: VecDeque<Transmit>,
    pub(super) counters: Counters,
}

/// Whose request it is and what it was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    /// The dialog that waits for the answer; `None` when nobody does.
    pub(super) owner: Option<DialogId>,
    /// What for.
    pub(super) purpose: Purpose,
    /// Its `CSeq` number.
    pub(super) cseq: u32,
}

impl Origin {
    /// Whether somebody waits for the answer.
    pub(super) fn is_awaited(&self) -> bool {
        self.owner.is_some() || matches!(self.purpose, Purpose::Register(_))
    }
}

/// What a request of ours was sent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Invite,
    Reinvite,
    /// An UPDATE that only keeps the session alive.
    Refresh,
    Prack,
    Cancel,
    Bye,
    Refer,
    Notify,
    Register(RegistrationId),
}

/// How a request of ours ended without a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// 64·T1 passed: stands for 408 (§8.1.3.1).
    TimedOut,
    /// No way left to send it: stands for 503.
    Unreachable,
}

impl TransactionLayer {
    pub(super) fn new(timing: Timing) -> Self {
        Self {
            timing,
            last: 0,
            servers: HashMap::new(),
            servers_by_key: HashMap::new(),
            invites: HashMap::new(),
            clients: HashMap::new(),
            clients_by_key: HashMap::new(),
            schedule: Schedule::default(),
            connections: Connections::default(),
            transmits: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    pub(super) fn timing(&self) -> Timing {
        self.timing
    }

    /// Server transactions alive.
    pub(super) fn servers(&self) -> usize {
        self.servers.len()
    }

    /// Client transactions alive.
    pub(super) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Puts a message on the wire.
    pub(super) fn send(&mut self, flow: Flow, payload: Bytes) {
        self.counters.sent += 1;
        self.transmits.push_back(Transmit { flow, payload });
    }

    /// A connection is gone, and what was to leave by it does not.
    pub(super) fn handle_closed(&mut self, flow: &Flow) {
        self.connections.remove(flow);
        self.transmits.retain(|transmit| transmit.flow != *flow);
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    fn next_id(&mut self) -> TransactionId {
        self.last += 1;
        TransactionId(self.last)
    }
}
