#![expect(
    clippy::disallowed_methods,
    reason = "shell: owns the phone's sockets and tasks"
)]
//! The phone: one endpoint, its media threads, and any number of calls.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use baton_core::sip::endpoint::{self, Transport};
use baton_core::sip::locate::{Destination, LocateError, Reach};
use baton_core::sip::message::{Uri, UriError};
use baton_core::sip::trunk::{Trunk, Trunks};
use baton_core::vocab::Entropy;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::leg::PhoneLeg;
use super::place::place;
use super::plan::CallPlan;
use super::report::{CallReport, PhoneEvent};
use super::run::run;
use super::script::Action;
use super::standstill::Watch;
use crate::net::dns::Dns;
use crate::net::listen::{ListenError, Listening, listen};
use crate::net::media_shard::{ShardHandle, ShardStats, Shards};
use crate::net::ports::{PortError, RtpPorts};
use crate::net::sip_task::{self, SipError, SipHandle};
use crate::net::streams;
use crate::net::tls::{Files, Tls, TlsError};
use crate::net::udp;

/// Events of a call that nobody has taken yet; what comes on top is not told.
const EVENTS: usize = 256;
/// Actions on their way to a call.
const ACTIONS: usize = 16;

/// A phone, or a call of it, that cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PhoneError {
    /// Not a SIP URI.
    #[error("{uri:?} is no SIP URI: {fault}; write sip:user@host or sip:user@host:port")]
    BadUri {
        /// As given.
        uri: String,
        /// What is wrong.
        fault: UriError,
    },
    /// A certificate authority that cannot be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The URI leads nowhere.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// No signalling socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// No RTP socket.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The call cannot be placed as asked.
    #[error(transparent)]
    Sip(#[from] SipError),
    /// No threads, no runtime.
    #[error("the phone cannot start: {0}")]
    Start(#[from] io::Error),
}

/// What a phone is made of.
#[derive(Debug, Clone)]
pub struct PhoneConfig {
    /// Where it listens, an address of this machine; port 0 for any. Advertised as it is.
    pub local: SocketAddr,
    /// Threads that carry voice.
    pub media_threads: usize,
    /// Seeds its tags, Call-IDs and RTP numbers.
    pub entropy: Entropy,
    /// Who else, beside the public authorities, may issue the certificates of those it calls (PEM).
    pub tls_ca: Option<PathBuf>,
    /// Who knows where the names are that it calls.
    pub dns: Dns,
}

impl PhoneConfig {
    /// On loopback, one media thread.
    pub fn loopback(mut entropy: Entropy) -> Self {
        Self {
            local: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
            media_threads: 1,
            tls_ca: None,
            dns: Dns::new(&[], entropy.fork()),
            entropy,
        }
    }

    /// On the address that this machine reaches the first server of the URI from.
    ///
    /// # Errors
    /// [`PhoneError`] when the URI leads nowhere.
    pub async fn towards(uri: &str, dns: Dns, entropy: Entropy) -> Result<Self, PhoneError> {
        check(uri)?;
        let targets = dns.locate(Destination::parse(uri)?, anything()).await?;
        let mut ours = targets
            .iter()
            .filter_map(|target| udp::address_towards(target.address).ok());
        let local = ours
            .next()
            .ok_or_else(|| LocateError::NoRoute(uri.to_owned()))?;
        Ok(Self {
            local: SocketAddr::new(local, 0),
            media_threads: 1,
            entropy,
            tls_ca: None,
            dns,
        })
    }
}

/// Everything a phone can speak, before it is bound to one address.
fn anything() -> Reach {
    let mut reach = Reach::default();
    let addresses: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        for address in addresses {
            reach.add(transport, address);
        }
    }
    reach
}

/// A SIP phone. Clones share the endpoint and the media threads; both end with the last of them.
#[derive(Debug, Clone)]
pub struct Phone {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) sip: SipHandle,
    pub(super) local: SocketAddr,
    pub(super) ports: RtpPorts,
    pub(super) shards: ShardHandle<PhoneLeg>,
    pub(super) watch: Watch,
    entropy: Mutex<Entropy>,
}

impl Inner {
    pub(super) fn entropy(&self) -> Entropy {
        self.entropy
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .fork()
    }
}

impl Phone {
    /// Opens the phone's sockets and starts its threads, within a tokio runtime. Calls to it are refused.
    ///
    /// # Errors
    /// [`PhoneError::Listen`], [`PhoneError::Start`].
    pub fn bind(config: PhoneConfig) -> Result<Self, PhoneError> {
        let PhoneConfig {
            local,
            media_threads,
            mut entropy,
            tls_ca,
            dns,
        } = config;
        let listeners = [Transport::Udp, Transport::Tcp]
            .map(|transport| Listening {
                transport,
                address: local,
            })
            .map(|wanted| listen(wanted, "the phone's own address"))
            .into_iter()
            .collect::<Result<_, _>>()?;
        let files = Files {
            ca: tls_ca,
            ..Files::default()
        };
        let streams = streams::Config {
            tls: Some(Tls::load(&files)?),
            ..streams::Config::default()
        };
        let endpoint = endpoint::Config {
            user_agent: concat!("Baton-phone/", env!("CARGO_PKG_VERSION")).to_owned(),
            trunks: Trunks::new(vec![Trunk::anyone("anyone")]),
            ..endpoint::Config::default()
        };
        let signalling = sip_task::start(endpoint, entropy.fork(), listeners, streams, dns, None)?;
        let bound = signalling.handle.address(Transport::Udp);
        let shards = Shards::start(media_threads)?;
        Ok(Self {
            inner: Arc::new(Inner {
                local: bound.unwrap_or(local),
                sip: signalling.handle,
                ports: RtpPorts::new(local.ip(), None, entropy.fork()),
                shards: shards.handle(),
                watch: Watch::start()?,
                entropy: Mutex::new(entropy),
            }),
        })
    }

