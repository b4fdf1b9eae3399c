//! Requests that go out: repeated until somebody answers, then matched with the answer (RFC 3261 §17.1).

use std::time::Instant;

use bytes::Bytes;

use super::super::event::Flow;
use super::super::schedule::{Subject, Wake};
use super::super::ways::Ways;
use super::{Origin, TransactionLayer};
use crate::sip::dialog::invite_uac::Acks;
use crate::sip::message::{Method, Request, Response};
use crate::sip::transaction::{
    ClientKey, InviteClient, NonInviteClient, Step, Timing, TransactionId,
};

#[derive(Debug)]
pub(super) struct Client {
    key: ClientKey,
    ways: Ways,
    /// What its next way, its ACK, its CANCEL and its forks are made of.
    request: Box<Request>,
    machine: ClientMachine,
    origin: Origin,
    /// How often it was said again with more to say.
    said_again: u8,
    /// Its connection broke, and it was said again by another.
    reconnected: bool,
    wake: Wake,
}

#[derive(Debug)]
enum ClientMachine {
    Invite { machine: InviteClient, acks: Acks },
    Other(NonInviteClient),
}

impl ClientMachine {
    /// The machine of a request that is sent now.
    fn new(now: Instant, timing: Timing, ways: &Ways, request: &Request) -> Self {
        let reliable = ways.flow().transport.is_reliable();
        let wire = request.to_bytes();
        let patience = ways
            .has_other_servers()
            .then(|| now + timing.server_patience());
        if *request.method() == Method::Invite {
            let machine = InviteClient::new(now, timing, reliable, wire);
            Self::Invite {
                machine: machine.with_patience(patience),
                acks: Acks::default(),
            }
        } else {
            let machine = NonInviteClient::new(now, timing, reliable, wire);
            Self::Other(machine.with_patience(patience))
        }
    }
}

impl TransactionLayer {
    /// Sends a request by the first of its ways.
    pub(in crate::sip::endpoint) fn start(
        &mut self,
        now: Instant,
        ways: Ways,
        request: Request,
        branch: &str,
        origin: Origin,
    ) -> TransactionId {
        let id = self.next_id();
        let flow = ways.flow();
        let (wire, machine) = (
            request.to_bytes(),
            ClientMachine::new(now, self.timing, &ways, &request),
        );
        self.put(
            id,
            Client {
                key: ClientKey::new(request.method().clone(), branch),
                ways,
                request: Box::new(request),
                machine,
                origin,
                said_again: 0,
                reconnected: false,
                wake: Wake::default(),
            },
        );
        self.send(flow, wire);
        id
    }

    /// Sends `request` by `ways` instead of the one this client has sent so far, as another transaction. The user's id
    /// stays; what is left of the old transaction takes what still comes for it under an id of its own.
    pub(in crate::sip::endpoint) fn restart(
        &mut self,
        now: Instant,
        id: TransactionId,
        ways: Ways,
        request: Request,
        branch: &str,
    ) {
        let Some(mut old) = self.take(id) else {
            return;
        };
        let (mut origin, said_again) = (old.origin, old.said_again);
        let flow = ways.flow();
        origin.cseq = request
            .headers()
            .cseq()
            .map_or(origin.cseq, |cseq| cseq.number);
        let (wire, machine) = (
            request.to_bytes(),
            ClientMachine::new(now, self.timing, &ways, &request),
        );
        if !old.waits() {
            old.origin.owner = None;
            old.ways = Ways::only(old.ways.flow());
            let residue = self.next_id();
            self.put(residue, old);
        }
        self.put(
            id,
            Client {
                key: ClientKey::new(request.method().clone(), branch),
                ways,
                request: Box::new(request),
                machine,
                origin,
                said_again,
                reconnected: false,
                wake: Wake::default(),
            },
        );
        self.send(flow, wire);
    }

    fn put(&mut self, id: TransactionId, client: Client) {
        self.clients_by_key.insert(client.key.clone(), id);
        self.clients.insert(id, client);
        self.settle_client(id);
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
            ClientMachine::Invite { machine, .. } => {
                machine.handle_response(now, status, || ack(&client.request, response))
            }
            ClientMachine::Other(machine) => machine.handle_response(now, status),
        };
        let flow = client.ways.flow();
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

    /// The request of a client transaction, as it was sent last.
    pub(in crate::sip::endpoint) fn client_request(&self, id: TransactionId) -> Option<&Request> {
        self.clients.get(&id).map(|client| &*client.request)
    }

    /// How often a request was said again by [`TransactionLayer::count_said_again`].
    pub(in crate::sip::endpoint) fn said_again(&self, id: TransactionId) -> u8 {
        let client = self.clients.get(&id);
        client.map_or(u8::MAX, |client| client.said_again)
    }

