//! The node is stopped under a call: in every state, gently and at once.

use super::*;
use crate::history::HandoffState;

impl Ladder {
    fn stops_gently(&mut self) -> &mut Self {
        self.input(Input::Stopping(Stopping::Gently))
    }

    fn stops_at_once(&mut self) -> &mut Self {
        self.input(Input::Stopping(Stopping::AtOnce))
    }

    /// The node was stopped under it, and the history says so.
    #[track_caller]
    fn ends_stopped(&mut self) {
        self.ends(EndKind::Failed, EndBy::Bridge);
        let end = self.session().end.expect("the history has an end");
        assert_eq!(end.reason, "the node was stopped");
    }
}

fn no_target(setup: &mut Setup) {
    setup.handoff.target = None;
}

#[test]
fn a_call_that_rings_is_sent_elsewhere() {
    for stop in [Ladder::stops_gently, Ladder::stops_at_once] {
        let mut ladder = Ladder::ringing();
        stop(&mut ladder).does(&["503 Retry-After", "close leg"]);
        ladder.ends_stopped();
    }
}

#[test]
fn a_caller_who_talks_hears_that_and_is_handed_over() {
    let mut ladder = Ladder::talking();
    ladder.stops_gently();
    ladder.does(&["detach agent", "prompt Connecting"]);
    ladder.stops_gently().does(&[]);
    ladder.prompt_ends(Prompt::Connecting).does(&["COMMIT"]);
    ladder.store_commits().does(&["REFER"]);
    ladder
        .receives(refer_answered(202))
        .receives(notify(200))
        .does(&["BYE", "close leg"]);
    ladder.ends(EndKind::Transferred, EndBy::Bridge);
    let handoff = &ladder.session().handoffs[0];
    assert_eq!(handoff.reason.as_deref(), Some("shutdown"));
}

#[test]
fn a_caller_whom_nobody_takes_hears_a_goodbye() {
    let mut ladder = Ladder::talking_with(no_target);
    ladder
        .stops_gently()
        .does(&["detach agent", "prompt Goodbye"]);
    ladder.stops_gently().does(&[]);
    ladder
        .prompt_ends(Prompt::Goodbye)
        .does(&["BYE", "close leg"]);
    ladder.ends_stopped();
}

#[test]
fn a_goodbye_that_never_ends_does_not_hold_the_node() {
    let mut ladder = Ladder::talking_with(no_target);
    ladder
        .stops_gently()
        .does(&["detach agent", "prompt Goodbye"]);
    ladder.after_secs(11).does(&["BYE", "close leg"]);
    ladder.ends_stopped();
}

#[test]
fn a_handoff_that_fails_under_it_leads_to_a_goodbye_and_not_back_to_the_agent() {
    let mut ladder = Ladder::talking();
    ladder.stops_gently().prompt_ends(Prompt::Connecting);
    ladder.store_commits_at_last();
    ladder
        .receives(refer_answered(603))
        .does(&["prompt Goodbye"]);
    ladder
        .prompt_ends(Prompt::Goodbye)
        .does(&["BYE", "close leg"]);
    ladder.ends_stopped();
    assert_eq!(ladder.session().handoffs[0].state, HandoffState::Failed);
}

#[test]
fn a_handoff_that_runs_goes_on_and_has_no_agent_to_come_back_to() {
    let mut ladder = Ladder::accepted();
    ladder.stops_gently().does(&[]);
    ladder
        .receives(notify(200))
        .does(&["tell transferred 200", "BYE", "close leg"]);
    ladder.ends(EndKind::Transferred, EndBy::Bridge);

    let mut ladder = Ladder::accepted();
    ladder.stops_gently().does(&[]);
    ladder
        .receives(notify(486))
        .does(&["tell failed 486", "detach agent", "prompt Goodbye"]);
    ladder
        .prompt_ends(Prompt::Goodbye)
        .does(&["BYE", "close leg"]);
    ladder.ends_stopped();
    let states: Vec<_> = ladder.session().handoffs[0]
        .steps
        .iter()
        .map(|step| step.state)
        .collect();
    assert!(!states.contains(&HandoffState::Resumed), "{states:?}");
}

