#![expect(
    clippy::disallowed_methods,
    reason = "shell: pairs the monotonic with the wall clock, once per call"
)]
//! From an INVITE and the terms its route settled to everything a call's task needs.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use baton_core::call::{self, Setup};
use baton_core::handoff::{self, KeyPlacement};
use baton_core::history::{UnixMillis, WallClock};
use baton_core::media::vad;
use baton_core::sip::endpoint::Invited;
use baton_core::vocab::{CallId, HandoffKey};
use baton_core::{agent, sdp};

use super::Bridge;
use crate::net::udp;

/// What a route settles for its calls: who answers, by which policies, and where humans are.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// The route's name, its agent's name, and the variables it gives.
    pub route: call::Route,
    /// The agent's dialect.
    pub agent: agent::Config,
    /// When the caller speaks.
    pub vad: vad::Config,
    /// When to answer, and what follows a lost agent.
    pub call: call::Config,
    /// The way to a human.
    pub handoff: handoff::Config,
}

/// One call, ready for its task.
#[derive(Debug)]
pub struct Plan {
    /// Everything the core is made from.
    pub setup: Setup,
    /// The agent's dialect.
    pub agent: agent::Config,
    /// When the caller speaks.
    pub vad: vad::Config,
    /// The RTP socket that stands in the SDP.
    pub rtp: UdpSocket,
    /// Where signalling comes from.
    pub signalling: IpAddr,
}

/// An INVITE that could not be planned for: it gets 500.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Unplannable {
    /// The operating system's words.
    why: io::Error,
    /// The INVITE.
    pub invited: Box<Invited>,
}

/// Names the call, and tells its SDP where we are reached.
///
/// # Errors
/// [`Unplannable`]: no route leads to the peer.
pub fn plan(
    bridge: &Bridge,
    terms: &Terms,
    invited: Box<Invited>,
    rtp: UdpSocket,
) -> Result<Plan, Unplannable> {
    let peer = invited.flow.remote;
    let (address, port) = match reached_by(bridge, peer, &rtp) {
        Ok(reached) => reached,
        Err(why) => return Err(Unplannable { why, invited }),
    };
    let mut entropy = bridge.fork_entropy();
    let mut local = sdp::Local::new(address, port, entropy.next_u64());
    local.codecs.clone_from(&bridge.media.codecs);
    let setup = Setup {
        id: CallId::generate(&mut entropy),
        key: HandoffKey::generate(&mut entropy),
        entropy,
        clock: wall_clock(),
        local,
        route: terms.route.clone(),
        config: call::Config {
            host: address.to_string(),
            ..terms.call.clone()
        },
        handoff: terms.handoff.clone(),
        placement: KeyPlacement::ReferToHeader,
        node: bridge.node.clone(),
        invited: *invited,
    };
    Ok(Plan {
        setup,
        agent: terms.agent.clone(),
        vad: terms.vad,
        rtp,
        signalling: peer.ip(),
    })
}

/// The address and port that stand in our SDP.
fn reached_by(bridge: &Bridge, peer: SocketAddr, rtp: &UdpSocket) -> io::Result<(IpAddr, u16)> {
    let address = match bridge.media.public_address {
        Some(address) => address,
        None => udp::address_towards(peer)?,
    };
    Ok((address, rtp.local_addr()?.port()))
}

fn wall_clock() -> WallClock {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let millis = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
    WallClock::new(Instant::now(), UnixMillis(millis))
}
