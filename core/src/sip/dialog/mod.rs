//! A dialog (RFC 3261 §12): what two user agents agree on, and where a request in it goes.
//!
//! [`Dialog`] is the agreement: tags, sequence numbers, route set, remote target. What is going on in it, the
//! *usages* of RFC 5057, are separate: [`invite_uas`] and [`invite_uac`] for the 2xx and its ACK, [`refer`] for
//! the subscription of a transfer.

mod acquaintance;
pub mod invite_uac;
pub mod invite_uas;
pub mod refer;
pub mod reliable;
mod route;
pub mod session_timer;
pub mod sipfrag;

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

pub use acquaintance::Acquaintance;

use crate::sip::endpoint::{Flow, LocateId, Ways};
use crate::sip::locate::Destination;
use crate::sip::message::{Headers, Method, Name, NameAddr, ParseError, Request, Response, Uri};
use crate::sip::transaction::TransactionId;

/// One dialog, or the early state of what may become one.
#[derive(Debug, Clone)]
pub struct Dialog {
    call_id: String,
    /// Our From (or To) value, tag included.
    local: String,
    /// Theirs.
    remote: String,
    local_tag: String,
    /// Empty for a peer of RFC 2543 (§12.1.1), and before the answer.
    remote_tag: String,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    /// In the order in which our requests pass them, each with its brackets.
    route_set: Vec<String>,
    /// The peer's Contact URI, verbatim: Twilio's is a private address that only its own proxies understand.
    remote_target: String,
    /// Our Contact value.
    contact: String,
    /// The way the dialog was made by.
    flow: Flow,
    /// We made the Call-ID, so after a 491 we wait longer (§14.1).
    is_uac: bool,
    /// How the two ends know each other.
    acquaintance: Acquaintance,
    /// The next hop may be another than before.
    moved: bool,
    /// Where it is, when it is a name.
    located: Option<Located>,
}

/// A next hop that is a name, and where it was found to be.
#[derive(Debug, Clone)]
struct Located {
    uri: String,
    /// The question whose answer is awaited.
    asked: Option<LocateId>,
    ways: Vec<Flow>,
}

/// Where a request in a dialog goes and what it says about it (§12.2.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The Request-URI.
    pub request_uri: String,
    /// Route values, in order.
    pub routes: Vec<String>,
    /// The ways to the next hop: a connection to be reused first, then its own address.
    pub ways: Ways,
}

/// Why a message makes no dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoDialog {
    /// Answered 400.
    #[error("no readable {0} header")]
    Missing(&'static str),
}

impl Dialog {
    /// As UAS, from an INVITE (§12.1.1). `contact` is our Contact value.
    ///
    /// # Errors
    /// What the INVITE lacks.
    pub fn from_invite(
        invite: &Request,
        local_tag: String,
        contact: String,
        flow: Flow,
    ) -> Result<Self, NoDialog> {
        let headers = invite.headers();
        let from = headers.from().map_err(|_| NoDialog::Missing("From"))?;
        let to = headers.get(Name::To).ok_or(NoDialog::Missing("To"))?;
        let target = match headers.contact() {
            Ok(contact) => contact.uri,
            // RFC 2543 callers, known by their From without tag, may leave Contact out: From is where they are then.
            Err(ParseError::Missing(_)) if from.tag().is_none() => from.uri,
            Err(_) => return Err(NoDialog::Missing("Contact")),
        };
        Ok(Self {
            call_id: headers
                .call_id()
                .map_err(|_| NoDialog::Missing("Call-ID"))?
                .to_owned(),
            local: format!("{to};tag={local_tag}"),
            remote: headers
                .get(Name::From)
                .ok_or(NoDialog::Missing("From"))?
                .to_owned(),
            local_tag,
            remote_tag: from.tag().unwrap_or_default().to_owned(),
            local_cseq: 0,
            remote_cseq: headers.cseq().ok().map(|cseq| cseq.number),
            route_set: headers
                .values(Name::RecordRoute)
                .map(str::to_owned)
                .collect(),
            remote_target: target.to_owned(),
            contact,
            flow,
            is_uac: false,
            acquaintance: Acquaintance::default(),
            moved: true,
            located: None,
        })
    }

    /// As UAC, before any answer: what the INVITE itself says.
    pub fn to_be(invite: NewDialog, contact: String, flow: Flow) -> Self {
        Self {
            call_id: invite.call_id,
            local: invite.local,
            remote: invite.remote,
            local_tag: invite.local_tag,
            remote_tag: String::new(),
            local_cseq: invite.cseq,
            remote_cseq: None,
            route_set: Vec::new(),
            remote_target: invite.target,
            contact,
            flow,
            is_uac: true,
            acquaintance: Acquaintance::default(),
            moved: true,
            located: None,
        }
    }

