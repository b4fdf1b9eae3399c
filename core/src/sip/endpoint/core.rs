//! What every dialog works with: the transaction layer below it, the pen it writes with, the events it reports.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;

use super::author::{Author, Draft};
use super::config::Limits;
use super::connections::Connections;
use super::event::{DialogEvent, DialogId, Event, Flow, Transport};
use super::half_open::HalfOpen;
use super::layer::{Origin, Purpose, TransactionLayer};
use super::locating::Locating;
use super::screen::Refusal;
use super::ways::Ways;
use crate::sip::dialog::Dialog;
use crate::sip::locate::Penalties;
use crate::sip::message::{
    BuildError, Method, Name, Request, RequestBuilder, ResponseBuilder, Uri, body,
};
use crate::sip::transaction::{ServerKey, TransactionId};

/// The parts of the endpoint that are not dialogs.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) layer: TransactionLayer,
    pub(super) author: Author,
    pub(super) events: VecDeque<Event>,
    pub(super) limits: Limits,
    pub(super) locating: Locating,
    pub(super) penalties: Penalties,
    pub(super) half_open: HalfOpen,
}

/// A request that was checked and belongs to no transaction yet.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) request: Request,
    /// How it came.
    pub(super) flow: Flow,
    pub(super) key: ServerKey,
}

impl Incoming {
    /// Where it came from.
    pub(super) fn source(&self) -> SocketAddr {
        self.flow.remote
    }

    /// The session description in it; empty when there is none.
    pub(super) fn description(&self) -> Bytes {
        body::session_description(self.request.headers(), self.request.body()).unwrap_or_default()
    }

    pub(super) fn cseq(&self) -> u32 {
        self.request.headers().cseq().map_or(0, |cseq| cseq.number)
    }
}

impl Core {
    /// Reports what happened in a dialog.
    pub(super) fn event(&mut self, dialog: DialogId, event: DialogEvent) {
        self.events.push_back(Event::Dialog { dialog, event });
    }

    /// Whether another server transaction of a running call fits.
    pub(super) fn has_room(&self) -> bool {
        self.layer.servers() < self.limits.transactions
    }

    /// Whether a new call's transaction fits.
    pub(super) fn has_room_for_call(&self) -> bool {
        self.layer.servers() < three_quarters(self.limits.transactions)
    }

    /// Whether this source leaves too many of our answers unacknowledged to be answered again.
    pub(super) fn is_half_open(&self, source: IpAddr) -> bool {
        let most = self.limits.unacknowledged_per_source;
        most > 0 && self.half_open.of(source) >= most
    }

    /// Answers a request without remembering it: it gets the same answer each time it comes (§8.2.7).
    pub(super) fn refuse(&mut self, request: &Request, flow: &Flow, status: u16) {
        self.refuse_with(request, flow, status, |response| response);
    }

