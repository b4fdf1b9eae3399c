#![expect(
    clippy::disallowed_methods,
    reason = "shell: starts the calls' tasks and reads the clock for them"
)]
//! From an INVITE to a call: admitted, routed, given a port, and left to its task.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, RwLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use baton_core::admission::{self, Limits, Verdict};
use baton_core::call::{self, Setup};
use baton_core::handoff::{self, KeyPlacement};
use baton_core::history::{UnixMillis, WallClock};
use baton_core::media::vad;
use baton_core::sip::endpoint::{Command, Invited};
use baton_core::vocab::{CallId, HandoffKey, SampleRate};
use baton_core::{agent, sdp};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::route::{self, Choice};
use crate::bridge::Bridge;
use crate::bridge::call_task::{self, Plan};
use crate::config::{self, Config};
use crate::net::sip_task::Arrived;

/// The configuration that new calls are made by; replaced as a whole on reload.
pub type Current = Arc<RwLock<Arc<Config>>>;

/// Takes calls until it is told to stop or signalling does, and waits for the last one to end.
pub async fn serve(bridge: Arc<Bridge>, config: Current, mut arrivals: mpsc::Receiver<Arrived>) {
    let first = admission_config(&current(&config));
    let mut limits = Limits::new(Instant::now(), first, bridge.fork_entropy());
    let mut calls = JoinSet::new();
    // Calls hold on to signalling, so that its end cannot be what ends them.
    let mut stop = bridge.stop.clone();
    loop {
        tokio::select! {
            arrived = arrivals.recv() => match arrived {
                Some(arrived) => {
                    let source = arrived.invited.flow.remote.ip();
                    let config = current(&config);
                    match limits.admit(Instant::now(), source) {
                        Verdict::Admit => {
                            let bridge = Arc::clone(&bridge);
                            calls.spawn(async move {
                                take(bridge, &config, arrived).await;
                                source
                            });
                        }
                        Verdict::Busy { retry_after } => {
                            let seconds = retry_after.as_secs().max(1).to_string();
                            reject(&bridge, &arrived.invited, 503, vec![("Retry-After".into(), seconds)]).await;
                        }
                    }
                }
                None => break,
            },
            changed = stop.changed() => {
                if changed.is_err() || *stop.borrow_and_update() {
                    break;
                }
            }
            Some(ended) = calls.join_next(), if !calls.is_empty() => match ended {
                Ok(source) => limits.release(source),
                Err(error) => tracing::error!(%error, "a call's task broke"),
            },
        }
    }
    while calls.join_next().await.is_some() {}
}

/// The configuration as it is now.
fn current(config: &Current) -> Arc<Config> {
    Arc::clone(
        &config
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner),
    )
}

fn admission_config(config: &Config) -> admission::Config {
    admission::Config {
        max_calls: config.sip.max_calls as usize,
        max_calls_per_second: config.sip.max_calls_per_second,
        max_calls_per_source: config.sip.max_calls_per_source as usize,
    }
}

/// One call: planned here, then run to its end.
async fn take(bridge: Arc<Bridge>, config: &Config, arrived: Arrived) {
    let invited = &arrived.invited;
    let Some(choice) = route::choose(config, invited) else {
        tracing::info!(called = %invited.called, "no route: 404");
        return reject(&bridge, invited, 404, Vec::new()).await;
    };
    let rtp = match bridge.ports.bind() {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(%error, "no RTP port: 503");
            return reject(
                &bridge,
                invited,
                503,
                vec![("Retry-After".into(), "10".into())],
            )
            .await;
        }
    };
    match plan(&bridge, choice, *arrived.invited, rtp) {
        Ok(plan) => call_task::run(bridge, plan, arrived.events).await,
        Err((error, invited)) => {
            tracing::error!(%error, "this call cannot be planned: 500");
            reject(&bridge, &invited, 500, Vec::new()).await;
        }
    }
}

async fn reject(bridge: &Bridge, invited: &Invited, status: u16, headers: Vec<(String, String)>) {
    // A dialog that is gone already needs no refusal.
    let _ = bridge
        .sip
        .command(invited.dialog, Command::Reject { status, headers })
        .await;
}

