//! `baton.toml`: one file, every key optional (docs/configuration.md).
//!
//! [`mod@load`] reads the text (unknown keys, `${..}`, shapes); this file holds what it means; [`keys`] is the
//! catalogue that error messages and the reference table are made from; [`mod@check`] finds what is legal but wrong.

mod assemble;
pub mod check;
mod expand;
mod file;
pub mod keys;
pub mod load;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use baton_core::sip::endpoint::Transport;
use ipnet::IpNet;
use serde::Deserialize;

use crate::net::listen::Listening;

pub use file::ConfigFile;
pub use load::{LoadError, from_str, load};

/// Everything that can be set. `Default` is what Baton does with no file at all.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// `[sip]`
    pub sip: Sip,
    /// `[media]`
    pub media: Media,
    /// `[[trunk]]`: who may call us; the first match wins.
    #[serde(rename = "trunk")]
    pub trunks: Vec<Trunk>,
    /// `[[route]]`: which agent answers; the first match wins.
    #[serde(rename = "route")]
    pub routes: Vec<Route>,
    /// `[[agent]]`
    #[serde(rename = "agent")]
    pub agents: Vec<Agent>,
    /// `[[handoff]]`
    #[serde(rename = "handoff")]
    pub handoffs: Vec<Handoff>,
    /// `[http]`
    pub http: Http,
    /// `[twilio]`
    pub twilio: Twilio,
    /// `[store]`
    pub store: Store,
}

/// `[sip]`: the signalling side of the caller's trunk.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Sip {
    /// Where we listen.
    pub listen: Vec<Listen>,
    /// The realm of our challenges; the public address, or `baton`, when there is none.
    pub realm: Option<String>,
    /// What callers may prove themselves with, in the order of our challenges.
    pub digest: Vec<DigestHash>,
    /// The address in Contact, Via and SDP.
    pub public_address: PublicAddress,
    /// Who is asked where names are; empty: the system's (`/etc/resolv.conf`).
    pub nameservers: Vec<Nameserver>,
    /// Certificates.
    pub tls: SipTls,
    /// TCP and TLS connections at once.
    pub max_connections: usize,
    /// Of one source address.
    pub max_connections_per_source: usize,
    /// Calls at once; above it 503.
    pub max_calls: u32,
    /// New calls a second; above it 503.
    pub max_calls_per_second: u32,
    /// Calls at once from one source address; 0 is no limit of its own.
    pub max_calls_per_source: u32,
    /// Answered calls of one source address whose ACK has not come; 0 is no limit.
    pub max_unacknowledged_per_source: u32,
    /// How long a stop waits for running calls before it hands them over.
    #[serde(with = "duration")]
    pub drain_timeout: Duration,
}

/// One name server: `192.0.2.53` or `192.0.2.53:5353`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Nameserver(pub SocketAddr);

/// One `listen` entry: `udp:0.0.0.0:5060`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Listen(pub Listening);

/// One of `digest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum DigestHash {
    /// What most telephones have, and nobody should.
    #[serde(rename = "MD5")]
    Md5,
    /// RFC 8760.
    #[serde(rename = "SHA-256")]
    Sha256,
}

/// `tls` of `[sip]`: files, all PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SipTls {
    /// Our certificate, its issuers behind it.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Who issues the certificates that peers must show; none is asked for without it.
    pub client_ca: Option<PathBuf>,
    /// Who else may issue the certificates of those we connect to.
    pub ca: Option<PathBuf>,
}

/// `public_address`: found by looking at the interfaces, or given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum PublicAddress {
    /// Ask the operating system which of our addresses reaches the peer.
    #[default]
    Auto,
    /// Behind NAT or in a container.
    Given(IpAddr),
}

