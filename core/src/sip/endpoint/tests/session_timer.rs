//! Session timers in a call, both roles.

use std::time::Duration;

use bytes::Bytes;

use super::pair::{End, Pair, ms};
use super::raw::{Raw, header, in_dialog, invite, response, status, statuses, tag_of};
use crate::sip::endpoint::{Command, DialogEvent, DialogId};

const SDP: &str = "Content-Type: application/sdp";

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A call whose INVITE bears these lines: its dialog, our tag, our 200.
fn answered(raw: &mut Raw, more: &str) -> (DialogId, String, String) {
    raw.send(&invite("z9hG4bKi", more));
    let dialog = raw.invited().unwrap().dialog;
    let answer = Command::Answer {
        body: Bytes::from_static(b"v=0 ours"),
        headers: Vec::new(),
    };
    let ok = raw.command(dialog, answer).remove(0);
    let tag = tag_of(&ok);
    raw.send(&in_dialog("ACK", 1, &tag, "z9hG4bKa", "", ""));
    raw.events();
    (dialog, tag, ok)
}

#[test]
fn who_asks_for_no_timer_gets_none() {
    let mut raw = Raw::new();
    let (_, _, ok) = answered(&mut raw, "Supported: timer");
    assert_eq!(header(&ok, "Session-Expires"), None);
    assert_eq!(header(&ok, "Require"), None);
    assert!(raw.run(secs(10_000)).is_empty());
}

#[test]
fn an_interval_that_is_too_small_gets_422_and_the_call_may_come_again() {
    let mut raw = Raw::new();
    let short = "Supported: timer\nSession-Expires: 60";
    let sent = raw.send(&invite("z9hG4bK1", short));
    assert_eq!(statuses(&sent), [422]);
    assert_eq!(header(&sent[0], "Min-SE"), Some("90"));
    assert!(raw.invited().is_none());
    let again = invite(
        "z9hG4bK2",
        "Supported: timer\nSession-Expires: 90\nMin-SE: 90",
    );
    assert_eq!(
        statuses(&raw.send(&again.replace("1 INVITE", "2 INVITE"))),
        [100]
    );
    // In the call it is the same, and the call goes on.
    let (_, tag, _) = answered(&mut Raw::new(), "");
    assert!(!tag.is_empty());
    let mut raw = Raw::new();
    let (_, tag, _) = answered(&mut raw, "");
    let update = in_dialog("UPDATE", 2, &tag, "z9hG4bK3", short, "");
    assert_eq!(statuses(&raw.send(&update)), [422]);
    assert_eq!(raw.endpoint.dialogs(), 1);
}

#[test]
fn the_peer_that_should_refresh_and_does_not_is_hung_up_with_the_reason() {
    let mut raw = Raw::new();
    let (_, _, ok) = answered(&mut raw, "Supported: timer\nSession-Expires: 90");
    assert_eq!(header(&ok, "Session-Expires"), Some("90;refresher=uac"));
    assert_eq!(header(&ok, "Require"), Some("timer"));
    assert!(raw.run(ms(59_999)).is_empty());
    let bye = raw.run(ms(1)).remove(0);
    assert!(bye.starts_with("BYE "), "{bye}");
    assert!(header(&bye, "Reason").unwrap().contains("cause=408"));
    assert!(matches!(
        raw.events().as_slice(),
        [DialogEvent::Lost { .. }]
    ));
    raw.run(secs(40));
    assert_eq!(raw.endpoint.dialogs() + raw.endpoint.transactions(), 0);
}

#[test]
fn a_peers_refresh_keeps_the_call_and_does_not_reach_it() {
    let mut raw = Raw::new();
    let (_, tag, _) = answered(&mut raw, "Supported: timer\nSession-Expires: 90");
    let timer = "Supported: timer\nSession-Expires: 90;refresher=uac";
    for round in 0..6 {
        assert!(raw.run(secs(45)).is_empty(), "round {round}");
        let branch = format!("z9hG4bKr{round}");
        let sent = if round % 2 == 0 {
            raw.send(&in_dialog("UPDATE", round + 2, &tag, &branch, timer, ""))
        } else {
            let more = format!("{timer}\n{SDP}");
            let sent = raw.send(&in_dialog("INVITE", round + 2, &tag, &branch, &more, "v=0"));
            let ack = format!("{branch}a");
            raw.send(&in_dialog("ACK", round + 2, &tag, &ack, "", ""));
            assert!(
                sent[1].ends_with("v=0 ours"),
                "the same question, the same answer"
            );
            sent
        };
        let ok = sent.last().unwrap();
        assert_eq!(status(ok), 200);
        assert_eq!(header(ok, "Session-Expires"), Some("90;refresher=uac"));
    }
    assert!(raw.events().is_empty(), "nobody is bothered");
}

