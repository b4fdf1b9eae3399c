#![expect(clippy::disallowed_methods, reason = "shell: starts the node's tasks")]
//! Wires a node: store, signalling, media threads, calls, HTTP. Every error names the setting to change.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, RwLock, Weak};
use std::time::Duration;

use baton_core::admission::Lifecycle;
use baton_core::history::Backend;
use baton_core::leg::Leg;
use baton_core::vocab::Entropy;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::Node;
use super::observer::Observer;
use crate::bridge::Bridge;
use crate::bridge::recorder::Recorder;
use crate::bridge::registry::Registry;
use crate::config::{self, Config};
use crate::http::{self, Readiness};
use crate::ingress;
use crate::net::admission::Admission;
use crate::net::dns::Dns;
use crate::net::listen::{ListenError, Listener, Listening, listen};
use crate::net::media_shard::Shards;
use crate::net::ports::{PortRange, RtpPorts};
use crate::net::sip_task::{self, Signalling};
use crate::net::streams;
use crate::net::tls::TlsError;
use crate::observe::metrics::Metrics;
use crate::store::embedded::Embedded;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The store cannot be opened or written.
    #[error(transparent)]
    Store(#[from] crate::store::embedded::OpenError),
    /// A SIP address is taken or not ours.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A certificate or key that TLS cannot be made of.
    #[error("[sip] tls: {0}")]
    Tls(#[from] TlsError),
    /// The HTTP address is taken or not ours.
    #[error(
        "cannot listen on tcp:{address} ([http] listen): {why}; stop the other program or choose another address"
    )]
    Http {
        /// Which address.
        address: SocketAddr,
        /// The operating system's words.
        why: std::io::Error,
    },
    /// Recordings are wanted and cannot be written.
    #[error(
        "cannot write recordings to {dir} ([media] recording_dir): {why}; make it writable, or set recording = \"off\""
    )]
    Recordings {
        /// Which directory.
        dir: String,
        /// The operating system's words.
        why: std::io::Error,
    },
    /// A setting that cannot be used.
    #[error("{0}")]
    Setting(String),
    /// The operating system gave no randomness, thread or socket.
    #[error("{what}: {why}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// The operating system's words.
        why: String,
    },
}

impl Node {
    /// Opens everything the configuration names, and takes calls.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        refuse_what_cannot_work(config)?;
        let mut entropy = entropy()?;
        let store = Arc::new(open_embedded(config)?);
        let recorder = recorder(config)?;
        let streams = config.streams()?;
        let sockets: Vec<_> = config
            .sip
            .listen
            .iter()
            .map(|wanted| listen(wanted.0, "[sip] listen"))
            .collect::<Result<_, _>>()?;
        let listener = http_listener(config.http.listen).await?;
        let http = listener
            .local_addr()
            .map_err(|why| system("the HTTP address", why))?;
        let ingress = config.ingress();
        let admission = Admission::new(ingress.limits, entropy.fork());
        let gate = Some(admission.clone());
        let signalling = signalling(config, entropy.fork(), sockets, streams, gate)?;
        let sip = signalling.handle.clone();
        let shards = Shards::<Leg>::start(cores()).map_err(|why| system("media threads", why))?;
        let registry = Arc::new(Registry::default());
        let metrics = Arc::new(Metrics::new());
        let lifecycle = watch::Sender::new(Lifecycle::default());
        let (stop_http, http_stopped) = watch::channel(false);
        let bridge = Arc::new(Bridge {
            sip: sip.clone(),
            shards: shards.handle(),
            ports: rtp_ports(config, &mut entropy),
            history: store.clone(),
            registry: registry.clone(),
            recorder,
            observer: Arc::new(Observer::new(metrics.clone())),
            media: config.voice(),
            node: node_name(),
            lifecycle: lifecycle.subscribe(),
            entropy: Mutex::new(entropy.fork()),
        });
        let ingress = ingress::Current::new(ingress);
        let calls = tokio::spawn(ingress::sip::serve(
            bridge.clone(),
            ingress.clone(),
            signalling.arrivals,
        ));
        let ports = http::Ports {
            history: store.clone(),
            registry: registry.clone(),
            readiness: readiness(lifecycle.subscribe()),
            metrics: Arc::new({
                let metrics = metrics.clone();
                move || metrics.render()
            }),
            entropy,
        };
        let state = http::State::new(
            config.web(sip.addresses()).map_err(StartError::Setting)?,
            ports,
        );
        let web = tokio::spawn(serve_http(listener, state, http_stopped));
        tokio::spawn(sample(metrics, Arc::downgrade(&bridge), admission.clone()));
        Ok(Self {
            sip,
            http,
            registry,
            config: RwLock::new(Arc::new(config.clone())),
            ingress,
            admission,
            lifecycle,
            stop_http,
            calls,
            web,
            store,
        })
    }
}