/// Everything a call is made from.
fn plan(
    bridge: &Bridge,
    choice: Choice,
    invited: Invited,
    rtp: UdpSocket,
) -> Result<Plan, (std::io::Error, Box<Invited>)> {
    let mut entropy = bridge.fork_entropy();
    let peer = invited.flow.remote;
    let address = match bridge.media.public_address {
        Some(address) => Ok(address),
        None => crate::net::udp::address_towards(peer),
    };
    let port = rtp.local_addr().map(|address: SocketAddr| address.port());
    let (address, port) = match (address, port) {
        (Ok(address), Ok(port)) => (address, port),
        (Err(error), _) | (_, Err(error)) => return Err((error, Box::new(invited))),
    };
    let mut local = sdp::Local::new(address, port, entropy.next_u64());
    local.codecs.clone_from(&bridge.media.codecs);
    let setup = Setup {
        id: CallId::generate(&mut entropy),
        key: HandoffKey::generate(&mut entropy),
        entropy: entropy.fork(),
        clock: wall_clock(),
        local,
        route: call::Route {
            name: choice.route,
            agent: choice.agent.name.clone(),
            variables: choice.variables,
        },
        config: call_config(&choice.agent, address),
        handoff: handoff_config(&choice.handoff),
        placement: KeyPlacement::ReferToHeader,
        node: bridge.node.clone(),
        invited,
    };
    Ok(Plan {
        setup,
        vad: vad::Config {
            hangover: choice.agent.vad_hangover,
            ..vad::Config::default()
        },
        agent: agent_config(&choice.agent),
        rtp,
        signalling: peer.ip(),
    })
}

fn wall_clock() -> WallClock {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let millis = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
    WallClock::new(Instant::now(), UnixMillis(millis))
}

fn call_config(agent: &config::Agent, address: IpAddr) -> call::Config {
    call::Config {
        answer: match agent.answer {
            config::Answer::WhenReady => call::AnswerPolicy::WhenReady,
            config::Answer::AtOnce => call::AnswerPolicy::AtOnce,
        },
        connect_timeout: agent.connect_timeout,
        on_close: match agent.on_close {
            config::OnClose::Handoff => call::OnClose::Handoff,
            config::OnClose::Hangup => call::OnClose::Hangup,
        },
        on_failure: match agent.on_failure {
            config::OnFailure::Handoff => call::OnAgentFailure::Handoff,
            config::OnFailure::Play => call::OnAgentFailure::Play,
            config::OnFailure::Hangup => call::OnAgentFailure::Hangup,
        },
        forward_headers: agent.forward_headers.clone(),
        host: address.to_string(),
        ..call::Config::default()
    }
}

/// Styles that do not exist are refused by `baton check` and at the start; here they are left out.
pub(crate) fn handoff_config(handoff: &config::Handoff) -> handoff::Config {
    let defaults = handoff::Config::default();
    handoff::Config {
        name: handoff.name.clone(),
        target: handoff.target.clone(),
        styles: handoff
            .styles
            .iter()
            .filter_map(|style| style.parse().ok())
            .collect(),
        history_key_header: handoff.history_key_header.clone(),
        headers: handoff
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        timeouts: handoff::Timeouts {
            refer: handoff.refer_timeout,
            notify: handoff.notify_timeout,
            progress: handoff.progress_timeout,
            total: handoff.total_timeout,
            ..defaults.timeouts
        },
        on_failure: match handoff.on_failure {
            config::HandoffFailure::Resume => handoff::OnFailure::Resume,
            config::HandoffFailure::Hangup => handoff::OnFailure::Hangup,
        },
        escape_digit: handoff.escape_digit.chars().next(),
    }
}

fn agent_config(agent: &config::Agent) -> agent::Config {
    agent::Config {
        name: agent.name.clone(),
        kind: match agent.kind {
            config::AgentKind::Scripted => agent::Kind::Scripted,
            config::AgentKind::Echo => agent::Kind::Echo,
            config::AgentKind::Websocket => agent::Kind::Websocket,
            config::AgentKind::TwilioStreams => agent::Kind::TwilioStreams,
        },
        url: agent.url.clone().unwrap_or_default(),
        api_key: agent.api_key.clone().map(agent::Secret::from),
        sample_rate: SampleRate::from_hz(agent.sample_rate).unwrap_or_default(),
        script: agent::scripted::Config {
            max_turns: agent.max_turns,
            ..Default::default()
        },
    }
}