#[test]
fn we_refresh_by_update_where_the_peer_takes_it() {
    let mut raw = Raw::new();
    let wish = "Session-Expires: 1800;refresher=uas\nSupported: timer\nAllow: INVITE, UPDATE";
    let (_, _, ok) = answered(&mut raw, wish);
    assert_eq!(header(&ok, "Session-Expires"), Some("1800;refresher=uas"));
    for _ in 0..5 {
        let sent = raw.run(secs(900));
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert!(sent[0].starts_with("UPDATE "));
        assert_eq!(
            header(&sent[0], "Session-Expires"),
            Some("1800;refresher=uac")
        );
        assert_eq!(header(&sent[0], "Content-Length"), Some("0"));
        let more = "Session-Expires: 1800;refresher=uac\nRequire: timer";
        assert!(raw.send(&response(&sent[0], "200 OK", more)).is_empty());
    }
    assert!(raw.events().is_empty());
}

#[test]
fn else_we_refresh_by_a_reinvite_that_says_what_was_said() {
    let mut raw = Raw::new();
    let (_, _, _) = answered(&mut raw, "Session-Expires: 90\nAllow: INVITE, ACK, BYE");
    let sent = raw.run(secs(45));
    assert!(
        sent[0].starts_with("INVITE ") && sent[0].ends_with("v=0 ours"),
        "{sent:?}"
    );
    let ack = raw.send(&response(
        &sent[0],
        "200 OK",
        "Session-Expires: 90;refresher=uac",
    ));
    assert!(ack[0].starts_with("ACK "));
    assert!(raw.run(ms(44_999)).is_empty());
    assert!(raw.run(ms(1))[0].starts_with("INVITE "));
    assert!(raw.events().is_empty());
}

#[test]
fn an_update_that_is_refused_is_followed_by_a_reinvite() {
    let mut raw = Raw::new();
    answered(&mut raw, "Session-Expires: 90\nAllow: INVITE, UPDATE");
    let update = raw.run(secs(45)).remove(0);
    let sent = raw.send(&response(&update, "405 Method Not Allowed", ""));
    assert!(sent[0].starts_with("INVITE "), "{sent:?}");
    raw.send(&response(
        &sent[0],
        "200 OK",
        "Session-Expires: 90;refresher=uac",
    ));
    assert!(
        raw.run(secs(45))[0].starts_with("INVITE "),
        "it is not tried again"
    );
}

#[test]
fn a_422_to_our_refresh_makes_it_longer() {
    let mut raw = Raw::new();
    answered(&mut raw, "Session-Expires: 90\nAllow: UPDATE");
    let update = raw.run(secs(45)).remove(0);
    let sent = raw.send(&response(
        &update,
        "422 Session Interval Too Small",
        "Min-SE: 240",
    ));
    assert!(sent[0].starts_with("UPDATE "));
    assert_eq!(
        header(&sent[0], "Session-Expires"),
        Some("240;refresher=uac")
    );
    assert_eq!(header(&sent[0], "Min-SE"), Some("240"));
    raw.send(&response(
        &sent[0],
        "200 OK",
        "Session-Expires: 240;refresher=uac",
    ));
    assert!(raw.run(ms(119_999)).is_empty());
    assert_eq!(raw.run(ms(1)).len(), 1);
}

#[test]
fn a_refresh_that_finds_no_dialog_ends_the_call() {
    for answer in ["481 Gone", "408 Request Timeout"] {
        let mut raw = Raw::new();
        answered(&mut raw, "Session-Expires: 1800\nAllow: UPDATE");
        let update = raw.run(secs(900)).remove(0);
        let sent = raw.send(&response(&update, answer, ""));
        assert!(sent[0].starts_with("BYE "), "{answer}");
        assert!(matches!(
            raw.events().as_slice(),
            [DialogEvent::Lost { .. }]
        ));
    }
    // Silence is a 408.
    let mut raw = Raw::new();
    answered(&mut raw, "Session-Expires: 1800\nAllow: UPDATE");
    raw.run(secs(900));
    raw.run(secs(33));
    assert!(matches!(
        raw.events().as_slice(),
        [DialogEvent::Lost { .. }]
    ));
}

#[test]
fn a_refresh_that_fails_for_now_is_made_again_and_in_the_end_the_call_is_over() {
    let mut raw = Raw::new();
    answered(&mut raw, "Session-Expires: 90\nAllow: UPDATE");
    let mut sent = raw.run(secs(45));
    let mut tries = 0;
    while let Some(update) = sent.iter().find(|m| m.starts_with("UPDATE ")).cloned() {
        tries += 1;
        raw.send(&response(&update, "503 Service Unavailable", ""));
        sent = raw.run(ms(7_500));
    }
    assert_eq!(tries, 3);
    assert!(sent.iter().any(|m| m.starts_with("BYE ")), "{sent:?}");
}

#[test]
fn a_491_to_our_refresh_is_tried_again_within_seconds() {
    let mut raw = Raw::new();
    answered(&mut raw, "Session-Expires: 1800\nAllow: UPDATE");
    let update = raw.run(secs(900)).remove(0);
    raw.send(&response(&update, "491 Request Pending", ""));
    let sent = raw.run(secs(4));
    assert_eq!(
        sent.iter().filter(|m| m.starts_with("UPDATE ")).count(),
        1 + repeats(&sent)
    );
}

