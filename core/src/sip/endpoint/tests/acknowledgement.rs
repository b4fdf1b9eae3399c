//! The 2xx and its ACK: repeated, lost, late, never.

use std::time::Duration;

use bytes::Bytes;

use super::pair::{End, Pair, ms};
use super::raw::{Raw, in_dialog, invite, request, status, tag_of};
use crate::sip::endpoint::{Command, Config, DialogEvent, Transport};

fn answer() -> Command {
    Command::Answer {
        body: Bytes::from_static(b"v=0"),
        headers: Vec::new(),
    }
}

#[test]
fn a_lost_200_is_sent_again_and_acknowledged_once_it_arrives() {
    let mut pair = Pair::new();
    pair.lose(End::Bob, "SIP/2.0 200", 2);
    let (pair, _, _) = {
        let a = pair.invite("v=0 offer");
        pair.run(ms(20));
        let b = pair.invited().dialog;
        pair.answer(b);
        pair.run(ms(1000));
        assert!(pair.dialog_events(End::Alice).is_empty());
        pair.run(ms(1000));
        (pair, a, b)
    };
    assert_eq!(pair.ladder[2..], ["B 200", "B 200", "B 200", "A ACK"]);
    assert_eq!(
        pair.dialog_events(End::Bob),
        [DialogEvent::Acknowledged { body: Bytes::new() }]
    );
}

#[test]
fn a_lost_ack_is_sent_again_for_the_repeated_200_and_nobody_is_told_twice() {
    let mut pair = Pair::new();
    pair.lose(End::Alice, "ACK sip:", 2);
    let (mut pair, a, _) = {
        let a = pair.invite("v=0 offer");
        pair.run(ms(20));
        let b = pair.invited().dialog;
        pair.answer(b);
        pair.run(ms(3000));
        (pair, a, b)
    };
    assert_eq!(
        pair.ladder[2..],
        ["B 200", "A ACK", "B 200", "A ACK", "B 200", "A ACK"]
    );
    let answered = |event: &DialogEvent| matches!(event, DialogEvent::Answered { .. });
    assert_eq!(
        pair.dialog_events(End::Alice)
            .iter()
            .filter(|e| answered(e))
            .count(),
        1
    );
    assert_eq!(pair.dialog_events(End::Bob).len(), 1);
    pair.bye(End::Alice, a);
    pair.run_out();
}

#[test]
fn on_a_stream_the_200_is_repeated_too() {
    let mut pair = Pair::over(Transport::Tls, Config::default(), Config::default());
    pair.lose(End::Alice, "ACK sip:", 1);
    let (pair, _, _) = {
        let a = pair.invite("v=0 offer");
        pair.run(ms(20));
        let b = pair.invited().dialog;
        pair.answer(b);
        pair.run(ms(600));
        (pair, a, b)
    };
    assert_eq!(pair.ladder[2..], ["B 200", "A ACK", "B 200", "A ACK"]);
}

#[test]
fn a_200_that_is_never_acknowledged_ends_in_a_bye() {
    let mut raw = Raw::new();
    raw.send(&invite("z9hG4bKi", ""));
    let dialog = raw.invited().unwrap().dialog;
    raw.command(dialog, answer());
    let sent = raw.run(Duration::from_millis(31_999));
    assert_eq!(sent.len(), 10);
    assert!(sent.iter().all(|message| status(message) == 200));
    assert!(raw.events().is_empty());
    let sent = raw.run(ms(1));
    assert!(sent[0].starts_with("BYE sip:+1555@10.0.0.1:5060 SIP/2.0\r\n"));
    assert_eq!(raw.events(), [DialogEvent::NeverAcknowledged]);
    assert_eq!(raw.endpoint.dialogs(), 0);
}

