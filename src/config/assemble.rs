//! From the file's words to each module's own configuration.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use baton_core::media::rtp::source::LatchPolicy;
use baton_core::media::{jitter, vad};
use baton_core::sip::auth::{Account, Algorithm};
use baton_core::sip::endpoint::{self, Transport};
use baton_core::sip::registration;
use baton_core::sip::trunk::{Trunk, Trunks};
use baton_core::vocab::SampleRate;
use baton_core::{admission, agent, call, handoff, sdp};
use wildmatch::WildMatch;

use super::{
    Agent, AgentKind, Answer, BargeIn, Codec, Config, DigestHash, Handoff, HandoffFailure, Latch,
    OnClose, OnFailure, PublicAddress, Route, SipTls, StoreUrl,
};
use crate::bridge::Media;
use crate::bridge::plan::Terms;
use crate::net::listen::Listening;
use crate::net::streams;
use crate::net::tls::{self, Tls, TlsError};
use crate::{http, ingress, store};

impl Config {
    /// For the SIP endpoint; `listening` is where SIP is listened for.
    pub fn endpoint(&self, listening: &[Listening]) -> endpoint::Config {
        let advertised = |transport| {
            let first = listening
                .iter()
                .find(|listening| listening.transport == transport)?;
            let ip = self.public_address()?;
            Some(SocketAddr::new(ip, first.address.port()).to_string())
        };
        endpoint::Config {
            advertised: endpoint::Advertised {
                udp: advertised(Transport::Udp),
                tcp: advertised(Transport::Tcp),
                tls: advertised(Transport::Tls),
                ..Default::default()
            },
            trunks: self.trunk_table(),
            realm: self.realm(),
            algorithms: self
                .sip
                .digest
                .iter()
                .map(|hash| hash.algorithm())
                .collect(),
            limits: self.endpoint_limits(),
            ..endpoint::Config::default()
        }
    }

    /// Room for every call that may be, for the dialogs that linger after theirs, and for transfers.
    fn endpoint_limits(&self) -> endpoint::Limits {
        let calls = self.sip.max_calls as usize;
        let default = endpoint::Limits::default();
        endpoint::Limits {
            dialogs: default.dialogs.max(calls.saturating_mul(4)),
            transactions: default.transactions.max(calls.saturating_mul(16)),
            unacknowledged_per_source: self.sip.max_unacknowledged_per_source as usize,
            ..default
        }
    }

    /// For the TCP and TLS connections.
    ///
    /// # Errors
    /// A file that TLS cannot be made of.
    pub fn streams(&self) -> Result<streams::Config, TlsError> {
        Ok(streams::Config {
            limits: streams::Limits {
                connections: self.sip.max_connections,
                per_source: self.sip.max_connections_per_source,
                ..streams::Limits::default()
            },
            tls: Some(Tls::load(&self.tls_files())?),
        })
    }

    /// The files of `[sip] tls`.
    pub fn tls_files(&self) -> tls::Files {
        let SipTls {
            certificate,
            key,
            client_ca,
            ca,
        } = self.sip.tls.clone();
        tls::Files {
            identity: certificate.zip(key),
            client_ca,
            ca,
        }
    }

    /// The name servers to ask.
    pub fn nameservers(&self) -> Vec<SocketAddr> {
        self.sip.nameservers.iter().map(|server| server.0).collect()
    }

    /// Who may call.
    pub fn trunk_table(&self) -> Trunks {
        Trunks::new(self.trunks.iter().map(super::Trunk::peer).collect())
    }

    /// What callers are told in a challenge.
    fn realm(&self) -> String {
        let public = || self.public_address().map(|ip| ip.to_string());
        let realm = self.sip.realm.clone().or_else(public);
        realm.unwrap_or_else(|| "baton".to_owned())
    }

    /// For every call's voice.
    pub fn voice(&self) -> Media {
        let codec = |codec: &Codec| match codec {
            Codec::Pcmu => sdp::Codec::Pcmu,
            Codec::Pcma => sdp::Codec::Pcma,
        };
        Media {
            codecs: self.media.codecs.iter().map(codec).collect(),
            jitter: jitter::Config {
                reorder_wait_max: self.media.reorder_wait_max,
            },
            latch: match self.media.latch {
                Latch::Nat => LatchPolicy::Nat,
                Latch::Strict => LatchPolicy::Strict,
            },
            playout_max: self.media.playout_max,
            no_rtp_timeout: self.media.no_rtp_timeout,
            public_address: self.public_address(),
        }
    }

