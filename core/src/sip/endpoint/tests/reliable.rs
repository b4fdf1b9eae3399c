//! Provisional responses that must arrive: as UAS by hand, and two of us with a wire that loses.

use std::time::Duration;

use bytes::Bytes;

use super::pair::{End, Pair, ms};
use super::raw::{Raw, header, in_dialog, invite, status, statuses, tag_of};
use crate::sip::endpoint::{Command, DialogEvent, DialogId};

const REQUIRED: &str = "Require: 100rel";
const SDP: &str = "Content-Type: application/sdp";

fn ring(status: u16, body: &'static str) -> Command {
    Command::Ring {
        status,
        body: Bytes::from_static(body.as_bytes()),
    }
}

fn answer() -> Command {
    Command::Answer {
        body: Bytes::from_static(b"v=0"),
        headers: Vec::new(),
    }
}

fn offered(raw: &mut Raw, more: &str) -> DialogId {
    raw.send(&invite("z9hG4bKi", more));
    raw.invited().unwrap().dialog
}

fn prack(cseq: u32, rseq: &str, tag: &str, more: &str, body: &str) -> String {
    let more = format!("RAck: {rseq} 1 INVITE\n{more}");
    in_dialog("PRACK", cseq, tag, &format!("z9hG4bKp{cseq}"), &more, body)
}

#[test]
fn a_ring_is_reliable_only_for_who_requires_it() {
    for (more, reliable) in [("", false), ("Supported: 100rel", false), (REQUIRED, true)] {
        let mut raw = Raw::new();
        let dialog = offered(&mut raw, more);
        let ringing = raw.command(dialog, ring(180, "")).remove(0);
        assert_eq!(status(&ringing), 180);
        assert_eq!(header(&ringing, "Require"), reliable.then_some("100rel"));
        assert_eq!(header(&ringing, "RSeq").is_some(), reliable);
        assert_eq!(raw.run(ms(600)).len(), usize::from(reliable), "{more}");
    }
}

#[test]
fn it_is_repeated_until_its_prack_comes() {
    let mut raw = Raw::new();
    let dialog = offered(&mut raw, REQUIRED);
    let ringing = raw.command(dialog, ring(180, "")).remove(0);
    let (tag, rseq) = (
        tag_of(&ringing),
        header(&ringing, "RSeq").unwrap().to_owned(),
    );
    assert_eq!(raw.run(ms(3600)), vec![ringing; 3]);
    let acknowledged = prack(2, &rseq, &tag, "", "");
    assert_eq!(statuses(&raw.send(&acknowledged)), [200]);
    assert_eq!(
        statuses(&raw.send(&acknowledged)),
        [200],
        "a repeat of the PRACK"
    );
    assert!(raw.run(Duration::from_secs(50)).is_empty());
    assert_eq!(statuses(&raw.command(dialog, answer())), [200]);
}

#[test]
fn a_prack_for_something_else_gets_481_and_one_for_nothing_400() {
    let mut raw = Raw::new();
    let dialog = offered(&mut raw, REQUIRED);
    let ringing = raw.command(dialog, ring(180, "")).remove(0);
    let (tag, rseq) = (
        tag_of(&ringing),
        header(&ringing, "RSeq").unwrap().to_owned(),
    );
    let other: u32 = rseq.parse::<u32>().unwrap() + 1;
    assert_eq!(
        statuses(&raw.send(&prack(2, &other.to_string(), &tag, "", ""))),
        [481]
    );
    let wrong = prack(3, &rseq, &tag, "", "").replace("1 INVITE\n", "2 INVITE\n");
    assert_eq!(statuses(&raw.send(&wrong)), [481]);
    let none = in_dialog("PRACK", 4, &tag, "z9hG4bKn", "", "");
    assert_eq!(statuses(&raw.send(&none)), [400]);
    assert_eq!(statuses(&raw.send(&prack(5, &rseq, &tag, "", ""))), [200]);
    // Where none was asked for, none is known.
    let mut raw = Raw::new();
    let dialog = offered(&mut raw, "");
    let ringing = raw.command(dialog, ring(180, "")).remove(0);
    assert_eq!(
        statuses(&raw.send(&prack(2, "1", &tag_of(&ringing), "", ""))),
        [481]
    );
}

#[test]
fn without_prack_the_call_is_refused_after_32_s() {
    let mut raw = Raw::new();
    let dialog = offered(&mut raw, REQUIRED);
    raw.command(dialog, ring(180, ""));
    let sent = raw.run(Duration::from_secs(32));
    assert_eq!(statuses(&sent), [180, 180, 180, 180, 180, 180, 504]);
    assert!(matches!(
        raw.events().as_slice(),
        [DialogEvent::Lost { .. }]
    ));
    assert_eq!(raw.endpoint.dialogs(), 0);
}

