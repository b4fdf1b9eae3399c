#![expect(clippy::disallowed_methods, reason = "shell: starts the node's tasks")]
//! Wires a node: store, signalling, media threads, calls, HTTP. Every error names the setting to change.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use baton_core::history::Backend;
use baton_core::leg::Leg;
use baton_core::media::jitter;
use baton_core::media::rtp::source::LatchPolicy;
use baton_core::sdp;
use baton_core::sip::endpoint;
use baton_core::sip::trunk::{Trunk, Trunks};
use baton_core::vocab::Entropy;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::observer::Observer;
use crate::bridge::recorder::Recorder;
use crate::bridge::registry::Registry;
use crate::bridge::{Bridge, Media};
use crate::config::{self, Config, StoreUrl};
use crate::http::{self, Readiness};
use crate::ingress;
use crate::net::media_shard::Shards;
use crate::net::ports::{PortRange, RtpPorts};
use crate::net::sip_task::{self, SipHandle};
use crate::net::udp;
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
    Listen(#[from] udp::ListenError),
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

/// A running node.
#[derive(Debug)]
pub struct Node {
    sip: SipHandle,
    http: SocketAddr,
    registry: Arc<Registry>,
    config: ingress::sip::Current,
    draining: Arc<watch::Sender<bool>>,
    stop: watch::Sender<bool>,
    stop_http: watch::Sender<bool>,
    calls: JoinHandle<()>,
    web: JoinHandle<()>,
    store: Arc<Embedded>,
}

/// How long the end of a node waits for what is still being written.
const LAST_WORDS: Duration = Duration::from_secs(5);

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
        let sockets: Vec<_> = config
            .sip
            .listen
            .iter()
            .map(|listen| udp::listen(listen.0, "[sip] listen"))
            .collect::<Result<_, _>>()?;
        let listener = http_listener(config.http.listen).await?;
        let http = listener
            .local_addr()
            .map_err(|why| system("the HTTP address", why))?;
        let signalling = sip_task::start(endpoint_config(config), entropy.fork(), sockets)
            .map_err(|why| system("signalling", why))?;
        let sip = signalling.handle.clone();
        let shards = Shards::<Leg>::start(cores()).map_err(|why| system("media threads", why))?;
        let registry = Arc::new(Registry::default());
        let metrics = Arc::new(Metrics::new());
        let (stop, stopped) = watch::channel(false);
        let (stop_http, http_stopped) = watch::channel(false);
        let draining = Arc::new(watch::channel(false).0);
        let bridge = Arc::new(Bridge {
            sip: sip.clone(),
            shards: shards.handle(),
            ports: rtp_ports(config, &mut entropy),
            history: store.clone(),
            registry: registry.clone(),
            recorder,
            observer: Arc::new(Observer::new(metrics.clone())),
            media: media(config),
            node: node_name(),
            stop: stopped,
            entropy: Mutex::new(entropy.fork()),
        });
        let current: ingress::sip::Current = Arc::new(RwLock::new(Arc::new(config.clone())));
        let calls = tokio::spawn(ingress::sip::serve(
            bridge.clone(),
            current.clone(),
            signalling.arrivals,
        ));
        let ports = http::Ports {
            history: store.clone(),
            registry: registry.clone(),
            readiness: readiness(draining.clone()),
            metrics: Arc::new({
                let metrics = metrics.clone();
                move || metrics.render()
            }),
            entropy,
        };
        let state = http::State::new(http_config(config, &sip)?, ports);
        let web = tokio::spawn(serve_http(listener, state, http_stopped));
        tokio::spawn(sample(metrics, Arc::downgrade(&bridge)));
        Ok(Self {
            sip,
            http,
            registry,
            config: current,
            draining,
            stop,
            stop_http,
            calls,
            web,
            store,
        })
    }

    /// Where SIP is listened for.
    pub fn sip(&self) -> &[SocketAddr] {
        self.sip.addresses()
    }

    /// Where HTTP is served.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Live and recent calls.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Calls at the moment.
    pub fn live_calls(&self) -> usize {
        self.registry.live_count()
    }

    /// The agent of a call that no route sends elsewhere, for people.
    pub fn describe_agent(&self) -> String {
        let config = self.current();
        config.agents.first().map_or_else(
            || "scripted (embedded)".into(),
            |agent| {
                format!(
                    "{} {}",
                    agent.name,
                    agent.url.as_deref().unwrap_or("(embedded)")
                )
            },
        )
    }

    /// Where callers are handed over, for people.
    pub fn describe_handoff(&self) -> String {
        let config = self.current();
        let target = config
            .handoffs
            .iter()
            .find_map(|handoff| handoff.target.clone());
        target.unwrap_or_else(|| {
            "none: callers who want a human are told that nobody is there".into()
        })
    }

    /// Where histories are kept, for people.
    pub fn describe_store(&self) -> String {
        let config = self.current();
        let StoreUrl::Embedded(dir) = &config.store.url;
        format!("embedded:{}", dir.display())
    }

    /// Routes, agents, handoffs and trunks for the calls from here on.
    ///
    /// # Errors
    /// [`StartError::Setting`]: a node would not start with it, and so this one keeps what it has.
    pub fn reload(&self, config: Config) -> Result<(), StartError> {
        refuse_what_cannot_work(&config)?;
        let trunks = trunks(&config);
        let sip = self.sip.clone();
        tokio::spawn(async move {
            // Signalling that has stopped needs no trunks.
            let _ = sip.set_trunks(trunks).await;
        });
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(())
    }

    /// New calls get 503 and `/readyz` says so; returns when the last running call has ended, or after
    /// `drain_timeout`.
    pub async fn drain(&self) {
        self.draining.send_replace(true);
        let _ = self.sip.set_readiness(endpoint::Readiness::Draining).await;
        let patience = self.current().sip.drain_timeout;
        let mut changes = self.registry.watch();
        let empty = async {
            while self.live_calls() > 0 {
                // Lagging behind is as good as a change: look again.
                let _ = changes.recv().await;
            }
        };
        if tokio::time::timeout(patience, empty).await.is_err() {
            tracing::warn!(
                "{} calls outlived drain_timeout and are ended",
                self.live_calls()
            );
        }
    }

    /// Ends what still runs, writes what is still to be written, and stops.
    pub async fn stop(self) {
        let Self {
            sip,
            stop,
            stop_http,
            calls,
            web,
            store,
            ..
        } = self;
        let _ = sip.set_readiness(endpoint::Readiness::Draining).await;
        stop.send_replace(true);
        drop(sip);
        if tokio::time::timeout(LAST_WORDS, calls).await.is_err() {
            tracing::warn!("some calls did not end in time");
        }
        stop_http.send_replace(true);
        let _ = tokio::time::timeout(LAST_WORDS, web).await;
        // The last owner flushes the store and frees its lock.
        drop(store);
    }

    fn current(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
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
    let StoreUrl::Embedded(dir) = &config.store.url;
    let settings = crate::store::embedded::Config {
        history_ttl: config.store.history_ttl,
        ..Default::default()
    };
    Ok(Embedded::open(dir, settings)?)
}

