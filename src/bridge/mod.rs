//! Calls in progress: each one's task, its leg, its recording, and how the rest of the program reaches them.
//!
//! | file | owns |
//! |---|---|
//! | [`call_task`] | one call: carries events to its core and its core's wishes into the world |
//! | [`historian`] | writes one call's history, in order, and makes it durable for a handoff |
//! | [`plan`] | from an INVITE and its route's terms to what a call's task needs |
//! | [`leg`] | the core's leg as a media shard drives it |
//! | [`recorder`] | recordings, off the media path |
//! | [`registry`] | live and recent calls |
//! | [`view`] | how a call's steps become what the registry shows |

pub mod call_task;
pub mod historian;
pub mod leg;
pub mod plan;
pub mod recorder;
pub mod registry;
mod view;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use baton_core::admission::Lifecycle;
use baton_core::leg::Leg;
use baton_core::media::jitter;
use baton_core::media::rtp::source::LatchPolicy;
use baton_core::vocab::Entropy;
use baton_core::{history, sdp};
use tokio::sync::watch;

use crate::net::media_shard::ShardHandle;
use crate::net::ports::RtpPorts;
use crate::net::sip_task::SipHandle;

/// What every call of this node shares.
pub struct Bridge {
    /// Signalling.
    pub sip: SipHandle,
    /// The media threads.
    pub shards: ShardHandle<Leg>,
    /// Where RTP sockets come from.
    pub ports: RtpPorts,
    /// Where histories are kept.
    pub history: Arc<dyn history::Backend>,
    /// Live and recent calls.
    pub registry: Arc<registry::Registry>,
    /// Recordings; `None`: calls are not recorded.
    pub recorder: Option<recorder::Recorder>,
    /// Told of each call's end.
    pub observer: Arc<dyn CallObserver>,
    /// `[media]`.
    pub media: Media,
    /// Name of this node in histories.
    pub node: String,
    /// Whether calls may go on, must end, or must end at once.
    pub lifecycle: watch::Receiver<Lifecycle>,
    /// Where every token of every call comes from.
    pub entropy: Mutex<Entropy>,
}

/// Whoever wants to know how calls end: the log, the counters.
pub trait CallObserver: Send + Sync {
    /// A call is over.
    fn call_ended(&self, call: &history::CallFacts, last: &baton_core::call::Final);
}

/// `[media]`, as far as a call needs it.
#[derive(Debug, Clone)]
pub struct Media {
    /// What we accept, best first.
    pub codecs: Vec<sdp::Codec>,
    /// How the caller's packets are put in order.
    pub jitter: jitter::Config,
    /// Who may send media to us.
    pub latch: LatchPolicy,
    /// Agent audio queued ahead of the caller's ear.
    pub playout_max: Duration,
    /// Silence on the wire after which a call is lost.
    pub no_rtp_timeout: Duration,
    /// `public_address`, when it is given.
    pub public_address: Option<IpAddr>,
}

impl Bridge {
    /// A source of tokens of its own.
    pub fn fork_entropy(&self) -> Entropy {
        self.entropy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fork()
    }
}

impl std::fmt::Debug for Bridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bridge")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}