/// The configured store, on its own (`baton history`, `baton check`).
///
/// # Errors
/// [`StartError::Store`].
pub fn open_store(config: &Config) -> Result<Arc<dyn Backend>, StartError> {
    Ok(Arc::new(open_embedded(config)?))
}

fn open_embedded(config: &Config) -> Result<Embedded, StartError> {
    Ok(Embedded::open(config.store_dir(), config.store())?)
}

/// What `baton check` calls an error keeps the node from starting: a call must not find it first.
pub(super) fn refuse_what_cannot_work(config: &Config) -> Result<(), StartError> {
    let findings = config::check::findings(config);
    match findings
        .into_iter()
        .find(|found| found.severity == config::check::Severity::Error)
    {
        Some(found) => Err(StartError::Setting(format!(
            "{}: {}; {}",
            found.place, found.what, found.fix
        ))),
        None => Ok(()),
    }
}

fn signalling(
    config: &Config,
    mut entropy: Entropy,
    sockets: Vec<Listener>,
    streams: streams::Config,
    gate: Option<Admission>,
) -> Result<Signalling, StartError> {
    let listening: std::io::Result<Vec<Listening>> =
        sockets.iter().map(Listener::listening).collect();
    let listening = listening.map_err(|why| system("the SIP addresses", why))?;
    let dns = Dns::new(&config.nameservers(), entropy.fork());
    sip_task::start(
        config.endpoint(&listening),
        entropy,
        sockets,
        streams,
        dns,
        gate,
    )
    .map_err(|why| system("signalling", why))
}

fn entropy() -> Result<Entropy, StartError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|why| system("randomness", why))?;
    Ok(Entropy::from_seed(seed))
}

fn system(what: &'static str, why: impl std::fmt::Display) -> StartError {
    let why = format!("{why}");
    StartError::System { what, why }
}

fn recorder(config: &Config) -> Result<Option<Recorder>, StartError> {
    if config.media.recording == config::Recording::Off {
        return Ok(None);
    }
    let dir = &config.media.recording_dir;
    Recorder::start(dir)
        .map(Some)
        .map_err(|why| StartError::Recordings {
            dir: dir.display().to_string(),
            why,
        })
}

async fn http_listener(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|why| StartError::Http { address, why })
}

fn rtp_ports(config: &Config, entropy: &mut Entropy) -> RtpPorts {
    let first = config
        .sip
        .listen
        .first()
        .map(|listen| listen.0.address.ip());
    let ip = first.unwrap_or_else(|| std::net::Ipv4Addr::UNSPECIFIED.into());
    let range = config.media.rtp_ports;
    RtpPorts::new(ip, PortRange::new(range.first, range.last), entropy.fork())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn readiness(lifecycle: watch::Receiver<Lifecycle>) -> Arc<dyn Fn() -> Readiness + Send + Sync> {
    Arc::new(move || {
        if lifecycle.borrow().takes_calls() {
            Readiness::Ready
        } else {
            Readiness::NotReady("draining".into())
        }
    })
}

async fn serve_http(listener: TcpListener, state: http::State, mut stopped: watch::Receiver<bool>) {
    let shutdown = async move {
        // A sender that is gone stops it too.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    if let Err(error) = http::serve(listener, http::router(state), shutdown).await {
        tracing::error!(%error, "HTTP has stopped");
    }
}

/// Copies the counters that live elsewhere into the metrics, once a second, until the bridge is gone.
async fn sample(metrics: Arc<Metrics>, bridge: Weak<Bridge>, admission: Admission) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    loop {
        every.tick().await;
        let Some(bridge) = bridge.upgrade() else {
            return;
        };
        metrics.set_calls(bridge.registry.live_count());
        metrics.sample_media(bridge.shards.stats());
        metrics.sample_admission(&admission.counters());
        let sip = bridge.sip.clone();
        drop(bridge);
        if let Ok(counters) = sip.counters().await {
            metrics.sample_sip(&counters);
        }
        if let Ok(standings) = sip.registrations().await {
            metrics.sample_registrations(&standings);
        }
        if let Ok(counters) = sip.stream_counters().await {
            metrics.sample_streams(&counters);
        }
    }
}

fn node_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "baton".into(),
        name => name.into(),
    }
}
