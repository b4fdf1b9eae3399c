//! The node is drained, and at last stopped.

use baton_core::history::{EndBy, EndKind};
use baton_core::sip::endpoint::Readiness;

use crate::support::bridge::Dial;
use crate::support::far_end::Placing;
use crate::support::{Ladder, secs};

#[test]
fn a_draining_node_takes_no_calls_and_lets_the_running_ones_talk() {
    let mut call = Ladder::answered();
    call.world
        .bridge
        .endpoint
        .set_readiness(Readiness::Draining);
    call.world.place(&Placing::default());
    call.sends("503 Service Unavailable").with("Retry-After:");
    call.passes(secs(30)).agent_wants_handoff();
    call.sends("REFER").refer_arrives();
    call.receives("202 Accepted").receives("NOTIFY sipfrag 200");
    call.sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn a_call_that_rings_when_the_node_stops_is_sent_elsewhere() {
    let mut call = Ladder::calls_with(|house| house.dial = Dial::Hangs);
    call.sends("180 Ringing").node_shuts_down();
    call.sends("503 Service Unavailable");
    call.ends(EndKind::Failed, EndBy::Bridge);
}

#[test]
fn a_caller_who_talks_when_the_node_stops_is_handed_to_a_human() {
    let mut call = Ladder::answered();
    call.node_shuts_down().agent_is_told("stop");
    call.sends("REFER").refer_arrives();
    call.receives("202 Accepted").receives("NOTIFY sipfrag 200");
    call.sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn a_caller_who_cannot_be_handed_over_when_the_node_stops_hears_a_goodbye() {
    let mut call = Ladder::answered_with(|house| house.handoff.target = None);
    call.node_shuts_down().caller_hears_the_agent();
    call.within(secs(15)).sends("BYE");
    call.ends(EndKind::Failed, EndBy::Bridge);
}

#[test]
fn a_second_word_to_stop_cuts_the_goodbye_short() {
    let mut call = Ladder::answered_with(|house| house.handoff.target = None);
    call.node_shuts_down().caller_hears_the_agent();
    call.node_shuts_down().sends("BYE");
    call.ends(EndKind::Failed, EndBy::Bridge);
}

#[test]
fn a_handoff_that_runs_when_the_node_stops_is_finished() {
    let mut call = Ladder::accepted();
    call.node_shuts_down().sends_nothing_for(secs(5));
    call.receives("NOTIFY sipfrag 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}
