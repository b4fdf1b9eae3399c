//! Session descriptions (RFC 8866) and the offer/answer model (RFC 3264), for one G.711 audio stream.
//!
//! ```text
//!  their offer ─► Offer::parse ─► answer(&offer, &local) ─► Negotiated { body, remote, codec, .. } or Refusal (488)
//!  offer(&local) ─► our offer     their answer ─► Negotiated::from_answer(&answer, &local)
//! ```
//!
//! [`Session`] keeps both sides of one dialog's offers: the version in `o=` and the codec in use.
//! SIP is a stranger here; what refuses an offer knows its Warning (RFC 3261 §20.43), not its message.

mod offer_answer;
mod parse;
mod print;
mod refusal;
mod session;

use std::net::IpAddr;

pub use offer_answer::{Negotiated, answer};
pub use parse::{MAX_FORMATS, MAX_LEN, MAX_LINES, MAX_MEDIA, Offer, ParseError};
pub use print::offer;
pub use refusal::Refusal;
pub use session::Session;

/// A codec Baton speaks. A new one is a variant here and a file in `media`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 μ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

impl Codec {
    /// All of them, in the default order of preference.
    pub const ALL: [Self; 2] = [Self::Pcmu, Self::Pcma];

    /// The encoding name of its `a=rtpmap`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }

    /// By encoding name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.name().eq_ignore_ascii_case(name))
    }

    /// Its static payload type (RFC 3551 §6), valid without `a=rtpmap`.
    pub const fn static_payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
        }
    }
}

/// Which way a stream flows, as its describer sees it (RFC 8866 §6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// Away from the describer.
    SendOnly,
    /// Towards the describer.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// From what a side does.
    pub const fn new(send: bool, receive: bool) -> Self {
        match (send, receive) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// Whether the describer sends.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the describer wants to receive.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same stream seen from the other end (RFC 3264 §6.1).
    #[must_use]
    pub const fn mirrored(self) -> Self {
        Self::new(self.receives(), self.sends())
    }

    /// What is left when both must agree.
    #[must_use]
    pub const fn limited_to(self, other: Self) -> Self {
        Self::new(
            self.sends() && other.sends(),
            self.receives() && other.receives(),
        )
    }

    /// The attribute's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    fn from_attribute(name: &str) -> Option<Self> {
        [
            Self::SendRecv,
            Self::SendOnly,
            Self::RecvOnly,
            Self::Inactive,
        ]
        .into_iter()
        .find(|direction| direction.as_str() == name)
    }
}

/// Our side of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// The address to advertise.
    pub address: IpAddr,
    /// The RTP port to advertise.
    pub port: u16,
    /// What we speak. Our offers list them in this order; an answer follows the order of the offer (RFC 3264 §6.1).
    pub codecs: Vec<Codec>,
    /// What we are willing to do.
    pub direction: Direction,
    /// `o=` session id: random, constant over a dialog. Peers exist that read it as a signed 64-bit number.
    pub session_id: u64,
    /// `o=` session version: one more whenever the description changed.
    pub version: u64,
    /// Take and offer RFC 4733 digits.
    pub telephone_event: bool,
    /// Take and offer RFC 3389 comfort noise.
    pub comfort_noise: bool,
    /// Answer with this codec when it is offered, wherever it stands: a re-INVITE should not change a running codec.
    pub keep: Option<Codec>,
}

impl Local {
    /// Both codecs, digits, both ways, version 1; `session_id` from the node's entropy.
    pub fn new(address: IpAddr, port: u16, session_id: u64) -> Self {
        Self {
            address,
            port,
            codecs: Codec::ALL.to_vec(),
            direction: Direction::SendRecv,
            session_id: session_id >> 1,
            version: 1,
            telephone_event: true,
            comfort_noise: true,
            keep: None,
        }
    }
}
