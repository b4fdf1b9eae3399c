//! What crosses on the wire.

use baton_core::agent;
use baton_core::history::{EndBy, EndKind, FailureKind, HandoffState};

use baton_core::sdp::Direction;
use baton_core::sip::endpoint::Command;
use bytes::Bytes;

use crate::support::bridge::Dial;
use crate::support::far_end::Step;
use crate::support::{Ladder, ms, secs};

fn hangup() -> agent::Event {
    agent::Event::Hangup {
        headers: Vec::new(),
        reason: None,
    }
}

#[test]
fn a_cancel_that_crosses_our_200_is_answered_and_the_call_hung_up() {
    let mut call = Ladder::calls_with(|house| house.dial = Dial::Opens(ms(100)));
    call.sends("180 Ringing");
    // 200 leaves at 110 ms and CANCEL at 112: they pass each other.
    call.passes(ms(102)).trunk_sends("CANCEL");
    call.sends("200 OK (INVITE)").receives("ACK");
    // RFC 3261 §15: the caller who wanted out hangs up by itself.
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn both_hang_up_at_once() {
    let mut call = Ladder::answered();
    call.agent(hangup()).trunk_sends("BYE");
    call.sends("BYE");
    call.ends(EndKind::AgentHungUp, EndBy::Agent);
}

#[test]
fn a_bye_that_crosses_the_refer_ends_the_handoff_as_the_callers_wish() {
    let mut call = Ladder::answered();
    call.trunk_sends("BYE").agent_wants_handoff();
    call.sends("REFER");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
    call.handoff_failed(FailureKind::CallerHungUp, Some(481));
}

#[test]
fn a_refer_that_crosses_the_callers_bye_and_is_never_answered_ends_with_it() {
    let mut call = Ladder::answered();
    call.wire_loses_from_bridge("REFER", usize::MAX);
    call.trunk_sends("BYE").agent_wants_handoff();
    call.sends("REFER");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
    call.handoff_failed(FailureKind::CallerHungUp, None);
}

#[test]
fn a_bye_before_the_refer_leaves_stops_it() {
    let mut call = Ladder::answered();
    call.store_hangs().agent_wants_handoff();
    call.passes(secs(1)).receives("BYE");
    call.store_works();
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
    call.handoff_failed(FailureKind::CallerHungUp, None);
    assert_eq!(call.count_sent("REFER"), 0);
}

#[test]
fn a_202_that_crosses_the_callers_bye_waits_for_proof() {
    let mut call = Ladder::referred();
    call.trunk_sends("202 Accepted").trunk_sends("BYE");
    call.passes(ms(500)).receives("NOTIFY sipfrag 200");
    call.ends(EndKind::Transferred, EndBy::Bridge);
    call.handoff_is(HandoffState::Transferred);
}

#[test]
fn an_offer_that_crosses_the_refer_is_answered_and_so_is_the_refer() {
    let mut call = Ladder::answered();
    call.trunk_does(Step::Reinvite(Direction::SendOnly))
        .expect("the trunk may hold");
    call.agent_wants_handoff().sends("REFER");
    call.sends("200 OK (INVITE)").refer_arrives();
    call.receives("202 Accepted").receives("NOTIFY sipfrag 200");
    call.sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn an_offer_that_crosses_our_bye_is_refused() {
    let mut call = Ladder::answered();
    call.agent(hangup());
    call.trunk_does(Step::Reinvite(Direction::SendOnly))
        .expect("the trunk does not know yet");
    call.sends("BYE").sends("481");
    call.ends(EndKind::AgentHungUp, EndBy::Agent);
}

#[test]
fn offers_that_cross_are_both_refused_and_both_made_again() {
    let mut call = Ladder::answered();
    // The bridge never offers by itself; its endpoint can.
    let (now, ours) = (call.world.now(), call.call().invited.dialog);
    let body = Bytes::from_static(
        b"v=0\r\no=- 1 9 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\n\
        m=audio 10000 RTP/AVP 0\r\n",
    );
    call.world
        .bridge
        .endpoint
        .command(now, ours, Command::Reinvite { body })
        .expect("it can be asked");
    call.trunk_does(Step::Reinvite(Direction::SendOnly))
        .expect("it can be asked");
    call.sends("INVITE").sends("491 Request Pending");
    // RFC 3261 §14.1: who made the Call-ID waits 2.1-4 s, the other 0-2 s, so they do not cross again.
    call.sends("INVITE").sends("200 OK (INVITE)");
    call.agent_is_told("hold").passes(secs(2)).receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_second_offer_before_the_first_is_acknowledged_is_taken_or_told_to_wait() {
    let mut call = Ladder::answered();
    call.wire_loses_from_trunk("ACK", 2);
    call.receives("INVITE sendonly").sends("200 OK (INVITE)");
    call.passes(ms(300)).receives("INVITE sendrecv");
    call.sends("200 OK (INVITE)").with("a=sendrecv");
    call.passes(secs(5)).receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_key_press_that_crosses_the_handoff_does_not_start_another() {
    let mut call = Ladder::answered_with(|house| house.handoff.escape_digit = Some('0'));
    call.presses('0').passes(ms(60)).agent_wants_handoff();
    call.sends("REFER").refer_arrives();
    call.receives("202 Accepted").receives("NOTIFY sipfrag 200");
    call.sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
    assert_eq!(call.count_sent("REFER"), 1);
}

#[test]
fn an_agent_that_asks_and_hangs_up_in_one_breath_does_not_lose_the_caller() {
    let mut call = Ladder::answered();
    call.agent_wants_handoff().agent(hangup());
    call.sends("REFER").refer_arrives();
    call.receives("202 Accepted").receives("NOTIFY sipfrag 200");
    call.sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}