    /// The same, with more header fields.
    pub(super) fn refuse_with(
        &mut self,
        request: &Request,
        flow: &Flow,
        status: u16,
        more: impl FnOnce(ResponseBuilder<'_>) -> ResponseBuilder<'_>,
    ) {
        self.layer.counters.refused += 1;
        self.reply(request, flow, status, more);
    }

    /// Sends an answer that belongs to no transaction.
    pub(super) fn reply(
        &mut self,
        request: &Request,
        flow: &Flow,
        status: u16,
        more: impl FnOnce(ResponseBuilder<'_>) -> ResponseBuilder<'_>,
    ) {
        if *request.method() == Method::Ack {
            return; // an ACK is never answered (§17)
        }
        let tag = self.author.stateless_tag(request);
        let response = self
            .author
            .response(request, flow.remote, status)
            .to_tag(&tag);
        match more(response).build() {
            Ok(response) => self
                .layer
                .send(reply_flow(request, flow), response.to_bytes()),
            // Its own header fields are too much for an answer.
            Err(_) => self.layer.counters.malformed += 1,
        }
    }

    /// 503 with Retry-After.
    pub(super) fn refuse_overloaded(&mut self, request: &Request, flow: &Flow, retry_after: &str) {
        self.layer.counters.overloaded += 1;
        self.refuse_with(request, flow, 503, |response| {
            response.header(Name::RetryAfter, retry_after)
        });
    }

    /// What one of the checks found.
    pub(super) fn refuse_for(&mut self, request: &Request, flow: &Flow, refusal: &Refusal) {
        self.refuse_with(request, flow, refusal.status(), |response| {
            refusal.explain(response)
        });
    }

    /// Opens the transaction of a request in a dialog.
    ///
    /// An INVITE's 100 is sent here.
    ///
    /// # Errors
    /// Its own header fields are too much for an answer.
    pub(super) fn open(
        &mut self,
        now: Instant,
        owner: DialogId,
        incoming: &Incoming,
    ) -> Result<TransactionId, BuildError> {
        let flow = reply_flow(&incoming.request, &incoming.flow);
        if *incoming.request.method() != Method::Invite {
            return Ok(self
                .layer
                .open_other(now, incoming.key.clone(), flow, owner));
        }
        let trying = self
            .author
            .response(&incoming.request, incoming.source(), 100)
            .build()?;
        Ok(self.layer.open_invite(
            incoming.key.clone(),
            None,
            flow,
            trying.to_bytes(),
            owner,
            "",
        ))
    }

    /// Answers a request in a dialog at once, through a transaction of its own.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        owner: DialogId,
        incoming: &Incoming,
        status: u16,
        more: impl FnOnce(ResponseBuilder<'_>) -> ResponseBuilder<'_>,
    ) {
        let response = self
            .author
            .response(&incoming.request, incoming.source(), status);
        let answered = more(response).build().and_then(|response| {
            let server = self.open(now, owner, incoming)?;
            self.respond(now, server, status, &response.to_bytes());
            Ok(())
        });
        if answered.is_err() {
            self.layer.counters.malformed += 1;
        }
    }

    /// Sends a response through its transaction. One that is over has nobody waiting for it.
    pub(super) fn respond(
        &mut self,
        now: Instant,
        server: TransactionId,
        status: u16,
        wire: &Bytes,
    ) {
        if self.layer.respond(now, server, status, wire).is_err() {
            tracing::debug!(status, "answer to a request that is over");
        }
    }

    /// Sends a request in a dialog, completed by `more`.
    ///
    /// # Errors
    /// What `more` adds cannot be written.
    pub(super) fn request(
        &mut self,
        now: Instant,
        owner: Option<DialogId>,
        dialog: &mut Dialog,
        (method, purpose): (Method, Purpose),
        more: impl FnOnce(crate::sip::message::RequestBuilder) -> crate::sip::message::RequestBuilder,
    ) -> Result<(TransactionId, u32), BuildError> {
        let (connections, penalties) = (&self.layer.connections, &self.penalties);
        let Draft {
            builder,
            branch,
            cseq,
            ways,
        } = self.author.in_dialog(dialog, &method, |ways| {
            choose(now, ways, connections, penalties)
        });
        let request = self
            .authorized(now, dialog, &method, more(builder))
            .build()?;
        let origin = Origin {
            owner,
            purpose,
            cseq,
        };
        let id = self.send(now, ways, request, &branch, origin);
        Ok((id, cseq))
    }

    /// The request with what its peer's realms want to see, as far as their nonces are known.
    fn authorized(
        &mut self,
        now: Instant,
        dialog: &mut Dialog,
        method: &Method,
        mut builder: RequestBuilder,
    ) -> RequestBuilder {
        if !dialog.acquaintance().is_asked() {
            return builder;
        }
        let uri = dialog.path().request_uri;
        let cnonce = self.author.tag();
        let acquaintance = dialog.acquaintance_mut();
        for (name, value) in acquaintance.fields(now, method, &uri, &cnonce) {
            builder = builder.header(name, value);
        }
        builder
    }

    /// The ways, those to servers that failed lately behind the others.
    pub(super) fn put_bad_last(&self, now: Instant, ways: Ways) -> Ways {
        ways.put_last(|way| self.penalties.is_bad(now, way))
    }

    /// Sends a request by the first of its ways, which its size may change.
    pub(super) fn send(
        &mut self,
        now: Instant,
        ways: Ways,
        request: Request,
        branch: &str,
        origin: Origin,
    ) -> TransactionId {
        let drafted = ways.flow();
        let ways = if self.author.listens_on(Transport::Tcp) {
            let octets = request.to_bytes().len();
            self.layer.connections.by_size(now, octets, ways)
        } else {
            ways
        };
        let flow = ways.flow();
        if flow != drafted
            && let Ok((request, branch)) = self.by_way(&request, &drafted, &flow)
        {
            return self.layer.start(now, ways, request, &branch, origin);
        }
        self.layer.start(now, ways, request, branch, origin)
    }

    /// The same request as it reads on another way: the Via names it, and an INVITE's Contact too.
    fn by_way(
        &mut self,
        request: &Request,
        from: &Flow,
        to: &Flow,
    ) -> Result<(Request, String), BuildError> {
        let (via, branch) = self.author.via(to);
        let elsewhere = from.transport != to.transport || from.local != to.local;
        let bears_contact = matches!(request.method(), Method::Invite | Method::Register);
        let contact = (bears_contact && elsewhere)
            .then(|| request.headers().contact().ok())
            .flatten()
            .map(|contact| {
                let uri = Uri::parse(contact.uri).ok();
                let user = uri.as_ref().and_then(Uri::user_raw);
                self.author.contact(to, user)
            });
        let replaced = contact.as_ref().map(|_| Name::Contact);
        let mut again = request.again(&via, None, replaced.as_slice());
        if let Some(contact) = contact {
            again = again.header(Name::Contact, contact);
        }
        Ok((again.build()?, branch))
    }

    /// Sends a request of ours by its next way: the same request, as a transaction of its own (RFC 3263 §4.3).
    ///
    /// * `worth_it`: passes over the ways for which it does not hold.
    /// * returns `false` when there is no other way.
    pub(super) fn go_next_way(
        &mut self,
        now: Instant,
        client: TransactionId,
        worth_it: impl Fn(&Flow) -> bool,
    ) -> bool {
        let Some(mut ways) = self.layer.client_ways(client) else {
            return false;
        };
        let from = ways.flow();
        while ways.advance() {
            let to = ways.flow();
            if !worth_it(&to) {
                continue;
            }
            let Some(request) = self.layer.client_request(client).cloned() else {
                return false;
            };
            let Ok((request, branch)) = self.by_way(&request, &from, &to) else {
                return false; // it was written once, so this cannot be
            };
            self.layer.restart(now, client, ways, request, &branch);
            return true;
        }
        false
    }

    /// Sends a request of ours once more with another number and other fields (credentials, a longer timer): the same
    /// client for its user, another transaction on the wire.
    ///
    /// * `fields`: replace those of the same names.
    ///
    /// # Errors
    /// `fields` cannot be written; nothing has been sent.
    pub(super) fn say_again(
        &mut self,
        now: Instant,
        client: TransactionId,
        cseq: u32,
        fields: &[(Name, String)],
    ) -> Result<(), BuildError> {
        let Some((request, ways)) = self
            .layer
            .client_request(client)
            .zip(self.layer.client_ways(client))
        else {
            return Ok(()); // it is over: nobody waits for it
        };
        let (via, branch) = self.author.via(&ways.flow());
        let replaced: Vec<Name> = fields.iter().map(|(name, _)| *name).collect();
        let mut again = request.again(&via, Some(cseq), &replaced);
        for (name, value) in fields {
            again = again.header(*name, value);
        }
        let request = again.build()?;
        self.layer.restart(now, client, ways, request, &branch);
        self.layer.count_said_again(client);
        Ok(())
    }

    /// Sends the ACK of a 2xx and remembers it for the 2xx's repeats.
    pub(super) fn acknowledge(
        &mut self,
        now: Instant,
        client: TransactionId,
        dialog: &Dialog,
        cseq: u32,
    ) {
        self.acknowledge_with(now, client, dialog, cseq, Bytes::new());
    }

    /// The same, with the answer to an offer in the 2xx.
    pub(super) fn acknowledge_with(
        &mut self,
        now: Instant,
        client: TransactionId,
        dialog: &Dialog,
        cseq: u32,
        answer: Bytes,
    ) {
        let (connections, penalties) = (&self.layer.connections, &self.penalties);
        let draft = self.author.ack(dialog, cseq, |ways| {
            choose(now, ways, connections, penalties)
        });
        let mut builder = if answer.is_empty() {
            draft.builder
        } else {
            draft.builder.body(body::SDP, answer)
        };
        // The ACK of a challenged INVITE bears what that bore, for nobody can ask for it (§22.1).
        if let Some(invite) = self.layer.client_request(client) {
            for name in [Name::Authorization, Name::ProxyAuthorization] {
                let values = invite.headers().all(name);
                builder = values.fold(builder, |builder, value| builder.header(name, value));
            }
        }
        let Ok(ack) = builder.build() else {
            self.layer.counters.malformed += 1; // a route or Contact that cannot be said
            return;
        };
        let ack = super::event::Transmit {
            flow: draft.ways.flow(),
            payload: ack.to_bytes(),
        };
        if let Some(acks) = self.layer.acks(client) {
            acks.handle_sent(dialog.remote_tag(), ack.clone());
        }
        self.layer.send(ack.flow, ack.payload);
    }
}

/// The ways of a request in a dialog: by connections that are open, and those to servers that failed lately last.
fn choose(now: Instant, ways: Ways, connections: &Connections, penalties: &Penalties) -> Ways {
    let ways = connections.prefer_open(ways);
    ways.put_last(|way| penalties.is_bad(now, way))
}

/// What new calls may fill of a table; the rest is for what belongs to running ones.
pub(super) const fn three_quarters(limit: usize) -> usize {
    limit - limit / 4
}

/// Where an answer goes (§18.2.2, RFC 3581 §4): the connection it came by; or the source address, at the port it came
/// from when `rport` asks for that, else at sent-by's.
pub(super) fn reply_flow(request: &Request, flow: &Flow) -> Flow {
    let mut to = *flow;
    if !flow.transport.is_reliable()
        && let Ok(via) = request.headers().via()
        && via.rport().is_none()
    {
        to.remote.set_port(via.port.unwrap_or(5060));
    }
    to
}
