//! Another offer in a running call: hold, retrieve, and what an agent hears of it.

use baton_core::agent::prompts::Prompt;
use baton_core::history::{EndBy, EndKind};
use baton_core::sip::endpoint::Command;
use bytes::Bytes;

use crate::support::{Ladder, ms, secs};

#[test]
fn a_caller_on_hold_gets_no_rtp_and_the_agent_knows_why() {
    let mut call = Ladder::answered();
    call.receives("INVITE sendonly");
    call.sends("200 OK (INVITE)").with("a=recvonly");
    call.agent_is_told("hold").passes(ms(100));
    let packets = call.call().pace.packets;
    call.passes(secs(5));
    assert_eq!(call.call().pace.packets, packets, "nothing is sent on hold");
    call.receives("INVITE sendrecv");
    call.sends("200 OK (INVITE)").with("a=sendrecv");
    call.agent_is_told("resume");
    call.agent_speaks(Prompt::WhatElse).caller_hears_the_agent();
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_long_hold_is_no_lost_call() {
    let mut call = Ladder::answered();
    call.receives("INVITE inactive");
    call.sends("200 OK (INVITE)").with("a=inactive");
    call.caller_goes_dead().passes(secs(120));
    assert_eq!(call.call().phase(), "talking");
    call.caller_is_silent().receives("INVITE sendrecv");
    call.sends("200 OK (INVITE)").with("a=sendrecv");
    call.passes(secs(1)).receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_hold_with_or_without_music_is_no_lost_call() {
    let mut call = Ladder::answered();
    call.receives("INVITE sendonly");
    call.sends("200 OK (INVITE)").with("a=recvonly");
    call.passes(secs(1)).caller_goes_dead().passes(secs(120));
    assert_eq!(call.call().phase(), "talking");
    call.caller_is_silent().receives("INVITE sendrecv");
    call.sends("200 OK (INVITE)").with("a=sendrecv");
    call.passes(secs(1)).receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_mere_refresh_changes_nothing() {
    let mut call = Ladder::answered();
    for _ in 0..3 {
        call.receives("INVITE sendrecv");
        call.sends("200 OK (INVITE)").with("a=sendrecv");
        call.passes(secs(1));
    }
    call.agent_is_not_told("hold").agent_is_not_told("resume");
    call.rtp_never_paused().receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn an_offer_we_cannot_take_leaves_the_call_as_it_was() {
    let mut call = Ladder::answered();
    let offer = "v=0\r\no=- 1 2 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
        m=audio 40000 RTP/AVP 18\r\n";
    let body = Bytes::from_static(offer.as_bytes());
    let (now, dialog) = (call.world.now(), call.dialog);
    call.world
        .far
        .endpoint
        .command(now, dialog, Command::Reinvite { body })
        .expect("it can be asked");
    call.sends("488 Not Acceptable Here").with("Warning: 305");
    call.agent_speaks(Prompt::WhatElse).caller_hears_the_agent();
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_hold_in_the_middle_of_a_handoff_does_not_disturb_it() {
    let mut call = Ladder::accepted();
    // What PBXs do: they hold the caller while they dial the target.
    call.receives("INVITE sendonly").sends("200 OK (INVITE)");
    call.agent_is_told("hold").caller_goes_dead();
    call.passes(secs(20)).receives("NOTIFY sipfrag 200");
    call.agent_is_told("handoff transferred 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn we_hold_and_resume_too() {
    let mut call = Ladder::answered();
    for direction in ["sendonly", "sendrecv"] {
        call.bridge_offers(direction)
            .sends("INVITE")
            .with(direction);
        call.receives("200 OK").sends("ACK");
        call.passes(secs(1));
    }
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn offers_that_cross_are_both_refused_and_both_made_again() {
    let mut call = Ladder::answered();
    call.bridge_offers("sendonly")
        .trunk_sends("INVITE sendonly");
    call.sends("INVITE").sends("491 Request Pending");
    // We do not own the Call-ID: we come first, within 2 s; the trunk between 2.1 and 4.
    call.sends("INVITE").passes(ms(100));
    call.within(secs(5)).sends("200 OK (INVITE)");
    call.agent_is_told("hold").receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}
