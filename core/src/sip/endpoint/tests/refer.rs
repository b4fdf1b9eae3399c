//! REFER as transferor: we hand the caller over.

use std::time::Duration;

use bytes::Bytes;

use super::pair::{End, Pair, ms};
use super::raw::{Raw, header, in_dialog, outside, response, statuses};
use crate::sip::endpoint::{Command, CommandError, DialogEvent, NotifyState};

const SIPFRAG: &str = "Content-Type: message/sipfrag;version=2.0";

fn refer() -> Command {
    Command::Refer {
        refer_to: "<sip:queue@flex.example?X-Key=k1>".into(),
        headers: vec![("Referred-By".into(), "<sip:bot@10.0.0.2>".into())],
    }
}

fn bye() -> Command {
    Command::Bye {
        headers: Vec::new(),
    }
}

fn notify(cseq: u32, tag: &str, event: &str, state: &str, body: &str) -> String {
    let more = format!("Event: {event}\nSubscription-State: {state}\n{SIPFRAG}");
    in_dialog("NOTIFY", cseq, tag, &format!("z9hG4bKn{cseq}"), &more, body)
}

fn notified(status: u16, phrase: &str, state: NotifyState) -> DialogEvent {
    DialogEvent::Notified {
        sipfrag: Some((status, phrase.into())),
        state,
    }
}

fn answered(status: u16, reason: &str) -> DialogEvent {
    DialogEvent::ReferAnswered {
        status,
        reason: reason.into(),
    }
}

#[test]
fn context_for_the_contact_is_added_to_ours_and_only_there() {
    let mut raw = Raw::new();
    let (dialog, _) = raw.talking();
    let refer = Command::Refer {
        refer_to: "<sip:queue@flex.example>".into(),
        headers: vec![("contact".into(), "X-Key=k1&X-B=b".into())],
    };
    let sent = raw.command(dialog, refer).remove(0);
    assert_eq!(
        header(&sent, "Contact"),
        Some("<sip:bot@10.0.0.2:5060?X-Key=k1&X-B=b>")
    );
    assert_eq!(sent.to_ascii_lowercase().matches("\ncontact:").count(), 1);
    let sent = raw.command(dialog, bye()).remove(0);
    assert!(!sent.contains("X-Key"));
}

#[test]
fn a_transfer_is_accepted_and_its_outcome_told() {
    let mut raw = Raw::new();
    let (dialog, tag) = raw.talking();
    let sent = raw.command(dialog, refer()).remove(0);
    assert!(sent.starts_with("REFER sip:+1555@10.0.0.1:5060 SIP/2.0\r\n"));
    assert_eq!(
        header(&sent, "Refer-To"),
        Some("<sip:queue@flex.example?X-Key=k1>")
    );
    assert_eq!(header(&sent, "Referred-By"), Some("<sip:bot@10.0.0.2>"));
    assert_eq!(header(&sent, "CSeq"), Some("1 REFER"));
    assert_eq!(header(&sent, "Contact"), Some("<sip:bot@10.0.0.2:5060>"));
    assert_eq!(header(&sent, "Content-Length"), Some("0"));
    raw.send(&response(&sent, "202 Accepted", ""));
    let trying = notify(
        2,
        &tag,
        "refer",
        "active;expires=60",
        "SIP/2.0 100 Trying\r\n",
    );
    assert_eq!(statuses(&raw.send(&trying)), [200]);
    let done = notify(
        3,
        &tag,
        "refer;id=1",
        "terminated;reason=noresource",
        "SIP/2.0 200 OK",
    );
    assert_eq!(statuses(&raw.send(&done)), [200]);
    assert_eq!(
        raw.events(),
        [
            answered(202, "Accepted"),
            notified(100, "Trying", NotifyState::Active),
            notified(200, "OK", NotifyState::Terminated),
        ]
    );
}

#[test]
fn a_notify_may_overtake_the_202() {
    let mut raw = Raw::new();
    let (dialog, tag) = raw.talking();
    let sent = raw.command(dialog, refer()).remove(0);
    let early = notify(2, &tag, "refer", "active", "SIP/2.0 100 Trying");
    assert_eq!(statuses(&raw.send(&early)), [200]);
    raw.send(&response(&sent, "202 Accepted", ""));
    assert_eq!(
        raw.events(),
        [
            notified(100, "Trying", NotifyState::Active),
            answered(202, "Accepted")
        ]
    );
}