#[test]
fn the_second_ring_waits_for_the_first_and_a_queue_has_an_end() {
    let mut raw = Raw::new();
    let dialog = offered(&mut raw, REQUIRED);
    let first = raw.command(dialog, ring(180, "")).remove(0);
    assert!(raw.command(dialog, ring(183, "v=0")).is_empty());
    let (tag, rseq) = (tag_of(&first), header(&first, "RSeq").unwrap().to_owned());
    let sent = raw.send(&prack(2, &rseq, &tag, "", ""));
    assert_eq!(statuses(&sent), [200, 183]);
    let next: u32 = rseq.parse::<u32>().unwrap() + 1;
    assert_eq!(header(&sent[1], "RSeq"), Some(next.to_string().as_str()));
    for _ in 0..4 {
        raw.command(dialog, ring(180, ""));
    }
    assert!(
        raw.endpoint
            .command(raw.now, dialog, ring(180, ""))
            .is_err()
    );
}

#[test]
fn the_answer_waits_for_the_prack_of_what_described_the_session() {
    let mut raw = Raw::new();
    let dialog = offered(&mut raw, REQUIRED);
    let early = raw.command(dialog, ring(183, "v=0 early")).remove(0);
    assert!(raw.command(dialog, answer()).is_empty());
    let (tag, rseq) = (tag_of(&early), header(&early, "RSeq").unwrap().to_owned());
    let sent = raw.send(&prack(2, &rseq, &tag, "", ""));
    assert_eq!(statuses(&sent), [200, 200]);
    assert!(header(&sent[1], "CSeq").unwrap().ends_with("INVITE"));
}

#[test]
fn the_answer_does_not_wait_for_a_bare_ring_whose_prack_is_answered_all_the_same() {
    let mut raw = Raw::new();
    let dialog = offered(&mut raw, REQUIRED);
    let ringing = raw.command(dialog, ring(180, "")).remove(0);
    let (tag, rseq) = (
        tag_of(&ringing),
        header(&ringing, "RSeq").unwrap().to_owned(),
    );
    assert_eq!(statuses(&raw.command(dialog, answer())), [200]);
    raw.send(&in_dialog("ACK", 1, &tag, "z9hG4bKa", "", ""));
    assert!(raw.run(Duration::from_secs(10)).is_empty(), "no more rings");
    assert_eq!(statuses(&raw.send(&prack(2, &rseq, &tag, "", ""))), [200]);
}

#[test]
fn a_call_that_is_given_up_while_its_answer_waits_is_refused() {
    let mut raw = Raw::new();
    let dialog = offered(&mut raw, REQUIRED);
    raw.command(dialog, ring(183, "v=0 early"));
    raw.command(dialog, answer());
    let bye = Command::Bye {
        headers: Vec::new(),
    };
    assert_eq!(statuses(&raw.command(dialog, bye)), [480]);
    assert_eq!(raw.events(), [DialogEvent::ByeAnswered { status: 200 }]);
    assert_eq!(raw.endpoint.dialogs(), 0);
}

#[test]
fn an_offer_in_the_prack_is_asked_about_and_answered_in_its_200() {
    let mut raw = Raw::new();
    let dialog = offered(&mut raw, REQUIRED);
    let early = raw.command(dialog, ring(183, "v=0 early")).remove(0);
    let (tag, rseq) = (tag_of(&early), header(&early, "RSeq").unwrap().to_owned());
    assert!(
        raw.send(&prack(2, &rseq, &tag, SDP, "v=0 other"))
            .is_empty()
    );
    let offer = Bytes::from_static(b"v=0 other");
    assert_eq!(raw.events(), [DialogEvent::Reinvited { offer }]);
    let command = Command::AnswerReinvite {
        status: 200,
        body: Bytes::from_static(b"v=0 agreed"),
        headers: Vec::new(),
    };
    let ok = raw.command(dialog, command).remove(0);
    assert!(status(&ok) == 200 && ok.ends_with("v=0 agreed"));
    assert!(header(&ok, "CSeq").unwrap().ends_with("PRACK"));
    // And an UPDATE may follow before the answer (RFC 3311 §5.1).
    assert!(
        raw.send(&in_dialog("UPDATE", 3, &tag, "z9hG4bKu", SDP, "v=0 third"))
            .is_empty()
    );
    assert!(matches!(
        raw.events().as_slice(),
        [DialogEvent::Reinvited { .. }]
    ));
}