#[test]
fn our_bye_waits_for_the_ack() {
    let mut raw = Raw::new();
    raw.send(&invite("z9hG4bKi", ""));
    let dialog = raw.invited().unwrap().dialog;
    let tag = tag_of(&raw.command(dialog, answer())[0]);
    let headers = vec![("X-Why".to_owned(), "done".to_owned())];
    assert!(raw.command(dialog, Command::Bye { headers }).is_empty());
    let sent = raw.send(&in_dialog("ACK", 1, &tag, "z9hG4bKa", "", ""));
    assert_eq!(sent.len(), 1);
    assert!(sent[0].starts_with("BYE ") && sent[0].contains("X-Why: done"));
}

#[test]
fn our_bye_goes_out_when_the_ack_never_comes() {
    let mut raw = Raw::new();
    raw.send(&invite("z9hG4bKi", ""));
    let dialog = raw.invited().unwrap().dialog;
    raw.command(dialog, answer());
    raw.command(
        dialog,
        Command::Bye {
            headers: Vec::new(),
        },
    );
    let sent = raw.run(Duration::from_secs(32));
    assert_eq!(
        sent.iter()
            .filter(|message| message.starts_with("BYE "))
            .count(),
        1
    );
}

#[test]
fn the_peer_may_hang_up_before_its_ack() {
    let mut raw = Raw::new();
    raw.send(&invite("z9hG4bKi", ""));
    let dialog = raw.invited().unwrap().dialog;
    let tag = tag_of(&raw.command(dialog, answer())[0]);
    let sent = raw.send(&in_dialog("BYE", 2, &tag, "z9hG4bKb", "", ""));
    assert_eq!(status(&sent[0]), 200);
    assert_eq!(raw.events(), [DialogEvent::Bye { reason: None }]);
    assert!(
        raw.run(Duration::from_secs(40)).is_empty(),
        "the 200 is not repeated any more"
    );
}

#[test]
fn the_answer_to_a_late_offer_comes_with_the_ack() {
    let mut raw = Raw::new();
    let headers = "Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKi;rport
From: <sip:+1555@10.0.0.1>;tag=far
To: <sip:bot@10.0.0.2>
Call-ID: c1@far
CSeq: 1 INVITE
Contact: <sip:+1555@10.0.0.1:5060>";
    raw.send(&request("INVITE sip:bot@10.0.0.2", headers, ""));
    let invited = raw.invited().unwrap();
    assert!(invited.offer.is_empty());
    let tag = tag_of(&raw.command(invited.dialog, answer())[0]);
    raw.send(&in_dialog(
        "ACK",
        1,
        &tag,
        "z9hG4bKa",
        "Content-Type: application/sdp",
        "v=0 late",
    ));
    let body = Bytes::from_static(b"v=0 late");
    assert_eq!(raw.events(), [DialogEvent::Acknowledged { body }]);
}

#[test]
fn an_ack_for_another_number_or_from_nowhere_changes_nothing() {
    let mut raw = Raw::new();
    raw.send(&invite("z9hG4bKi", ""));
    let dialog = raw.invited().unwrap().dialog;
    let tag = tag_of(&raw.command(dialog, answer())[0]);
    for ack in [
        in_dialog("ACK", 2, &tag, "z9hG4bKa", "", ""),
        in_dialog("ACK", 1, "other", "z9hG4bKa", "", ""),
        in_dialog("ACK", 1, &tag, "z9hG4bKa", "", "").replace("tag=far", "tag=near"),
        in_dialog("ACK", 1, &tag, "z9hG4bKa", "", "").replace("c1@far", "c2@far"),
    ] {
        assert!(raw.send(&ack).is_empty());
        assert!(raw.events().is_empty(), "{ack}");
    }
}

#[test]
fn an_ack_with_the_branch_of_the_invite_is_taken_too() {
    let mut raw = Raw::new();
    raw.send(&invite("z9hG4bKi", ""));
    let dialog = raw.invited().unwrap().dialog;
    let tag = tag_of(&raw.command(dialog, answer())[0]);
    raw.send(&in_dialog("ACK", 1, &tag, "z9hG4bKi", "", ""));
    assert_eq!(
        raw.events(),
        [DialogEvent::Acknowledged { body: Bytes::new() }]
    );
}