#[test]
fn a_refused_refer_leaves_the_call_up_and_opens_no_subscription() {
    for (line, status) in [("405 Method Not Allowed", 405), ("603 Decline", 603)] {
        let mut raw = Raw::new();
        let (dialog, tag) = raw.talking();
        let sent = raw.command(dialog, refer()).remove(0);
        raw.send(&response(&sent, line, ""));
        assert_eq!(raw.events(), [answered(status, &line[4..])]);
        let late = notify(2, &tag, "refer", "active", "SIP/2.0 100 Trying");
        assert_eq!(statuses(&raw.send(&late)), [481]);
        assert_eq!(raw.endpoint.dialogs(), 1);
        assert!(
            raw.endpoint.command(raw.now, dialog, refer()).is_ok(),
            "it may be tried again"
        );
    }
}

#[test]
fn a_refer_that_nobody_answers_is_408_after_timer_f_and_the_call_stays() {
    let mut raw = Raw::new();
    let (dialog, tag) = raw.talking();
    raw.command(dialog, refer());
    let sent = raw.run(Duration::from_secs(32));
    assert_eq!(sent.len(), 10);
    assert_eq!(raw.events(), [answered(408, "Request Timeout")]);
    assert_eq!(
        statuses(&raw.send(&in_dialog("INFO", 2, &tag, "z9hG4bK9", "", ""))),
        [200]
    );
}

#[test]
fn after_our_bye_notifies_are_answered_for_half_a_minute() {
    let mut raw = Raw::new();
    let (dialog, tag) = raw.talking();
    let sent = raw.command(dialog, refer()).remove(0);
    raw.send(&response(&sent, "202 Accepted", ""));
    let sent = raw.command(dialog, bye()).remove(0);
    raw.send(&response(&sent, "200 OK", ""));
    raw.events();
    raw.run(Duration::from_secs(20));
    let late = notify(2, &tag, "refer", "terminated", "SIP/2.0 200 OK");
    assert_eq!(statuses(&raw.send(&late)), [200]);
    assert_eq!(raw.events(), [notified(200, "OK", NotifyState::Terminated)]);
    assert_eq!(
        statuses(&raw.send(&in_dialog("INFO", 3, &tag, "z9hG4bK3", "", ""))),
        [481]
    );
    raw.run(Duration::from_secs(12));
    let too_late = notify(4, &tag, "refer", "terminated", "SIP/2.0 200 OK");
    assert_eq!(statuses(&raw.send(&too_late)), [481]);
    assert_eq!(raw.endpoint.dialogs(), 0);
}

#[test]
fn after_the_peers_bye_too() {
    let mut raw = Raw::new();
    let (dialog, tag) = raw.talking();
    let sent = raw.command(dialog, refer()).remove(0);
    raw.send(&in_dialog("BYE", 2, &tag, "z9hG4bKb", "", ""));
    raw.send(&response(&sent, "202 Accepted", ""));
    let late = notify(3, &tag, "refer", "terminated", "SIP/2.0 200 OK");
    assert_eq!(statuses(&raw.send(&late)), [200]);
    assert_eq!(
        raw.events(),
        [
            DialogEvent::Bye { reason: None },
            answered(202, "Accepted"),
            notified(200, "OK", NotifyState::Terminated)
        ]
    );
}

#[test]
fn a_refer_that_crosses_the_peers_bye_ends_with_its_481_and_leaves_nothing() {
    let mut raw = Raw::new();
    let (dialog, tag) = raw.talking();
    let sent = raw.command(dialog, refer()).remove(0);
    raw.send(&in_dialog("BYE", 2, &tag, "z9hG4bKb", "", ""));
    raw.send(&response(&sent, "481 Gone", ""));
    assert_eq!(
        raw.events(),
        [DialogEvent::Bye { reason: None }, answered(481, "Gone")]
    );
    assert_eq!(raw.endpoint.dialogs(), 0);
}

#[test]
fn a_481_that_comes_before_the_crossing_bye_leaves_the_bye_to_end_the_call() {
    let mut raw = Raw::new();
    let (dialog, tag) = raw.talking();
    let sent = raw.command(dialog, refer()).remove(0);
    raw.send(&response(&sent, "481 Gone", ""));
    assert_eq!(
        statuses(&raw.send(&in_dialog("BYE", 2, &tag, "z9hG4bKb", "", ""))),
        [200]
    );
    assert_eq!(
        raw.events(),
        [answered(481, "Gone"), DialogEvent::Bye { reason: None }]
    );
}

