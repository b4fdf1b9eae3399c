//! A bad network: whatever is lost, every call has its end on both sides and nothing stays behind.

use bytes::Bytes;

use super::pair::{End, Pair, ms};
use crate::sip::endpoint::{Command, DialogEvent, NotifyState};

#[test]
fn a_third_of_all_messages_may_be_lost() {
    for seed in 0..60 {
        let mut pair = Pair::new().lossy(33, seed);
        let a = pair.invite("v=0 offer");
        pair.run(ms(32_000));
        let Some(b) = pair
            .events
            .iter()
            .find(|(end, _)| *end == End::Bob)
            .map(|_| pair.invited().dialog)
        else {
            pair.run_out();
            continue; // never arrived: Alice was told 408
        };
        let now = pair.now;
        let answer = Command::Answer {
            body: Bytes::from_static(b"v=0"),
            headers: Vec::new(),
        };
        if pair.bob.command(now, b, answer).is_ok() {
            pair.run(ms(40_000));
            let now = pair.now;
            // Either end may know already that the call is over.
            let _ = pair.alice.command(
                now,
                a,
                Command::Bye {
                    headers: Vec::new(),
                },
            );
        }
        pair.run(ms(200_000));
        let ends = |events: &[DialogEvent]| {
            events
                .iter()
                .filter(|event| {
                    matches!(
                        event,
                        DialogEvent::Bye { .. }
                            | DialogEvent::ByeAnswered { .. }
                            | DialogEvent::Refused { .. }
                            | DialogEvent::NeverAcknowledged
                            | DialogEvent::Cancelled { .. }
                            | DialogEvent::Lost { .. }
                    )
                })
                .count()
        };
        assert_eq!(ends(&pair.dialog_events(End::Alice)), 1, "seed {seed}");
        // A lost BYE whose repeats are all lost leaves Bob talking to nobody: the media timeout's work.
        assert!(ends(&pair.dialog_events(End::Bob)) <= 1, "seed {seed}");
        assert_eq!(pair.alice.dialogs(), 0, "seed {seed}");
        assert_eq!(
            pair.alice.transactions() + pair.bob.transactions(),
            0,
            "seed {seed}"
        );
    }
}

#[test]
fn a_transfer_comes_through_a_network_that_loses_a_fifth() {
    for seed in 100..140 {
        let (mut pair, a, b) = Pair::talking();
        pair = pair.lossy(20, seed);
        let refer = Command::Refer {
            refer_to: "<sip:queue@h>".into(),
            headers: Vec::new(),
        };
        pair.command(End::Bob, b, refer);
        pair.run(ms(4_000));
        let now = pair.now;
        if pair
            .alice
            .command(now, a, Command::AnswerRefer { status: 202 })
            .is_err()
        {
            continue; // the REFER needs longer than this; silence is told elsewhere
        }
        for (status, state) in [(100, NotifyState::Active), (200, NotifyState::Terminated)] {
            pair.command(End::Alice, a, Command::Notify { status, state });
            pair.run(ms(40_000));
        }
        let events = pair.dialog_events(End::Bob);
        let answered = |event: &&DialogEvent| matches!(event, DialogEvent::ReferAnswered { .. });
        assert_eq!(events.iter().filter(answered).count(), 1, "seed {seed}");
        let told = events.iter().any(|event| {
            matches!(
                event,
                DialogEvent::Notified {
                    sipfrag: Some((200, _)),
                    ..
                }
            )
        });
        assert!(told, "seed {seed}");
    }
}

#[test]
fn a_lost_bye_is_sent_again() {
    let (mut pair, a, _) = Pair::talking();
    pair.lose(End::Alice, "BYE sip:", 3);
    pair.bye(End::Alice, a);
    pair.run(ms(10_000));
    assert_eq!(pair.ladder, ["A BYE", "A BYE", "A BYE", "A BYE", "B 200"]);
    assert_eq!(
        pair.dialog_events(End::Alice),
        [DialogEvent::ByeAnswered { status: 200 }]
    );
    pair.run_out();
}

#[test]
fn a_bye_that_nobody_answers_ends_the_call_all_the_same() {
    let (mut pair, a, _) = Pair::talking();
    pair.lose(End::Alice, "BYE sip:", 1000);
    pair.bye(End::Alice, a);
    pair.run(ms(32_100));
    assert_eq!(
        pair.dialog_events(End::Alice),
        [DialogEvent::ByeAnswered { status: 408 }]
    );
    assert_eq!(pair.alice.dialogs(), 0);
}
