//! What passes between the endpoint and the calls it serves: events out, commands in.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::sip::registration::Standing;

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams; we retransmit.
    Udp,
    /// A stream.
    Tcp,
    /// An encrypted stream.
    Tls,
}

impl Transport {
    /// Streams deliver or die, so nothing is retransmitted on them (RFC 3261 §17).
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// The port that is meant when none is written (RFC 3261 §19.1.2).
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }

    /// As Via prints it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }
}

/// Between which two addresses, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flow {
    /// How.
    pub transport: Transport,
    /// Our socket: the one it came in by, or should leave by.
    pub local: SocketAddr,
    /// The far end.
    pub remote: SocketAddr,
}

/// Octets to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// By which way.
    pub flow: Flow,
    /// One whole SIP message.
    pub payload: Bytes,
}

/// A dialog (or the INVITE that may become one), by a number that is never reused on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DialogId(pub u64);

/// A question of where a URI leads, by a number that is never reused on this node. Who asked is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocateId(pub(super) u64);

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// Somebody calls. The request passed every check that needs no call (method, Require, body type, trunk,
    /// merged requests) and 100 has been sent; the next command for this dialog rings, answers or rejects it.
    Invited(Box<Invited>),
    /// Something happened in a dialog.
    Dialog {
        /// Which.
        dialog: DialogId,
        /// What.
        event: DialogEvent,
    },
    /// A name must be looked up (RFC 3263): answer with [`Endpoint::handle_located`](super::Endpoint::handle_located),
    /// whatever comes of it.
    Locate {
        /// Goes back with the answer.
        id: LocateId,
        /// A SIP or SIPS URI. Of a dialog its host is a name; of a registrar it may be an address, for then only the
        /// socket to send from is to be found.
        uri: String,
    },
    /// A registration of ours stands otherwise than before.
    Registration {
        /// The trunk it is for.
        trunk: String,
        /// How it stands now.
        standing: Standing,
    },
}

/// An INVITE that starts a call, with what a call wants to know of it. Texts are unescaped where SIP escapes.
#[derive(Debug, Clone)]
pub struct Invited {
    /// The dialog it may become.
    pub dialog: DialogId,
    /// How it came.
    pub flow: Flow,
    /// Name of the `[[trunk]]` it came by; `"default"` when none is configured.
    pub trunk: String,
    /// Call-ID.
    pub call_id: String,
    /// The Request-URI as written.
    pub request_uri: String,
    /// Its user part, unescaped: the number called.
    pub called: String,
    /// From's user part, unescaped: the caller. Empty when From has none.
    pub caller: String,
    /// From's display name.
    pub caller_name: Option<String>,
    /// Every header field in order, name as written, value unfolded.
    pub headers: Vec<(String, String)>,
    /// `true` when the peer's Allow names REFER, or it sent no Allow.
    pub allows_refer: bool,
    /// The body, if it is SDP; empty for a late offer.
    pub offer: Bytes,
}

