//! From INVITE to a conversation.

use baton_core::call::AnswerPolicy;
use baton_core::history::{EndBy, EndKind};
use baton_core::leg::Prompt;
use bytes::Bytes;

use crate::support::far_end::Placing;
use crate::support::{Ladder, ms, secs};

#[test]
fn a_call_rings_until_the_agent_can_be_talked_to() {
    let mut call = Ladder::calls();
    call.sends("100 Trying").sends("180 Ringing");
    call.sends("200 OK (INVITE)")
        .with("m=audio 10000 RTP/AVP 0");
    call.receives("ACK").passes(secs(1));
    call.agent_is_told("start");
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn both_hear_each_other_from_the_answer_on() {
    let mut call = Ladder::answered();
    call.agent_speaks(Prompt::Greeting).caller_hears_the_agent();
    call.caller_speaks().agent_is_told("speech started");
    call.caller_is_silent().agent_is_told("speech stopped");
    let frames = call.call().agent.frames();
    call.passes(secs(2));
    assert_eq!(call.call().agent.frames(), frames + 100);
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_call_may_be_answered_before_its_agent_is_there() {
    let mut call = Ladder::calls_with(|house| house.call.answer = AnswerPolicy::AtOnce);
    call.sends("200 OK (INVITE)").receives("ACK");
    call.agent_is_told("start").passes(secs(1));
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}
