//! The main job: the caller is handed over, the history goes before, and the outcome is known.

use baton_core::history::{EndBy, EndKind, HandoffState};

use crate::support::{Ladder, secs};

#[test]
fn a_caller_is_handed_over_with_the_history_in_front() {
    let mut call = Ladder::answered();
    call.store_hangs().agent_wants_handoff();
    call.agent_is_told("handoff requested")
        .sends_nothing_for(secs(2));
    call.store_works().agent_is_told("handoff committed");
    let key = call.key();
    call.sends("REFER").with(&format!(
        "Refer-To: <sip:queue@flex.example.com?X-Session-History-Key={key}>"
    ));
    call.refer_arrives().receives("202 Accepted");
    call.agent_is_told("handoff trying 202");
    call.receives("NOTIFY sipfrag 100")
        .agent_is_told("handoff trying 100")
        .sends_nothing_for(secs(1));
    call.receives("NOTIFY sipfrag 200")
        .agent_is_told("handoff transferred 200")
        .sends("BYE");
    call.agent_is_told("stop");
    call.ends(EndKind::Transferred, EndBy::Bridge);
    call.handoff_is(HandoffState::Transferred);
}
