//! Requests that come in: repeats absorbed, answers repeated (RFC 3261 §17.2).

use std::time::Instant;

use bytes::Bytes;

use super::super::connections::Connections;
use super::super::event::{DialogId, Flow};
use super::super::schedule::{Subject, Wake};
use super::TransactionLayer;
use crate::sip::message::Request;
use crate::sip::transaction::{
    AlreadyAnswered, InviteServer, MergeKey, NonInviteServer, ServerKey, Step, TransactionId,
};

#[derive(Debug)]
pub(super) struct Server {
    key: ServerKey,
    merge: Option<MergeKey>,
    /// Where responses go.
    flow: Flow,
    machine: ServerMachine,
    owner: Option<DialogId>,
    /// To tag of its responses, which a CANCEL's 200 repeats (§9.2). Empty when To came with one.
    to_tag: Box<str>,
    wake: Wake,
}

#[derive(Debug)]
enum ServerMachine {
    Invite(InviteServer),
    Other(NonInviteServer),
}

/// What a request is to the transaction layer.
#[derive(Debug)]
pub(in crate::sip::endpoint) enum Matched {
    /// A repeat, or an ACK of a refusal: done with.
    Absorbed,
    /// An ACK for the dialog.
    Ack,
    /// New: open a transaction with this key, or answer without one.
    New(ServerKey),
    /// It lacks what a key is made of.
    Keyless,
}

impl TransactionLayer {
    /// Matches a request with the transaction it belongs to (§17.2.3).
    pub(in crate::sip::endpoint) fn match_request(
        &mut self,
        now: Instant,
        request: &Request,
        is_ack: bool,
    ) -> Matched {
        let Some(key) = ServerKey::of(request) else {
            return Matched::Keyless;
        };
        let Some(&id) = self.servers_by_key.get(&key) else {
            return if is_ack {
                Matched::Ack
            } else {
                Matched::New(key)
            };
        };
        let Some(server) = self.servers.get_mut(&id) else {
            return Matched::Absorbed;
        };
        let step = match &mut server.machine {
            ServerMachine::Invite(machine) if is_ack => machine.handle_ack(now),
            ServerMachine::Invite(machine) => machine.handle_repeat(),
            ServerMachine::Other(machine) => machine.handle_repeat(),
        };
        let flow = server.flow_now(&self.connections);
        if !is_ack {
            self.counters.repeats_received += 1;
        }
        self.settle_server(id);
        match step {
            Step::Send(payload) => self.send(flow, payload),
            Step::Deliver => return Matched::Ack,
            Step::Idle | Step::DeliverAndSend(_) | Step::TimedOut => {}
        }
        Matched::Absorbed
    }

    /// The INVITE a CANCEL means: its transaction, its dialog, and its To tag.
    pub(in crate::sip::endpoint) fn cancelled(
        &self,
        cancel: &Request,
    ) -> Option<(TransactionId, Option<DialogId>, String)> {
        let id = *self.servers_by_key.get(&ServerKey::of_cancelled(cancel)?)?;
        let server = self.servers.get(&id)?;
        Some((id, server.owner, server.to_tag.to_string()))
    }

    /// Whether this INVITE is already being served under another branch (§8.2.2.2).
    pub(in crate::sip::endpoint) fn is_merged(&self, key: &MergeKey) -> bool {
        self.invites.contains_key(key)
    }

    /// Opens the transaction of an INVITE; `trying` is sent.
    ///
    /// * `flow`: where its responses go.
    pub(in crate::sip::endpoint) fn open_invite(
        &mut self,
        key: ServerKey,
        merge: Option<MergeKey>,
        flow: Flow,
        trying: Bytes,
        owner: DialogId,
        to_tag: &str,
    ) -> TransactionId {
        let machine = InviteServer::new(self.timing, flow.transport.is_reliable(), trying.clone());
        let id = self.next_id();
        if let Some(merge) = &merge {
            self.invites.insert(merge.clone(), id);
        }
        self.open(
            id,
            Server {
                key,
                merge,
                flow,
                machine: ServerMachine::Invite(machine),
                owner: Some(owner),
                to_tag: to_tag.into(),
                wake: Wake::default(),
            },
        );
        self.send(flow, trying);
        id
    }