/// `[media]`: RTP.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Media {
    /// UDP ports for RTP.
    pub rtp_ports: PortRange,
    /// What we offer and accept, best first.
    pub codecs: Vec<Codec>,
    /// How long a hole may hold back what came after it.
    #[serde(with = "duration")]
    pub reorder_wait_max: Duration,
    /// Silence on the wire after which a call is lost.
    #[serde(with = "duration")]
    pub no_rtp_timeout: Duration,
    /// Who may send media to us beside the SDP's own address.
    pub latch: Latch,
    /// Whether calls are recorded.
    pub recording: Recording,
    /// Where recordings go.
    pub recording_dir: PathBuf,
    /// Agent audio queued ahead of the caller's ear.
    #[serde(with = "duration")]
    pub playout_max: Duration,
}

/// `rtp_ports = "10000-19999"`; `"0"` lets the operating system choose (tests and the demo).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port, included.
    pub last: u16,
}

/// A G.711 law.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Codec {
    /// μ-law.
    #[serde(rename = "PCMU")]
    Pcmu,
    /// A-law.
    #[serde(rename = "PCMA")]
    Pcma,
}

/// `latch`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Latch {
    /// Another port of the SDP's or the signalling peer's exact IP may be learned.
    Nat,
    /// The SDP's address only.
    Strict,
}

/// `recording`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recording {
    /// Not recorded.
    Off,
    /// Stereo WAV, caller left, agent right.
    On,
}

/// `[[trunk]]`: one peer that may call us.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Trunk {
    /// What logs and routes call it.
    pub name: String,
    /// Source networks; a bare address is a network of one.
    #[serde(default, deserialize_with = "networks")]
    pub from: Vec<IpNet>,
    /// Names of the client certificate, one of which it must bear.
    #[serde(default)]
    pub tls_names: Vec<String>,
    /// Who it must prove to be.
    #[serde(default)]
    pub credentials: Option<Login>,
    /// Where we register, so that it calls us.
    #[serde(default)]
    pub register: Option<Register>,
}

/// `credentials` of a trunk.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The user name.
    pub username: String,
    /// Its password.
    pub password: String,
}

/// `register` of a trunk.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// A SIP URI.
    pub registrar: String,
    /// The user name.
    pub username: String,
    /// Its password.
    pub password: String,
    /// For how long each time.
    #[serde(with = "duration", default = "five_minutes")]
    pub expires: Duration,
}

const fn five_minutes() -> Duration {
    Duration::from_mins(5)
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Register {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Register")
            .field("registrar", &self.registrar)
            .field("username", &self.username)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// `[[route]]`: which agent answers what.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Route {
    /// What logs call it.
    pub name: String,
    /// Called user part, glob with `*` and `?`.
    pub to: Option<String>,
    /// Caller's user part, glob.
    pub from: Option<String>,
    /// Name of the trunk, exact.
    pub trunk: Option<String>,
    /// Header field values, glob.
    pub header: BTreeMap<String, String>,
    /// The agent's name; the first one when absent.
    pub agent: Option<String>,
    /// The handoff's name; the first one when absent.
    pub handoff: Option<String>,
    /// Given to the agent.
    pub variables: BTreeMap<String, String>,
}

/// `[[agent]]`: who talks to the caller.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Agent {
    /// What routes call it.
    pub name: String,
    /// Its language.
    pub kind: AgentKind,
    /// Its socket, for kinds that have one.
    pub url: Option<String>,
    /// Bearer token for the socket.
    pub api_key: Option<String>,
    /// What it hears and speaks, in Hz.
    pub sample_rate: u32,
    /// When the caller's call is answered.
    pub answer: Answer,
    /// What the caller's voice does to the agent's.
    pub barge_in: BargeIn,
    /// Silence that ends a caller's turn.
    #[serde(with = "duration")]
    pub vad_hangover: Duration,
    /// How long its socket may take to open.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// It closed without saying what next.
    pub on_close: OnClose,
    /// It cannot be reached, or broke.
    pub on_failure: OnFailure,
    /// INVITE header fields it is told, by glob.
    pub forward_headers: Vec<String>,
    /// The scripted agent hands off by itself after so many turns of the caller.
    pub max_turns: Option<u32>,
}

/// `kind`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentKind {
    /// Embedded: greets, takes turns, hands off.
    #[default]
    Scripted,
    /// Embedded: the caller's audio back.
    Echo,
    /// `baton.v1` over WebSocket.
    Websocket,
    /// Twilio Media Streams, we are Twilio.
    TwilioStreams,
}