impl Invited {
    /// First value of a header field, by case-insensitive name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// What happened in one dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DialogEvent {
    /// UAS: CANCEL came in time; 200 and 487 have been sent (RFC 3261 §9.2). The dialog is gone.
    Cancelled {
        /// Reason header, if any.
        reason: Option<String>,
    },
    /// UAS: our 2xx was acknowledged. A late offer's answer is in the body. Told once for the INVITE; for a re-INVITE only
    /// when its ACK brings an answer; and for a PRACK that answers an offer in a provisional of ours.
    Acknowledged {
        /// The ACK's body; empty as a rule.
        body: Bytes,
    },
    /// UAS: 64·T1 without ACK; BYE has been sent (RFC 3261 §13.3.1.4). The dialog is gone.
    NeverAcknowledged,
    /// UAC: 1xx other than 100. One that must be acknowledged has been, and its repeats are not told; when our INVITE made
    /// no offer and the body is theirs, [`Command::AnswerOffer`] answers it within 8 s, or the call is given up.
    Progress {
        /// 101-199.
        status: u16,
        /// Early media's SDP; empty as a rule.
        body: Bytes,
    },
    /// UAC: 2xx to our INVITE; ACK has been sent. Only when our INVITE made no offer and the 2xx does, the ACK waits for
    /// [`Command::AnswerOffer`]; without it the call is hung up after 8 s, and [`DialogEvent::Lost`].
    Answered {
        /// The SDP answer, from the 2xx or from the reliable provisional before it; or their offer.
        body: Bytes,
        /// The answer's header fields.
        headers: Vec<(String, String)>,
    },
    /// UAC: our INVITE ended with 300-699, 408 for silence, 503 for an unreachable peer. The dialog is gone.
    Refused {
        /// 300-699.
        status: u16,
        /// Its phrase.
        reason: String,
        /// Header fields (Contact of a 3xx, Retry-After, Warning).
        headers: Vec<(String, String)>,
    },
    /// A re-INVITE, UPDATE or PRACK with an offer (or a re-INVITE that wants one): answer with
    /// [`Command::AnswerReinvite`] within 28 s. An offer that says what is in force already is answered with what is in
    /// force, and not told.
    Reinvited {
        /// The offer; empty when the peer wants ours.
        offer: Bytes,
    },
    /// Our re-INVITE ended.
    ReinviteEnded {
        /// Final status; 491 has been retried by the endpoint already.
        status: u16,
        /// The answer for a 2xx.
        body: Bytes,
    },
    /// The peer hung up; 200 has been sent. NOTIFYs for a running subscription are still answered and reported.
    Bye {
        /// Reason header, if any.
        reason: Option<String>,
    },
    /// Final response to our REFER: 2xx accepted, 3xx-6xx refused, 408 when nobody answered.
    ReferAnswered {
        /// Its status.
        status: u16,
        /// Its phrase.
        reason: String,
    },
    /// A NOTIFY for our REFER; 200 has been sent. It may come before the 202, after our BYE, or twice.
    Notified {
        /// Status and phrase of the sipfrag's status line; `None` when there was none that could be read.
        sipfrag: Option<(u16, String)>,
        /// What the subscription is after it.
        state: NotifyState,
    },
    /// The peer asks us to refer: answer with [`Command::AnswerRefer`] within 28 s.
    Referred {
        /// Refer-To as written.
        refer_to: String,
        /// Referred-By as written.
        referred_by: Option<String>,
        /// Every header field of the REFER.
        headers: Vec<(String, String)>,
    },
    /// A NOTIFY of ours was answered.
    NotifyAnswered {
        /// Final status.
        status: u16,
    },
    /// INFO with a key ([`crate::sip::digit_info`]); 200 has been sent.
    Info {
        /// Content-Type, lower case, without parameters.
        content_type: String,
        /// The body.
        body: Bytes,
    },
    /// Our BYE ended, whatever the answer was: the INVITE usage is over.
    ByeAnswered {
        /// Final status, 408 for silence.
        status: u16,
    },
    /// The dialog died: under a request (481, 408, its address cannot be reached), or because the session was not refreshed,
    /// a provisional not acknowledged, an offer not answered. It is gone.
    Lost {
        /// What happened, for people.
        why: String,
    },
}

/// Subscription-State of a NOTIFY (RFC 6665 §4.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifyState {
    /// More will come.
    Active,
    /// This was the last.
    Terminated,
}

/// What a call wants said in its dialog. Each is refused with a typed error when the dialog's state forbids it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// UAS: 180, or 183 with early media.
    Ring {
        /// 180 or 183.
        status: u16,
        /// SDP for 183.
        body: Bytes,
    },
    /// UAS: 200 with this SDP; repeated until ACK.
    Answer {
        /// SDP.
        body: Bytes,
        /// Extra header fields.
        headers: Vec<(String, String)>,
    },
    /// UAS: a final 3xx-6xx.
    Reject {
        /// 300-699.
        status: u16,
        /// Extra header fields: Warning, Retry-After, Contact.
        headers: Vec<(String, String)>,
    },
    /// The final answer to a [`DialogEvent::Reinvited`].
    AnswerReinvite {
        /// 200, 488, 491, …
        status: u16,
        /// SDP for a 200.
        body: Bytes,
        /// Extra header fields.
        headers: Vec<(String, String)>,
    },
    /// UAC: our answer to an offer of theirs, which came because our INVITE made none: in the ACK, or in the PRACK.
    AnswerOffer {
        /// SDP.
        body: Bytes,
    },
    /// A re-INVITE with this offer.
    Reinvite {
        /// SDP.
        body: Bytes,
    },
    /// REFER (RFC 3515); queued until the ACK has been seen.
    Refer {
        /// The whole value of Refer-To, angle brackets included.
        refer_to: String,
        /// Extra header fields: Referred-By, X-… A `Contact` among them holds URI headers, escaped and joined with
        /// `&`, that our own Contact bears in this REFER: platforms exist that look for context there.
        headers: Vec<(String, String)>,
    },
    /// The final answer to a [`DialogEvent::Referred`]; a 2xx opens the subscription that [`Command::Notify`] serves.
    AnswerRefer {
        /// 202, or a refusal.
        status: u16,
    },
    /// A NOTIFY with a sipfrag (RFC 3515 §2.4.4).
    Notify {
        /// The sipfrag's status.
        status: u16,
        /// More to come, or the last.
        state: NotifyState,
    },
    /// UAC: give the ringing call up. It ends with [`DialogEvent::Refused`], 487 as a rule, or, when a 2xx crossed the
    /// CANCEL and was hung up at once, with [`DialogEvent::ByeAnswered`].
    Cancel,
    /// End the call. Before the ACK came it is held back until the ACK or the end of the wait for it (§15).
    Bye {
        /// Extra header fields: Reason, Transfer-Target, …
        headers: Vec<(String, String)>,
    },
}