#[test]
fn strange_notifies_are_refused() {
    let mut raw = Raw::new();
    let (dialog, tag) = raw.talking();
    let unasked = notify(2, &tag, "refer", "active", "SIP/2.0 200 OK");
    assert_eq!(statuses(&raw.send(&unasked)), [481], "no REFER was sent");
    raw.command(dialog, refer());
    let no_event = in_dialog("NOTIFY", 3, &tag, "z9hG4bK3", "", "");
    assert_eq!(statuses(&raw.send(&no_event)), [400]);
    let sent = raw.send(&notify(4, &tag, "presence", "active", ""));
    assert_eq!(statuses(&sent), [489]);
    assert_eq!(header(&sent[0], "Allow-Events"), Some("refer"));
    assert_eq!(
        statuses(&raw.send(&notify(5, &tag, "refer;id=77", "active", "SIP/2.0 200 OK"))),
        [481]
    );
    assert_eq!(
        statuses(&raw.send(&notify(6, "x", "refer", "active", "SIP/2.0 200 OK"))),
        [481]
    );
    let mallory = notify(7, &tag, "refer", "active", "SIP/2.0 200 OK").replace("tag=far", "tag=m");
    assert_eq!(statuses(&raw.send(&mallory)), [481]);
    assert_eq!(
        statuses(&raw.send(&outside("NOTIFY", "z9hG4bK8", "Event: refer"))),
        [481]
    );
    assert!(raw.events().is_empty());
}

#[test]
fn a_notify_without_a_body_or_with_nonsense_is_told_without_a_status() {
    let mut raw = Raw::new();
    let (dialog, tag) = raw.talking();
    raw.command(dialog, refer());
    raw.send(&notify(2, &tag, "refer", "terminated;reason=timeout", ""));
    raw.send(&notify(3, &tag, "refer", "active", "gibberish"));
    let told = |state| DialogEvent::Notified {
        sipfrag: None,
        state,
    };
    assert_eq!(
        raw.events(),
        [told(NotifyState::Terminated), told(NotifyState::Active)]
    );
}

#[test]
fn a_refer_before_the_ack_waits_for_it_and_a_second_is_refused() {
    let mut pair = Pair::new();
    pair.invite("v=0 offer");
    pair.run(ms(20));
    let b = pair.invited().dialog;
    pair.answer(b);
    pair.command(End::Bob, b, refer());
    let now = pair.now;
    assert_eq!(
        pair.bob.command(now, b, refer()),
        Err(CommandError::ReferPending)
    );
    pair.run(ms(8));
    assert_eq!(pair.ladder[2..], ["B 200", "A ACK"]);
    pair.run(ms(50));
    assert_eq!(pair.ladder[2..], ["B 200", "A ACK", "B REFER"]);
    let now = pair.now;
    assert_eq!(
        pair.bob.command(now, b, refer()),
        Err(CommandError::ReferPending)
    );
    assert!(matches!(
        pair.dialog_events(End::Alice).as_slice(),
        [.., DialogEvent::Referred { .. }]
    ));
}

#[test]
fn a_reinvite_may_cross_a_refer() {
    let mut raw = Raw::new();
    let (dialog, tag) = raw.talking();
    let sent = raw.command(dialog, refer()).remove(0);
    raw.send(&in_dialog(
        "INVITE",
        2,
        &tag,
        "z9hG4bK2",
        "Content-Type: application/sdp",
        "v=0 new",
    ));
    let ok = Command::AnswerReinvite {
        status: 200,
        body: Bytes::from_static(b"v=0"),
        headers: Vec::new(),
    };
    assert_eq!(statuses(&raw.command(dialog, ok)), [200]);
    raw.send(&response(&sent, "202 Accepted", ""));
    let events = raw.events();
    assert!(matches!(
        events.as_slice(),
        [
            DialogEvent::Reinvited { .. },
            DialogEvent::ReferAnswered { status: 202, .. }
        ]
    ));
}

#[test]
fn a_line_end_in_refer_to_is_refused() {
    let mut raw = Raw::new();
    let (dialog, _) = raw.talking();
    let evil = Command::Refer {
        refer_to: "<sip:x>\r\nX: y".into(),
        headers: Vec::new(),
    };
    let result = raw.endpoint.command(raw.now, dialog, evil);
    assert!(matches!(result, Err(CommandError::Unspeakable(_))));
    assert!(raw.sent().is_empty());
    assert!(
        raw.endpoint.command(raw.now, dialog, refer()).is_ok(),
        "it is not pending"
    );
}