    /// For the ways in.
    pub fn ingress(&self) -> ingress::Config {
        let everything = [Route {
            name: "default".into(),
            ..Route::default()
        }];
        let routes = if self.routes.is_empty() {
            &everything
        } else {
            self.routes.as_slice()
        };
        ingress::Config {
            limits: admission::Config {
                max_calls: self.sip.max_calls as usize,
                max_calls_per_second: self.sip.max_calls_per_second,
                max_calls_per_source: self.sip.max_calls_per_source as usize,
            },
            routes: ingress::route::Table::new(
                routes.iter().map(|route| self.route(route)).collect(),
            ),
        }
    }

    /// For the store.
    pub fn store(&self) -> store::embedded::Config {
        store::embedded::Config {
            history_ttl: self.store.history_ttl,
        }
    }

    /// For the HTTP side; `sip` is where SIP is listened for.
    ///
    /// # Errors
    /// What cannot be used, and what to write.
    pub fn web(&self, sip: &[Listening]) -> Result<http::Config, String> {
        let api_keys: Result<_, http::BadApiKey> =
            self.http.api_keys.iter().map(|text| text.parse()).collect();
        let mut history_key_headers: Vec<_> = self
            .handoffs
            .iter()
            .map(|handoff| handoff.history_key_header.clone())
            .collect();
        history_key_headers.push(Handoff::default().history_key_header);
        let web = http::Config {
            public_url: self.http.public_url.clone(),
            api_keys: api_keys.map_err(|why| format!("[http] api_keys: {why}"))?,
            frame_ancestors: self.http.frame_ancestors.clone(),
            recording_dir: self.media.recording_dir.clone(),
            sip_address: self.public_address().map(|ip| sip_address(ip, sip)),
            history_key_headers,
            twilio: http::Twilio {
                auth_token: self.twilio.auth_token.clone(),
                studio_webhook_url: self.twilio.studio_webhook_url.clone(),
            },
        };
        web.validate().map_err(|why| why.to_string())?;
        Ok(web)
    }

    /// Where the embedded store is.
    pub fn store_dir(&self) -> &std::path::Path {
        let StoreUrl::Embedded(dir) = &self.store.url;
        dir
    }

    fn public_address(&self) -> Option<IpAddr> {
        match self.sip.public_address {
            PublicAddress::Auto => None,
            PublicAddress::Given(ip) => Some(ip),
        }
    }

    fn route(&self, route: &Route) -> ingress::route::Route {
        let glob = |pattern: &Option<String>| pattern.as_deref().map(WildMatch::new);
        ingress::route::Route {
            to: glob(&route.to),
            from: glob(&route.from),
            trunk: route.trunk.clone(),
            headers: route
                .header
                .iter()
                .map(|(name, pattern)| (name.clone(), WildMatch::new(pattern)))
                .collect(),
            terms: Arc::new(self.terms(route)),
        }
    }

    fn with_commit_timeout(&self, mut handoff: handoff::Config) -> handoff::Config {
        handoff.timeouts.commit = self.store.commit_timeout;
        handoff
    }

    /// Without a name the first agent and the first handoff; without any, the scripted agent and no human.
    fn terms(&self, route: &Route) -> Terms {
        let agent = named(&self.agents, route.agent.as_deref(), |agent| &agent.name);
        let agent = agent.unwrap_or_else(|| Agent {
            name: "scripted".into(),
            ..Agent::default()
        });
        let handoff = named(&self.handoffs, route.handoff.as_deref(), |handoff| {
            &handoff.name
        });
        Terms {
            route: call::Route {
                name: route.name.clone(),
                agent: agent.name.clone(),
                variables: route.variables.clone(),
            },
            agent: agent.dialect(),
            vad: vad::Config {
                hangover: agent.vad_hangover,
            },
            call: agent.policies(),
            handoff: self.with_commit_timeout(handoff.unwrap_or_default().plan()),
        }
    }
}

impl DigestHash {
    const fn algorithm(self) -> Algorithm {
        match self {
            Self::Md5 => Algorithm::MD5,
            Self::Sha256 => Algorithm::SHA_256,
        }
    }
}