fn repeats(sent: &[String]) -> usize {
    let mut distinct = sent.to_vec();
    distinct.dedup();
    sent.len() - distinct.len()
}

#[test]
fn a_peers_reinvite_may_change_the_interval_and_one_without_it_keeps_it() {
    let mut raw = Raw::new();
    let (dialog, tag, _) = answered(&mut raw, "Supported: timer\nSession-Expires: 90");
    let answer = || Command::AnswerReinvite {
        status: 200,
        body: Bytes::from_static(b"v=0 more"),
        headers: Vec::new(),
    };
    let more = format!("{SDP}\nSupported: timer\nSession-Expires: 600;refresher=uac");
    raw.send(&in_dialog("INVITE", 2, &tag, "z9hG4bK2", &more, "v=0 a"));
    let ok = raw.command(dialog, answer()).remove(0);
    assert_eq!(header(&ok, "Session-Expires"), Some("600;refresher=uac"));
    raw.send(&in_dialog("ACK", 2, &tag, "z9hG4bK3", "", ""));
    assert!(raw.run(secs(500)).is_empty());
    let more = format!("{SDP}\nSupported: timer");
    raw.send(&in_dialog("INVITE", 3, &tag, "z9hG4bK4", &more, "v=0 b"));
    let ok = raw.command(dialog, answer()).remove(0);
    assert_eq!(header(&ok, "Session-Expires"), Some("600;refresher=uac"));
    raw.send(&in_dialog("ACK", 3, &tag, "z9hG4bK5", "", ""));
    assert!(raw.run(ms(567_999)).is_empty());
    assert!(raw.run(ms(1))[0].starts_with("BYE "));
}

#[test]
fn our_own_reinvite_keeps_the_timer() {
    let mut raw = Raw::new();
    let (dialog, _, _) = answered(&mut raw, "Supported: timer\nSession-Expires: 90");
    raw.run(secs(30));
    let body = Bytes::from_static(b"v=0 hold");
    let sent = raw.command(dialog, Command::Reinvite { body });
    assert_eq!(
        header(&sent[0], "Session-Expires"),
        Some("90;refresher=uas")
    );
    raw.send(&response(
        &sent[0],
        "200 OK",
        "Session-Expires: 90;refresher=uas",
    ));
    raw.events();
    assert!(raw.run(ms(59_999)).is_empty());
    assert!(raw.run(ms(1))[0].starts_with("BYE "));
}

#[test]
fn two_of_us_keep_a_call_alive_for_a_day_with_either_refreshing() {
    for refresher in ["uac", "uas"] {
        let mut pair = Pair::new();
        let wish = format!("1800;refresher={refresher}");
        let a = pair.invite_with("v=0 offer", &[("Session-Expires", &wish)]);
        pair.run(ms(20));
        let b = pair.invited().dialog;
        pair.answer(b);
        pair.run(ms(100));
        pair.events.clear();
        pair.ladder.clear();
        // Each refresh takes a moment.
        pair.run(secs(86_410));
        let side = if refresher == "uac" { 'A' } else { 'B' };
        let updates = pair
            .ladder
            .iter()
            .filter(|l| **l == format!("{side} UPDATE"));
        assert_eq!(updates.count(), 96, "{refresher}");
        assert_eq!(
            pair.ladder.len(),
            192,
            "nothing else: {:?}",
            &pair.ladder[..4]
        );
        assert!(pair.events.is_empty());
        pair.bye(End::Alice, a);
        pair.run_out();
    }
}

#[test]
fn a_refresh_survives_loss() {
    for seed in 0..20 {
        let mut pair = Pair::new();
        pair.invite_with("v=0 offer", &[("Session-Expires", "180;refresher=uas")]);
        pair.run(ms(20));
        let b = pair.invited().dialog;
        pair.answer(b);
        pair.run(ms(100));
        pair.events.clear();
        let mut pair = pair.lossy(20, seed);
        pair.run(secs(900));
        assert!(pair.events.is_empty(), "seed {seed}: {:?}", pair.events);
        let mut pair = pair.lossy(0, seed);
        pair.bye(End::Bob, b);
        pair.run_out();
    }
}

#[test]
fn a_dead_peer_is_noticed_by_the_side_that_waits() {
    let mut pair = Pair::new();
    pair.invite_with("v=0 offer", &[("Session-Expires", "90;refresher=uac")]);
    pair.run(ms(20));
    let b = pair.invited().dialog;
    pair.answer(b);
    pair.run(ms(100));
    pair.events.clear();
    pair.lose(End::Alice, "SIP", usize::MAX);
    pair.run(secs(61));
    let events = pair.dialog_events(End::Bob);
    assert!(
        matches!(events.as_slice(), [DialogEvent::Lost { .. }]),
        "{events:?}"
    );
    pair.run_out();
}
