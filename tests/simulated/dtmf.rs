//! Keys the caller presses, as RFC 4733 events in the RTP.

use baton_core::agent;
use baton_core::history::{EndBy, EndKind};

use crate::support::{Ladder, ms, secs};

#[test]
fn every_key_reaches_the_agent_and_the_history_once() {
    let mut call = Ladder::answered();
    for digit in "159*0#".chars() {
        call.presses(digit).agent_is_told(&format!("dtmf {digit}"));
        call.passes(ms(200));
    }
    call.agent_is_not_told("dtmf").receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
    let pressed: String = call.history().dtmf.iter().filter_map(|d| d.digit).collect();
    assert_eq!(pressed, "159*0#");
}

#[test]
fn a_zero_is_a_key_like_any_other_while_the_agent_is_well() {
    let mut call = Ladder::answered();
    call.presses('0').agent_is_told("dtmf 0");
    call.sends_nothing_for(secs(5)).receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_zero_is_the_way_out_while_the_agent_is_broken() {
    // The last words of a call nobody could take are playing.
    let mut call = Ladder::answered();
    call.agent_breaks().within(secs(15)).sends("REFER");
    call.refer_arrives().receives("603 Decline");
    call.caller_hears_the_agent().presses('0');
    call.sends("REFER").refer_arrives();
    call.receives("202 Accepted").receives("NOTIFY sipfrag 200");
    call.sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn the_escape_key_works_at_any_time() {
    let mut call = Ladder::answered_with(|house| house.handoff.escape_digit = Some('9'));
    call.presses('9').agent_is_told("dtmf 9");
    call.agent_is_told("handoff requested").sends("REFER");
    call.refer_arrives().receives("202 Accepted");
    call.receives("NOTIFY sipfrag 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
    let handoffs = call.history().handoffs;
    let reason = handoffs[0].reason.as_deref();
    assert_eq!(reason, Some("the caller asked for a person"));
}

#[test]
fn masked_keys_reach_the_agent_but_not_the_history() {
    let mut call = Ladder::answered();
    call.agent(agent::Event::Sensitive(true));
    call.presses('4').agent_is_told("dtmf 4").passes(ms(200));
    call.agent(agent::Event::Sensitive(false));
    call.presses('7').agent_is_told("dtmf 7").receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
    let pressed: Vec<_> = call.history().dtmf.iter().map(|d| d.digit).collect();
    assert_eq!(pressed, [None, Some('7')]);
}