    /// As UAC: a 2xx makes it a dialog (§12.1.2).
    ///
    /// # Errors
    /// What the 2xx lacks. A 2xx without Contact is taken to mean the address that was called.
    pub fn establish(&mut self, response: &Response) -> Result<(), NoDialog> {
        let headers = response.headers();
        let to = headers.to().map_err(|_| NoDialog::Missing("To"))?;
        to.tag()
            .unwrap_or_default()
            .clone_into(&mut self.remote_tag);
        headers
            .get(Name::To)
            .ok_or(NoDialog::Missing("To"))?
            .clone_into(&mut self.remote);
        self.route_set = headers
            .values(Name::RecordRoute)
            .map(str::to_owned)
            .collect();
        self.route_set.reverse();
        self.moved = true;
        if let Ok(contact) = headers.contact() {
            contact.uri.clone_into(&mut self.remote_target);
        }
        Ok(())
    }

    /// A target refresh: re-INVITE, UPDATE, or a 2xx to ours (§12.2.1.2, §12.2.2).
    pub fn refresh_target(&mut self, headers: &Headers) {
        if let Ok(contact) = headers.contact() {
            contact.uri.clone_into(&mut self.remote_target);
            self.moved = true;
        }
    }

    /// Whether a request whose To tag is ours comes from our peer.
    pub fn is_from_peer(&self, request: &Request) -> bool {
        let headers = request.headers();
        headers.call_id() == Ok(self.call_id.as_str())
            && headers
                .from()
                .is_ok_and(|from| from.tag().unwrap_or_default() == self.remote_tag)
    }

    /// Whether requests in this dialog may come from this host: where the dialog was made from, a proxy of its route set,
    /// or the peer's own address. Host names are nobody's: they are not looked up.
    pub fn knows_host(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        let is_at = |uri: &str| {
            let uri = NameAddr::parse(uri).map_or(uri, |address| address.uri);
            let ip = Uri::parse(uri).ok().and_then(|uri| uri.host_ip());
            ip.is_some_and(|ip| ip.to_canonical() == source)
        };
        self.flow.remote.ip().to_canonical() == source
            || is_at(&self.remote_target)
            || self.route_set.iter().any(|route| is_at(route))
    }

    /// Takes note of the way a request of the peer came: after a lost connection or a new NAT binding, ours take the new
    /// one. Another host does not take the dialog over by knowing its tags.
    pub fn follow(&mut self, flow: &Flow) {
        let same_host = flow.remote.ip() == self.flow.remote.ip();
        if same_host && flow.transport == self.flow.transport {
            self.flow = *flow;
        }
    }

    /// Our INVITE was answered by this way, and had this Contact there.
    pub fn handle_way(&mut self, flow: Flow, contact: &str) {
        self.flow = flow;
        contact.clone_into(&mut self.contact);
    }

    /// Takes note of a request's CSeq (§12.2.2).
    ///
    /// * returns `false` when it is out of order and must be answered 500. A BYE may repeat a number: ending a
    ///   call is never wrong, and simple peers count badly.
    pub fn accepts_cseq(&mut self, method: &Method, cseq: u32) -> bool {
        let in_order = match self.remote_cseq {
            Some(last) if *method == Method::Bye => cseq >= last,
            Some(last) => cseq > last,
            None => true,
        };
        if in_order {
            self.remote_cseq = Some(cseq);
        }
        in_order
    }

    /// The next number for a request of ours.
    pub fn next_cseq(&mut self) -> u32 {
        self.local_cseq = self.local_cseq.wrapping_add(1) & (u32::MAX >> 1);
        self.local_cseq
    }

    /// The number used last.
    pub fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// Request-URI, Route and next hop (§12.2.1.1): loose routing, or strict where the first route has no `lr`.
    pub fn path(&self) -> Path {
        let Some(first) = self.route_set.first() else {
            return self.path_to(&self.remote_target, self.remote_target.clone(), Vec::new());
        };
        let uri = NameAddr::parse(first).map_or(first.as_str(), |route| route.uri);
        if route::is_loose(uri) {
            return self.path_to(uri, self.remote_target.clone(), self.route_set.clone());
        }
        let mut routes = self.route_set[1..].to_vec();
        routes.push(format!("<{}>", self.remote_target));
        self.path_to(uri, route::without_headers(uri).to_owned(), routes)
    }

