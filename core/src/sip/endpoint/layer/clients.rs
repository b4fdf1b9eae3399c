//! Requests that go out: repeated until somebody answers, then matched with the answer (RFC 3261 §17.1).

use std::time::Instant;

use bytes::Bytes;

use super::super::event::Flow;
use super::super::schedule::{Subject, Wake};
use super::{Origin, TransactionLayer};
use crate::sip::dialog::invite_uac::Acks;
use crate::sip::message::{Method, Request, Response};
use crate::sip::transaction::{ClientKey, InviteClient, NonInviteClient, Step, TransactionId};

#[derive(Debug)]
pub(super) struct Client {
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

impl TransactionLayer {
    /// Sends an INVITE.
    pub(in crate::sip::endpoint) fn start_invite(
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
        let key = ClientKey::new(Method::Invite, branch);
        self.start(key, (flow, alternate), machine, origin, wire)
    }

    /// Sends any other request.
    pub(in crate::sip::endpoint) fn start_other(
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
    pub(in crate::sip::endpoint) fn handle_response(
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
    pub(in crate::sip::endpoint) fn origin(&self, id: TransactionId) -> Option<Origin> {
        self.clients.get(&id).map(|client| client.origin)
    }

    /// The INVITE of a client transaction.
    pub(in crate::sip::endpoint) fn invite_request(&self, id: TransactionId) -> Option<&Request> {
        match &self.clients.get(&id)?.machine {
            ClientMachine::Invite { request, .. } => Some(request),
            ClientMachine::Other { .. } => None,
        }
    }

    /// The way an INVITE went, which its CANCEL must take too.
    pub(in crate::sip::endpoint) fn client_flow(&self, id: TransactionId) -> Option<Flow> {
        self.clients.get(&id).map(|client| client.flow)
    }

    /// The ACKs sent for an INVITE's 2xx responses.
    pub(in crate::sip::endpoint) fn acks(&mut self, id: TransactionId) -> Option<&mut Acks> {
        match &mut self.clients.get_mut(&id)?.machine {
            ClientMachine::Invite { acks, .. } => Some(acks),
            ClientMachine::Other { .. } => None,
        }
    }

    /// Nothing came back for this INVITE yet, so its CANCEL must wait (§9.1).
    pub(in crate::sip::endpoint) fn is_calling(&self, id: TransactionId) -> bool {
        self.clients
            .get(&id)
            .is_some_and(|client| match &client.machine {
                ClientMachine::Invite { machine, .. } => machine.is_calling(),
                ClientMachine::Other { .. } => false,
            })
    }

    /// A CANCEL for this INVITE has been sent.
    pub(in crate::sip::endpoint) fn handle_cancelled(&mut self, now: Instant, id: TransactionId) {
        if let Some(client) = self.clients.get_mut(&id)
            && let ClientMachine::Invite { machine, .. } = &mut client.machine
        {
            machine.handle_cancelled(now);
        }
        self.settle_client(id);
    }

    /// Puts a client transaction where its state belongs in the schedule, or forgets it.
    pub(in crate::sip::endpoint) fn settle_client(&mut self, id: TransactionId) {
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
    pub(in crate::sip::endpoint) fn handle_client_timeout(
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
    pub(in crate::sip::endpoint) fn handle_send_error(&mut self, flow: &Flow) -> Vec<Origin> {
        self.counters.send_errors += 1;
        self.reroute(flow)
    }

    /// What waits for an answer by `flow` takes its other way. Returns whose requests have none left.
    pub(super) fn reroute(&mut self, flow: &Flow) -> Vec<Origin> {
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
