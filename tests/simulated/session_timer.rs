//! Session timers: a call lives as long as somebody says so, and nobody in it notices.

use baton_core::history::{EndBy, EndKind};

use crate::support::far_end::{Placing, Step};
use crate::support::wire::Weather;
use crate::support::{Ladder, ms, secs};

fn placing(session_expires: &str) -> Placing {
    let mut placing = Placing::default();
    placing
        .headers
        .push(("Session-Expires".into(), session_expires.into()));
    placing
}

fn answered(session_expires: &str) -> Ladder {
    let mut call = Ladder::places(&placing(session_expires));
    call.sends("180 Ringing").sends("200 OK (INVITE)");
    call.with("Session-Expires: ")
        .receives("ACK")
        .passes(secs(1));
    call
}

#[test]
fn a_trunk_that_refreshes_keeps_its_call_and_the_agent_hears_nothing_of_it() {
    let mut call = answered("90;refresher=uac");
    for _ in 0..4 {
        call.within(secs(50)).sends("200 OK (UPDATE)");
        call.with("Session-Expires: 90;refresher=uac")
            .with("Require: timer");
    }
    call.agent_is_not_told("hold").agent_is_not_told("resume");
    call.rtp_never_paused().receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn we_refresh_where_the_trunk_wants_it_so() {
    let mut call = answered("90;refresher=uas");
    for _ in 0..4 {
        call.within(secs(50)).sends("UPDATE");
        call.with("Session-Expires: 90;refresher=uac");
    }
    call.agent_is_not_told("hold").rtp_never_paused();
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_trunk_that_stops_refreshing_is_hung_up_with_the_reason() {
    let mut call = answered("90;refresher=uac");
    call.wire_loses_from_trunk("UPDATE", usize::MAX);
    call.within(secs(61))
        .sends("BYE")
        .with("Reason: SIP;cause=408");
    call.ends(EndKind::Failed, EndBy::Bridge);
}

#[test]
fn a_refresh_whose_answers_are_lost_is_repeated_and_the_call_goes_on() {
    let mut call = answered("90;refresher=uas");
    call.wire_loses_from_trunk("200 OK (UPDATE)", 4);
    call.within(secs(50)).sends("UPDATE").passes(secs(10));
    assert_eq!(call.count_sent("UPDATE"), 5);
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_hold_in_between_keeps_the_timer() {
    let mut call = answered("90;refresher=uac");
    call.passes(secs(20)).receives("INVITE sendonly");
    call.sends("200 OK (INVITE)")
        .with("Session-Expires: 90;refresher=uac");
    call.agent_is_told("hold");
    // 45 s after the hold, not after the answer.
    call.sends_nothing_for(secs(40))
        .within(secs(10))
        .sends("200 OK (UPDATE)");
    call.receives("INVITE sendrecv").sends("200 OK (INVITE)");
    call.agent_is_told("resume").receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_refresh_in_the_middle_of_a_handoff_disturbs_neither() {
    let mut call = answered("90;refresher=uas");
    call.passes(secs(43)).agent_wants_handoff();
    call.sends("REFER").refer_arrives();
    call.receives("202 Accepted")
        .within(secs(10))
        .sends("UPDATE");
    call.receives("NOTIFY sipfrag 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn a_refresh_that_crosses_the_bye_is_answered_and_the_call_ends_once() {
    let mut call = answered("90;refresher=uac");
    // The trunk refreshes at 45 s and something; our BYE leaves at the same moment.
    call.wire_delays("UPDATE", secs(2));
    call.within(secs(60)).passes(secs(44) + ms(500));
    call.agent(baton_core::agent::Event::Hangup {
        headers: Vec::new(),
        reason: None,
    });
    call.sends("BYE");
    call.ends(EndKind::AgentHungUp, EndBy::Agent);
}

#[test]
fn an_interval_below_90_s_is_refused_with_the_least_we_take() {
    let mut call = Ladder::places(&placing("30"));
    call.sends("422 Session Interval Too Small")
        .with("Min-SE: 90");
    assert_eq!(call.world.bridge.calls().count(), 0);
    call.is_forgotten();
}

#[test]
fn refreshes_survive_every_kind_of_weather() {
    for seed in 0..4 {
        let side = if seed % 2 == 0 { "uac" } else { "uas" };
        let placing = placing(&format!("90;refresher={side}"));
        let mut call = Ladder::calls_in(Weather::STORM, seed, |_| {}, &placing);
        call.passes(secs(200));
        assert_eq!(call.call().phase(), "talking", "seed {seed}");
        let dialog = call.dialog;
        call.world.plan(ms(1), dialog, Step::HangUp);
        call.passes(secs(60));
        let ended = call.call().ended.as_ref().map(|last| last.ended.kind);
        assert_eq!(ended, Some(EndKind::CallerHungUp), "seed {seed}");
        call.is_forgotten();
    }
}
