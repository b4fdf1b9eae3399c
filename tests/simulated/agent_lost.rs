//! The agent cannot be reached, breaks, or goes, at every stage of a call: the caller always gets a next step.

use baton_core::call::{OnAgentFailure, OnClose};
use baton_core::history::{EndBy, EndKind, HandoffState};

use crate::support::bridge::{Dial, House};
use crate::support::{Ladder, ms, secs};

/// The caller is told so in words, and handed over.
#[track_caller]
fn is_handed_over(call: &mut Ladder) {
    call.caller_hears_the_agent();
    call.within(secs(15)).sends("REFER").refer_arrives();
    call.receives("202 Accepted").receives("NOTIFY sipfrag 200");
    call.sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
    call.handoff_is(HandoffState::Transferred);
}

fn nobody_to_hand_over_to(house: &mut House) {
    house.handoff.target = None;
}

// Before the answer.

#[test]
fn an_agent_that_refuses_the_connection_is_made_up_for_by_a_human() {
    let mut call = Ladder::calls_with(|house| house.dial = Dial::Refuses(ms(80)));
    call.sends("180 Ringing").sends("200 OK (INVITE)");
    call.receives("ACK");
    is_handed_over(&mut call);
}

#[test]
fn an_agent_that_never_answers_is_made_up_for_by_a_human() {
    let mut call = Ladder::calls_with(|house| house.dial = Dial::Hangs);
    call.sends("180 Ringing").sends_nothing_for(ms(2900));
    call.sends("200 OK (INVITE)").receives("ACK");
    is_handed_over(&mut call);
}

#[test]
fn without_a_human_a_call_whose_agent_cannot_be_reached_is_refused() {
    let mut call = Ladder::calls_with(|house| {
        house.dial = Dial::Refuses(ms(80));
        nobody_to_hand_over_to(house);
    });
    call.sends("180 Ringing")
        .sends("480 Temporarily Unavailable");
    call.ends(EndKind::Rejected, EndBy::Bridge);
}

#[test]
fn where_the_policy_says_so_a_call_whose_agent_cannot_be_reached_is_refused() {
    let mut call = Ladder::calls_with(|house| {
        house.dial = Dial::Refuses(ms(80));
        house.call.on_failure = OnAgentFailure::Hangup;
    });
    call.sends("180 Ringing")
        .sends("480 Temporarily Unavailable");
    call.ends(EndKind::Rejected, EndBy::Bridge);
}

// In the middle of the call.

#[test]
fn an_agent_that_breaks_is_made_up_for_by_a_human() {
    let mut call = Ladder::answered();
    call.agent_breaks();
    is_handed_over(&mut call);
}

#[test]
fn an_agent_that_breaks_in_the_middle_of_its_sentence_does_not_leave_the_caller_in_silence() {
    let mut call = Ladder::answered();
    call.agent_speaks(baton_core::agent::prompts::Prompt::Greeting)
        .passes(ms(500))
        .agent_breaks();
    is_handed_over(&mut call);
}

#[test]
fn an_agent_that_closes_without_a_word_is_made_up_for_by_a_human() {
    let mut call = Ladder::answered();
    call.agent_closes();
    is_handed_over(&mut call);
}

#[test]
fn an_agent_that_closes_may_end_the_call_where_the_policy_says_so() {
    let mut call = Ladder::answered_with(|house| house.call.on_close = OnClose::Hangup);
    call.agent_closes().sends("BYE");
    call.ends(EndKind::AgentHungUp, EndBy::Agent);
}

#[test]
fn without_a_human_the_caller_hears_a_goodbye() {
    let mut call = Ladder::answered_with(nobody_to_hand_over_to);
    call.agent_breaks().caller_hears_the_agent();
    call.within(secs(15)).sends("BYE");
    call.ends(EndKind::Failed, EndBy::Agent);
}

#[test]
fn a_human_who_cannot_be_reached_either_leaves_a_goodbye() {
    let mut call = Ladder::answered();
    call.agent_breaks().within(secs(15)).sends("REFER");
    call.refer_arrives().receives("603 Decline");
    call.caller_hears_the_agent().sends("BYE");
    call.ends(EndKind::Failed, EndBy::Bridge);
}

// During a handoff.

#[test]
fn an_agent_that_breaks_while_the_history_is_written_does_not_stop_the_handoff() {
    let mut call = Ladder::answered();
    call.store_hangs().agent_wants_handoff();
    call.passes(secs(1)).agent_breaks().passes(secs(1));
    call.store_works().sends("REFER").refer_arrives();
    call.receives("202 Accepted").receives("NOTIFY sipfrag 200");
    call.sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn an_agent_that_breaks_during_the_transfer_does_not_stop_it() {
    let mut call = Ladder::accepted();
    call.agent_breaks().passes(secs(2));
    call.receives("NOTIFY sipfrag 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn an_agent_that_broke_during_the_transfer_cannot_take_the_caller_back() {
    let mut call = Ladder::accepted();
    call.agent_breaks().passes(secs(2));
    call.receives("NOTIFY sipfrag 486").caller_hears_the_agent();
    call.within(secs(15)).sends("BYE");
    call.ends(EndKind::Failed, EndBy::Bridge);
}

#[test]
fn a_call_whose_agent_and_store_are_both_gone_still_ends_in_words() {
    let mut call = Ladder::answered();
    call.store_fails(baton_core::history::BackendError::Full);
    call.agent_breaks().caller_hears_the_agent();
    call.within(secs(30)).sends("BYE");
    call.store_works();
    call.ends(EndKind::Failed, EndBy::Bridge);
    assert_eq!(call.count_sent("REFER"), 0);
}
