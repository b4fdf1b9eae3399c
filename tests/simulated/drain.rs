//! The node is told to stop: what each call does about it, by the lifecycle that the real node runs on.

use baton_core::admission::Patience;
use baton_core::history::{EndBy, EndKind, HandoffState};
use baton_core::sip::endpoint::Readiness;

use crate::support::bridge::{Dial, House};
use crate::support::far_end::Placing;
use crate::support::{Ladder, secs};

const STOPPED: &str = "the node was stopped";

fn no_target(house: &mut House) {
    house.handoff.target = None;
}

#[test]
fn a_draining_node_takes_no_calls_and_lets_the_running_ones_talk() {
    let mut call = Ladder::answered();
    call.node_is_told_to_stop();
    call.world.place(&Placing::default());
    call.sends("503 Service Unavailable").with("Retry-After:");
    call.passes(secs(30)).agent_wants_handoff();
    call.sends("REFER").refer_arrives();
    call.receives("202 Accepted").receives("NOTIFY sipfrag 200");
    call.sends("BYE");
    call.node_stops_within(secs(10));
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn options_say_that_the_node_drains() {
    let mut call = Ladder::answered();
    call.node_is_told_to_stop();
    let ping = "OPTIONS sip:bot@10.0.0.2 SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bKp\n\
                Max-Forwards: 70\nFrom: <sip:p@10.0.0.1>;tag=p\nTo: <sip:bot@10.0.0.2>\nCall-ID: p\n\
                CSeq: 1 OPTIONS\nContent-Length: 0\n\n";
    let before = call.world.bridge.endpoint.counters().overloaded;
    call.stranger_sends("10.0.0.1:5070", ping);
    assert_eq!(call.world.bridge.endpoint.counters().overloaded, before + 1);
    call.sends("503").with("Retry-After:");
    call.receives("BYE");
    call.node_stops_within(secs(10));
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_node_without_calls_stops_at_once() {
    let mut call = Ladder::calls_with(|house| house.sip.trunks = nobody());
    call.sends("403 Forbidden");
    call.node_is_told_to_stop().node_stops_within(secs(1));
}

fn nobody() -> baton_core::sip::trunk::Trunks {
    let trunk = baton_core::sip::trunk::Trunk {
        name: "theirs".into(),
        networks: vec!["192.0.2.1/32".parse().expect("a network")],
        ..Default::default()
    };
    baton_core::sip::trunk::Trunks::new(vec![trunk])
}

#[test]
fn a_call_that_rings_when_its_time_is_over_is_sent_elsewhere() {
    let mut call = Ladder::calls_with(|house| {
        house.dial = Dial::Hangs;
        house.call.connect_timeout = secs(600);
    });
    call.sends("180 Ringing").node_is_told_to_stop();
    call.within(secs(61)).sends("503 Service Unavailable");
    call.with("Retry-After:");
    assert_eq!(call.world.bridge.endpoint.counters().calls_in, 1);
    call.ends(EndKind::Failed, EndBy::Bridge);
}

#[test]
fn a_caller_who_still_talks_is_told_and_handed_to_a_human() {
    let mut call = Ladder::answered();
    call.node_is_drained().agent_is_told("stop");
    call.caller_hears_the_agent();
    call.sends("REFER").refer_arrives();
    call.receives("202 Accepted").receives("NOTIFY sipfrag 200");
    call.sends("BYE").node_stops_within(secs(10));
    let handoffs = call.history().handoffs;
    assert_eq!(handoffs[0].reason.as_deref(), Some("shutdown"));
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn a_caller_who_cannot_be_handed_over_hears_a_goodbye() {
    let mut call = Ladder::answered_with(no_target);
    call.node_is_drained().caller_hears_the_agent();
    call.within(secs(15)).sends("BYE");
    call.node_stops_within(secs(10));
    assert_eq!(call.end_reason(), STOPPED);
    call.ends(EndKind::Failed, EndBy::Bridge);
}

#[test]
fn a_caller_whom_the_human_does_not_take_hears_a_goodbye_too() {
    let mut call = Ladder::answered();
    call.node_is_drained().sends("REFER").refer_arrives();
    call.receives("603 Decline").caller_hears_the_agent();
    call.within(secs(15)).sends("BYE");
    call.node_stops_within(secs(10));
    assert_eq!(call.end_reason(), STOPPED);
    call.ends(EndKind::Failed, EndBy::Bridge);
}

#[test]
fn a_handoff_that_runs_is_finished() {
    let mut call = Ladder::accepted();
    call.world.bridge.set_drain(secs(1));
    call.node_is_drained().sends_nothing_for(secs(5));
    call.receives("NOTIFY sipfrag 200").sends("BYE");
    call.node_stops_within(secs(10));
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn a_handoff_that_runs_and_fails_does_not_give_the_caller_back_to_an_agent_that_goes() {
    let mut call = Ladder::accepted();
    call.world.bridge.set_drain(secs(1));
    call.node_is_drained();
    call.receives("NOTIFY sipfrag 486").caller_hears_the_agent();
    call.within(secs(15)).sends("BYE");
    assert_eq!(call.end_reason(), STOPPED);
    call.ends(EndKind::Failed, EndBy::Bridge);
}

#[test]
fn a_trunk_that_never_says_how_the_handoff_went_does_not_hold_the_node() {
    let mut call = Ladder::accepted();
    call.world.bridge.set_drain(secs(1));
    call.node_is_drained();
    call.within(secs(21)).sends("BYE");
    call.node_stops_within(secs(1));
    call.handoff_is(HandoffState::Unconfirmed);
    assert_eq!(call.end_reason(), STOPPED);
    call.ends(EndKind::Failed, EndBy::Bridge);
}

#[test]
fn a_caller_on_hold_is_handed_over_without_a_word() {
    let mut call = Ladder::answered();
    call.receives("INVITE sendonly").sends("200 OK (INVITE)");
    call.receives("ACK").node_is_told_to_stop();
    call.within(secs(61)).sends("REFER").refer_arrives();
    call.receives("202 Accepted").receives("NOTIFY sipfrag 200");
    call.sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn a_caller_on_hold_whom_nobody_takes_is_hung_up() {
    let mut call = Ladder::answered_with(no_target);
    call.receives("INVITE sendonly").sends("200 OK (INVITE)");
    call.receives("ACK").node_is_told_to_stop();
    call.within(secs(61)).sends("BYE");
    assert_eq!(call.end_reason(), STOPPED);
    call.ends(EndKind::Failed, EndBy::Bridge);
}

#[test]
fn a_caller_whose_agent_is_dead_stays_on_the_way_to_the_human() {
    let mut call = Ladder::answered();
    call.world.bridge.set_drain(secs(0));
    call.agent_breaks().node_is_told_to_stop();
    call.within(secs(15)).sends("REFER").refer_arrives();
    call.receives("202 Accepted").receives("NOTIFY sipfrag 200");
    call.sends("BYE").node_stops_within(secs(10));
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn a_store_that_is_down_holds_neither_the_caller_nor_the_node() {
    let mut call = Ladder::answered();
    call.world.bridge.set_drain(secs(0));
    call.store_hangs().node_is_told_to_stop();
    call.within(secs(21)).sends("BYE");
    call.ends(EndKind::Failed, EndBy::Bridge);
}

#[test]
fn a_second_word_to_stop_hangs_up_at_once() {
    let mut call = Ladder::answered();
    call.node_is_told_to_stop().sends_nothing_for(secs(2));
    call.node_is_told_to_stop().within(secs(0)).sends("BYE");
    call.node_stops_within(secs(0));
    call.ends(EndKind::Failed, EndBy::Bridge);
}

#[test]
fn a_second_word_to_stop_cuts_the_goodbye_short() {
    let mut call = Ladder::answered_with(no_target);
    call.node_is_drained().caller_hears_the_agent();
    call.node_is_told_to_stop().within(secs(0)).sends("BYE");
    assert_eq!(call.end_reason(), STOPPED);
    call.ends(EndKind::Failed, EndBy::Bridge);
}

#[test]
fn the_last_word_is_said_again_until_the_trunk_has_it() {
    let mut call = Ladder::answered();
    call.wire_loses_from_bridge("BYE", 2);
    call.node_is_told_to_stop();
    call.node_is_told_to_stop().within(secs(0)).sends("BYE");
    assert_eq!(call.world.bridge.endpoint.unanswered(), 1);
    call.passes(secs(3));
    assert_eq!(call.world.bridge.endpoint.unanswered(), 0);
    assert_eq!(call.count_sent("BYE"), 3);
    call.ends(EndKind::Failed, EndBy::Bridge);
}

#[test]
fn two_calls_with_different_fortunes_both_end_and_then_the_node_does() {
    let mut call = Ladder::answered_with(|house| {
        house.patience = Patience {
            drain: secs(10),
            ..Patience::default()
        };
    });
    let second = call.world.place(&Placing::default());
    call.sends("180 Ringing").sends("200 OK (INVITE)");
    call.passes(secs(1)).node_is_told_to_stop();
    let now = call.world.now();
    call.world
        .far
        .does(now, second, crate::support::far_end::Step::HangUp)
        .expect("it is up");
    call.within(secs(15)).sends("REFER").refer_arrives();
    call.receives("202 Accepted").receives("NOTIFY sipfrag 200");
    call.sends("BYE").node_stops_within(secs(10));
    let ended: Vec<_> = call
        .world
        .bridge
        .calls()
        .map(|task| task.ended.as_ref().map(|last| last.ended.kind))
        .collect();
    assert_eq!(
        ended,
        [Some(EndKind::Transferred), Some(EndKind::CallerHungUp)]
    );
    assert_eq!(
        call.world.bridge.endpoint.counters().overloaded,
        0,
        "nobody was turned away"
    );
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn readiness_alone_stops_no_call() {
    let mut call = Ladder::answered();
    call.world
        .bridge
        .endpoint
        .set_readiness(Readiness::Draining);
    call.sends_nothing_for(secs(120)).receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}
