//! Two things at once: who hangs up first, what overtakes what.

use super::*;
use crate::history::{FailureKind, HandoffState};

#[test]
fn a_caller_may_give_up_while_it_rings() {
    let mut ladder = Ladder::ringing();
    ladder.receives(cancelled()).does(&["close leg"]);
    ladder.leg(leg::Event::AgentOpen).does(&[]);
    ladder.ends(EndKind::Cancelled, EndBy::Caller);

    let mut ladder = Ladder::ringing();
    ladder.receives(bye()).does(&["close leg"]);
    ladder.ends(EndKind::Cancelled, EndBy::Caller);
}

#[test]
fn a_cancel_that_crosses_the_answer_is_followed_by_a_bye() {
    let mut ladder = Ladder::answering_with(|_| {});
    ladder.receives(cancelled()).does(&[]);
    ladder
        .receives(ack(""))
        .receives(bye())
        .does(&["close leg"]);
    ladder.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_cancel_during_a_redirect_wins_until_the_302_is_out() {
    let mut ladder = Ladder::ringing();
    ladder
        .agent(agent::Event::Redirect {
            target: "sip:d@h".into(),
        })
        .does(&["COMMIT"]);
    ladder.receives(cancelled()).does(&["close leg"]);
    ladder.store_commits().does(&[]);
    ladder.ends(EndKind::Cancelled, EndBy::Caller);
    assert_eq!(
        ladder.session().handoffs[0].failure,
        Some(FailureKind::CallEnded)
    );
}

#[test]
fn a_caller_who_hangs_up_while_the_history_is_written_is_not_transferred() {
    let mut ladder = Ladder::talking();
    ladder
        .agent(wants_handoff())
        .does(&["tell requested", "COMMIT"]);
    ladder.receives(bye()).does(&["close leg"]);
    ladder.store_commits().does(&[]);
    ladder.ends(EndKind::CallerHungUp, EndBy::Caller);
    assert_eq!(
        ladder.session().handoffs[0].failure,
        Some(FailureKind::CallerHungUp)
    );
}

#[test]
fn a_bye_that_crosses_the_refer_is_a_caller_who_hung_up() {
    let mut ladder = Ladder::referring();
    ladder.receives(bye()).does(&["close leg"]);
    ladder.receives(refer_answered(481)).does(&[]);
    ladder.ends(EndKind::CallerHungUp, EndBy::Caller);
    assert_eq!(ladder.session().handoffs[0].state, HandoffState::Failed);
}

#[test]
fn a_far_end_that_accepts_and_hangs_up_leaves_it_unconfirmed() {
    let mut ladder = Ladder::accepted();
    ladder.receives(bye()).does(&["close leg"]);
    ladder.leg_closes().does(&[]);
    ladder
        .after_secs(5)
        .does(&["ended caller_hung_up by caller"]);
    let session = ladder.session();
    assert_eq!(session.handoffs[0].state, HandoffState::Unconfirmed);
    assert_eq!(session.end.expect("ended").kind, EndKind::CallerHungUp);
}

#[test]
fn a_key_that_was_read_is_proof_before_and_after_the_bye() {
    let mut ladder = Ladder::accepted();
    ladder.input(Input::KeyRead).does(&[]);
    ladder.receives(bye()).does(&["close leg"]);
    ladder.ends(EndKind::Transferred, EndBy::Bridge);

    let mut ladder = Ladder::accepted();
    ladder.receives(bye()).does(&["close leg"]);
    ladder.input(Input::KeyRead).does(&[]);
    ladder.ends(EndKind::Transferred, EndBy::Bridge);
    assert_eq!(
        ladder.session().handoffs[0].state,
        HandoffState::Transferred
    );
}

#[test]
fn a_key_that_is_read_while_nobody_is_handed_over_proves_nothing() {
    let mut ladder = Ladder::talking();
    ladder
        .input(Input::KeyRead)
        .receives(bye())
        .does(&["close leg"]);
    ladder.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn notifies_count_before_the_202_and_after_the_bye() {
    let mut ladder = Ladder::referring();
    ladder
        .receives(notify(200))
        .does(&["tell transferred 200", "BYE", "close leg"]);
    ladder
        .receives(refer_answered(202))
        .receives(notify(200))
        .does(&[]);
    ladder.ends(EndKind::Transferred, EndBy::Bridge);

    let mut ladder = Ladder::accepted();
    ladder.receives(bye()).does(&["close leg"]);
    ladder.receives(notify(200)).does(&[]);
    ladder.ends(EndKind::Transferred, EndBy::Bridge);

    let mut ladder = Ladder::accepted();
    ladder.receives(bye()).does(&["close leg"]);
    ladder.receives(notify(486)).does(&[]);
    ladder.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_transfer_that_succeeds_after_we_gave_up_is_still_a_transfer() {
    let mut ladder = Ladder::accepted();
    ladder.after_secs(30).does(&["tell failed", "tell resumed"]);
    ladder
        .receives(notify(200))
        .does(&["tell transferred 200", "BYE", "close leg"]);
    ladder.ends(EndKind::Transferred, EndBy::Bridge);
    assert_eq!(
        ladder.session().handoffs[0].state,
        HandoffState::Transferred
    );

    let mut ladder = Ladder::referring();
    ladder.after_secs(10).does(&["tell failed", "tell resumed"]);
    ladder.input(Input::KeyRead).does(&["tell transferred"]);
    ladder.receives(bye()).does(&["close leg"]);
    ladder.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn a_dialog_that_dies_ends_the_call_by_what_was_known() {
    let mut ladder = Ladder::talking();
    ladder.receives(lost()).does(&["close leg"]);
    ladder.ends(EndKind::Failed, EndBy::Bridge);

    let mut ladder = Ladder::accepted();
    ladder.receives(lost()).does(&["close leg"]);
    ladder.ends(EndKind::Failed, EndBy::Bridge);
    assert_eq!(
        ladder.session().handoffs[0].state,
        HandoffState::Unconfirmed
    );

    let mut ladder = Ladder::talking();
    ladder
        .agent(wants_handoff())
        .does(&["tell requested", "COMMIT"]);
    ladder
        .receives(DialogEvent::NeverAcknowledged)
        .does(&["close leg"]);
    ladder.ends(EndKind::Failed, EndBy::Caller);
}

#[test]
fn two_byes_that_cross_end_the_call_once() {
    let mut ladder = Ladder::talking();
    ladder.input(Input::Operator(Operator::Hangup { reason: None }));
    ladder.does(&["BYE", "close leg", "reply ok"]);
    ladder
        .receives(bye())
        .receives(lost())
        .receives(cancelled())
        .does(&[]);
    ladder.ends(EndKind::AgentHungUp, EndBy::Operator);
}

#[test]
fn a_caller_who_hangs_up_during_the_goodbye_is_not_hung_up_on() {
    let mut ladder = Ladder::talking_with(|setup| setup.config.on_failure = OnAgentFailure::Play);
    ladder
        .agent_breaks()
        .does(&["detach agent", "prompt Goodbye"]);
    ladder.receives(bye()).does(&["close leg"]);
    ladder.prompt_ends(Prompt::Goodbye).does(&[]);
    ladder.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_leg_that_never_closes_does_not_keep_the_call_alive() {
    let mut ladder = Ladder::talking();
    ladder.receives(bye()).does(&["close leg"]);
    ladder
        .after_secs(5)
        .does(&["ended caller_hung_up by caller"]);
    ladder.leg_closes().does(&[]);
}

#[test]
fn whatever_comes_in_whatever_order_the_call_ends_once_and_spends_no_receipt_it_has_not() {
    for seed in 0..400 {
        let mut entropy = Entropy::from_number(seed);
        let mut ladder = Ladder::invited_with(|setup| {
            if entropy.below(4) == 0 {
                setup.invited = invited("");
            }
            setup.handoff.styles = vec![handoff::Style::Refer, handoff::Style::Hangup];
        });
        for _ in 0..60 {
            random_step(&mut ladder, &mut entropy);
            ladder.drain();
        }
        ladder
            .input(Input::Operator(Operator::Hangup { reason: None }))
            .after_secs(300);
        ladder
            .receives(DialogEvent::ByeAnswered { status: 200 })
            .receives(bye())
            .after_secs(300);
        ladder.drain();
        assert!(
            ladder.ended.is_some(),
            "seed {seed}: still {}",
            ladder.call.phase()
        );
        assert_eq!(ladder.call.poll_timeout(), None, "seed {seed}");
        assert!(ladder.session().end.is_some(), "seed {seed}");
    }
}

#[test]
fn whatever_has_happened_a_call_that_must_end_at_once_does() {
    for seed in 0..2000 {
        let mut entropy = Entropy::from_number(seed);
        let mut ladder = Ladder::invited_with(|_| {});
        for _ in 0..=entropy.below(30) {
            random_step(&mut ladder, &mut entropy);
            ladder.drain();
        }
        ladder.input(Input::Stopping(Stopping::AtOnce)).drain();
        let phase = ladder.call.phase();
        assert!(
            matches!(phase, "ending" | "ended"),
            "seed {seed}: still {phase}"
        );
        assert!(ladder.session().end.is_some(), "seed {seed}");
    }
}

fn random_step(ladder: &mut Ladder, entropy: &mut Entropy) {
    match entropy.below(24) {
        0 => ladder.receives(ack(if entropy.below(2) == 0 { OFFER } else { "" })),
        1 => ladder.receives(refer_answered(if entropy.below(2) == 0 {
            202
        } else {
            405
        })),
        2 => ladder.receives(notify(100)),
        3 => ladder.receives(notify(486)),
        4 => ladder.input(Input::KeyRead),
        5 => ladder.agent_breaks(),
        6 => ladder.agent_closes(),
        7 | 8 => ladder.leg(leg::Event::AgentOpen),
        9..=11 => ladder.agent(wants_handoff()),
        12 => ladder.presses('0'),
        13 => ladder.prompt_ends(Prompt::AgentFailed),
        14 => ladder.prompt_ends(Prompt::Goodbye),
        15..=18 => {
            if ladder.committing.is_some() && entropy.below(5) > 0 {
                ladder.store_commits()
            } else {
                ladder.after_secs(entropy.below(12))
            }
        }
        19 => ladder.receives(DialogEvent::Reinvited {
            offer: Bytes::from_static(OFFER.as_bytes()),
        }),
        20 => ladder.agent(agent::Event::Redirect {
            target: "sip:d@h".into(),
        }),
        21 => ladder.input(Input::Operator(
            Operator::Handoff(HandoffRequest::default()),
        )),
        22 => ladder.leg(leg::Event::Cleared {
            heard: Duration::from_millis(100),
        }),
        _ => match entropy.below(8) {
            0 => ladder.receives(bye()),
            1 => ladder.receives(cancelled()),
            2 => ladder.receives(notify(200)),
            3 => ladder.leg(leg::Event::MediaLost),
            4 => ladder.input(Input::Stopping(Stopping::Gently)),
            5 => ladder.leg_closes(),
            _ => ladder.after_secs(1),
        },
    };
}
