//! What comes in, in the order in which RFC 3261 §8.2 wants it looked at.

use std::time::Instant;

use bytes::Bytes;

use super::core::{Incoming, reply_flow, three_quarters};
use super::event::{Event, Flow, Invited};
use super::gate::{Busy, Gate};
use super::identity::Known;
use super::layer::{Matched, Purpose};
use super::session::{Offered, Session, hang_up_fork};
use super::{Endpoint, Readiness, screen};
use crate::sip::dialog::Dialog;
use crate::sip::dialog::invite_uac::Answer;
use crate::sip::message::framing::FramingError;
use crate::sip::message::{Message, Method, Name, ParseError, Request, Response, Uri, body};
use crate::sip::transaction::{MergeKey, TransactionId};

impl Endpoint {
    /// One datagram, or one message out of a stream.
    pub fn handle_datagram(&mut self, now: Instant, flow: Flow, datagram: &Bytes) {
        self.core.layer.counters.received += 1;
        match Message::parse(datagram) {
            Ok(Message::Request(request)) => self.handle_request(now, flow, request),
            Ok(Message::Response(response)) => self.handle_response(now, &response),
            Err(ParseError::Empty) => {}
            Err(_) => self.core.layer.counters.malformed += 1,
        }
    }

    /// A stream on which nobody knows where the next message starts. What can still be read of the last one is answered;
    /// the shell closes the connection once the answer is out.
    pub fn handle_framing_error(&mut self, flow: &Flow, error: &FramingError) {
        self.core.layer.counters.received += 1;
        self.core.layer.counters.malformed += 1;
        let Some(Ok(Message::Request(request))) = error.head().map(Message::parse) else {
            return;
        };
        if request.headers().via().is_ok() {
            self.core
                .refuse_with(&request, flow, error.status(), |response| {
                    response.reason(&error.to_string())
                });
        }
    }

    fn handle_request(&mut self, now: Instant, flow: Flow, request: Request) {
        if let Err(fault) = request.validate() {
            self.core.layer.counters.malformed += 1;
            if request.headers().via().is_err() {
                return; // nowhere to answer to
            }
            return self
                .core
                .refuse_with(&request, &flow, fault.status(), |response| {
                    response.reason(&fault.reason())
                });
        }
        if *request.method() == Method::Options && !is_in_dialog(&request) {
            // The commonest request of all is never remembered, so there is nothing to look for.
            return self.handle_ping(now, &request, &flow);
        }
        let is_ack = *request.method() == Method::Ack;
        match self.core.layer.match_request(now, &request, is_ack) {
            Matched::Absorbed => {}
            Matched::Keyless => self.core.layer.counters.malformed += 1,
            Matched::Ack => self.handle_ack(now, &flow, &request),
            Matched::New(_) if *request.method() == Method::Cancel => {
                self.handle_cancel(now, &flow, &request);
            }
            Matched::New(key) => self.handle_new(now, Incoming { request, flow, key }),
        }
    }

    /// An ACK for a 2xx; one that belongs to no dialog is ignored.
    fn handle_ack(&mut self, now: Instant, flow: &Flow, ack: &Request) {
        let headers = ack.headers();
        let cseq = headers.cseq().map_or(0, |cseq| cseq.number);
        let tag = headers.to().ok().and_then(|to| to.tag());
        let dialog = tag
            .and_then(|tag| self.dialogs.by_tag(tag))
            .filter(|dialog| self.believes(*dialog, ack, flow.remote.ip()));
        let found = dialog.and_then(|id| {
            self.with(id, |session, core| {
                session.dialog.is_from_peer(ack) && {
                    let answer = body::any_session_description(headers, ack.body());
                    session.handle_ack(now, core, cseq, &answer);
                    true
                }
            })
        });
        if found != Some(true) {
            self.core.layer.counters.strays += 1;
        }
    }

    /// §9.2: a CANCEL is answered 200 when its INVITE is known, whatever became of it, and has an effect when that has no
    /// final response. It is not remembered: a repeat finds the same INVITE.
    fn handle_cancel(&mut self, now: Instant, flow: &Flow, cancel: &Request) {
        let cancelled = self.core.layer.cancelled(cancel);
        let cancelled = cancelled.filter(|(_, owner, _)| {
            let source = flow.remote.ip();
            owner.is_none_or(|owner| self.knows(owner, source))
        });
        let Some((server, owner, tag)) = cancelled else {
            self.core.layer.counters.strays += 1;
            return self.core.refuse(cancel, flow, 481);
        };
        self.core.reply(cancel, flow, 200, |response| {
            if tag.is_empty() {
                response
            } else {
                response.to_tag(&tag)
            }
        });
        if !self.core.layer.is_proceeding(server) {
            return;
        }
        let reason = cancel.headers().get(Name::Reason).map(str::to_owned);
        if let Some(owner) = owner {
            self.with(owner, |session, core| {
                session.handle_cancel(now, core, server, reason);
            });
        }
    }

