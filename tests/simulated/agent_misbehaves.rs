//! An agent that says too much, too fast, or nonsense. The caller keeps its packet every 20 ms, and the call its course.

use baton_core::agent::prompts::Prompt;
use baton_core::agent::{self, HandoffRequest};
use baton_core::history::{EndBy, EndKind};

use crate::support::agent::Line;
use crate::support::{Ladder, secs};

#[track_caller]
fn goes_on_as_before(call: &mut Ladder) {
    call.agent(agent::Event::Clear).passes(secs(1));
    call.agent_speaks(Prompt::WhatElse).caller_hears_the_agent();
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn an_agent_that_speaks_for_minutes_at_once_is_told_what_was_dropped() {
    let mut call = Ladder::answered();
    // Half an hour of speech in one breath; two minutes of it may be queued.
    call.agent_does(vec![Line::Speech(Prompt::Greeting); 300]);
    call.agent_is_told("error").passes(secs(5));
    goes_on_as_before(&mut call);
}

#[test]
fn an_agent_that_never_says_a_word_leaves_no_dead_air() {
    let mut call = Ladder::answered();
    let packets = call.call().pace.packets;
    call.sends_nothing_for(secs(60));
    assert_eq!(call.call().pace.packets, packets + 3000);
    goes_on_as_before(&mut call);
}

#[test]
fn an_agent_that_clears_and_marks_without_end_stops_nothing() {
    let mut call = Ladder::answered();
    for _ in 0..200 {
        let mark = agent::Event::Mark { name: "x".into() };
        call.agent_does(vec![
            Line::Speech(Prompt::WhatElse),
            Line::Event(mark),
            Line::Event(agent::Event::Clear),
        ]);
        call.passes(baton_core::vocab::PTIME);
    }
    goes_on_as_before(&mut call);
}

#[test]
fn an_agent_that_asks_for_a_handoff_again_and_again_gets_one() {
    let mut call = Ladder::answered();
    let again = Line::Event(agent::Event::Handoff(HandoffRequest::default()));
    call.agent_does(vec![again; 500]).sends("REFER");
    call.refer_arrives().receives("202 Accepted");
    call.receives("NOTIFY sipfrag 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
    assert_eq!(call.history().handoffs.len(), 1);
}

#[test]
fn an_agent_that_fills_the_history_cannot_crowd_the_handoff_out_of_it() {
    let mut call = Ladder::answered();
    call.store_hangs();
    let chatter = Line::Event(agent::Event::Transcript {
        role: agent::Role::Caller,
        text: "and another thing".into(),
        is_final: true,
    });
    call.agent_does(vec![chatter; 5000]).agent_wants_handoff();
    call.passes(secs(1)).store_works();
    call.sends("REFER").refer_arrives();
    let history = call.history();
    assert_eq!(history.handoffs.len(), 1);
    assert!(history.turns.len() < 1100, "{}", history.turns.len());
    call.receives("202 Accepted").receives("NOTIFY sipfrag 200");
    call.sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn an_agent_that_breaks_its_protocol_is_taken_off_the_call() {
    let mut call = Ladder::answered();
    call.agent(agent::Event::Fault {
        what: "five malformed messages in five seconds".into(),
        close: Some(1008),
    });
    call.caller_hears_the_agent()
        .within(secs(15))
        .sends("REFER");
    call.refer_arrives().receives("202 Accepted");
    call.receives("NOTIFY sipfrag 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}
