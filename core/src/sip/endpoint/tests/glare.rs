//! Offers in a running call: holds, glare, refusals.

use std::time::Duration;

use bytes::Bytes;

use super::pair::{End, Pair, ms};
use super::raw::{Raw, in_dialog, response, statuses};
use crate::sip::endpoint::{Command, DialogEvent};

const SDP: &str = "Content-Type: application/sdp";

fn reinvite(text: &'static str) -> Command {
    Command::Reinvite {
        body: Bytes::from_static(text.as_bytes()),
    }
}

fn answer(status: u16) -> Command {
    Command::AnswerReinvite {
        status,
        body: if status == 200 {
            Bytes::from_static(b"v=0 again")
        } else {
            Bytes::new()
        },
        headers: Vec::new(),
    }
}

#[test]
fn a_new_offer_is_asked_about_and_answered() {
    let (mut pair, a, b) = Pair::talking();
    pair.command(End::Alice, a, reinvite("v=0 hold"));
    pair.run(ms(20));
    let offer = Bytes::from_static(b"v=0 hold");
    assert_eq!(
        pair.dialog_events(End::Bob),
        [DialogEvent::Reinvited { offer }]
    );
    pair.command(End::Bob, b, answer(200));
    pair.run(ms(50));
    assert_eq!(pair.ladder, ["A INVITE", "B 100", "B 200", "A ACK"]);
    let body = Bytes::from_static(b"v=0 again");
    assert_eq!(
        pair.dialog_events(End::Alice),
        [DialogEvent::ReinviteEnded { status: 200, body }]
    );
    pair.bye(End::Bob, b);
    pair.run_out();
}

#[test]
fn a_refused_offer_leaves_the_call_as_it_was() {
    let (mut pair, a, b) = Pair::talking();
    pair.command(End::Bob, b, reinvite("v=0 video"));
    pair.run(ms(20));
    pair.command(End::Alice, a, answer(488));
    pair.run(ms(50));
    let body = Bytes::new();
    assert_eq!(
        pair.dialog_events(End::Bob),
        [DialogEvent::ReinviteEnded { status: 488, body }]
    );
    pair.bye(End::Bob, b);
    pair.run(ms(50));
    assert_eq!(
        pair.dialog_events(End::Alice).last(),
        Some(&DialogEvent::Bye { reason: None })
    );
}

#[test]
fn offers_that_cross_get_491_and_both_are_made_again() {
    let (mut pair, a, b) = Pair::talking();
    pair.command(End::Alice, a, reinvite("v=0 from alice"));
    pair.command(End::Bob, b, reinvite("v=0 from bob"));
    pair.run(ms(50));
    assert_eq!(
        pair.ladder
            .iter()
            .filter(|line| line.ends_with("491"))
            .count(),
        2
    );
    assert!(pair.events.is_empty(), "nobody is bothered");
    // Bob, who did not make the Call-ID, comes first: within 2 s.
    pair.run(ms(2_050));
    let offer = Bytes::from_static(b"v=0 from bob");
    assert_eq!(
        pair.dialog_events(End::Alice),
        [DialogEvent::Reinvited { offer }]
    );
    pair.command(End::Alice, a, answer(200));
    pair.run(ms(4_000));
    let offer = Bytes::from_static(b"v=0 from alice");
    assert!(
        pair.dialog_events(End::Bob)
            .contains(&DialogEvent::Reinvited { offer })
    );
    pair.command(End::Bob, b, answer(200));
    pair.run(ms(100));
    for end in [End::Alice, End::Bob] {
        let ended =
            |event: &DialogEvent| matches!(event, DialogEvent::ReinviteEnded { status: 200, .. });
        assert_eq!(
            pair.dialog_events(end).iter().filter(|e| ended(e)).count(),
            1,
            "{end:?}"
        );
    }
    pair.bye(End::Bob, b);
    pair.run_out();
}

#[test]
fn a_peer_that_always_answers_491_is_asked_four_times() {
    let mut raw = Raw::new();
    let (dialog, _) = raw.talking();
    let mut sent = raw.command(dialog, reinvite("v=0"));
    let mut asked = 0;
    while let Some(invite) = sent
        .iter()
        .find(|message| message.starts_with("INVITE"))
        .cloned()
    {
        asked += 1;
        raw.send(&response(&invite, "491 Request Pending", ""));
        sent = raw.run(Duration::from_secs(3));
    }
    assert_eq!(asked, 4);
    let body = Bytes::new();
    assert_eq!(
        raw.events(),
        [DialogEvent::ReinviteEnded { status: 491, body }]
    );
}

