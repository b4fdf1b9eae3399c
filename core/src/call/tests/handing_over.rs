//! The handoff inside a call: who is told what, and what becomes of the call.

use super::*;
use crate::history::{FailureKind, HandoffState};

#[test]
fn a_caller_is_handed_over_with_the_key_after_the_history_is_durable() {
    let mut ladder = Ladder::talking();
    ladder.agent(agent::Event::Handoff(HandoffRequest {
        reason: Some("billing".into()),
        summary: Some("wants a refund".into()),
        ..HandoffRequest::default()
    }));
    ladder
        .does(&["tell requested", "COMMIT"])
        .after_secs(1)
        .does(&[]);
    ladder.store_commits().does(&["tell committed", "REFER"]);
    let key = ladder.call.key();
    let refer_to = format!("<sip:queue@flex.example.com?X-Session-History-Key={key}>");
    assert_eq!(ladder.referred.as_deref(), Some(refer_to.as_str()));
    ladder
        .receives(refer_answered(202))
        .does(&["tell trying 202"]);
    ladder
        .receives(notify(100))
        .receives(notify(180))
        .does(&["tell trying 100", "tell ringing 180"]);
    ladder
        .receives(notify(200))
        .does(&["tell transferred 200", "BYE", "close leg"]);
    ladder
        .receives(bye())
        .receives(DialogEvent::ByeAnswered { status: 200 })
        .does(&[]);
    ladder.ends(EndKind::Transferred, EndBy::Bridge);

    let handoff = &ladder.session().handoffs[0];
    assert_eq!(handoff.state, HandoffState::Transferred);
    assert_eq!(handoff.reason.as_deref(), Some("billing"));
    assert_eq!(handoff.summary.as_deref(), Some("wants a refund"));
    let states: Vec<_> = handoff
        .steps
        .iter()
        .map(|step| step.state.as_str())
        .collect();
    assert_eq!(
        states,
        [
            "requested",
            "committed",
            "trying",
            "trying",
            "ringing",
            "transferred"
        ]
    );
    let last = ladder.ended.expect("ended");
    assert_eq!(last.milestones.commit_delay(), Some(Duration::from_secs(1)));
}

#[test]
fn words_still_being_spoken_are_in_the_history_that_is_committed() {
    let mut ladder = Ladder::talking();
    ladder.agent(agent::Event::Transcript {
        role: agent::Role::Agent,
        text: "I connect you".into(),
        is_final: true,
    });
    ladder
        .agent(wants_handoff())
        .does(&["tell requested", "COMMIT"]);
    assert_eq!(ladder.session().turns[0].text, "I connect you");
}

#[test]
fn a_refused_refer_gives_the_caller_back_to_the_agent() {
    for status in [405, 603, 403] {
        let mut ladder = Ladder::referring();
        ladder.receives(refer_answered(status));
        ladder.does(&[&format!("tell failed {status}"), "tell resumed"]);
        assert_eq!(ladder.call.phase(), "talking");
        let handoff = &ladder.session().handoffs[0];
        assert_eq!(
            (handoff.failure, handoff.resumed),
            (Some(FailureKind::Refused), true)
        );
        ladder
            .agent(wants_handoff())
            .does(&["tell requested", "COMMIT"]);
        ladder.store_commits().does(&["tell committed", "REFER"]);
        assert_eq!(ladder.session().handoffs.len(), 2);
    }
}

#[test]
fn a_target_that_does_not_answer_gives_the_caller_back_to_the_agent() {
    for status in [486, 503, 404] {
        let mut ladder = Ladder::accepted();
        ladder
            .receives(notify(status))
            .does(&[&format!("tell failed {status}"), "tell resumed"]);
        assert_eq!(
            ladder.session().handoffs[0].failure,
            Some(FailureKind::TargetFailed)
        );
        ladder.receives(bye()).does(&["close leg"]);
        ladder.ends(EndKind::CallerHungUp, EndBy::Caller);
    }
}

#[test]
fn silence_gives_the_caller_back_to_the_agent() {
    let mut never_answered = Ladder::referring();
    never_answered
        .after_secs(10)
        .does(&["tell failed", "tell resumed"]);
    let mut never_notified = Ladder::accepted();
    never_notified
        .after_secs(30)
        .does(&["tell failed", "tell resumed"]);
    let mut only_trying = Ladder::accepted();
    only_trying.receives(notify(100)).does(&["tell trying 100"]);
    only_trying
        .after_secs(60)
        .does(&["tell failed", "tell resumed"]);
}