impl super::Trunk {
    fn peer(&self) -> Trunk {
        let account = |username: &str, password: &str| Arc::new(Account::new(username, password));
        let register = |register: &super::Register| registration::Register {
            registrar: register.registrar.clone(),
            account: account(&register.username, &register.password),
            expires: register.expires,
        };
        let credentials = self.credentials.as_ref();
        Trunk {
            name: self.name.clone(),
            networks: self.from.clone(),
            tls_names: self
                .tls_names
                .iter()
                .map(|n| n.to_ascii_lowercase())
                .collect(),
            credentials: credentials.map(|login| account(&login.username, &login.password)),
            register: self.register.as_ref().map(|r| Arc::new(register(r))),
        }
    }
}

impl Agent {
    fn dialect(&self) -> agent::Config {
        agent::Config {
            name: self.name.clone(),
            kind: match self.kind {
                AgentKind::Scripted => agent::Kind::Scripted,
                AgentKind::Echo => agent::Kind::Echo,
                AgentKind::Websocket => agent::Kind::Websocket,
                AgentKind::TwilioStreams => agent::Kind::TwilioStreams,
            },
            url: self.url.clone().unwrap_or_default(),
            api_key: self.api_key.clone().map(agent::Secret::from),
            sample_rate: SampleRate::from_hz(self.sample_rate).unwrap_or_default(),
            script: agent::scripted::Config {
                max_turns: self.max_turns,
                ..Default::default()
            },
        }
    }

    fn policies(&self) -> call::Config {
        call::Config {
            answer: match self.answer {
                Answer::WhenReady => call::AnswerPolicy::WhenReady,
                Answer::AtOnce => call::AnswerPolicy::AtOnce,
            },
            connect_timeout: self.connect_timeout,
            barge_in: match self.barge_in {
                BargeIn::Off => call::BargeIn::Off,
                BargeIn::Notify => call::BargeIn::Notify,
                BargeIn::Pause => call::BargeIn::Pause,
                BargeIn::Clear => call::BargeIn::Clear,
            },
            on_close: match self.on_close {
                OnClose::Handoff => call::OnClose::Handoff,
                OnClose::Hangup => call::OnClose::Hangup,
            },
            on_failure: match self.on_failure {
                OnFailure::Handoff => call::OnAgentFailure::Handoff,
                OnFailure::Play => call::OnAgentFailure::Play,
                OnFailure::Hangup => call::OnAgentFailure::Hangup,
            },
            forward_headers: self.forward_headers.clone(),
            ..call::Config::default()
        }
    }
}

impl Handoff {
    /// For the handoff machine. Styles that do not exist are errors of `baton check` and of the start; here they
    /// are left out.
    pub fn plan(&self) -> handoff::Config {
        handoff::Config {
            name: self.name.clone(),
            target: self.target.clone(),
            styles: self
                .styles
                .iter()
                .filter_map(|style| style.parse().ok())
                .collect(),
            history_key_header: self.history_key_header.clone(),
            headers: self.headers.clone().into_iter().collect(),
            timeouts: handoff::Timeouts {
                refer: self.refer_timeout,
                notify: self.notify_timeout,
                progress: self.progress_timeout,
                total: self.total_timeout,
                ..handoff::Timeouts::default()
            },
            on_failure: match self.on_failure {
                HandoffFailure::Resume => handoff::OnFailure::Resume,
                HandoffFailure::Hangup => handoff::OnFailure::Hangup,
            },
            escape_digit: self.escape_digit.chars().next(),
        }
    }
}

/// What Twilio is told to send calls to: the first way that is listened on.
fn sip_address(ip: IpAddr, sip: &[Listening]) -> String {
    let first = sip.first();
    let port = first.map_or(5060, |listening| listening.address.port());
    let transport = match first.map(|listening| listening.transport) {
        Some(Transport::Tls) => ";transport=tls",
        Some(Transport::Tcp) => ";transport=tcp",
        Some(Transport::Udp) | None => "",
    };
    format!("{}{transport}", SocketAddr::new(ip, port))
}