#[test]
fn an_offer_before_the_session_is_described_comes_too_early() {
    let mut raw = Raw::new();
    let dialog = offered(&mut raw, REQUIRED);
    let ringing = raw.command(dialog, ring(180, "")).remove(0);
    let (tag, rseq) = (
        tag_of(&ringing),
        header(&ringing, "RSeq").unwrap().to_owned(),
    );
    assert_eq!(
        statuses(&raw.send(&prack(2, &rseq, &tag, SDP, "v=0 other"))),
        [500]
    );
    let update = in_dialog("UPDATE", 3, &tag, "z9hG4bKu", SDP, "v=0 other");
    assert_eq!(statuses(&raw.send(&update)), [500]);
    assert!(raw.events().is_empty());
}

#[test]
fn a_late_offer_in_a_ring_is_answered_in_its_prack() {
    let mut raw = Raw::new();
    let bare = invite("z9hG4bKi", REQUIRED)
        .replace("Content-Type: application/sdp\n", "")
        .replace("Content-Length: 3\n\nv=0", "Content-Length: 0\n\n");
    raw.send(&bare);
    let dialog = raw.invited().unwrap().dialog;
    let early = raw.command(dialog, ring(183, "v=0 our offer")).remove(0);
    let (tag, rseq) = (tag_of(&early), header(&early, "RSeq").unwrap().to_owned());
    // Ours is open, theirs must wait.
    let update = in_dialog("UPDATE", 2, &tag, "z9hG4bKu", SDP, "v=0 other");
    assert_eq!(statuses(&raw.send(&update)), [491]);
    assert_eq!(
        statuses(&raw.send(&prack(3, &rseq, &tag, SDP, "v=0 their answer"))),
        [200]
    );
    let body = Bytes::from_static(b"v=0 their answer");
    assert_eq!(raw.events(), [DialogEvent::Acknowledged { body }]);
    assert_eq!(statuses(&raw.command(dialog, answer())), [200]);
}

#[test]
fn a_long_ring_is_numbered_each_minute() {
    let mut raw = Raw::new();
    let dialog = offered(&mut raw, REQUIRED);
    let mut ringing = raw.command(dialog, ring(180, "")).remove(0);
    for minute in 0..4 {
        let (tag, rseq) = (
            tag_of(&ringing),
            header(&ringing, "RSeq").unwrap().to_owned(),
        );
        assert_eq!(
            statuses(&raw.send(&prack(2 + minute, &rseq, &tag, "", ""))),
            [200]
        );
        let sent = raw.run(Duration::from_mins(1));
        assert_eq!(sent.len(), 1, "minute {minute}");
        ringing = sent[0].clone();
        assert_ne!(header(&ringing, "RSeq"), Some(rseq.as_str()));
    }
}

#[test]
fn cancel_ends_the_repeats() {
    let mut raw = Raw::new();
    let dialog = offered(&mut raw, REQUIRED);
    raw.command(dialog, ring(183, "v=0"));
    let cancel = invite("z9hG4bKi", "").replace("INVITE", "CANCEL");
    assert_eq!(statuses(&raw.send(&cancel)), [200, 487]);
    let later = raw.run(Duration::from_mins(1));
    assert!(statuses(&later).iter().all(|status| *status == 487));
}

#[test]
fn two_of_us_ring_answer_and_talk_with_every_kind_of_loss() {
    for seed in 0..60 {
        let mut pair = Pair::new().lossy(20, seed);
        let a = pair.invite_with("v=0 offer", &[("Require", "100rel")]);
        pair.run(ms(40_000));
        let Some(b) = pair.find_invited().map(|invited| invited.dialog) else {
            continue; // the INVITE was lost seven times
        };
        pair.try_command(End::Bob, b, ring(180, ""));
        pair.try_command(End::Bob, b, ring(183, "v=0 early"));
        pair.try_command(End::Bob, b, answer());
        pair.run(ms(60_000));
        let rings: Vec<u16> = pair
            .dialog_events(End::Alice)
            .iter()
            .filter_map(|event| {
                let DialogEvent::Progress { status, .. } = event else {
                    return None;
                };
                Some(*status)
            })
            .collect();
        assert!(
            [&[][..], &[180], &[180, 183]].contains(&&rings[..]),
            "seed {seed}: {rings:?}"
        );
        let mut pair = pair.lossy(0, seed);
        let bye = || Command::Bye {
            headers: Vec::new(),
        };
        pair.try_command(End::Alice, a, bye());
        pair.try_command(End::Bob, b, bye());
        pair.run_out();
    }
}