/// `answer`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Ring until the agent is connected.
    WhenReady,
    /// Answer, then connect.
    AtOnce,
}

/// `barge_in`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BargeIn {
    /// Nothing.
    Off,
    /// The agent is told.
    Notify,
    /// And its audio pauses.
    Pause,
    /// And its audio is dropped.
    Clear,
}

/// `on_close`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnClose {
    /// To a human.
    Handoff,
    /// End the call.
    Hangup,
}

/// `on_failure` of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// To a human.
    Handoff,
    /// Say so, then end the call.
    Play,
    /// End the call.
    Hangup,
}

/// `[[handoff]]`: where humans are.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Handoff {
    /// What routes call it.
    pub name: String,
    /// SIP or tel URI.
    pub target: Option<String>,
    /// Ways to reach it, in order.
    pub styles: Vec<String>,
    /// The header that carries the key.
    pub history_key_header: String,
    /// Further headers; `{reason}` and the like are filled in.
    pub headers: BTreeMap<String, String>,
    /// REFER to its final answer.
    #[serde(with = "duration")]
    pub refer_timeout: Duration,
    /// 202 to the first NOTIFY.
    #[serde(with = "duration")]
    pub notify_timeout: Duration,
    /// Between NOTIFYs.
    #[serde(with = "duration")]
    pub progress_timeout: Duration,
    /// All of it.
    #[serde(with = "duration")]
    pub total_timeout: Duration,
    /// After the last style failed.
    pub on_failure: HandoffFailure,
    /// The caller's own way out, at any time; empty is none.
    pub escape_digit: String,
}

/// `on_failure` of a handoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HandoffFailure {
    /// The agent is told and talks on.
    Resume,
    /// End the call.
    Hangup,
}

/// `[http]`: webhooks, API, pages.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Http {
    /// Where we listen.
    pub listen: SocketAddr,
    /// How the outside reaches us.
    pub public_url: Option<String>,
    /// `name:scope:key`, or a bare key.
    pub api_keys: Vec<String>,
    /// Who may frame the human's page.
    pub frame_ancestors: Vec<String>,
}

/// `[twilio]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Twilio {
    /// Verifies X-Twilio-Signature.
    pub auth_token: Option<String>,
    /// Where the refer-handler sends the call.
    pub studio_webhook_url: Option<String>,
}

/// `[store]`: where histories are kept.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Store {
    /// `embedded:DIR`.
    pub url: StoreUrl,
    /// How long a key opens its history.
    #[serde(with = "duration")]
    pub history_ttl: Duration,
    /// How long a handoff waits for its history to be durable.
    #[serde(with = "duration")]
    pub commit_timeout: Duration,
}

/// `url` of the store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum StoreUrl {
    /// A directory of this node.
    Embedded(PathBuf),
}

impl Default for Sip {
    fn default() -> Self {
        Self {
            listen: [Transport::Udp, Transport::Tcp]
                .map(|transport| {
                    let address = SocketAddr::from(([0, 0, 0, 0], 5060));
                    Listen(Listening { transport, address })
                })
                .to_vec(),
            public_address: PublicAddress::Auto,
            nameservers: Vec::new(),
            tls: SipTls::default(),
            realm: None,
            digest: vec![DigestHash::Sha256, DigestHash::Md5],
            max_connections: 2_000,
            max_connections_per_source: 1_000,
            max_calls: 1000,
            max_calls_per_second: 200,
            max_calls_per_source: 0,
            max_unacknowledged_per_source: 100,
            drain_timeout: Duration::from_mins(1),
        }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            rtp_ports: PortRange {
                first: 10_000,
                last: 19_999,
            },
            codecs: vec![Codec::Pcmu, Codec::Pcma],
            reorder_wait_max: Duration::from_millis(80),
            no_rtp_timeout: Duration::from_secs(30),
            latch: Latch::Nat,
            recording: Recording::Off,
            recording_dir: PathBuf::from("baton-data/recordings"),
            playout_max: Duration::from_mins(2),
        }
    }
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: AgentKind::Scripted,
            url: None,
            api_key: None,
            sample_rate: 16_000,
            answer: Answer::WhenReady,
            barge_in: BargeIn::Notify,
            vad_hangover: Duration::from_millis(400),
            connect_timeout: Duration::from_secs(3),
            on_close: OnClose::Handoff,
            on_failure: OnFailure::Handoff,
            forward_headers: vec!["X-*".into(), "User-to-User".into()],
            max_turns: None,
        }
    }
}

