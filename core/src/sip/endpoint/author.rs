//! Writes messages: everything in them that is not the call's.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use bytes::Bytes;

use super::config::Advertised;
use super::event::{Flow, Transport};
use super::ways::Ways;
use crate::sip::dialog::{Dialog, Path};
use crate::sip::message::{
    BuildError, Method, Name, Request, RequestBuilder, Response, ResponseBuilder,
};
use crate::vocab::Entropy;

/// Methods we answer.
pub(super) const ALLOW: &str =
    "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, NOTIFY, REFER, UPDATE, PRACK";
/// The body an INVITE or UPDATE may carry.
pub(super) const SDP: &str = "application/sdp";
/// The event package we know.
pub(super) const EVENTS: &str = "refer";
/// Extensions a peer may require of us: session timers (RFC 4028), reliable provisionals (RFC 3262), and a REFER that
/// would rather have no subscription (RFC 4488), which its recipient may open all the same.
pub(super) const EXTENSIONS: [&str; 3] = ["timer", "100rel", "norefersub"];

/// Who we are, and the source of our tags and branches.
#[derive(Debug)]
pub(super) struct Author {
    advertised: Advertised,
    user_agent: String,
    entropy: Entropy,
    /// Makes the tags of answers that are not remembered.
    secret: u64,
    retry_after: Duration,
}

/// A request in a dialog, to be completed and built.
pub(super) struct Draft {
    pub(super) builder: RequestBuilder,
    pub(super) branch: String,
    pub(super) cseq: u32,
    /// By which ways it may go.
    pub(super) ways: Ways,
}

impl Author {
    pub(super) fn new(
        advertised: Advertised,
        user_agent: String,
        retry_after: Duration,
        mut entropy: Entropy,
    ) -> Self {
        let secret = entropy.next_u64();
        Self {
            advertised,
            user_agent,
            entropy,
            secret,
            retry_after,
        }
    }

    /// A tag: 64 random bits, twice what §19.3 asks for.
    pub(super) fn tag(&mut self) -> String {
        self.entropy.hex(8)
    }

    /// A Call-ID.
    pub(super) fn call_id(&mut self) -> String {
        self.entropy.hex(16)
    }

    /// The To tag of an answer without a transaction: the same request gets the same tag each time (§8.2.7).
    pub(super) fn stateless_tag(&self, request: &Request) -> String {
        let headers = request.headers();
        let mut hash = DefaultHasher::new();
        self.secret.hash(&mut hash);
        headers.get(Name::Via).hash(&mut hash);
        headers.get(Name::From).hash(&mut hash);
        headers.get(Name::CallId).hash(&mut hash);
        headers.get(Name::CSeq).hash(&mut hash);
        format!("{:016x}", hash.finish())
    }

    /// Seconds of a Retry-After: at least the configured time, at most twice that, so that peers spread.
    pub(super) fn retry_after(&mut self) -> String {
        self.spread(self.retry_after)
    }

    /// The same for another time.
    pub(super) fn spread(&mut self, at_least: Duration) -> String {
        let seconds = at_least.as_secs().max(1);
        (seconds + self.entropy.below(seconds + 1)).to_string()
    }

    /// Retry-After of a 500 for a request that came too early: 0 to 10 s (§14.2).
    pub(super) fn retry_soon(&mut self) -> String {
        self.entropy.below(11).to_string()
    }

    /// First `RSeq` of an INVITE (RFC 3262 §3): 1 to 2^31 - 1.
    pub(super) fn rseq(&mut self) -> u32 {
        self.entropy.next_u32() >> 1 | 1
    }

    /// How long to wait after a 491 (§14.1): 2.1 to 4 s for the owner of the Call-ID, else up to 2 s, in steps of 10 ms.
    pub(super) fn glare_wait(&mut self, owns_call_id: bool) -> Duration {
        let steps = if owns_call_id {
            210 + self.entropy.below(191)
        } else {
            self.entropy.below(201)
        };
        Duration::from_millis(10 * steps)
    }

    /// Whether peers can reach us so.
    pub(super) fn listens_on(&self, transport: Transport) -> bool {
        self.advertised.listens_on(transport)
    }

    /// What User-Agent says.
    pub(super) fn user_agent(&self) -> &str {
        &self.user_agent
    }

