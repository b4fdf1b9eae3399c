//! CANCEL and its races (RFC 3261 §9).

use bytes::Bytes;

use super::pair::{End, Pair, ms};
use super::raw::{Raw, invite, outside, status, statuses, tag_of};
use crate::sip::endpoint::{Command, DialogEvent};

fn refused(events: &[DialogEvent]) -> Option<u16> {
    events.iter().find_map(|event| {
        if let DialogEvent::Refused { status, .. } = event {
            Some(*status)
        } else {
            None
        }
    })
}

#[test]
fn a_ringing_call_is_cancelled() {
    let mut pair = Pair::new();
    let a = pair.invite("v=0 offer");
    pair.run(ms(20));
    let b = pair.invited().dialog;
    pair.command(
        End::Bob,
        b,
        Command::Ring {
            status: 180,
            body: Bytes::new(),
        },
    );
    pair.run(ms(20));
    pair.command(End::Alice, a, Command::Cancel);
    pair.run(ms(50));
    assert_eq!(
        pair.ladder,
        [
            "A INVITE", "B 100", "B 180", "A CANCEL", "B 200", "B 487", "A ACK"
        ]
    );
    assert_eq!(
        pair.dialog_events(End::Bob),
        [DialogEvent::Cancelled { reason: None }]
    );
    assert_eq!(refused(&pair.dialog_events(End::Alice)), Some(487));
    pair.run_out();
}

#[test]
fn a_cancel_waits_for_the_first_provisional() {
    let mut pair = Pair::new();
    pair.lose(End::Bob, "SIP/2.0 100", 1);
    let a = pair.invite("v=0 offer");
    pair.command(End::Alice, a, Command::Cancel);
    pair.run(ms(400));
    assert_eq!(pair.ladder, ["A INVITE", "B 100"]);
    pair.run(ms(200));
    assert_eq!(
        pair.ladder[2..],
        ["A INVITE", "B 100", "A CANCEL", "B 200", "B 487", "A ACK"]
    );
    assert_eq!(refused(&pair.dialog_events(End::Alice)), Some(487));
    pair.run_out();
}

#[test]
fn a_cancel_that_nobody_ever_answers_ends_too() {
    let mut pair = Pair::new();
    pair.lose(End::Bob, "SIP/2.0", 1000);
    let a = pair.invite("v=0 offer");
    pair.command(End::Alice, a, Command::Cancel);
    pair.run(ms(32_100));
    assert!(!pair.ladder.contains(&"A CANCEL".to_owned()));
    assert_eq!(refused(&pair.dialog_events(End::Alice)), Some(487));
}

#[test]
fn a_cancelled_invite_without_a_final_answer_is_given_up() {
    let mut pair = Pair::new();
    let a = pair.invite("v=0 offer");
    pair.run(ms(20));
    pair.lose(End::Bob, "487 Request", 1000);
    pair.command(End::Alice, a, Command::Cancel);
    pair.run(ms(33_000));
    assert_eq!(refused(&pair.dialog_events(End::Alice)), Some(487));
    pair.run_out();
}

#[test]
fn a_200_that_crosses_the_cancel_is_acknowledged_and_hung_up() {
    let mut pair = Pair::new();
    let a = pair.invite("v=0 offer");
    pair.run(ms(20));
    let b = pair.invited().dialog;
    pair.answer(b);
    pair.command(End::Alice, a, Command::Cancel);
    pair.run(ms(100));
    assert_eq!(
        pair.ladder[2..],
        ["B 200", "A CANCEL", "A ACK", "A BYE", "B 200", "B 200"]
    );
    assert_eq!(
        pair.dialog_events(End::Alice),
        [DialogEvent::ByeAnswered { status: 200 }]
    );
    assert_eq!(
        pair.dialog_events(End::Bob),
        [
            DialogEvent::Acknowledged { body: Bytes::new() },
            DialogEvent::Bye { reason: None }
        ]
    );
    pair.run_out();
}

#[test]
fn a_cancel_carries_the_invites_branch_and_tag() {
    let mut pair = Pair::new();
    let a = pair.invite("v=0 offer");
    pair.run(ms(20));
    pair.command(End::Alice, a, Command::Cancel);
    let line = |message: &str, name: &str| {
        message
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap()
            .to_owned()
    };
    let (invite, cancel) = (&pair.messages[0].1, &pair.messages[2].1);
    for name in ["Via:", "From:", "To:", "Call-ID:"] {
        assert_eq!(line(invite, name), line(cancel, name));
    }
    assert_eq!(line(cancel, "CSeq:"), "CSeq: 1 CANCEL");
}

#[test]
fn a_cancel_for_nothing_gets_481() {
    let mut raw = Raw::new();
    assert_eq!(
        statuses(&raw.send(&outside("CANCEL", "z9hG4bKx", ""))),
        [481]
    );
}

#[test]
fn a_cancel_after_the_answer_is_answered_and_has_no_effect() {
    let mut raw = Raw::new();
    raw.send(&invite("z9hG4bKi", ""));
    let dialog = raw.invited().unwrap().dialog;
    let answer = Command::Answer {
        body: Bytes::from_static(b"v=0"),
        headers: Vec::new(),
    };
    let tag = tag_of(&raw.command(dialog, answer)[0]);
    let cancel = invite("z9hG4bKi", "").replace("INVITE", "CANCEL");
    let sent = raw.send(&cancel);
    assert_eq!(statuses(&sent), [200]);
    assert_eq!(tag_of(&sent[0]), tag, "§9.2: the same To tag");
    assert!(raw.events().is_empty());
}

#[test]
fn a_repeated_cancel_gets_its_200_again() {
    let mut raw = Raw::new();
    raw.send(&invite("z9hG4bKi", ""));
    raw.invited().unwrap();
    let cancel = invite("z9hG4bKi", "Reason: SIP;cause=200").replace("INVITE", "CANCEL");
    assert_eq!(statuses(&raw.send(&cancel)), [200, 487]);
    let reason = Some("SIP;cause=200".to_owned());
    assert_eq!(raw.events(), [DialogEvent::Cancelled { reason }]);
    assert_eq!(statuses(&raw.send(&cancel)), [200]);
    assert_eq!(raw.endpoint.dialogs(), 0);
    let ack = invite("z9hG4bKi", "").replace("INVITE", "ACK");
    raw.send(&ack);
    assert!(
        raw.run(ms(60_000))
            .iter()
            .all(|message| status(message) != 487)
    );
}
