//! Keys the caller presses, as RFC 4733 events in the RTP, or as INFO.

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

#[test]
fn a_key_by_info_reaches_the_agent_once_however_often_it_comes() {
    let mut call = Ladder::calls();
    call.sends("180 Ringing").sends("200 OK (INVITE)");
    let (ours, theirs) = (call.header("To"), call.header("From"));
    let call_id = call.header("Call-ID");
    call.receives("ACK").passes(secs(1));
    let body = "Signal=5\nDuration=160\n";
    let info = format!(
        "INFO sip:bot@10.0.0.2 SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKinfo;rport\n\
         From: {theirs}\nTo: {ours}\nCall-ID: {call_id}\nCSeq: 2 INFO\n\
         Content-Type: application/dtmf-relay\nContent-Length: 24\n\n{body}"
    );
    let trunk = call.world.far.address;
    for _ in 0..3 {
        call.world.inject(trunk, &info);
        call.passes(ms(300));
    }
    call.agent_is_told("dtmf 5").agent_is_not_told("dtmf");
    assert_eq!(call.count_sent("200 OK (INFO)"), 3);
    // The same from elsewhere is nobody's key.
    let forged = info
        .replace("2 INFO", "3 INFO")
        .replace("bKinfo", "bKforged");
    call.stranger_sends("203.0.113.5:5060", &forged);
    call.sends("403 Forbidden")
        .passes(secs(1))
        .agent_is_not_told("dtmf");
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
    let pressed: String = call.history().dtmf.iter().filter_map(|d| d.digit).collect();
    assert_eq!(pressed, "5");
}
