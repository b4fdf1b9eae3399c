//! Handoffs that come to nothing: refused, failed, met with silence. Each gives the caller back to the agent, which is
//! told why, and all the while the caller gets a packet every 20 ms.

use baton_core::handoff::OnFailure;
use baton_core::history::{EndBy, EndKind, FailureKind, HandoffState};

use crate::support::{Ladder, ms, secs};

/// The caller is the agent's again, and the call goes on as any other.
#[track_caller]
fn resumes_and_ends(call: &mut Ladder) {
    call.resumes().rtp_never_paused();
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

fn refused_with(answer: &str, status: u16) {
    let mut call = Ladder::referred();
    call.receives(answer);
    call.agent_is_told(&format!("handoff failed {status}"));
    call.handoff_failed(FailureKind::Refused, Some(status));
    resumes_and_ends(&mut call);
}

#[test]
fn a_trunk_that_knows_no_refer_leaves_the_caller_with_the_agent() {
    refused_with("405 Method Not Allowed", 405);
}

#[test]
fn a_trunk_that_declines_leaves_the_caller_with_the_agent() {
    refused_with("603 Decline", 603);
}

#[test]
fn a_trunk_that_forbids_leaves_the_caller_with_the_agent() {
    refused_with("403 Forbidden", 403);
}

#[test]
fn every_other_refusal_leaves_the_caller_with_the_agent_too() {
    for status in [302, 400, 404, 420, 481, 488, 491, 500, 501, 503, 504, 600] {
        refused_with(&status.to_string(), status);
    }
}

fn target_fails_with(status: u16) {
    let mut call = Ladder::accepted();
    call.receives("NOTIFY sipfrag 100")
        .agent_is_told("handoff trying 100");
    call.passes(secs(8));
    call.receives(&format!("NOTIFY sipfrag {status}"));
    call.agent_is_told(&format!("handoff failed {status}"));
    call.handoff_failed(FailureKind::TargetFailed, Some(status));
    resumes_and_ends(&mut call);
}

#[test]
fn a_busy_target_leaves_the_caller_with_the_agent() {
    target_fails_with(486);
}

#[test]
fn an_unreachable_target_leaves_the_caller_with_the_agent() {
    target_fails_with(503);
}

#[test]
fn an_unknown_target_leaves_the_caller_with_the_agent() {
    target_fails_with(404);
}

#[test]
fn every_other_failure_of_the_target_leaves_the_caller_with_the_agent_too() {
    for status in [300, 302, 408, 480, 487, 500, 504, 600, 603, 699] {
        target_fails_with(status);
    }
}

#[test]
fn a_target_that_fails_at_once_leaves_the_caller_with_the_agent() {
    let mut call = Ladder::accepted();
    call.receives("NOTIFY sipfrag 486");
    call.agent_is_told("handoff failed 486");
    call.handoff_failed(FailureKind::TargetFailed, Some(486));
    resumes_and_ends(&mut call);
}

#[test]
fn a_refer_that_nobody_answers_is_given_up() {
    let mut call = Ladder::referred();
    call.within(secs(12)).agent_is_told("handoff failed");
    call.handoff_failed(FailureKind::NoAnswer, None);
    resumes_and_ends(&mut call);
}

#[test]
fn a_refer_that_never_arrives_is_given_up() {
    let mut call = Ladder::answered();
    call.wire_loses_from_bridge("REFER", usize::MAX);
    call.agent_wants_handoff().sends("REFER");
    call.agent_is_told("handoff requested")
        .agent_is_told("handoff committed");
    call.within(secs(12)).agent_is_told("handoff failed");
    call.handoff_failed(FailureKind::NoAnswer, None);
    assert!(call.count_sent("REFER") > 3, "it was tried again and again");
    resumes_and_ends(&mut call);
}

#[test]
fn a_202_after_which_nothing_comes_is_given_up() {
    let mut call = Ladder::accepted();
    call.passes(secs(29)).agent_is_not_told("handoff");
    call.agent_is_told("handoff failed");
    call.handoff_failed(FailureKind::Silent, None);
    resumes_and_ends(&mut call);
}

#[test]
fn a_trunk_that_only_ever_tries_is_given_up() {
    let mut call = Ladder::accepted();
    call.receives("NOTIFY sipfrag 100")
        .agent_is_told("handoff trying 100");
    call.passes(secs(59)).agent_is_not_told("handoff");
    call.agent_is_told("handoff failed");
    call.handoff_failed(FailureKind::Silent, None);
    resumes_and_ends(&mut call);
}

#[test]
fn a_trunk_that_tries_and_tries_is_given_up_after_two_minutes() {
    let mut call = Ladder::accepted();
    for _ in 0..5 {
        call.passes(secs(20)).receives("NOTIFY sipfrag 100");
        call.agent_is_told("handoff trying 100");
    }
    call.within(secs(30)).agent_is_told("handoff failed");
    call.handoff_failed(FailureKind::Silent, None);
    resumes_and_ends(&mut call);
}

#[test]
fn a_subscription_that_ends_without_a_word_is_given_up_after_a_moment() {
    let mut call = Ladder::accepted();
    call.receives("NOTIFY sipfrag 100 terminated");
    call.passes(secs(4)).agent_is_not_told("handoff");
    call.agent_is_told("handoff failed");
    call.handoff_failed(FailureKind::Silent, None);
    resumes_and_ends(&mut call);
}

#[test]
fn a_trunk_that_vanishes_during_the_handoff_does_not_hold_the_call_for_ever() {
    let mut call = Ladder::accepted();
    call.trunk_goes_dark().caller_goes_dead();
    call.within(secs(40)).agent_is_told("handoff failed");
    call.handoff_failed(FailureKind::Silent, None);
    // The telephone is as dead as the trunk, which the failed handoff finds out.
    call.sends("BYE");
    call.ends(EndKind::Lost, EndBy::Bridge);
}

#[test]
fn after_a_failure_the_agent_may_try_again_and_succeed() {
    let mut call = Ladder::referred();
    call.receives("603 Decline")
        .agent_is_told("handoff failed 603");
    call.resumes().agent_wants_handoff();
    call.agent_is_told("handoff requested").sends("REFER");
    call.refer_arrives().receives("202 Accepted");
    call.receives("NOTIFY sipfrag 100").passes(secs(1));
    call.receives("NOTIFY sipfrag 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
    let states: Vec<_> = call.history().handoffs.iter().map(|h| h.state).collect();
    assert_eq!(states, [HandoffState::Failed, HandoffState::Transferred]);
}

#[test]
fn where_the_policy_says_so_a_failed_handoff_ends_the_call_with_a_word() {
    let mut call = Ladder::referred_with(|house| house.handoff.on_failure = OnFailure::Hangup);
    call.receives("603 Decline").caller_hears_the_agent();
    call.within(secs(12)).sends("BYE");
    call.ends(EndKind::Failed, EndBy::Bridge);
}

#[test]
fn a_202_that_is_only_late_is_no_failure() {
    let mut call = Ladder::referred();
    call.passes(secs(9)).receives("202 Accepted");
    call.agent_is_told("handoff trying 202").passes(ms(500));
    call.receives("NOTIFY sipfrag 200");
    call.agent_is_told("handoff transferred 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}