    /// Our Contact value on a flow, with the user part the peer knows us by.
    pub(super) fn contact(&self, flow: &Flow, user: Option<&str>) -> String {
        let sent_by = self.advertised.sent_by(flow);
        let transport = match flow.transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
        };
        match user.filter(|user| !user.is_empty()) {
            Some(user) => format!("<sip:{user}@{sent_by}{transport}>"),
            None => format!("<sip:{sent_by}{transport}>"),
        }
    }

    /// A Via value and its branch.
    pub(super) fn via(&mut self, flow: &Flow) -> (String, String) {
        let branch = format!("z9hG4bK{}", self.entropy.hex(12));
        let via = format!(
            "SIP/2.0/{} {};rport;branch={branch}",
            flow.transport.as_str(),
            self.advertised.sent_by(flow)
        );
        (via, branch)
    }

    /// A request in a dialog, with the next `CSeq` (§12.2.1.1).
    ///
    /// * `choose`: puts the ways to its next hop in the order in which to take them.
    pub(super) fn in_dialog(
        &mut self,
        dialog: &mut Dialog,
        method: &Method,
        choose: impl FnOnce(Ways) -> Ways,
    ) -> Draft {
        let cseq = dialog.next_cseq();
        let draft = self.draft(dialog, method, cseq, choose);
        self.sign(draft, dialog)
    }

    fn sign(&self, mut draft: Draft, dialog: &Dialog) -> Draft {
        draft.builder = draft
            .builder
            .header(Name::Contact, dialog.contact())
            .header(Name::UserAgent, &self.user_agent);
        draft
    }

    /// The ACK of a 2xx: a request of its own, with the INVITE's number (§13.2.2.4).
    pub(super) fn ack(
        &mut self,
        dialog: &Dialog,
        cseq: u32,
        choose: impl FnOnce(Ways) -> Ways,
    ) -> Draft {
        self.draft(dialog, &Method::Ack, cseq, choose)
    }

    fn draft(
        &mut self,
        dialog: &Dialog,
        method: &Method,
        cseq: u32,
        choose: impl FnOnce(Ways) -> Ways,
    ) -> Draft {
        let mut path = dialog.path();
        path.ways = choose(path.ways);
        self.draft_by(path, dialog, method, cseq)
    }

    fn draft_by(&mut self, path: Path, dialog: &Dialog, method: &Method, cseq: u32) -> Draft {
        let (via, branch) = self.via(&path.ways.flow());
        let mut builder =
            Request::builder(method.clone(), &path.request_uri).header(Name::Via, via);
        for route in &path.routes {
            builder = builder.header(Name::Route, route);
        }
        let builder = builder
            .header(Name::MaxForwards, "70")
            .header(Name::From, dialog.local())
            .header(Name::To, dialog.remote())
            .header(Name::CallId, dialog.call_id())
            .header(Name::CSeq, format!("{cseq} {method}"));
        Draft {
            builder,
            branch,
            cseq,
            ways: path.ways,
        }
    }

    /// An INVITE that starts a call; its dialog is not one yet, but knows the same things.
    pub(super) fn invite(&mut self, dialog: &mut Dialog, ways: Ways) -> Draft {
        let cseq = dialog.next_cseq();
        let path = Path {
            ways,
            ..dialog.path()
        };
        let draft = self.draft_by(path, dialog, &Method::Invite, cseq);
        let mut draft = self.sign(draft, dialog);
        draft.builder = draft
            .builder
            .header(Name::Allow, ALLOW)
            .header(Name::Supported, EXTENSIONS.join(", "));
        draft
    }

    /// An answer, to be completed and built.
    pub(super) fn response<'r>(
        &self,
        request: &'r Request,
        source: std::net::SocketAddr,
        status: u16,
    ) -> ResponseBuilder<'r> {
        let response = Response::builder_for(request, status).source(source);
        if status == 100 {
            return response.copy(Name::Timestamp);
        }
        response.header(Name::Server, &self.user_agent)
    }
}

/// The ACK of a 3xx-6xx, hop by hop, made of the INVITE itself (§17.1.1.3).
pub(super) fn ack_of_refusal(invite: &Request, response: &Response) -> Bytes {
    let to = response.headers().get(Name::To).unwrap_or_default();
    hop_by_hop(invite, &Method::Ack, to).map_or_else(|_| Bytes::new(), |ack| ack.to_bytes())
}

/// The CANCEL of an INVITE (§9.1).
pub(super) fn cancel(invite: &Request) -> Result<Request, BuildError> {
    let to = invite.headers().get(Name::To).unwrap_or_default();
    hop_by_hop(invite, &Method::Cancel, to)
}

fn hop_by_hop(invite: &Request, method: &Method, to: &str) -> Result<Request, BuildError> {
    let headers = invite.headers();
    let text = |name| headers.get(name).unwrap_or_default();
    let cseq = headers.cseq().map_or(0, |cseq| cseq.number);
    let mut builder =
        Request::builder(method.clone(), invite.uri()).header(Name::Via, text(Name::Via));
    for route in headers.all(Name::Route) {
        builder = builder.header(Name::Route, route);
    }
    builder
        .header(Name::MaxForwards, "70")
        .header(Name::From, text(Name::From))
        .header(Name::To, to)
        .header(Name::CallId, text(Name::CallId))
        .header(Name::CSeq, format!("{cseq} {method}"))
        .build()
}
