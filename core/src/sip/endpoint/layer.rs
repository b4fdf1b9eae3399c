//! The transaction layer: every transaction of this node, found by key, woken by one schedule.
//!
//! It repeats, absorbs and forgets; what a message means is decided above it.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;

use super::counters::Counters;
use super::event::{DialogId, Flow, Transmit};
use super::schedule::{Schedule, Subject, Wake};
use crate::sip::dialog::invite_uac::Acks;
use crate::sip::message::{Request, Response};
use crate::sip::transaction::{
    AlreadyAnswered, ClientKey, InviteClient, InviteServer, MergeKey, NonInviteClient,
    NonInviteServer, ServerKey, Step, Timing, TransactionId,
};

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
    transmits: VecDeque<Transmit>,
    pub(super) counters: Counters,
}

#[derive(Debug)]
struct Server {
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

#[derive(Debug)]
struct Client {
    key: ClientKey,
    flow: Flow,
    alternate: Option<Flow>,
    machine: ClientMachine,
    origin: Origin,
    wake: Wake,
}

#[derive(Debug)]
enum ClientMachine {
    /// With what its ACK, its CANCEL and its forks are made of.
    Invite {
        machine: InviteClient,
        request: Box<Request>,
        acks: Acks,
    },
    Other {
        machine: NonInviteClient,
        wire: Bytes,
    },
}

/// Whose request it is and what it was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    /// The dialog that waits for the answer; `None` when nobody does.
    pub(super) owner: Option<DialogId>,
    /// What for.
    pub(super) purpose: Purpose,
    /// Its CSeq number.
    pub(super) cseq: u32,
}

/// What a request of ours was sent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Invite,
    Reinvite,
    Cancel,
    Bye,
    Refer,
    Notify,
}

/// How a request of ours ended without a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// 64·T1 passed: stands for 408 (§8.1.3.1).
    TimedOut,
    /// No way left to send it: stands for 503.
    Unreachable,
}

/// What a request is to the transaction layer.
#[derive(Debug)]
pub(super) enum Matched {
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

    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    fn next_id(&mut self) -> TransactionId {
        self.last += 1;
        TransactionId(self.last)
    }
}