    /// A request was said again, not because of its way but because there was more to say.
    pub(in crate::sip::endpoint) fn count_said_again(&mut self, id: TransactionId) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.said_again = client.said_again.saturating_add(1);
        }
    }

    /// Whether an INVITE of ours made no offer, so that the far end makes it.
    pub(in crate::sip::endpoint) fn is_without_offer(&self, id: TransactionId) -> bool {
        self.client_request(id)
            .is_some_and(|request| request.body().is_empty())
    }

    /// The way a request went last, which an INVITE's CANCEL must take too.
    pub(in crate::sip::endpoint) fn client_flow(&self, id: TransactionId) -> Option<Flow> {
        self.clients.get(&id).map(|client| client.ways.flow())
    }

    /// The way a request goes now, and the others.
    pub(in crate::sip::endpoint) fn client_ways(&self, id: TransactionId) -> Option<Ways> {
        self.clients.get(&id).map(|client| client.ways.clone())
    }

    /// Goes no other way with this INVITE, whatever becomes of it here.
    pub(in crate::sip::endpoint) fn stay(&mut self, id: TransactionId) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.ways = Ways::only(client.ways.flow());
            if let ClientMachine::Invite { machine, .. } = &mut client.machine {
                machine.handle_last();
            }
        }
        self.settle_client(id);
    }

    /// The ACKs sent for an INVITE's 2xx responses.
    pub(in crate::sip::endpoint) fn acks(&mut self, id: TransactionId) -> Option<&mut Acks> {
        match &mut self.clients.get_mut(&id)?.machine {
            ClientMachine::Invite { acks, .. } => Some(acks),
            ClientMachine::Other(_) => None,
        }
    }

    /// Nothing came back for this INVITE yet, so its CANCEL must wait (§9.1).
    pub(in crate::sip::endpoint) fn is_calling(&self, id: TransactionId) -> bool {
        self.clients
            .get(&id)
            .is_some_and(|client| match &client.machine {
                ClientMachine::Invite { machine, .. } => machine.is_calling(),
                ClientMachine::Other(_) => false,
            })
    }

    /// A CANCEL for this INVITE is on its way.
    pub(in crate::sip::endpoint) fn is_cancelled(&self, id: TransactionId) -> bool {
        let machine = self.clients.get(&id).map(|client| &client.machine);
        matches!(machine, Some(ClientMachine::Invite { machine, .. }) if machine.is_cancelled())
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
            ClientMachine::Other(machine) => (machine.deadline(), machine.is_terminated()),
        };
        self.schedule
            .set(Subject::Client(id), &mut client.wake, deadline);
        if over {
            self.take(id);
        }
    }

    /// Takes a client out of every table.
    fn take(&mut self, id: TransactionId) -> Option<Client> {
        let mut client = self.clients.remove(&id)?;
        self.schedule
            .set(Subject::Client(id), &mut client.wake, None);
        self.clients_by_key.remove(&client.key);
        Some(client)
    }

    /// Fires what is due for one client transaction.
    ///
    /// * returns whether nobody answered: the client is still there then, to be restarted or given up.
    pub(in crate::sip::endpoint) fn handle_client_timeout(
        &mut self,
        now: Instant,
        id: TransactionId,
    ) -> bool {
        let Some(client) = self.clients.get_mut(&id) else {
            self.schedule.forget_first();
            return false;
        };
        let step = match &mut client.machine {
            ClientMachine::Invite { machine, .. } => machine.handle_timeout(now),
            ClientMachine::Other(machine) => machine.handle_timeout(now),
        };
        let flow = client.ways.flow();
        match step {
            Step::TimedOut => {
                self.counters.timeouts += 1;
                return true;
            }
            Step::Send(payload) => {
                self.counters.repeats_sent += 1;
                self.send(flow, payload);
            }
            Step::Idle | Step::Deliver | Step::DeliverAndSend(_) => {}
        }
        self.settle_client(id);
        false
    }

    /// The requests that still wait for an answer by `flow`.
    pub(in crate::sip::endpoint) fn waiting_on(&self, flow: &Flow) -> Vec<TransactionId> {
        let mut waiting: Vec<TransactionId> = self
            .clients
            .iter()
            .filter(|(_, client)| client.ways.flow() == *flow && client.waits())
            .map(|(id, _)| *id)
            .collect();
        waiting.sort_unstable(); // a hash map's order must not reach the wire
        waiting
    }

    /// Sends a request once more, as the same transaction, by a new connection to where it went.
    ///
    /// * returns `false` when that has been tried.
    pub(in crate::sip::endpoint) fn reconnect(&mut self, id: TransactionId) -> bool {
        let Some(client) = self.clients.get_mut(&id) else {
            return false;
        };
        if std::mem::replace(&mut client.reconnected, true) {
            return false;
        }
        let (flow, wire) = (client.ways.flow(), client.request.to_bytes());
        self.counters.repeats_sent += 1;
        self.send(flow, wire);
        true
    }

    /// Forgets a request that no way is left for.
    pub(in crate::sip::endpoint) fn give_up(&mut self, id: TransactionId) -> Option<Origin> {
        self.take(id).map(|client| client.origin)
    }
}

impl TransactionLayer {
    /// Requests that nobody has reacted to yet.
    pub(in crate::sip::endpoint) fn waiting_clients(&self) -> usize {
        let waiting = |client: &&Client| client.waits();
        self.clients.values().filter(waiting).count()
    }
}

impl Client {
    fn waits(&self) -> bool {
        match &self.machine {
            ClientMachine::Invite { machine, .. } => machine.is_calling(),
            ClientMachine::Other(machine) => machine.is_pending(),
        }
    }
}
