//! The trunk hangs up in the middle of its own transfer: what is known then, and what is not.

use baton_core::history::{EndBy, EndKind, FailureKind, HandoffState};

use crate::support::{Ladder, ms, secs};

#[test]
fn a_bye_after_the_202_without_proof_leaves_the_handoff_unconfirmed() {
    let mut call = Ladder::accepted();
    call.passes(secs(1)).receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
    call.handoff_is(HandoffState::Unconfirmed);
}

#[test]
fn a_bye_after_a_mere_100_leaves_the_handoff_unconfirmed() {
    let mut call = Ladder::accepted();
    call.receives("NOTIFY sipfrag 100").receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
    call.handoff_is(HandoffState::Unconfirmed);
}

#[test]
fn a_bye_after_ringing_leaves_the_handoff_unconfirmed() {
    let mut call = Ladder::accepted();
    call.receives("NOTIFY sipfrag 180").receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
    call.handoff_is(HandoffState::Unconfirmed);
}

#[test]
fn a_bye_after_the_key_was_read_is_a_transfer() {
    let mut call = Ladder::accepted();
    call.passes(secs(1)).key_is_read();
    call.passes(secs(1)).receives("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
    call.handoff_is(HandoffState::Transferred);
}

#[test]
fn a_key_read_just_after_the_bye_is_a_transfer() {
    let mut call = Ladder::accepted();
    call.receives("BYE").passes(secs(3)).key_is_read();
    call.ends(EndKind::Transferred, EndBy::Bridge);
    call.handoff_is(HandoffState::Transferred);
}

#[test]
fn a_key_read_before_the_202_is_proof_too() {
    let mut call = Ladder::referred();
    call.key_is_read().passes(ms(100));
    call.receives("202 Accepted").receives("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn a_key_read_before_anything_was_sent_proves_nothing() {
    let mut call = Ladder::answered();
    call.key_is_read().agent_wants_handoff();
    call.sends("REFER").refer_arrives();
    call.receives("202 Accepted").receives("BYE");
    call.passes(secs(10));
    let ended = call.call().ended.as_ref().expect("it has ended");
    assert_eq!(ended.ended.kind, EndKind::CallerHungUp);
}

#[test]
fn a_notify_200_just_after_the_bye_is_a_transfer() {
    let mut call = Ladder::accepted();
    call.receives("BYE").passes(secs(2));
    call.receives("NOTIFY sipfrag 200");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn a_notify_486_just_after_the_bye_is_a_failure_and_the_caller_is_gone() {
    let mut call = Ladder::accepted();
    call.receives("BYE").passes(secs(2));
    call.receives("NOTIFY sipfrag 486");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
    call.handoff_failed(FailureKind::TargetFailed, Some(486));
}

#[test]
fn a_bye_before_any_answer_to_the_refer_is_the_callers_own() {
    let mut call = Ladder::referred();
    call.passes(secs(1)).receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
    call.handoff_failed(FailureKind::CallerHungUp, None);
}

#[test]
fn after_a_transfer_we_gave_up_on_the_trunks_bye_with_the_key_read_is_a_transfer() {
    let mut call = Ladder::accepted();
    call.passes(secs(31)).agent_is_told("handoff failed");
    call.agent_is_told("handoff resumed").key_is_read();
    call.passes(secs(2)).receives("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}
