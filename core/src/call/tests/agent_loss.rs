//! The agent cannot be reached, breaks, or goes: in every state, and always with a next step for the caller.

use super::*;

fn no_target(setup: &mut Setup) {
    setup.handoff.target = None;
}

#[test]
fn a_dead_agent_before_the_answer_leads_to_a_human() {
    let mut ladder = Ladder::ringing();
    ladder.agent_breaks();
    ladder.does(&["detach agent", "200", "leg answered", "prompt AgentFailed"]);
    ladder.receives(ack("")).does(&[]);
    ladder.prompt_ends(Prompt::AgentFailed).does(&["COMMIT"]);
    ladder.store_commits().does(&["REFER"]);
    ladder
        .receives(refer_answered(202))
        .receives(notify(200))
        .does(&["BYE", "close leg"]);
    ladder.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn an_agent_that_does_not_open_in_time_is_a_dead_one() {
    let mut ladder = Ladder::ringing();
    ladder.after(Duration::from_millis(2999)).does(&[]);
    ladder.after(Duration::from_millis(1));
    ladder.does(&["detach agent", "200", "leg answered", "prompt AgentFailed"]);
    ladder.leg(leg::Event::AgentOpen).agent_breaks().does(&[]);
}

#[test]
fn a_dead_agent_before_the_answer_with_nobody_to_hand_over_to_refuses_the_call() {
    let mut ladder = Ladder::ringing_with(no_target);
    ladder
        .agent_breaks()
        .does(&["detach agent", "480", "close leg"]);
    ladder.ends(EndKind::Rejected, EndBy::Bridge);

    let mut ladder = Ladder::ringing_with(|setup| setup.config.on_failure = OnAgentFailure::Hangup);
    ladder
        .agent_breaks()
        .does(&["detach agent", "480", "close leg"]);

    let mut ladder = Ladder::ringing_with(|setup| setup.config.on_failure = OnAgentFailure::Play);
    ladder
        .agent_breaks()
        .does(&["detach agent", "200", "leg answered", "prompt Goodbye"]);
}

#[test]
fn an_agent_that_breaks_while_it_talks_leads_to_a_human() {
    for mut ladder in [Ladder::talking(), Ladder::answering_with(|_| {})] {
        ladder
            .agent_breaks()
            .does(&["detach agent", "prompt AgentFailed"]);
        ladder.after_secs(10).does(&["COMMIT"]);
        ladder.store_commits().does(&["REFER"]);
    }
}

#[test]
fn an_agent_that_breaks_follows_the_configured_policy() {
    let mut ladder = Ladder::talking_with(|setup| setup.config.on_failure = OnAgentFailure::Play);
    ladder
        .agent_breaks()
        .does(&["detach agent", "prompt Goodbye"]);
    ladder
        .prompt_ends(Prompt::Goodbye)
        .does(&["BYE", "close leg"]);
    ladder.ends(EndKind::Failed, EndBy::Agent);

    let mut ladder = Ladder::talking_with(|setup| setup.config.on_failure = OnAgentFailure::Hangup);
    ladder
        .agent_breaks()
        .does(&["detach agent", "BYE", "close leg"]);

    let mut ladder = Ladder::talking_with(no_target);
    ladder
        .agent_breaks()
        .does(&["detach agent", "prompt AgentFailed", "prompt Goodbye"]);
}

#[test]
fn an_agent_that_closes_cleanly_follows_the_policy_for_that() {
    let mut ladder = Ladder::talking();
    ladder
        .agent_closes()
        .does(&["detach agent", "prompt Connecting"]);
    ladder.prompt_ends(Prompt::Connecting).does(&["COMMIT"]);

    let mut ladder = Ladder::talking_with(|setup| setup.config.on_close = OnClose::Hangup);
    ladder
        .agent_closes()
        .does(&["detach agent", "BYE", "close leg"]);
    ladder.ends(EndKind::AgentHungUp, EndBy::Agent);
}

#[test]
fn a_broken_protocol_is_a_broken_agent_only_when_its_socket_is_closed_for_it() {
    let fault = |close| agent::Event::Fault {
        what: "no JSON".into(),
        close,
    };
    let mut ladder = Ladder::talking();
    ladder.agent(fault(None)).does(&[]);
    ladder
        .agent(fault(Some(1008)))
        .does(&["detach agent", "prompt AgentFailed"]);
    ladder.agent_breaks().does(&[]);
}

#[test]
fn an_agent_lost_during_the_handoff_does_not_stop_it_but_cannot_resume() {
    let mut ladder = Ladder::referring();
    ladder.agent_breaks().does(&["detach agent"]);
    ladder
        .receives(refer_answered(603))
        .does(&["prompt Goodbye"]);
    ladder
        .prompt_ends(Prompt::Goodbye)
        .does(&["BYE", "close leg"]);
    ladder.ends(EndKind::Failed, EndBy::Bridge);

    let mut ladder = Ladder::accepted();
    ladder.agent_closes().does(&["detach agent"]);
    ladder.receives(notify(200)).does(&["BYE", "close leg"]);
    ladder.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn a_bot_that_asks_for_the_handoff_and_hangs_up_in_one_breath_keeps_its_caller_on_the_way() {
    let mut ladder = Ladder::referring();
    ladder
        .agent(agent::Event::Hangup {
            headers: vec![],
            reason: None,
        })
        .does(&["detach agent"]);
    ladder.agent_closes().does(&[]);
    ladder
        .receives(refer_answered(202))
        .receives(notify(200))
        .does(&["BYE", "close leg"]);
    ladder.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn zero_is_always_a_way_to_a_human_while_the_agent_is_broken() {
    let mut ladder = Ladder::talking_with(|setup| setup.config.on_failure = OnAgentFailure::Play);
    ladder.presses('0').does(&[]);
    ladder
        .agent_breaks()
        .does(&["detach agent", "prompt Goodbye"]);
    ladder.presses('1').does(&[]);
    ladder.presses('0').does(&["COMMIT"]);
    ladder.prompt_ends(Prompt::Goodbye).after_secs(2).does(&[]);
    ladder.store_commits().does(&["REFER"]);
}

#[test]
fn an_agent_lost_at_the_end_changes_nothing() {
    let mut ladder = Ladder::talking();
    ladder.receives(bye()).does(&["close leg"]);
    ladder.agent_breaks().agent(wants_handoff()).does(&[]);
    ladder.ends(EndKind::CallerHungUp, EndBy::Caller);
    ladder
        .agent_breaks()
        .receives(bye())
        .input(Input::KeyRead)
        .input(Input::Stopping(Stopping::Gently))
        .does(&[]);
}