impl Default for Handoff {
    fn default() -> Self {
        Self {
            name: String::new(),
            target: None,
            styles: vec!["refer".into()],
            history_key_header: "X-Session-History-Key".into(),
            headers: BTreeMap::new(),
            refer_timeout: Duration::from_secs(10),
            notify_timeout: Duration::from_secs(30),
            progress_timeout: Duration::from_mins(1),
            total_timeout: Duration::from_mins(2),
            on_failure: HandoffFailure::Resume,
            escape_digit: String::new(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            api_keys: Vec::new(),
            frame_ancestors: Vec::new(),
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: StoreUrl::Embedded("baton-data".into()),
            history_ttl: Duration::from_hours(24),
            commit_timeout: Duration::from_secs(3),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let Some((transport, address)) = text.split_once(':') else {
            return Err(format!(
                "`{text}` is not TRANSPORT:ADDRESS:PORT, such as udp:0.0.0.0:5060"
            ));
        };
        let transport = match transport {
            "udp" => Transport::Udp,
            "tcp" => Transport::Tcp,
            "tls" => Transport::Tls,
            other => return Err(format!("`{other}` is no transport; write udp, tcp or tls")),
        };
        let address = address.parse().map_err(|_| {
            format!("`{address}` is not ADDRESS:PORT, such as 0.0.0.0:5060 or [::]:5060")
        })?;
        Ok(Self(Listening { transport, address }))
    }
}

impl TryFrom<String> for Nameserver {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let server = crate::net::dns::nameserver(&text);
        let wrong = || {
            format!(
                "`{text}` is no name server's address, such as 192.0.2.53 or [2001:db8::53]:5353"
            )
        };
        server.map(Self).ok_or_else(wrong)
    }
}

impl TryFrom<String> for PublicAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        text.parse()
            .map(Self::Given)
            .map_err(|_| format!("`{text}` is neither \"auto\" nor an IP address"))
    }
}

impl TryFrom<String> for PortRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "0" {
            return Ok(Self { first: 0, last: 0 });
        }
        let parsed = text.split_once('-').and_then(|(first, last)| {
            Some(Self {
                first: first.trim().parse().ok()?,
                last: last.trim().parse().ok()?,
            })
        });
        match parsed {
            Some(range) if range.first >= 1024 && range.first < range.last => Ok(range),
            Some(_) => Err(format!(
                "`{text}`: the first port must be at least 1024 and below the last"
            )),
            None => Err(format!("`{text}` is not a port range such as 10000-19999")),
        }
    }
}

impl TryFrom<String> for StoreUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("embedded", dir)) if !dir.is_empty() => Ok(Self::Embedded(dir.into())),
            _ => Err(format!(
                "`{text}` is not embedded:DIRECTORY, the store of this version"
            )),
        }
    }
}

/// Durations as people write them: `"20ms"`, `"5s"`, `"24h"`.
mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, de::Error};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(text.trim()).map_err(|_| {
            D::Error::custom(format!(
                "`{text}` is not a duration such as \"20ms\", \"5s\" or \"24h\""
            ))
        })
    }
}

fn networks<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    Vec::<String>::deserialize(deserializer)?
        .into_iter()
        .map(|text| {
            let network = text.parse::<IpNet>().ok();
            network
                .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
                .ok_or_else(|| {
                    serde::de::Error::custom(format!(
                        "`{text}` is not a network such as 203.0.113.0/24 or an address"
                    ))
                })
        })
        .collect()
}