    fn handle_new(&mut self, now: Instant, incoming: Incoming) {
        let (request, flow) = (&incoming.request, &incoming.flow);
        let checked = screen::answerable(request).and_then(|()| screen::method(request.method()));
        if let Err(refusal) = checked {
            return self.core.refuse_for(request, flow, &refusal);
        }
        let tag = request.headers().to().ok().and_then(|to| to.tag());
        let Some(tag) = tag else {
            return self.handle_outside(now, incoming);
        };
        let Some(dialog) = self.dialogs.by_tag(tag) else {
            return self.core.refuse(request, flow, 481);
        };
        if !self.believes(dialog, request, flow.remote.ip())
            && let Err(unknown) = self.reassure(now, dialog, request, flow)
        {
            return self.refuse_unknown(now, request, flow, unknown);
        }
        self.with(dialog, |session, core| {
            session.handle_request(now, core, incoming);
        });
    }

    /// A request outside any dialog.
    fn handle_outside(&mut self, now: Instant, incoming: Incoming) {
        let (request, flow) = (&incoming.request, &incoming.flow);
        let is_invite = *request.method() == Method::Invite;
        let merge = is_invite.then(|| MergeKey::of(request)).flatten();
        if merge
            .as_ref()
            .is_some_and(|key| self.core.layer.is_merged(key))
        {
            return self.core.refuse(request, flow, 482);
        }
        let known = match self.identify(now, request, flow) {
            Ok(known) => known,
            Err(unknown) => return self.refuse_unknown(now, request, flow, unknown),
        };
        let (request, flow) = (&incoming.request, &incoming.flow);
        if let Err(refusal) = screen::outside(request) {
            return self.core.refuse_for(request, flow, &refusal);
        }
        if is_invite {
            self.handle_invite(now, incoming, merge, known);
        } else if *request.method() == Method::Refer {
            self.core.refuse(request, flow, 603); // a transfer of nothing: nobody is on the line
        } else {
            self.core.refuse(request, flow, 481);
        }
    }

    /// OPTIONS outside any dialog: how trunks ask whether we live, which strangers may ask too (§11.2).
    fn handle_ping(&mut self, now: Instant, request: &Request, flow: &Flow) {
        if let Err(refusal) = screen::answerable(request).and_then(|()| screen::outside(request)) {
            return self.core.refuse_for(request, flow, &refusal);
        }
        let full = |gate: &mut Box<dyn Gate>| gate.full(now).map(Busy::seconds);
        let busy = self.unready().or_else(|| self.gate.as_mut().and_then(full));
        if let Some(retry_after) = busy {
            return self.core.refuse_overloaded(request, flow, &retry_after);
        }
        self.core.reply(request, flow, 200, screen::capabilities);
    }

    /// Retry-After, when no new calls are taken.
    fn unready(&mut self) -> Option<String> {
        match self.readiness {
            Readiness::Ready => self.is_full().then(|| self.core.author.retry_after()),
            Readiness::Busy { retry_after } => Some(self.core.author.spread(retry_after)),
            Readiness::Draining => Some(self.core.author.retry_after()),
        }
    }

    /// Whether this endpoint has no room for another call.
    fn is_full(&self) -> bool {
        self.dialogs.len() >= three_quarters(self.core.limits.dialogs)
            || !self.core.has_room_for_call()
    }

    /// Asked last, so that only calls that can be taken are counted.
    fn admit(&mut self, now: Instant, source: std::net::IpAddr) -> Result<(), Busy> {
        match &mut self.gate {
            Some(gate) => gate.admit(now, source),
            None => Ok(()),
        }
    }

    fn handle_invite(
        &mut self,
        now: Instant,
        incoming: Incoming,
        merge: Option<MergeKey>,
        known: Known,
    ) {
        let half_open = self.core.is_half_open(incoming.source().ip());
        let busy = self
            .unready()
            .or_else(|| half_open.then(|| self.core.author.retry_after()));
        let (request, flow) = (&incoming.request, incoming.flow);
        if let Some(retry_after) = busy {
            return self.core.refuse_overloaded(request, &flow, &retry_after);
        }
        let user = Uri::parse(request.uri())
            .ok()
            .filter(Uri::is_sip)
            .and_then(|uri| uri.user_raw().map(str::to_owned));
        let contact = self.core.author.contact(&flow, user.as_deref());
        let tag = self.core.author.tag();
        let dialog = match Dialog::from_invite(request, tag.clone(), contact, flow) {
            Ok(dialog) => dialog.with_acquaintance(known.acquaintance),
            Err(missing) => {
                let reason = missing.to_string();
                return self
                    .core
                    .refuse_with(request, &flow, 400, |response| response.reason(&reason));
            }
        };
        let Ok(trying) = self.core.author.response(request, flow.remote, 100).build() else {
            self.core.layer.counters.malformed += 1;
            return;
        };
        if let Err(busy) = self.admit(now, flow.remote.ip()) {
            return self
                .core
                .refuse_overloaded(&incoming.request, &flow, &busy.seconds());
        }
        let id = self.dialogs.next_id();
        let Incoming { request, key, .. } = incoming;
        let reply = reply_flow(&request, &flow);
        let server = self
            .core
            .layer
            .open_invite(key, merge, reply, trying.to_bytes(), id, &tag);
        self.core.layer.counters.calls_in += 1;
        let invited = invited(&request, id, flow, (known.trunk, known.by_contact));
        let trunk = invited.trunk.clone();
        self.core
            .events
            .push_back(Event::Invited(Box::new(invited)));
        let mut session = Session::offered(id, dialog, trunk);
        session.require_reliable(&mut self.core, &request);
        session.offer_came(Offered::new(server, request, flow.remote));
        self.dialogs.insert(session);
    }