/// The one of that name, or the first when none is asked for.
fn named<T: Clone>(all: &[T], name: Option<&str>, name_of: impl Fn(&T) -> &str) -> Option<T> {
    match name {
        Some(name) => all.iter().find(|one| name_of(one) == name).cloned(),
        None => all.first().cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_str;

    fn terms(text: &str) -> Terms {
        let config = from_str(text, std::path::Path::new(".")).unwrap();
        config.terms(config.routes.first().unwrap_or(&Route::default()))
    }

    #[test]
    fn without_routes_the_first_agent_answers_or_the_scripted_one() {
        assert_eq!(terms("").route.agent, "scripted");
        assert_eq!(
            terms("[[agent]]\nname=\"a\"\n[[agent]]\nname=\"b\"")
                .route
                .agent,
            "a"
        );
    }

    #[test]
    fn a_route_names_its_agent_its_handoff_and_its_variables() {
        let terms = terms(
            r#"
            [[agent]]
            name = "first"
            [[agent]]
            name = "sales"
            kind = "echo"
            [[handoff]]
            name = "human"
            [[handoff]]
            name = "desk"
            target = "sip:desk@example.com"
            refer_timeout = "7s"
            [[route]]
            name = "german sales"
            agent = "sales"
            handoff = "desk"
            variables = { language = "de-DE" }
            "#,
        );
        assert_eq!(terms.agent.kind, agent::Kind::Echo);
        assert_eq!(
            terms.handoff.target.as_deref(),
            Some("sip:desk@example.com")
        );
        assert_eq!(terms.handoff.timeouts.refer.as_secs(), 7);
        assert_eq!(terms.route.variables["language"], "de-DE");
    }

    #[test]
    fn what_is_set_reaches_the_module_it_is_set_for() {
        let terms = terms(
            r#"
            [[agent]]
            barge_in = "pause"
            vad_hangover = "700ms"
            connect_timeout = "1s"
            [[handoff]]
            escape_digit = "9"
            [store]
            commit_timeout = "1500ms"
            "#,
        );
        assert_eq!(terms.call.barge_in, call::BargeIn::Pause);
        assert_eq!(terms.call.connect_timeout.as_secs(), 1);
        assert_eq!(terms.vad.hangover.as_millis(), 700);
        assert_eq!(terms.handoff.escape_digit, Some('9'));
        assert_eq!(terms.handoff.timeouts.commit.as_millis(), 1500);
    }

    #[test]
    fn the_modules_defaults_are_the_files_defaults() {
        let terms = terms("");
        assert_eq!(terms.call, call::Config::default());
        assert_eq!(terms.vad.hangover, vad::Config::default().hangover);
        let handoff = handoff::Config {
            name: String::new(),
            ..handoff::Config::default()
        };
        assert_eq!(terms.handoff, handoff);
        assert_eq!(
            Config::default().ingress().limits,
            admission::Config::default()
        );
    }

    #[test]
    fn a_key_that_is_no_key_and_a_url_that_is_none_are_refused_by_name() {
        let web = |text: &str| from_str(text, std::path::Path::new(".")).unwrap().web(&[]);
        assert!(
            web("[http]\napi_keys = [\"ops:everything:k\"]")
                .unwrap_err()
                .contains("api_keys")
        );
        assert!(
            web("[http]\npublic_url = \"bridge\"")
                .unwrap_err()
                .contains("public_url")
        );
        assert!(web("").is_ok());
    }

    #[test]
    fn each_transport_is_advertised_at_the_public_address_with_its_own_port() {
        let config = from_str(
            "[sip]\npublic_address = \"203.0.113.9\"",
            std::path::Path::new("."),
        )
        .unwrap();
        let at = |transport, port| Listening {
            transport,
            address: ([0, 0, 0, 0], port).into(),
        };
        let listening = [at(Transport::Udp, 5060), at(Transport::Tls, 5071)];
        let advertised = config.endpoint(&listening).advertised;
        assert_eq!(advertised.udp.as_deref(), Some("203.0.113.9:5060"));
        assert_eq!(advertised.tcp, None);
        assert_eq!(advertised.tls.as_deref(), Some("203.0.113.9:5071"));
        let web = |listening: &[Listening]| config.web(listening).unwrap().sip_address;
        assert_eq!(web(&listening).as_deref(), Some("203.0.113.9:5060"));
        assert_eq!(
            web(&listening[1..]).as_deref(),
            Some("203.0.113.9:5071;transport=tls")
        );
    }
}