    /// Opens the transaction of another request.
    pub(in crate::sip::endpoint) fn open_other(
        &mut self,
        now: Instant,
        key: ServerKey,
        flow: Flow,
        owner: DialogId,
    ) -> TransactionId {
        let reliable = flow.transport.is_reliable();
        let machine = NonInviteServer::new(now, self.timing, reliable);
        let id = self.next_id();
        self.open(
            id,
            Server {
                key,
                merge: None,
                flow,
                machine: ServerMachine::Other(machine),
                owner: Some(owner),
                to_tag: "".into(),
                wake: Wake::default(),
            },
        );
        id
    }

    fn open(&mut self, id: TransactionId, server: Server) {
        self.servers_by_key.insert(server.key.clone(), id);
        self.servers.insert(id, server);
        self.settle_server(id);
    }

    /// Answers a request.
    ///
    /// # Errors
    /// [`AlreadyAnswered`] when it has been, or its transaction is gone.
    pub(in crate::sip::endpoint) fn respond(
        &mut self,
        now: Instant,
        id: TransactionId,
        status: u16,
        response: &Bytes,
    ) -> Result<(), AlreadyAnswered> {
        let server = self.servers.get_mut(&id).ok_or(AlreadyAnswered)?;
        let step = match &mut server.machine {
            ServerMachine::Invite(machine) => machine.respond(now, status, response)?,
            ServerMachine::Other(machine) => machine.respond(now, response)?,
        };
        let flow = server.flow_now(&self.connections);
        self.settle_server(id);
        if let Step::Send(payload) = step {
            self.send(flow, payload);
        }
        Ok(())
    }

    /// Whether an INVITE still waits for its final response.
    pub(in crate::sip::endpoint) fn is_proceeding(&self, id: TransactionId) -> bool {
        self.servers
            .get(&id)
            .is_some_and(|server| match &server.machine {
                ServerMachine::Invite(machine) => machine.is_proceeding(),
                ServerMachine::Other(_) => false,
            })
    }

    fn settle_server(&mut self, id: TransactionId) {
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        let (deadline, over) = match &server.machine {
            ServerMachine::Invite(machine) => (machine.deadline(), machine.is_terminated()),
            ServerMachine::Other(machine) => (machine.deadline(), machine.is_terminated()),
        };
        self.schedule
            .set(Subject::Server(id), &mut server.wake, deadline);
        if over && let Some(server) = self.servers.remove(&id) {
            self.servers_by_key.remove(&server.key);
            if let Some(merge) = server.merge {
                self.invites.remove(&merge);
            }
        }
    }

    /// Fires what is due for one server transaction. Nobody above waits for these: a refusal that nobody
    /// acknowledged is over all the same.
    pub(in crate::sip::endpoint) fn handle_server_timeout(
        &mut self,
        now: Instant,
        id: TransactionId,
    ) {
        let Some(server) = self.servers.get_mut(&id) else {
            self.schedule.forget_first();
            return;
        };
        let step = match &mut server.machine {
            ServerMachine::Invite(machine) => machine.handle_timeout(now),
            ServerMachine::Other(machine) => machine.handle_timeout(now),
        };
        let flow = server.flow_now(&self.connections);
        self.settle_server(id);
        if let Step::Send(payload) = step {
            self.counters.repeats_sent += 1;
            self.send(flow, payload);
        }
    }
}

impl Server {
    /// Where a response goes now: the connection its request came by; when that is gone, a new one to the same address
    /// at the port that the Via names (§18.2.2).
    fn flow_now(&self, connections: &Connections) -> Flow {
        let mut flow = self.flow;
        if flow.transport.is_reliable() && !connections.is_open(&flow) {
            let port = self.key.sent_by_port();
            flow.remote
                .set_port(port.unwrap_or(flow.transport.default_port()));
        }
        flow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a refused INVITE costs until timer H is this, its key and its response.
    #[test]
    fn a_server_transaction_is_small() {
        assert!(size_of::<Server>() <= 384, "{}", size_of::<Server>());
    }
}
