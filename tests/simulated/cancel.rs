//! The caller gives up before the answer.

use baton_core::history::{EndBy, EndKind};

use crate::support::bridge::Dial;
use crate::support::{Ladder, ms, secs};

fn ringing() -> Ladder {
    let mut call = Ladder::calls_with(|house| house.dial = Dial::Opens(secs(2)));
    call.sends("180 Ringing");
    call
}

#[test]
fn a_caller_who_gives_up_while_it_rings_is_let_go() {
    let mut call = ringing();
    call.passes(ms(500)).receives("CANCEL");
    call.sends("487 Request Terminated");
    call.ends(EndKind::Cancelled, EndBy::Caller);
    assert!(!call.call().leg_is_open());
}

#[test]
fn a_cancel_that_is_lost_comes_again() {
    let mut call = ringing();
    call.wire_loses_from_trunk("CANCEL", 2).receives("CANCEL");
    call.sends("487 Request Terminated");
    call.ends(EndKind::Cancelled, EndBy::Caller);
}

#[test]
fn a_cancel_that_comes_after_the_answer_is_followed_by_the_callers_bye() {
    let mut call = ringing();
    call.wire_delays("CANCEL", secs(1));
    call.passes(ms(1500)).trunk_sends("CANCEL");
    call.sends("200 OK (INVITE)").receives("ACK");
    // The caller wanted out and hears a 200: RFC 3261 §15 has it hang up.
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn the_487_is_repeated_until_it_is_acknowledged() {
    let mut call = ringing();
    call.wire_loses_from_bridge("487 Request Terminated", 3);
    call.receives("CANCEL").sends("487 Request Terminated");
    call.passes(secs(10));
    assert_eq!(call.count_sent("487 Request Terminated"), 4);
    call.ends(EndKind::Cancelled, EndBy::Caller);
}
