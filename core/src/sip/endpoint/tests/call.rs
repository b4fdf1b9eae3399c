//! A call from INVITE to BYE, and what each end is told of it.

use super::pair::{End, Pair, ms};
use crate::sip::endpoint::{Command, CommandError, Config, DialogEvent, Transport};
use bytes::Bytes;

#[test]
fn a_call_is_offered_rung_answered_and_hung_up() {
    let mut pair = Pair::new();
    let a = pair.invite("v=0 offer");
    pair.run(ms(20));
    let invited = pair.invited();
    assert_eq!(invited.called, "bob");
    assert_eq!(invited.caller, "alice");
    assert_eq!(invited.caller_name.as_deref(), Some("Alice"));
    assert_eq!(invited.trunk, "default");
    assert_eq!(invited.header("x-key"), Some("1"));
    assert!(invited.allows_refer);
    assert_eq!(invited.offer, "v=0 offer");
    let b = invited.dialog;

    pair.command(
        End::Bob,
        b,
        Command::Ring {
            status: 180,
            body: Bytes::new(),
        },
    );
    pair.run(ms(20));
    pair.answer(b);
    pair.run(ms(20));
    pair.bye(End::Alice, a);
    pair.run(ms(20));

    assert_eq!(
        pair.ladder,
        [
            "A INVITE", "B 100", "B 180", "B 200", "A ACK", "A BYE", "B 200"
        ]
    );
    let events = pair.dialog_events(End::Alice);
    assert_eq!(
        events[0],
        DialogEvent::Progress {
            status: 180,
            body: Bytes::new()
        }
    );
    assert!(matches!(&events[1], DialogEvent::Answered { body, .. } if body == "v=0 answer"));
    assert_eq!(events[2], DialogEvent::ByeAnswered { status: 200 });
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
fn the_called_end_may_hang_up_and_say_why() {
    let (mut pair, _, b) = Pair::talking();
    let headers = vec![("Reason".to_owned(), "Q.850;cause=16".to_owned())];
    pair.command(End::Bob, b, Command::Bye { headers });
    pair.run(ms(20));
    assert_eq!(pair.ladder, ["B BYE", "A 200"]);
    let reason = Some("Q.850;cause=16".to_owned());
    assert_eq!(
        pair.dialog_events(End::Alice),
        [DialogEvent::Bye { reason }]
    );
    pair.run_out();
}

#[test]
fn over_a_stream_the_same_call_leaves_nothing_behind_at_once() {
    let pair = Pair::over(Transport::Tcp, Config::default(), Config::default());
    let (mut pair, a, _) = pair.talk();
    pair.bye(End::Alice, a);
    pair.run(ms(50));
    assert_eq!(pair.alice.dialogs() + pair.bob.dialogs(), 0);
    pair.run_out();
}

#[test]
fn a_refused_call_ends_with_its_status_and_an_ack() {
    let mut pair = Pair::new();
    pair.invite("v=0 offer");
    pair.run(ms(20));
    let headers = vec![("Warning".to_owned(), "304 baton \"no codec\"".to_owned())];
    let b = pair.invited().dialog;
    pair.command(
        End::Bob,
        b,
        Command::Reject {
            status: 488,
            headers,
        },
    );
    pair.run(ms(20));
    assert_eq!(pair.ladder, ["A INVITE", "B 100", "B 488", "A ACK"]);
    let events = pair.dialog_events(End::Alice);
    let [
        DialogEvent::Refused {
            status: 488,
            reason,
            headers,
        },
    ] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    assert_eq!(reason, "Not Acceptable Here");
    assert!(
        headers
            .iter()
            .any(|(name, value)| name == "Warning" && value.contains("no codec"))
    );
    pair.run_out();
}

#[test]
fn both_ends_may_hang_up_at_once() {
    let (mut pair, a, b) = Pair::talking();
    pair.bye(End::Alice, a);
    pair.bye(End::Bob, b);
    pair.run(ms(50));
    let ended = [DialogEvent::ByeAnswered { status: 200 }];
    assert_eq!(pair.dialog_events(End::Alice), ended);
    assert_eq!(pair.dialog_events(End::Bob), ended);
    pair.run_out();
}

#[test]
fn an_invite_without_offer_reaches_the_call_as_one() {
    let mut pair = Pair::new();
    let a = pair.invite("");
    pair.run(ms(20));
    assert!(pair.invited().offer.is_empty());
    let b = pair.invited().dialog;
    pair.answer(b);
    pair.run(ms(20));
    assert!(pair.messages[0].1.contains("Accept: application/sdp"));
    assert_eq!(pair.ladder, ["A INVITE", "B 100", "B 200"]);
    let body = Bytes::from_static(b"v=0 theirs");
    pair.command(End::Alice, a, Command::AnswerOffer { body: body.clone() });
    pair.run(ms(20));
    assert_eq!(pair.ladder[3..], ["A ACK"]);
    assert_eq!(
        pair.dialog_events(End::Bob),
        [DialogEvent::Acknowledged { body }]
    );
}

#[test]
fn commands_that_the_state_forbids_are_refused_and_send_nothing() {
    let (mut pair, a, b) = Pair::talking();
    let now = pair.now;
    let bye = || Command::Bye {
        headers: Vec::new(),
    };
    let ring = Command::Ring {
        status: 180,
        body: Bytes::new(),
    };
    assert_eq!(
        pair.bob.command(now, b, ring),
        Err(CommandError::WrongState)
    );
    assert_eq!(
        pair.alice.command(now, a, Command::Cancel),
        Err(CommandError::WrongState)
    );
    let answer = Command::AnswerRefer { status: 202 };
    assert_eq!(
        pair.bob.command(now, b, answer),
        Err(CommandError::WrongState)
    );
    pair.run(ms(10));
    assert!(pair.ladder.is_empty());
    pair.bye(End::Alice, a);
    assert_eq!(
        pair.alice.command(now, a, bye()),
        Err(CommandError::WrongState)
    );
    pair.run(ms(50));
    assert_eq!(
        pair.alice.command(now, a, bye()),
        Err(CommandError::NoDialog)
    );
}

#[test]
fn what_would_inject_a_header_is_refused() {
    let (mut pair, a, _) = Pair::talking();
    let now = pair.now;
    let headers = vec![("X-A".to_owned(), "b\r\nRoute: <sip:evil>".to_owned())];
    let result = pair.alice.command(now, a, Command::Bye { headers });
    assert!(
        matches!(result, Err(CommandError::Unspeakable(_))),
        "{result:?}"
    );
    pair.run(ms(10));
    assert!(pair.ladder.is_empty());
    pair.bye(End::Alice, a);
    pair.run_out();
}

#[test]
fn a_ringing_phone_is_heard_of_every_minute() {
    let mut pair = Pair::new();
    pair.invite("v=0 offer");
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
    pair.run(ms(185_000));
    assert_eq!(
        pair.ladder.iter().filter(|line| *line == "B 180").count(),
        4
    );
}