#[test]
fn a_caller_on_hold_is_handed_over_without_a_word_or_hung_up() {
    let hold = DialogEvent::Reinvited {
        offer: Bytes::from(format!("{OFFER}a=sendonly\r\n")),
    };
    let mut ladder = Ladder::talking();
    ladder.receives(hold.clone()).drain();
    ladder.stops_gently().does(&["detach agent", "COMMIT"]);
    ladder.store_commits().does(&["REFER"]);

    let mut ladder = Ladder::talking_with(no_target);
    ladder.receives(hold).drain();
    ladder
        .stops_gently()
        .does(&["detach agent", "BYE", "close leg"]);
    ladder.ends_stopped();
}

#[test]
fn a_call_without_media_yet_is_handed_over_without_a_word() {
    let mut ladder = Ladder::invited_with(|setup| setup.invited.offer = Bytes::new());
    ladder.does(&["200"]);
    ladder.stops_gently().does(&["COMMIT"]);
}

#[test]
fn a_caller_who_hears_why_the_agent_is_gone_hears_it_to_the_end() {
    let mut ladder = Ladder::talking_with(no_target);
    ladder
        .agent_breaks()
        .does(&["detach agent", "prompt AgentFailed", "prompt Goodbye"]);
    ladder.stops_gently().does(&[]);
    ladder
        .prompt_ends(Prompt::Goodbye)
        .does(&["BYE", "close leg"]);
    ladder.ends(EndKind::Failed, EndBy::Agent);
}

#[test]
fn at_once_means_a_bye_and_nothing_to_wait_for() {
    let mut ladder = Ladder::talking();
    ladder.stops_at_once().does(&["BYE", "close leg"]);
    ladder.ends_stopped();

    let mut ladder = Ladder::talking_with(no_target);
    ladder.stops_gently().drain();
    ladder.stops_at_once().does(&["BYE", "close leg"]);
    ladder.ends_stopped();
}

#[test]
fn at_once_in_mid_handoff_leaves_a_truthful_history() {
    let mut saying = Ladder::talking();
    saying.stops_gently().drain();
    saying.stops_at_once().does(&["BYE", "close leg"]);
    assert_eq!(saying.session().handoffs[0].state, HandoffState::Failed);
    saying.ends_stopped();

    let mut accepted = Ladder::accepted();
    accepted.stops_at_once().does(&["BYE", "close leg"]);
    assert_eq!(
        accepted.session().handoffs[0].state,
        HandoffState::Unconfirmed,
        "the trunk took it on, and nobody waits to hear how it went"
    );
    accepted.ends_stopped();

    let mut read = Ladder::accepted();
    read.input(Input::KeyRead).drain();
    read.stops_at_once().does(&["BYE", "close leg"]);
    assert_eq!(read.session().handoffs[0].state, HandoffState::Transferred);
    read.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn at_once_after_the_callers_bye_says_no_second_one() {
    let mut ladder = Ladder::accepted();
    ladder.receives(bye()).does(&["close leg"]);
    ladder.stops_at_once().does(&[]);
    ladder.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_hang_up_that_hands_over_does_not_wait_for_its_answer() {
    let mut ladder = Ladder::talking_with(|setup| {
        setup.handoff.styles = vec![handoff::Style::Hangup];
    });
    ladder.stops_gently().prompt_ends(Prompt::Connecting);
    ladder.drain();
    ladder.store_commits().does(&["BYE with target"]);
    ladder.stops_at_once().drain();
    ladder.ends_stopped();
}

#[test]
fn a_redirect_that_waits_for_the_store_becomes_a_503() {
    let mut ladder = Ladder::ringing();
    ladder.agent(agent::Event::Redirect {
        target: "sip:d@h".into(),
    });
    ladder.does(&["COMMIT"]);
    ladder
        .stops_at_once()
        .does(&["503 Retry-After", "close leg"]);
    ladder.ends_stopped();
}

#[test]
fn a_call_that_is_over_is_left_alone() {
    let mut ladder = Ladder::talking();
    ladder.receives(bye()).does(&["close leg"]);
    ladder.stops_gently().stops_at_once().does(&[]);
    ladder.ends(EndKind::CallerHungUp, EndBy::Caller);
}

impl Ladder {
    /// The handoff's commit, and the REFER that follows.
    #[track_caller]
    fn store_commits_at_last(&mut self) {
        self.does(&["detach agent", "prompt Connecting", "COMMIT"]);
        self.store_commits().does(&["REFER"]);
    }
}
