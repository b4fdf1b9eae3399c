#![expect(
    clippy::disallowed_methods,
    reason = "shell: owns the phone's sockets and tasks"
)]
//! The phone: one endpoint, its media threads, and any number of calls.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use baton_core::sip::endpoint::{self, Transport};
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
use crate::net::listen::{ListenError, Listening, listen};
use crate::net::media_shard::{ShardHandle, ShardStats, Shards};
use crate::net::ports::{PortError, RtpPorts};
use crate::net::sip_task::{self, SipError, SipHandle};
use crate::net::streams;
use crate::net::tls::{Files, Tls, TlsError};

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
    /// Not spoken here.
    #[error("the phone speaks SIP over UDP, TCP and TLS; {0} is not one of its ways")]
    Transport(String),
    /// A certificate authority that cannot be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A host without an address.
    #[error("{host}: {error}")]
    Unresolved {
        /// The URI's host.
        host: String,
        /// In the system's words.
        error: io::Error,
    },
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
}

impl PhoneConfig {
    /// On loopback, one media thread.
    pub fn loopback(entropy: Entropy) -> Self {
        Self {
            local: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
            media_threads: 1,
            entropy,
            tls_ca: None,
        }
    }

    /// On the address that this machine reaches the URI's host from.
    ///
    /// # Errors
    /// [`PhoneError`] when the URI or its host leads nowhere.
    pub async fn towards(uri: &str, entropy: Entropy) -> Result<Self, PhoneError> {
        let remote = resolve(uri).await?.remote;
        let any: IpAddr = match remote {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        // Connecting a UDP socket sends nothing; it asks the routing table.
        let probe = std::net::UdpSocket::bind((any, 0))?;
        probe.connect(remote)?;
        Ok(Self {
            local: SocketAddr::new(probe.local_addr()?.ip(), 0),
            media_threads: 1,
            entropy,
            tls_ca: None,
        })
    }
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
        let anyone = Trunk {
            name: "anyone".into(),
            networks: Vec::new(),
        };
        let endpoint = endpoint::Config {
            user_agent: concat!("Baton-phone/", env!("CARGO_PKG_VERSION")).to_owned(),
            trunks: Trunks::new(vec![anyone]),
            ..endpoint::Config::default()
        };
        let signalling = sip_task::start(endpoint, entropy.fork(), listeners, streams, None)?;
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
        let next_hop = resolve(&plan.uri).await?;
        let placed = place(self.inner.clone(), plan, next_hop, watch).await?;
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

/// Where a SIP URI leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NextHop {
    pub(super) transport: Transport,
    pub(super) remote: SocketAddr,
    /// The name that was looked up; `None` when the URI held the address itself.
    pub(super) name: Option<String>,
}

/// Where a SIP URI's host is, and how it wants to be spoken to.
async fn resolve(uri: &str) -> Result<NextHop, PhoneError> {
    let parsed = Uri::parse(uri).map_err(|fault| PhoneError::BadUri {
        uri: uri.to_owned(),
        fault,
    })?;
    let transport = transport(&parsed)?;
    let port = parsed.port().unwrap_or(transport.default_port());
    if let Some(ip) = parsed.host_ip() {
        return Ok(NextHop {
            transport,
            remote: SocketAddr::new(ip, port),
            name: None,
        });
    }
    let unresolved = |error| PhoneError::Unresolved {
        host: parsed.host().to_owned(),
        error,
    };
    let mut found = tokio::net::lookup_host((parsed.host(), port))
        .await
        .map_err(unresolved)?;
    let remote = found
        .next()
        .ok_or_else(|| unresolved(io::ErrorKind::NotFound.into()))?;
    Ok(NextHop {
        transport,
        remote,
        name: Some(parsed.host().to_owned()),
    })
}

fn transport(uri: &Uri) -> Result<Transport, PhoneError> {
    let secure = uri.scheme().eq_ignore_ascii_case("sips");
    if !uri.is_sip() {
        return Err(PhoneError::Transport(format!("{}:", uri.scheme())));
    }
    let asked = uri.param("transport").flatten();
    match asked.map(|name| name.to_ascii_lowercase()).as_deref() {
        Some("udp") | None if !secure => Ok(Transport::Udp),
        Some("tcp") if !secure => Ok(Transport::Tcp),
        Some("tcp" | "tls") | None => Ok(Transport::Tls),
        Some(other) => Err(PhoneError::Transport(format!("transport={other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn uris_lead_to_an_address_or_say_why_not() {
        let at = async |uri: &str| {
            let found = resolve(uri).await.map_err(|e| e.to_string())?;
            Ok::<_, String>(format!("{} {}", found.transport.as_str(), found.remote))
        };
        for (uri, expected) in [
            ("sip:a@127.0.0.1:5070", "UDP 127.0.0.1:5070"),
            ("sip:a@[::1]", "UDP [::1]:5060"),
            ("sip:a@127.0.0.1;transport=TCP", "TCP 127.0.0.1:5060"),
            ("sip:a@127.0.0.1;transport=tls", "TLS 127.0.0.1:5061"),
            ("sips:a@127.0.0.1", "TLS 127.0.0.1:5061"),
            ("sips:a@127.0.0.1:7;transport=tcp", "TLS 127.0.0.1:7"),
        ] {
            assert_eq!(at(uri).await.as_deref(), Ok(expected), "{uri}");
        }
        for (uri, says) in [
            ("bot", "sip:user@host"),
            ("sips:a@127.0.0.1;transport=udp", "transport=udp"),
            ("tel:+1555", "tel:"),
            ("sip:a@127.0.0.1;transport=sctp", "transport=sctp"),
        ] {
            let error = at(uri).await.unwrap_err();
            assert!(error.contains(says), "{uri}: {error}");
        }
    }
}
