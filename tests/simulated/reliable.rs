//! A trunk that requires every ring to arrive (100rel), and one that makes no offer.

use baton_core::agent::prompts::Prompt;
use baton_core::history::{EndBy, EndKind};
use bytes::Bytes;

use crate::support::bridge::Dial;
use crate::support::far_end::{Placing, Step};
use crate::support::wire::Weather;
use crate::support::{Ladder, ms, secs};

fn requires() -> Placing {
    let mut placing = Placing::default();
    placing.headers.push(("Require".into(), "100rel".into()));
    placing
}

fn slow(weather: Weather, seed: u64) -> Ladder {
    let open = |house: &mut crate::support::bridge::House| house.dial = Dial::Opens(secs(2));
    Ladder::calls_in(weather, seed, open, &requires())
}

#[test]
fn the_ring_is_numbered_and_its_prack_answered() {
    let mut call = slow(Weather::FINE, 1);
    call.sends("180 Ringing")
        .with("Require: 100rel")
        .with("RSeq: ");
    call.sends("200 OK (PRACK)")
        .within(secs(3))
        .sends("200 OK (INVITE)");
    assert_eq!(call.count_sent("180 Ringing"), 1);
    call.receives("ACK").passes(secs(1)).receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_lost_prack_is_made_up_for_by_the_ring() {
    let mut call = slow(Weather::FINE, 1);
    call.wire_loses_from_trunk("PRACK", 2);
    call.sends("180 Ringing").sends("200 OK (PRACK)");
    assert!(call.count_sent("180 Ringing") >= 2);
    call.within(secs(3))
        .sends("200 OK (INVITE)")
        .receives("ACK");
    call.passes(secs(1)).receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn an_answer_need_not_wait_for_a_bare_ring() {
    let mut call = slow(Weather::FINE, 1);
    call.wire_loses_from_trunk("PRACK", usize::MAX);
    call.sends("180 Ringing")
        .within(secs(3))
        .sends("200 OK (INVITE)");
    call.receives("ACK").passes(secs(1)).receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_cancel_that_crosses_the_ring_ends_it() {
    let mut call = slow(Weather::FINE, 1);
    call.wire_loses_from_trunk("PRACK", usize::MAX);
    call.sends("180 Ringing").passes(ms(700)).receives("CANCEL");
    call.sends("200 OK (CANCEL)")
        .sends("487 Request Terminated");
    call.ends(EndKind::Cancelled, EndBy::Caller);
}

#[test]
fn reliable_rings_survive_every_kind_of_weather() {
    for seed in 0..12 {
        let mut call = slow(Weather::STORM, seed);
        call.passes(secs(40));
        let last = &call.call().ended;
        assert!(last.is_none(), "seed {seed}: {last:?}");
        let dialog = call.dialog;
        call.world.plan(ms(1), dialog, Step::HangUp);
        call.passes(secs(60));
        let ended = call.call().ended.as_ref().map(|last| last.ended.kind);
        assert_eq!(ended, Some(EndKind::CallerHungUp), "seed {seed}");
        call.is_forgotten();
    }
}

#[test]
fn a_trunk_without_an_offer_gets_ours_and_answers_it_in_its_ack() {
    let placing = Placing {
        offer: Some(Bytes::new()),
        ..Placing::default()
    };
    let mut call = Ladder::places(&placing);
    call.sends("200 OK (INVITE)").with("m=audio");
    call.receives("ACK").passes(secs(1));
    call.agent_speaks(Prompt::WhatElse).caller_hears_the_agent();
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}
