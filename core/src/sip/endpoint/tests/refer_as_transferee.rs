//! REFER as transferee: the peer asks us to call somebody else. The softphone plays the trunk with it.

use std::time::Duration;

use super::pair::{End, Pair, ms};
use super::raw::{Raw, header, in_dialog, statuses};
use crate::sip::endpoint::{Command, CommandError, DialogEvent, NotifyState};

fn refer() -> Command {
    Command::Refer {
        refer_to: "<sip:queue@h?X-Key=k>".into(),
        headers: vec![
            ("Referred-By".into(), "<sip:bot@h>".into()),
            ("X-Why".into(), "tired".into()),
        ],
    }
}

fn notify(status: u16, state: NotifyState) -> Command {
    Command::Notify { status, state }
}

#[test]
fn a_transfer_is_asked_accepted_and_its_progress_told() {
    let (mut pair, a, b) = Pair::talking();
    pair.command(End::Bob, b, refer());
    pair.run(ms(20));
    let events = pair.dialog_events(End::Alice);
    let [
        DialogEvent::Referred {
            refer_to,
            referred_by,
            headers,
        },
    ] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    assert_eq!(refer_to, "<sip:queue@h?X-Key=k>");
    assert_eq!(referred_by.as_deref(), Some("<sip:bot@h>"));
    assert!(headers.contains(&("X-Why".into(), "tired".into())));

    pair.command(End::Alice, a, Command::AnswerRefer { status: 202 });
    pair.command(End::Alice, a, notify(100, NotifyState::Active));
    pair.run(ms(20));
    pair.command(End::Alice, a, notify(200, NotifyState::Terminated));
    pair.run(ms(20));
    pair.bye(End::Bob, b);
    pair.run(ms(20));
    assert_eq!(
        pair.ladder,
        [
            "B REFER", "A 202", "A NOTIFY", "B 200", "A NOTIFY", "B 200", "B BYE", "A 200"
        ]
    );
    let told: Vec<u16> = pair
        .dialog_events(End::Bob)
        .iter()
        .filter_map(|event| {
            if let DialogEvent::Notified {
                sipfrag: Some((status, _)),
                ..
            } = event
            {
                Some(*status)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(told, [100, 200]);
    let answered = pair
        .dialog_events(End::Alice)
        .iter()
        .filter(|event| **event == DialogEvent::NotifyAnswered { status: 200 })
        .count();
    assert_eq!(answered, 2);
    assert!(pair.messages[2].1.contains("Event: refer;id=1\r\n"));
    assert!(
        pair.messages[4]
            .1
            .contains("Subscription-State: terminated;reason=noresource\r\n")
    );
    assert!(pair.messages[4].1.ends_with("\r\n\r\nSIP/2.0 200 OK\r\n"));
    pair.run_out();
}

#[test]
fn after_the_transferors_bye_the_outcome_is_still_told() {
    let (mut pair, a, b) = Pair::talking();
    pair.command(End::Bob, b, refer());
    pair.run(ms(20));
    pair.command(End::Alice, a, Command::AnswerRefer { status: 202 });
    pair.run(ms(20));
    pair.bye(End::Bob, b);
    pair.run(Duration::from_secs(10));
    pair.command(End::Alice, a, notify(486, NotifyState::Terminated));
    pair.run(ms(20));
    let sipfrag = Some((486, "Busy Here".to_owned()));
    let state = NotifyState::Terminated;
    assert_eq!(
        pair.dialog_events(End::Bob).last(),
        Some(&DialogEvent::Notified { sipfrag, state })
    );
    pair.run_out();
}

#[test]
fn a_refused_transfer_opens_nothing() {
    let (mut pair, a, b) = Pair::talking();
    pair.command(End::Bob, b, refer());
    pair.run(ms(20));
    pair.command(End::Alice, a, Command::AnswerRefer { status: 603 });
    pair.run(ms(20));
    let now = pair.now;
    let result = pair.alice.command(now, a, notify(100, NotifyState::Active));
    assert_eq!(result, Err(CommandError::WrongState));
    let reason = "Decline".to_owned();
    assert_eq!(
        pair.dialog_events(End::Bob),
        [DialogEvent::ReferAnswered {
            status: 603,
            reason
        }]
    );
}

#[test]
fn a_silent_transferee_is_answered_for_before_the_transferor_gives_up() {
    let (mut pair, a, b) = Pair::talking();
    pair.command(End::Bob, b, refer());
    pair.run(Duration::from_secs(33));
    let reason = "Server Internal Error".to_owned();
    assert_eq!(
        pair.dialog_events(End::Bob),
        [DialogEvent::ReferAnswered {
            status: 500,
            reason
        }]
    );
    pair.bye(End::Alice, a);
    pair.run_out();
}

#[test]
fn exactly_one_refer_to_is_needed() {
    let mut raw = Raw::new();
    let (_, tag) = raw.talking();
    let none = in_dialog("REFER", 2, &tag, "z9hG4bK2", "", "");
    assert_eq!(statuses(&raw.send(&none)), [400]);
    let two = in_dialog(
        "REFER",
        3,
        &tag,
        "z9hG4bK3",
        "Refer-To: <sip:a@h>, <sip:b@h>",
        "",
    );
    assert_eq!(statuses(&raw.send(&two)), [400]);
    let twice = in_dialog(
        "REFER",
        4,
        &tag,
        "z9hG4bK4",
        "Refer-To: <sip:a@h>\nr: <sip:b@h>",
        "",
    );
    assert_eq!(statuses(&raw.send(&twice)), [400]);
    assert!(raw.events().is_empty());
}

#[test]
fn a_second_refer_while_the_first_is_undecided_gets_500() {
    let mut raw = Raw::new();
    let (dialog, tag) = raw.talking();
    let one = in_dialog("REFER", 2, &tag, "z9hG4bK2", "Refer-To: <sip:a@h>", "");
    assert!(raw.send(&one).is_empty());
    let two = in_dialog("REFER", 3, &tag, "z9hG4bK3", "Refer-To: <sip:b@h>", "");
    let sent = raw.send(&two);
    assert_eq!(statuses(&sent), [500]);
    assert!(header(&sent[0], "Retry-After").is_some());
    assert_eq!(
        statuses(&raw.command(dialog, Command::AnswerRefer { status: 202 })),
        [202]
    );
}

#[test]
fn a_refer_and_the_bye_behind_it_are_both_answered() {
    let mut raw = Raw::new();
    let (dialog, tag) = raw.talking();
    raw.send(&in_dialog(
        "REFER",
        2,
        &tag,
        "z9hG4bK2",
        "Refer-To: <sip:a@h>",
        "",
    ));
    assert_eq!(
        statuses(&raw.send(&in_dialog("BYE", 3, &tag, "z9hG4bK3", "", ""))),
        [200]
    );
    assert_eq!(
        statuses(&raw.command(dialog, Command::AnswerRefer { status: 202 })),
        [202]
    );
}

#[test]
fn a_refer_outside_any_dialog_is_declined() {
    let mut raw = Raw::new();
    let refer = super::raw::outside("REFER", "z9hG4bK1", "Refer-To: <sip:a@h>");
    assert_eq!(statuses(&raw.send(&refer)), [603]);
}