/// What `baton check` calls an error keeps the node from starting: a call must not find it first.
fn refuse_what_cannot_work(config: &Config) -> Result<(), StartError> {
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

fn entropy() -> Result<Entropy, StartError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|why| system("randomness", why))?;
    Ok(Entropy::from_seed(seed))
}

fn system(what: &'static str, why: impl ToString) -> StartError {
    StartError::System {
        what,
        why: why.to_string(),
    }
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
    let first = config.sip.listen.first().map(|listen| listen.0.ip());
    let ip = first.unwrap_or_else(|| std::net::Ipv4Addr::UNSPECIFIED.into());
    let range = config.media.rtp_ports;
    RtpPorts::new(ip, PortRange::new(range.first, range.last), entropy.fork())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn endpoint_config(config: &Config) -> endpoint::Config {
    let port = config
        .sip
        .listen
        .first()
        .map_or(5060, |listen| listen.0.port());
    let udp = match config.sip.public_address {
        config::PublicAddress::Auto => None,
        config::PublicAddress::Given(ip) => Some(SocketAddr::new(ip, port).to_string()),
    };
    endpoint::Config {
        advertised: endpoint::Advertised {
            udp,
            ..Default::default()
        },
        trunks: trunks(config),
        ..endpoint::Config::default()
    }
}

fn trunks(config: &Config) -> Trunks {
    let one = |trunk: &config::Trunk| Trunk {
        name: trunk.name.clone(),
        networks: trunk.from.clone(),
    };
    Trunks::new(config.trunks.iter().map(one).collect())
}

fn media(config: &Config) -> Media {
    Media {
        codecs: config
            .media
            .codecs
            .iter()
            .map(|codec| match codec {
                config::Codec::Pcmu => sdp::Codec::Pcmu,
                config::Codec::Pcma => sdp::Codec::Pcma,
            })
            .collect(),
        jitter: jitter::Config {
            reorder_wait_max: config.media.reorder_wait_max,
        },
        latch: match config.media.latch {
            config::Latch::Nat => LatchPolicy::Nat,
            config::Latch::Strict => LatchPolicy::Strict,
        },
        playout_max: config.media.playout_max,
        no_rtp_timeout: config.media.no_rtp_timeout,
        public_address: match config.sip.public_address {
            config::PublicAddress::Auto => None,
            config::PublicAddress::Given(ip) => Some(ip),
        },
    }
}

fn http_config(config: &Config, sip: &SipHandle) -> Result<http::Config, StartError> {
    let api_keys = config.http.api_keys.iter().map(|text| text.parse());
    let mut key_headers: Vec<String> = config
        .handoffs
        .iter()
        .map(|handoff| handoff.history_key_header.clone())
        .collect();
    key_headers.push("X-Session-History-Key".into());
    let given = match config.sip.public_address {
        config::PublicAddress::Auto => None,
        config::PublicAddress::Given(ip) => {
            let port = sip.addresses().first().map_or(5060, SocketAddr::port);
            Some(SocketAddr::new(ip, port).to_string())
        }
    };
    let settings = http::Config {
        public_url: config.http.public_url.clone(),
        api_keys: api_keys
            .collect::<Result<_, http::BadApiKey>>()
            .map_err(|why| StartError::Setting(format!("[http] api_keys: {why}")))?,
        frame_ancestors: config.http.frame_ancestors.clone(),
        recording_dir: config.media.recording_dir.clone(),
        sip_address: given,
        history_key_headers: key_headers,
        twilio: http::Twilio {
            auth_token: config.twilio.auth_token.clone(),
            studio_webhook_url: config.twilio.studio_webhook_url.clone(),
        },
    };
    settings
        .validate()
        .map_err(|why| StartError::Setting(why.to_string()))?;
    Ok(settings)
}

fn readiness(draining: Arc<watch::Sender<bool>>) -> Arc<dyn Fn() -> Readiness + Send + Sync> {
    Arc::new(move || {
        if *draining.borrow() {
            Readiness::NotReady("draining".into())
        } else {
            Readiness::Ready
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
async fn sample(metrics: Arc<Metrics>, bridge: Weak<Bridge>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    loop {
        every.tick().await;
        let Some(bridge) = bridge.upgrade() else {
            return;
        };
        metrics.set_calls(bridge.registry.live_count());
        metrics.sample_media(bridge.shards.stats());
        let sip = bridge.sip.clone();
        drop(bridge);
        if let Ok(counters) = sip.counters().await {
            metrics.sample_sip(&counters);
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
