//! Every message of a whole call is lost once, alone and in all sorts of company: the call comes to the same end.

use baton_core::history::{EndBy, EndKind, HandoffState};

use crate::support::far_end::Placing;
use crate::support::wire::Weather;
use crate::support::{Ladder, secs};

/// A whole call, handed over, on a wire that does as it likes.
fn whole_call(seed: u64, mischief: impl FnOnce(&mut Ladder)) -> Ladder {
    let mut call = Ladder::calls_in(Weather::FINE, seed, |_| {}, &Placing::default());
    mischief(&mut call);
    call.within(secs(40));
    call.sends("180 Ringing").sends("200 OK (INVITE)");
    call.receives("ACK").passes(secs(1)).agent_wants_handoff();
    call.sends("REFER").refer_arrives();
    call.receives("202 Accepted").receives("NOTIFY sipfrag 100");
    call.receives("NOTIFY sipfrag 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
    call.handoff_is(HandoffState::Transferred);
    call
}

#[test]
fn a_call_survives_the_loss_of_any_one_message() {
    let messages = whole_call(1, |_| {}).world.wire.distinct();
    assert_eq!(messages, 13, "from the INVITE to the BYE's 200");
    for number in 2..=messages {
        whole_call(1, |call| call.world.wire.lose_number(number));
    }
}

#[test]
fn a_call_whose_invite_is_lost_is_only_late() {
    // The INVITE is on its way before a test can interfere, so here it is lost by the weather.
    for seed in 0..20 {
        let weather = Weather {
            loss: 40,
            ..Weather::FINE
        };
        let mut call = Ladder::calls_in(weather, seed, |_| {}, &Placing::default());
        call.within(secs(31)).sends("180 Ringing");
    }
}

#[test]
fn a_call_survives_the_loss_of_every_first_copy() {
    whole_call(1, |call| call.world.wire.lose_first_copies(100));
}

#[test]
fn a_call_survives_the_loss_of_any_few_messages() {
    for seed in 0..60 {
        whole_call(seed, |call| call.world.wire.lose_first_copies(40));
    }
}

#[test]
fn a_lost_ack_is_made_up_for_by_the_repeated_answer() {
    let mut call = Ladder::calls();
    call.wire_loses_from_trunk("ACK", 3);
    call.sends("180 Ringing").sends("200 OK (INVITE)");
    call.receives("ACK");
    assert_eq!(call.count_sent("200 OK (INVITE)"), 4);
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn an_answer_that_is_never_acknowledged_ends_the_call() {
    let mut call = Ladder::calls();
    call.sends("180 Ringing").trunk_goes_dark();
    call.sends("200 OK (INVITE)").within(secs(40)).sends("BYE");
    call.ends(EndKind::Failed, EndBy::Caller);
}