    fn handle_response(&mut self, now: Instant, response: &Response) {
        if response.validate().is_err() {
            self.core.layer.counters.malformed += 1;
            return;
        }
        let layer = &mut self.core.layer;
        let Some(client) = layer.handle_response(now, response, super::author::ack_of_refusal)
        else {
            return;
        };
        let is_answer = (200..300).contains(&response.status());
        if let Some(origin) = layer.origin(client) {
            if self.handle_health(now, client, origin, response)
                || self.handle_challenge(now, client, origin, response)
            {
                return;
            }
            let invite = matches!(origin.purpose, Purpose::Invite | Purpose::Reinvite);
            if invite && is_answer {
                self.handle_answer(now, client, response);
            } else if let Purpose::Register(id) = origin.purpose {
                self.handle_register_answer(now, client, id, response);
            } else if let Some(owner) = origin.owner {
                self.with(owner, |session, core| {
                    session.handle_response(now, core, client, origin, response);
                });
            } else {
                self.handle_orphan(now, client, origin, response);
            }
        }
        self.core.layer.settle_client(client);
    }

    /// A 2xx to an INVITE of ours.
    fn handle_answer(&mut self, now: Instant, client: TransactionId, response: &Response) {
        let Some(origin) = self.core.layer.origin(client) else {
            return;
        };
        let to = response.headers().to();
        let tag = to.ok().and_then(|to| to.tag()).unwrap_or_default();
        let owner = origin.owner.and_then(|owner| self.dialogs.get_mut(owner));
        let spent = match owner {
            Some(session) if session.holds_ack_for(tag) => return, // the call has not answered yet
            Some(session) => session.spent_on(tag),
            None => None,
        };
        let Some(acks) = self.core.layer.acks(client) else {
            return;
        };
        match acks.classify(tag) {
            Answer::Repeat(ack) => self.core.layer.send(ack.flow, ack.payload),
            Answer::TooMany => self.core.layer.counters.strays += 1,
            Answer::Fork => hang_up_fork(now, &mut self.core, (client, spent), response),
            Answer::First => {
                let taken = origin.owner.and_then(|owner| {
                    self.with(owner, |session, core| {
                        session.handle_answer(now, core, client, origin, response)
                    })
                });
                if taken != Some(true) {
                    hang_up_fork(now, &mut self.core, (client, spent), response);
                }
            }
        }
    }
}

fn is_in_dialog(request: &Request) -> bool {
    request.headers().to().is_ok_and(|to| to.tag().is_some())
}

/// What a call wants to know of an INVITE.
fn invited(
    request: &Request,
    dialog: super::DialogId,
    flow: Flow,
    (trunk, by_contact): (String, bool),
) -> Invited {
    let headers = request.headers();
    let from = headers.from().ok();
    Invited {
        dialog,
        flow,
        trunk,
        call_id: headers.call_id().unwrap_or_default().to_owned(),
        request_uri: request.uri().to_owned(),
        called: if by_contact {
            headers
                .to()
                .map(|to| shown_user(to.uri))
                .unwrap_or_default()
        } else {
            shown_user(request.uri())
        },
        caller: from.map(|from| shown_user(from.uri)).unwrap_or_default(),
        caller_name: from.and_then(|from| from.display_name().map(|name| shown_name(&name))),
        headers: headers
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        allows_refer: headers.get(Name::Allow).is_none() || headers.lists(Name::Allow, "REFER"),
        // It was read when the request was screened.
        offer: body::session_description(headers, request.body()).unwrap_or_default(),
    }
}

/// A user part unescaped; as written when that would hold what nobody can see, such as a line end or a NUL.
fn shown_user(uri: &str) -> String {
    let Ok(uri) = Uri::parse(uri) else {
        return String::new();
    };
    match uri.user() {
        Some(user) if user.contains(is_unseen) => uri.user_raw().unwrap_or_default().to_owned(),
        user => user.unwrap_or_default().into_owned(),
    }
}

/// Characters of a display name that people are shown.
const NAME: usize = 256;

/// A display name as one line that reads the way it is written.
fn shown_name(name: &str) -> String {
    name.chars()
        .take(NAME)
        .map(|c| if is_unseen(c) { '\u{fffd}' } else { c })
        .collect()
}

/// Controls, line separators, and marks that turn the direction of what follows them: on a screen or in a log they make
/// a text look like another.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}
