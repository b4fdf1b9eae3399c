//! RTP that stops, starts again, or comes from somebody else.

use baton_core::agent::prompts::Prompt;
use baton_core::history::{EndBy, EndKind};
use bytes::Bytes;

use crate::support::wire::Datagram;
use crate::support::{Ladder, ms, secs};

#[test]
fn a_caller_whose_rtp_stops_for_good_is_hung_up_on() {
    let mut call = Ladder::answered();
    call.caller_goes_dead().sends_nothing_for(secs(29));
    call.sends("BYE");
    call.ends(EndKind::Lost, EndBy::Bridge);
}

#[test]
fn a_caller_whose_rtp_comes_back_in_time_is_not_lost() {
    let mut call = Ladder::answered();
    for _ in 0..3 {
        call.caller_goes_dead().sends_nothing_for(secs(25));
        call.caller_is_silent().passes(secs(1));
    }
    call.agent_speaks(Prompt::WhatElse).caller_hears_the_agent();
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn rtp_that_never_begins_is_lost_rtp() {
    let mut call = Ladder::calls();
    call.caller_goes_dead();
    call.sends("180 Ringing").sends("200 OK (INVITE)");
    call.receives("ACK").within(secs(31)).sends("BYE");
    call.ends(EndKind::Lost, EndBy::Bridge);
}

#[test]
fn rtp_that_stops_during_a_handoff_does_not_end_it() {
    let mut call = Ladder::accepted();
    call.receives("NOTIFY sipfrag 100").caller_goes_dead();
    call.sends_nothing_for(secs(50));
    call.receives("NOTIFY sipfrag 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn rtp_that_stopped_during_a_handoff_that_fails_ends_the_call() {
    let mut call = Ladder::accepted();
    call.receives("NOTIFY sipfrag 100").caller_goes_dead();
    call.passes(secs(40)).receives("NOTIFY sipfrag 486");
    call.sends("BYE");
    call.ends(EndKind::Lost, EndBy::Bridge);
}

#[test]
fn nobody_else_can_speak_for_the_caller_or_hear_for_it() {
    let mut call = Ladder::answered();
    let to = "10.0.0.2:10000".parse().expect("the leg's address");
    let from = "10.0.0.66:4000".parse().expect("an address");
    let frames = call.call().agent.frames();
    for seq in 0..100u8 {
        let mut rtp = vec![0x80, 0, 0, seq, 0, 0, seq, 0, 9, 9, 9, 9];
        rtp.extend([0x80; 160]);
        let payload = Bytes::from(rtp);
        let now = call.world.now();
        call.world.wire.send(now, &Datagram { from, to, payload });
        call.passes(ms(20));
    }
    assert_eq!(call.call().agent.frames(), frames + 100, "the caller's own");
    call.agent_is_not_told("speech started");
    call.agent_speaks(Prompt::WhatElse).caller_hears_the_agent();
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn rubbish_on_the_rtp_port_changes_nothing() {
    let mut call = Ladder::answered();
    let to = "10.0.0.2:10000".parse().expect("the leg's address");
    let from = "10.0.0.1:40000".parse().expect("the caller's address");
    let long = [0x80; 3000];
    for octets in [&b""[..], b"\0", b"\x80", b"\xff\xff\xff\xff", &long] {
        let payload = Bytes::copy_from_slice(octets);
        let now = call.world.now();
        call.world.wire.send(now, &Datagram { from, to, payload });
        call.passes(ms(20));
    }
    call.agent_speaks(Prompt::WhatElse).caller_hears_the_agent();
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}
