//! The same calls where signalling goes by TCP: what is sent arrives, so nothing is said twice, except the 200.

use baton_core::history::{EndBy, EndKind, HandoffState};

use crate::support::far_end::Placing;
use crate::support::wire::Weather;
use crate::support::{Ladder, secs};

fn call() -> Ladder {
    Ladder::calls_in(Weather::STREAM, 1, |_| {}, &Placing::default())
}

#[test]
fn a_whole_call_goes_by_a_stream_and_no_message_twice() {
    let mut call = call();
    call.sends("180 Ringing").sends("200 OK (INVITE)");
    call.with("@10.0.0.2:5060;transport=tcp>");
    call.receives("ACK").passes(secs(1)).agent_wants_handoff();
    call.sends("REFER").with("Via: SIP/2.0/TCP 10.0.0.2:5060");
    call.refer_arrives();
    call.receives("202 Accepted").receives("NOTIFY sipfrag 100");
    call.receives("NOTIFY sipfrag 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
    call.handoff_is(HandoffState::Transferred);
    call.passes(secs(40));
    let ladder = call.world.wire.ladder();
    assert_eq!(ladder.len(), 13, "from the INVITE to the BYE's 200");
    assert!(ladder.iter().all(|message| !message.is_repeat));
}

#[test]
fn a_200_is_repeated_until_its_ack_comes_by_a_stream_too() {
    let mut call = call();
    let far = call.world.far.address;
    // The far end's ACK gets lost within it: nothing is lost on a stream.
    call.world.wire.lose(far, "ACK", 3);
    call.within(secs(10));
    call.sends("180 Ringing").sends("200 OK (INVITE)");
    call.receives("ACK");
    let answers = call.world.wire.ladder().iter();
    let answers = answers.filter(|message| message.is("200 OK (INVITE)"));
    assert_eq!(answers.count(), 4, "the first, and one for each lost ACK");
}

#[test]
fn a_request_that_nobody_answers_by_a_stream_is_sent_once_and_fails_in_time() {
    let mut call = call();
    call.sends("180 Ringing").sends("200 OK (INVITE)");
    call.receives("ACK");
    let far = call.world.far.address;
    call.world.wire.cut(far);
    call.passes(secs(1)).agent_wants_handoff();
    call.within(secs(5)).sends("REFER");
    call.passes(secs(9));
    let refers = call.world.wire.ladder().iter();
    assert_eq!(refers.filter(|message| message.is("REFER")).count(), 1);
}
