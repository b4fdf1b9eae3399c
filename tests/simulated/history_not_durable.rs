//! The store refuses, is full, hangs, or comes back too late: no handoff leaves, the agent is told why, and the caller
//! stays with it.

use baton_core::handoff::Style;
use baton_core::history::{BackendError, EndBy, EndKind, FailureKind, HandoffState};

use crate::support::{Ladder, secs};

/// The agent asked and was refused; nothing left; the call goes on.
#[track_caller]
fn stays_with_the_agent(call: &mut Ladder, why: &str) {
    let told = call.agent_is_told_why();
    assert!(told.contains(why), "{told:?} does not say {why:?}");
    call.resumes().rtp_never_paused();
    assert_eq!(
        call.count_sent("REFER"),
        0,
        "nothing leaves before its history"
    );
}

fn refused_by_the_store(error: BackendError, why: &str) {
    let mut call = Ladder::answered();
    call.store_fails(error).agent_wants_handoff();
    call.agent_is_told("handoff requested")
        .agent_is_told("handoff failed");
    stays_with_the_agent(&mut call, why);
    call.store_works().passes(secs(2));
    call.handoff_failed(FailureKind::NotDurable, None);
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_store_that_is_down_keeps_the_caller_with_the_agent() {
    let why = "the disk is gone".to_owned();
    refused_by_the_store(BackendError::Unavailable { why }, "the disk is gone");
}

#[test]
fn a_store_that_is_full_keeps_the_caller_with_the_agent() {
    refused_by_the_store(BackendError::Full, "full");
}

#[test]
fn a_store_that_is_corrupt_keeps_the_caller_with_the_agent() {
    let why = "bad page".to_owned();
    refused_by_the_store(BackendError::Corrupt { why }, "bad page");
}

#[test]
fn a_session_that_has_expired_keeps_the_caller_with_the_agent() {
    let mut call = Ladder::answered();
    call.store_fails(BackendError::Expired)
        .agent_wants_handoff();
    call.agent_is_told("handoff requested")
        .agent_is_told("handoff failed");
    stays_with_the_agent(&mut call, "expired");
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_store_that_hangs_keeps_the_caller_with_the_agent_after_ten_seconds() {
    let mut call = Ladder::answered();
    call.store_hangs().agent_wants_handoff();
    call.agent_is_told("handoff requested");
    call.sends_nothing_for(secs(9)).agent_is_not_told("handoff");
    call.agent_is_told("handoff failed");
    stays_with_the_agent(&mut call, "did not answer");
    call.store_works().passes(secs(2));
    call.handoff_failed(FailureKind::NotDurable, None);
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_receipt_that_comes_too_late_sends_nothing() {
    let mut call = Ladder::answered();
    call.store_hangs().agent_wants_handoff();
    call.agent_is_told("handoff requested").passes(secs(11));
    call.agent_is_told("handoff failed")
        .agent_is_told("handoff resumed");
    call.store_works().sends_nothing_for(secs(20));
    assert_eq!(call.count_sent("REFER"), 0);
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_store_that_comes_back_makes_the_next_handoff_possible_with_the_whole_history() {
    let mut call = Ladder::answered();
    call.store_fails(BackendError::Full).agent_wants_handoff();
    call.agent_is_told("handoff requested")
        .agent_is_told("handoff failed")
        .agent_is_told("handoff resumed");
    call.store_works().agent_wants_handoff();
    call.agent_is_told("handoff requested").sends("REFER");
    let states: Vec<_> = call.history().handoffs.iter().map(|h| h.state).collect();
    assert_eq!(states, [HandoffState::Failed, HandoffState::Requested]);
    call.refer_arrives().receives("202 Accepted");
    call.receives("NOTIFY sipfrag 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn a_hang_up_that_carries_the_target_waits_for_the_store_as_a_refer_does() {
    let mut call = Ladder::answered_with(|house| house.handoff.styles = vec![Style::Hangup]);
    call.store_fails(BackendError::Full).agent_wants_handoff();
    call.agent_is_told("handoff requested")
        .agent_is_told("handoff failed");
    stays_with_the_agent(&mut call, "full");
    assert_eq!(call.count_sent("BYE"), 0);
    call.store_works().receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_store_that_breaks_between_two_styles_stops_the_second() {
    let mut call = Ladder::referred_with(|house| {
        house.handoff.styles = vec![Style::Refer, Style::Hangup];
    });
    call.store_fails(BackendError::Full).receives("603 Decline");
    call.agent_is_told("handoff failed 603")
        .agent_is_told("handoff requested")
        .agent_is_told("handoff failed");
    call.resumes();
    assert_eq!(call.count_sent("BYE"), 0);
    call.store_works().receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_store_that_was_away_for_the_whole_call_still_gets_all_of_it() {
    let mut call = Ladder::calls();
    call.store_fails(BackendError::Full);
    call.sends("180 Ringing").sends("200 OK (INVITE)");
    call.receives("ACK")
        .passes(secs(5))
        .presses('4')
        .passes(secs(2));
    call.store_works().passes(secs(2)).receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
    let history = call.history();
    assert!(history.answered_at.is_some());
    assert_eq!(history.dtmf.len(), 1);
}