#[test]
fn a_history_that_is_not_durable_sends_nothing_and_the_agent_is_told_why() {
    let mut ladder = Ladder::talking();
    ladder
        .agent(wants_handoff())
        .does(&["tell requested", "COMMIT"]);
    ladder.store_fails().does(&["tell failed", "tell resumed"]);
    assert_eq!(ladder.referred, None);
    let handoff = &ladder.session().handoffs[0];
    assert_eq!(handoff.failure, Some(FailureKind::NotDurable));
    let reason = handoff.steps[1].reason.as_deref();
    assert_eq!(reason, Some("the history store is unavailable: down"));

    let mut ladder = Ladder::talking();
    ladder
        .agent(wants_handoff())
        .does(&["tell requested", "COMMIT"]);
    ladder.after_secs(10).does(&["tell failed", "tell resumed"]);
    ladder.store_commits().does(&[]);
}

#[test]
fn a_failed_handoff_may_end_the_call() {
    let mut ladder =
        Ladder::referring_with(|setup| setup.handoff.on_failure = handoff::OnFailure::Hangup);
    ladder.receives(refer_answered(603)).does(&[
        "tell failed 603",
        "detach agent",
        "prompt Goodbye",
    ]);
    ladder.after_secs(10).does(&["BYE", "close leg"]);
    ladder.ends(EndKind::Failed, EndBy::Bridge);
}

#[test]
fn hanging_up_is_the_last_style_and_returns_the_caller() {
    let mut ladder = Ladder::referring_with(|setup| {
        setup.handoff.styles = vec![handoff::Style::Refer, handoff::Style::Hangup];
    });
    ladder
        .receives(refer_answered(405))
        .does(&["tell failed 405", "tell requested", "COMMIT"]);
    ladder
        .store_commits()
        .does(&["tell committed", "BYE with target"]);
    ladder
        .receives(DialogEvent::ByeAnswered { status: 200 })
        .does(&["tell returned 200", "close leg"]);
    ladder.ends(EndKind::Returned, EndBy::Bridge);
}

#[test]
fn what_cannot_be_sent_on_a_line_is_refused_and_shown() {
    let refuses = |request: HandoffRequest, change: fn(&mut Setup)| {
        let mut ladder = Ladder::talking_with(change);
        ladder
            .agent(agent::Event::Handoff(request))
            .does(&["tell failed"]);
        assert_eq!(ladder.call.phase(), "talking");
        let handoff = ladder.session().handoffs[0].clone();
        assert_eq!(handoff.failure, Some(FailureKind::Invalid));
        handoff.steps[0].reason.clone().expect("a reason")
    };
    let default = HandoffRequest::default();
    assert!(refuses(default.clone(), |setup| setup.handoff.target = None).contains("no target"));
    let target = Some("sip:q@h\r\nVia: evil".to_owned());
    assert!(
        refuses(
            HandoffRequest {
                target,
                ..default.clone()
            },
            |_| {}
        )
        .contains("URI")
    );
    let headers = BTreeMap::from([("Route".to_owned(), "<sip:evil>".to_owned())]);
    assert!(
        refuses(
            HandoffRequest {
                headers,
                ..default.clone()
            },
            |_| {}
        )
        .contains("Route")
    );
    let style = Some("teleport".to_owned());
    assert!(refuses(HandoffRequest { style, ..default }, |_| {}).contains("teleport"));
}

#[test]
fn a_second_handoff_during_the_first_is_refused_and_leaves_the_first_alone() {
    let mut ladder = Ladder::accepted();
    ladder.agent(wants_handoff()).does(&["tell failed"]);
    ladder.input(Input::Operator(
        Operator::Handoff(HandoffRequest::default()),
    ));
    ladder.does(&["reply a handoff is running already"]);
    ladder
        .receives(notify(200))
        .does(&["tell transferred 200", "BYE", "close leg"]);
    ladder.ends(EndKind::Transferred, EndBy::Bridge);
    assert_eq!(ladder.session().handoffs.len(), 1);
}

#[test]
fn the_agents_last_words_are_heard_before_the_refer_leaves() {
    let mut ladder = Ladder::talking();
    let say_first = Some("bye".to_owned());
    ladder.agent(agent::Event::Handoff(HandoffRequest {
        say_first,
        ..HandoffRequest::default()
    }));
    ladder.does(&["tell requested"]).after_secs(4).does(&[]);
    let at = Duration::from_secs(4);
    ladder
        .leg(leg::Event::Marked {
            name: "other".into(),
            heard: true,
            at,
        })
        .does(&[]);
    ladder
        .leg(leg::Event::Marked {
            name: "bye".into(),
            heard: true,
            at,
        })
        .does(&["COMMIT"]);
}

#[test]
fn a_refer_that_the_endpoint_would_not_send_has_failed() {
    let mut ladder = Ladder::referring();
    ladder
        .input(Input::NotSent {
            why: "a REFER is pending".into(),
        })
        .does(&["tell failed", "tell resumed"]);
}

#[test]
fn a_handoff_may_begin_before_the_ack_and_even_before_the_answer() {
    let mut ladder = Ladder::ringing();
    ladder.agent(wants_handoff());
    ladder.does(&["200", "leg answered", "COMMIT"]);
    ladder.receives(ack("")).does(&[]);
    ladder.store_commits().does(&["REFER"]);
}
