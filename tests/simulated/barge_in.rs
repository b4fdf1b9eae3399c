//! The caller speaks while the agent does. The agent is told, and what it clears falls silent at once.

use baton_core::agent::prompts::Prompt;
use baton_core::agent::{self, Role};
use baton_core::history::{EndBy, EndKind};

use crate::support::agent::Line;
use crate::support::{Ladder, ms, secs};

#[test]
fn an_agent_that_is_interrupted_is_told_and_may_talk_on() {
    let mut call = Ladder::answered();
    call.agent_speaks(Prompt::Greeting).caller_hears_the_agent();
    call.caller_speaks().agent_is_told("speech started");
    call.caller_hears_the_agent();
    call.caller_is_silent().agent_is_told("speech stopped");
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn an_agent_that_clears_falls_silent_within_a_frame() {
    let mut call = Ladder::answered();
    call.agent_does(vec![
        Line::Speech(Prompt::Greeting),
        Line::Event(agent::Event::Transcript {
            role: Role::Agent,
            text: Prompt::Greeting.text().into(),
            is_final: true,
        }),
        Line::Event(agent::Event::Mark { name: "end".into() }),
    ]);
    call.caller_hears_the_agent().passes(secs(1));
    call.caller_speaks().agent_is_told("speech started");
    call.agent(agent::Event::Clear);
    // One frame, and the way to the caller's ear.
    call.passes(ms(20 + 10))
        .caller_hears_nothing_loud_for(secs(3));
    call.agent_is_told("mark end false").rtp_never_paused();
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
    let turn = &call.history().turns[0];
    let heard = turn.heard_ms.expect("it was cut");
    assert!((900..2500).contains(&heard), "{heard} ms of it were heard");
}

#[test]
fn after_a_clear_the_agent_speaks_as_before() {
    let mut call = Ladder::answered();
    call.agent_speaks(Prompt::Greeting).caller_hears_the_agent();
    call.agent(agent::Event::Clear).passes(secs(1));
    call.agent_speaks(Prompt::WhatElse).caller_hears_the_agent();
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_clear_in_the_last_words_before_a_handoff_lets_the_handoff_go() {
    let mut call = Ladder::answered();
    call.agent_does(vec![
        Line::Speech(Prompt::Greeting),
        Line::Event(agent::Event::Mark { name: "bye".into() }),
        Line::Event(agent::Event::Handoff(agent::HandoffRequest {
            say_first: Some("bye".into()),
            ..agent::HandoffRequest::default()
        })),
    ]);
    call.sends_nothing_for(ms(500));
    call.agent(agent::Event::Clear)
        .within(ms(100))
        .sends("REFER");
    call.refer_arrives().receives("202 Accepted");
    call.receives("NOTIFY sipfrag 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}
