#![expect(
    clippy::disallowed_methods,
    reason = "shell: notes when the INVITE left"
)]
//! Opening a call: its sockets, its leg, its offer, its INVITE.

use std::sync::Arc;
use std::time::{Duration, Instant};

use baton_core::sdp::{Local, Session};
use baton_core::sip::endpoint::{OutgoingInvite, Ways};
use baton_core::sip::message::Uri;
use baton_core::vocab::Entropy;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::call::{Call, Phase};
use super::leg::{LegPlan, PhoneLeg};
use super::phone::{Inner, PhoneError};
use super::plan::CallPlan;
use super::refer::Identity;
use super::report::{CallReport, Outcome, PhoneEvent, RtpReport};
use super::run::Inputs;
use crate::net::media_shard::{LegOpen, QUEUE};
use crate::net::sip_task::{Placed, SipError};

/// Opens the call's sockets and sends its INVITE.
pub(super) async fn place(
    phone: Arc<Inner>,
    plan: CallPlan,
    ways: Ways,
    watch: mpsc::Sender<PhoneEvent>,
) -> Result<Call, PhoneError> {
    let mut entropy = phone.entropy();
    let rtp_socket = phone.ports.bind()?;
    let rtp = rtp_socket.local_addr()?;
    let mut local = Local::new(rtp.ip(), rtp.port(), entropy.next_u64());
    local.codecs.clone_from(&plan.codecs);
    let mut session = Session::new(local);
    let (leg_events, leg_queue) = mpsc::channel(QUEUE);
    let leg = phone
        .shards
        .open(LegOpen {
            leg: PhoneLeg::new(leg_plan(&plan, !watch.is_closed()), &mut entropy),
            rtp_socket,
            link: None,
            connect_timeout: Duration::ZERO,
            events: leg_events,
        })
        .await
        .map_err(|_| SipError::Stopped)?;
    let call_id = entropy.hex(12);
    let identity = identity(&plan, &mut entropy);
    let wire = plan.keep.wire.then(|| phone.sip.subscribe());
    let remote = ways.flow().remote;
    let invite = OutgoingInvite {
        ways,
        target: plan.uri.clone(),
        from: format!("<sip:{}@{}>", plan.from_user, phone.local),
        to: String::new(),
        call_id: call_id.clone(),
        account: plan.account.clone(),
        headers: headers(&plan, &identity),
        body: Bytes::from(session.offer()),
    };
    let invited = Instant::now();
    let Placed { dialog, events } = phone.sip.invite(invite).await?;
    let mut script: Vec<_> = plan.script.clone();
    script.sort_by_key(|timed| timed.at);
    Ok(Call {
        phone,
        plan,
        dialog,
        remote,
        session,
        leg,
        watch,
        identity,
        invited,
        phase: Phase::Ringing,
        script: script.into(),
        webhook: JoinSet::new(),
        bye_due: None,
        report: empty_report(call_id),
        inputs: Some(Inputs {
            dialog: events,
            leg: leg_queue,
            wire,
        }),
    })
}

fn leg_plan(plan: &CallPlan, levels: bool) -> LegPlan {
    LegPlan {
        play: plan.play.clone(),
        repeat: plan.repeat,
        keep: plan.keep,
        levels,
        no_rtp_timeout: plan.no_rtp_timeout,
    }
}

fn identity(plan: &CallPlan, entropy: &mut Entropy) -> Identity {
    let called = Uri::parse(&plan.uri)
        .ok()
        .and_then(|uri| uri.user().map(std::borrow::Cow::into_owned));
    let mut identity = Identity::generate(entropy, &plan.from_user, &called.unwrap_or_default());
    let named = |name: &str| {
        plan.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.clone())
    };
    if let Some(sid) = named("X-Twilio-CallSid") {
        identity.call_sid = sid;
    }
    if let Some(sid) = named("X-Twilio-AccountSid") {
        identity.account_sid = sid;
    }
    identity
}

/// The plan's header fields, and those of a Twilio call where one is played.
fn headers(plan: &CallPlan, identity: &Identity) -> Vec<(String, String)> {
    let mut headers = plan.headers.clone();
    if plan.refer_url.is_some() {
        for (name, value) in identity.headers() {
            if !headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(&name)) {
                headers.push((name, value));
            }
        }
    }
    headers
}

fn empty_report(call_id: String) -> CallReport {
    CallReport {
        call_id,
        outcome: Outcome::NoAnswer,
        setup_ms: None,
        ringing_ms: None,
        talk_ms: None,
        answer_headers: Vec::new(),
        rtp: RtpReport::default(),
        refer: None,
        recording: Vec::new(),
        wire: Vec::new(),
    }
}