/// Requests that come in.
impl TransactionLayer {
    /// Matches a request with the transaction it belongs to (§17.2.3).
    pub(super) fn match_request(
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
        let flow = server.flow;
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
    pub(super) fn cancelled(
        &self,
        cancel: &Request,
    ) -> Option<(TransactionId, Option<DialogId>, String)> {
        let id = *self.servers_by_key.get(&ServerKey::of_cancelled(cancel)?)?;
        let server = self.servers.get(&id)?;
        Some((id, server.owner, server.to_tag.to_string()))
    }

    /// Whether this INVITE is already being served under another branch (§8.2.2.2).
    pub(super) fn is_merged(&self, key: &MergeKey) -> bool {
        self.invites.contains_key(key)
    }

    /// Opens the transaction of an INVITE; `trying` is sent.
    ///
    /// * `flow`: where its responses go.
    pub(super) fn open_invite(
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
    pub(super) fn open_other(
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
    pub(super) fn respond(
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
        let flow = server.flow;
        self.settle_server(id);
        if let Step::Send(payload) = step {
            self.send(flow, payload);
        }
        Ok(())
    }

    /// Whether an INVITE still waits for its final response.
    pub(super) fn is_proceeding(&self, id: TransactionId) -> bool {
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
    pub(super) fn handle_server_timeout(&mut self, now: Instant, id: TransactionId) {
        let Some(server) = self.servers.get_mut(&id) else {
            self.schedule.forget_first();
            return;
        };
        let step = match &mut server.machine {
            ServerMachine::Invite(machine) => machine.handle_timeout(now),
            ServerMachine::Other(machine) => machine.handle_timeout(now),
        };
        let flow = server.flow;
        self.settle_server(id);
        if let Step::Send(payload) = step {
            self.counters.repeats_sent += 1;
            self.send(flow, payload);
        }
    }
}

/// Requests that go out.
impl TransactionLayer {
    /// Sends an INVITE.
    pub(super) fn start_invite(
        &mut self,
        now: Instant,
        (flow, alternate): (Flow, Option<Flow>),
        request: Request,
        branch: &str,
        origin: Origin,
    ) -> TransactionId {
        let wire = request.to_bytes();
        let reliable = flow.transport.is_reliable();
        let machine = ClientMachine::Invite {
            machine: InviteClient::new(now, self.timing, reliable, wire.clone()),
            request: Box::new(request),
            acks: Acks::default(),
        };
        let key = ClientKey::new(crate::sip::message::Method::Invite, branch);
        self.start(key, (flow, alternate), machine, origin, wire)
    }

    /// Sends any other request.
    pub(super) fn start_other(
        &mut self,
        now: Instant,
        (flow, alternate): (Flow, Option<Flow>),
        request: &Request,
        branch: &str,
        origin: Origin,
    ) -> TransactionId {
        let wire = request.to_bytes();
        let reliable = flow.transport.is_reliable();
        let machine = ClientMachine::Other {
            machine: NonInviteClient::new(now, self.timing, reliable, wire.clone()),
            wire: wire.clone(),
        };
        let key = ClientKey::new(request.method().clone(), branch);
        self.start(key, (flow, alternate), machine, origin, wire)
    }

    fn start(
        &mut self,
        key: ClientKey,
        (flow, alternate): (Flow, Option<Flow>),
        machine: ClientMachine,
        origin: Origin,
        wire: Bytes,
    ) -> TransactionId {
        let id = self.next_id();
        self.clients_by_key.insert(key.clone(), id);
        self.clients.insert(
            id,
            Client {
                key,
                flow,
                alternate,
                machine,
                origin,
                wake: Wake::default(),
            },
        );
        self.settle_client(id);
        self.send(flow, wire);
        id
    }

    /// Matches a response with its request (§17.1.3) and does what repeats need.
    ///
    /// * `ack`: makes the ACK of a refused INVITE.
    /// * returns the transaction when its user must see the response.
    pub(super) fn handle_response(
        &mut self,
        now: Instant,
        response: &Response,
        ack: impl FnOnce(&Request, &Response) -> Bytes,
    ) -> Option<TransactionId> {
        let id = ClientKey::of(response).and_then(|key| self.clients_by_key.get(&key).copied());
        let Some((id, client)) = id.and_then(|id| Some((id, self.clients.get_mut(&id)?))) else {
            self.counters.strays += 1;
            return None;
        };
        let status = response.status();
        let step = match &mut client.machine {
            ClientMachine::Invite {
                machine, request, ..
            } => machine.handle_response(now, status, || ack(request, response)),
            ClientMachine::Other { machine, .. } => machine.handle_response(now, status),
        };
        let flow = client.flow;
        match step {
            Step::Send(payload) => {
                self.send(flow, payload);
                None
            }
            Step::Deliver => Some(id),
            Step::DeliverAndSend(payload) => {
                self.send(flow, payload);
                Some(id)
            }
            Step::Idle | Step::TimedOut => {
                self.settle_client(id);
                None
            }
        }
    }

    /// What a transaction was for; asked while its response is being handled, so it is still there.
    pub(super) fn origin(&self, id: TransactionId) -> Option<Origin> {
        self.clients.get(&id).map(|client| client.origin)
    }

    /// The INVITE of a client transaction.
    pub(super) fn invite_request(&self, id: TransactionId) -> Option<&Request> {
        match &self.clients.get(&id)?.machine {
            ClientMachine::Invite { request, .. } => Some(request),
            ClientMachine::Other { .. } => None,
        }
    }

    /// The way an INVITE went, which its CANCEL must take too.
    pub(super) fn client_flow(&self, id: TransactionId) -> Option<Flow> {
        self.clients.get(&id).map(|client| client.flow)
    }

    /// The ACKs sent for an INVITE's 2xx responses.
    pub(super) fn acks(&mut self, id: TransactionId) -> Option<&mut Acks> {
        match &mut self.clients.get_mut(&id)?.machine {
            ClientMachine::Invite { acks, .. } => Some(acks),
            ClientMachine::Other { .. } => None,
        }
    }

    /// Nothing came back for this INVITE yet, so its CANCEL must wait (§9.1).
    pub(super) fn is_calling(&self, id: TransactionId) -> bool {
        self.clients
            .get(&id)
            .is_some_and(|client| match &client.machine {
                ClientMachine::Invite { machine, .. } => machine.is_calling(),
                ClientMachine::Other { .. } => false,
            })
    }

    /// A CANCEL for this INVITE has been sent.
    pub(super) fn handle_cancelled(&mut self, now: Instant, id: TransactionId) {
        if let Some(client) = self.clients.get_mut(&id)
            && let ClientMachine::Invite { machine, .. } = &mut client.machine
        {
            machine.handle_cancelled(now);
        }
        self.settle_client(id);
    }

    /// Puts a client transaction where its state belongs in the schedule, or forgets it.
    pub(super) fn settle_client(&mut self, id: TransactionId) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let (deadline, over) = match &client.machine {
            ClientMachine::Invite { machine, .. } => (machine.deadline(), machine.is_terminated()),
            ClientMachine::Other { machine, .. } => (machine.deadline(), machine.is_terminated()),
        };
        self.schedule
            .set(Subject::Client(id), &mut client.wake, deadline);
        if over {
            self.remove_client(id);
        }
    }

    fn remove_client(&mut self, id: TransactionId) {
        if let Some(mut client) = self.clients.remove(&id) {
            self.schedule
                .set(Subject::Client(id), &mut client.wake, None);
            self.clients_by_key.remove(&client.key);
        }
    }

    /// Fires what is due for one client transaction.
    ///
    /// * returns whose request nobody answered, if that is what was due.
    pub(super) fn handle_client_timeout(
        &mut self,
        now: Instant,
        id: TransactionId,
    ) -> Option<Origin> {
        let Some(client) = self.clients.get_mut(&id) else {
            self.schedule.forget_first();
            return None;
        };
        let step = match &mut client.machine {
            ClientMachine::Invite { machine, .. } => machine.handle_timeout(now),
            ClientMachine::Other { machine, .. } => machine.handle_timeout(now),
        };
        let (flow, origin) = (client.flow, client.origin);
        self.settle_client(id);
        match step {
            Step::Send(payload) => {
                self.counters.repeats_sent += 1;
                self.send(flow, payload);
                None
            }
            Step::TimedOut => {
                self.counters.timeouts += 1;
                Some(origin)
            }
            Step::Idle | Step::Deliver | Step::DeliverAndSend(_) => None,
        }
    }

    /// Sending on `flow` failed: requests that still wait for an answer take their other way, or are over.
    ///
    /// * returns whose requests have no way left.
    pub(super) fn handle_send_error(&mut self, flow: &Flow) -> Vec<Origin> {
        self.counters.send_errors += 1;
        let mut waiting: Vec<TransactionId> = self
            .clients
            .iter()
            .filter(|(_, client)| client.flow == *flow && client.waits())
            .map(|(id, _)| *id)
            .collect();
        waiting.sort_unstable(); // a hash map's order must not reach the wire
        let mut lost = Vec::new();
        for id in waiting {
            let Some(client) = self.clients.get_mut(&id) else {
                continue;
            };
            if let Some(alternate) = client.alternate.take() {
                client.flow = alternate;
                let wire = client.wire();
                self.send(alternate, wire);
            } else {
                lost.push(client.origin);
                self.remove_client(id);
            }
        }
        lost
    }
}

impl Client {
    fn waits(&self) -> bool {
        match &self.machine {
            ClientMachine::Invite { machine, .. } => machine.is_calling(),
            ClientMachine::Other { machine, .. } => machine.is_pending(),
        }
    }

    fn wire(&self) -> Bytes {
        match &self.machine {
            ClientMachine::Invite { request, .. } => request.to_bytes(),
            ClientMachine::Other { wire, .. } => wire.clone(),
        }
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