    fn path_to(&self, next_hop: &str, request_uri: String, routes: Vec<String>) -> Path {
        let direct = routes.is_empty();
        let located = self.located.as_ref().filter(|known| known.uri == next_hop);
        let ways = match located {
            Some(Located { ways, .. }) => route::by_name(ways, direct, &self.flow),
            None => route::next_hop(next_hop, direct, &self.flow),
        };
        Path {
            request_uri,
            routes,
            ways,
        }
    }

    /// Where requests go next: the first route, or the remote target.
    fn next_hop(&self) -> &str {
        match self.route_set.first() {
            Some(first) => NameAddr::parse(first).map_or(first.as_str(), |route| route.uri),
            None => &self.remote_target,
        }
    }

    /// Whether the next hop may be another than when [`Dialog::handle_moved`] was last asked.
    pub fn has_moved(&self) -> bool {
        self.moved
    }

    /// Takes note of the next hop as it is now.
    ///
    /// * returns its URI when it is a name that must be looked up, and was not before.
    pub fn handle_moved(&mut self) -> Option<String> {
        self.moved = false;
        let uri = self.next_hop();
        let known = self.located.as_ref().is_some_and(|known| known.uri == uri);
        let destination = Destination::parse(uri).ok()?;
        (!known && destination.name().is_some()).then(|| uri.to_owned())
    }

    /// The next hop at `uri` is being looked up.
    ///
    /// * returns the question that nobody needs answered any more.
    pub fn handle_asked(&mut self, uri: &str, id: LocateId) -> Option<LocateId> {
        let located = Located {
            uri: uri.to_owned(),
            asked: Some(id),
            ways: Vec::new(),
        };
        self.located.replace(located).and_then(|old| old.asked)
    }

    /// Where the next hop is. From now on requests go there; when it is nowhere, to where the dialog came from.
    pub fn handle_located(&mut self, id: LocateId, ways: Vec<Flow>) {
        if let Some(located) = self
            .located
            .as_mut()
            .filter(|known| known.asked == Some(id))
        {
            located.asked = None;
            located.ways = ways;
        }
    }

    /// The same dialog with somebody whom we know.
    #[must_use]
    pub fn with_acquaintance(mut self, acquaintance: Acquaintance) -> Self {
        self.acquaintance = acquaintance;
        self
    }

    /// We know its peer.
    pub fn set_acquaintance(&mut self, acquaintance: Acquaintance) {
        self.acquaintance = acquaintance;
    }

    /// How the two ends know each other.
    pub fn acquaintance(&self) -> &Acquaintance {
        &self.acquaintance
    }

    /// The same, to answer with.
    pub fn acquaintance_mut(&mut self) -> &mut Acquaintance {
        &mut self.acquaintance
    }

    /// Call-ID.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Our tag: it is random, and finds the dialog.
    pub fn local_tag(&self) -> &str {
        &self.local_tag
    }

    /// The peer's tag; empty when there is none yet.
    pub fn remote_tag(&self) -> &str {
        &self.remote_tag
    }

    /// Our end as From prints it, tag included.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The peer's end as To prints it, tag included.
    pub fn remote(&self) -> &str {
        &self.remote
    }

    /// Our Contact value.
    pub fn contact(&self) -> &str {
        &self.contact
    }

    /// Another Contact value from the next request on.
    pub fn set_contact(&mut self, contact: String) {
        self.contact = contact;
    }

    /// The way the dialog was made by.
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// Whether we sent the INVITE that made it.
    pub fn is_uac(&self) -> bool {
        self.is_uac
    }
}

/// What a UAC knows of a dialog before anybody answered.
#[derive(Debug, Clone)]
pub struct NewDialog {
    /// Call-ID.
    pub call_id: String,
    /// From value, tag included.
    pub local: String,
    /// From tag.
    pub local_tag: String,
    /// To value.
    pub remote: String,
    /// Request-URI.
    pub target: String,
    /// CSeq of the INVITE.
    pub cseq: u32,
}

/// A request that waits for the call's answer.
#[derive(Debug)]
pub struct Unanswered {
    /// Its transaction.
    pub server: TransactionId,
    /// What was asked.
    pub request: Request,
    /// Where it came from, for the answer's Via.
    pub source: SocketAddr,
    /// When its sender is about to give it up (timer F): it must have an answer by then.
    pub until: Instant,
}