#[test]
fn a_second_offer_while_one_is_open_gets_500() {
    let mut raw = Raw::new();
    let (dialog, tag) = raw.talking();
    raw.send(&in_dialog("INVITE", 2, &tag, "z9hG4bK2", SDP, "v=0 new"));
    let sent = raw.send(&in_dialog("INVITE", 3, &tag, "z9hG4bK3", SDP, "v=0 new"));
    assert_eq!(statuses(&sent), [100, 500]);
    let sent = raw.send(&in_dialog("UPDATE", 4, &tag, "z9hG4bK4", SDP, "v=0 new"));
    assert_eq!(statuses(&sent), [500]);
    assert_eq!(statuses(&raw.command(dialog, answer(200))), [200]);
}

#[test]
fn an_update_with_an_offer_is_asked_about_and_needs_no_ack() {
    let mut raw = Raw::new();
    let (dialog, tag) = raw.talking();
    assert!(
        raw.send(&in_dialog("UPDATE", 2, &tag, "z9hG4bK2", SDP, "v=0 u"))
            .is_empty()
    );
    let offer = Bytes::from_static(b"v=0 u");
    assert_eq!(raw.events(), [DialogEvent::Reinvited { offer }]);
    assert_eq!(statuses(&raw.command(dialog, answer(200))), [200]);
    assert!(
        raw.run(Duration::from_secs(20)).is_empty(),
        "it is not repeated"
    );
}

#[test]
fn a_200_to_a_reinvite_that_is_never_acknowledged_ends_the_call() {
    let mut raw = Raw::new();
    let (dialog, tag) = raw.talking();
    raw.send(&in_dialog("INVITE", 2, &tag, "z9hG4bK2", SDP, "v=0 new"));
    raw.events();
    raw.command(dialog, answer(200));
    let sent = raw.run(Duration::from_secs(32));
    assert_eq!(
        sent.iter()
            .filter(|message| message.starts_with("SIP/2.0 200"))
            .count(),
        10
    );
    assert_eq!(raw.events(), [DialogEvent::NeverAcknowledged]);
    assert_eq!(raw.endpoint.dialogs(), 0);
}

#[test]
fn another_offer_says_that_the_200_arrived_when_its_ack_was_lost() {
    let mut raw = Raw::new();
    let (dialog, tag) = raw.talking();
    raw.send(&in_dialog("INVITE", 2, &tag, "z9hG4bK2", SDP, "v=0 new"));
    raw.command(dialog, answer(200));
    raw.events();
    assert_eq!(
        statuses(&raw.send(&in_dialog("INVITE", 3, &tag, "z9hG4bK3", SDP, "v=0 b"))),
        [100]
    );
    let offer = Bytes::from_static(b"v=0 b");
    assert_eq!(raw.events(), [DialogEvent::Reinvited { offer }]);
}

#[test]
fn a_cancelled_reinvite_gets_487_and_the_call_goes_on() {
    let mut raw = Raw::new();
    let (dialog, tag) = raw.talking();
    let invite = in_dialog("INVITE", 2, &tag, "z9hG4bK2", SDP, "v=0 new");
    raw.send(&invite);
    let cancel = in_dialog("CANCEL", 2, &tag, "z9hG4bK2", "", "");
    assert_eq!(statuses(&raw.send(&cancel)), [200, 487]);
    let late = raw.endpoint.command(raw.now, dialog, answer(200));
    assert!(late.is_err());
    assert_eq!(raw.endpoint.dialogs(), 1);
}

#[test]
fn a_reinvite_whose_dialog_is_gone_ends_the_call() {
    let mut raw = Raw::new();
    let (dialog, _) = raw.talking();
    let sent = raw.command(dialog, reinvite("v=0"));
    let sent = raw.send(&response(&sent[0], "481 Gone", ""));
    assert!(sent[0].starts_with("ACK ") && sent[1].starts_with("BYE "));
    let events = raw.events();
    assert!(matches!(
        events.as_slice(),
        [
            DialogEvent::ReinviteEnded { status: 481, .. },
            DialogEvent::Lost { .. }
        ]
    ));
    assert_eq!(raw.endpoint.dialogs(), 0);
}

#[test]
fn an_offer_made_before_the_ack_waits_for_it() {
    let mut pair = Pair::new();
    pair.invite("v=0 offer");
    pair.run(ms(20));
    let b = pair.invited().dialog;
    pair.answer(b);
    pair.command(End::Bob, b, reinvite("v=0 more"));
    pair.run(ms(50));
    assert_eq!(pair.ladder[2..], ["B 200", "A ACK", "B INVITE", "A 100"]);
}