    /// Where its signalling is.
    pub fn local(&self) -> SocketAddr {
        self.inner.local
    }

    /// Starts a call. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`PhoneError`] when it cannot even be placed; what the far end says is in the report.
    pub async fn start(&self, plan: CallPlan) -> Result<LiveCall, PhoneError> {
        let (watch, events) = mpsc::channel(EVENTS);
        self.start_watched(plan, watch, events).await
    }

    /// Places a call and waits for its end; nobody watches it meanwhile.
    ///
    /// # Errors
    /// As [`Phone::start`].
    pub async fn call(&self, plan: CallPlan) -> Result<CallReport, PhoneError> {
        let (watch, mut events) = mpsc::channel(1);
        events.close();
        let live = self.start_watched(plan, watch, events).await?;
        Ok(live.report().await)
    }

    async fn start_watched(
        &self,
        plan: CallPlan,
        watch: mpsc::Sender<PhoneEvent>,
        events: mpsc::Receiver<PhoneEvent>,
    ) -> Result<LiveCall, PhoneError> {
        let (control, actions) = mpsc::channel(ACTIONS);
        check(&plan.uri)?;
        let ways = match self.inner.sip.locate(&plan.uri).await {
            Err(SipError::Locate(error)) => return Err(error.into()),
            found => found?,
        };
        let placed = place(self.inner.clone(), plan, ways, watch).await?;
        Ok(LiveCall {
            call_id: placed.call_id().to_owned(),
            control,
            events,
            task: tokio::spawn(run(placed, actions)),
        })
    }

    /// Counters of the media threads.
    pub fn media_stats(&self) -> impl Iterator<Item = &ShardStats> {
        self.inner.shards.stats()
    }
}

/// A call under way. Dropping it does not end the call; [`LiveCall::report`] waits for the end.
#[derive(Debug)]
pub struct LiveCall {
    call_id: String,
    control: mpsc::Sender<Action>,
    events: mpsc::Receiver<PhoneEvent>,
    task: JoinHandle<CallReport>,
}

impl LiveCall {
    /// Its Call-ID.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// The next thing that happened; `None` when the call has ended.
    pub async fn next(&mut self) -> Option<PhoneEvent> {
        self.events.recv().await
    }

    /// Presses keys.
    pub async fn press(&self, digits: &str) {
        self.act(Action::Press(digits.to_owned())).await;
    }

    /// Hangs up, or cancels while it rings.
    pub async fn hang_up(&self) {
        self.act(Action::HangUp).await;
    }

    async fn act(&self, action: Action) {
        // A call that has ended has nothing left to do.
        let _ = self.control.send(action).await;
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When the call's own task panicked, which would be a bug in the phone.
    pub async fn report(self) -> CallReport {
        drop(self.events);
        // Held to the end: a call whose control is gone is not told to do anything.
        let _control = self.control;
        match self.task.await {
            Ok(report) => report,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Refuses what is no URI at all with the fault that it has.
fn check(uri: &str) -> Result<(), PhoneError> {
    Uri::check(uri).map_err(|fault| PhoneError::BadUri {
        uri: uri.to_owned(),
        fault,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn uris_lead_to_an_address_of_ours_or_say_why_not() {
        let from = async |uri: &str| {
            let dns = Dns::new(&[([127, 0, 0, 1], 1).into()], Entropy::from_number(1));
            let towards = PhoneConfig::towards(uri, dns, Entropy::from_number(1)).await;
            towards
                .map(|config| config.local.ip().to_string())
                .map_err(|e| e.to_string())
        };
        for (uri, expected) in [
            ("sip:a@127.0.0.1:5070", "127.0.0.1"),
            ("sip:a@[::1]", "::1"),
            ("sip:a@127.0.0.1;transport=TCP", "127.0.0.1"),
            ("sips:a@127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(from(uri).await.as_deref(), Ok(expected), "{uri}");
        }
        for (uri, says) in [
            ("bot", "sip:user@host"),
            ("sips:a@127.0.0.1;transport=udp", "sips over udp"),
            ("tel:+1555", "tel:"),
            ("sip:a@127.0.0.1;transport=sctp", "sctp"),
            ("sip:a@224.0.0.1", "nobody can be called"),
            ("sip:a@pbx.example.com:5060", "no name server could say"),
        ] {
            let error = from(uri).await.unwrap_err();
            assert!(error.contains(says), "{uri}: {error}");
        }
    }
}
