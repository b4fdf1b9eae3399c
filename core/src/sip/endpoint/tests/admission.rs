//! How many calls there are: the gate, the room kept for transfers, and who never acknowledges.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::raw::{Raw, header, in_dialog, invite, outside, response, status, statuses, tag_of};
use crate::sip::endpoint::{
    Busy, Command, Config, DialogEvent, DialogId, Event, Gate, InviteError, Limits, NotifyState,
    OutgoingInvite,
};

/// Takes so many calls, and remembers whom it was asked about.
#[derive(Debug, Clone, Default)]
struct Places(Arc<Mutex<(usize, Vec<IpAddr>)>>);

const BUSY: Busy = Busy {
    retry_after: Duration::from_secs(17),
};

impl Places {
    fn free(&self, places: usize) {
        self.0.lock().unwrap().0 = places;
    }

    fn asked(&self) -> Vec<IpAddr> {
        std::mem::take(&mut self.0.lock().unwrap().1)
    }
}

impl Gate for Places {
    fn admit(&mut self, _now: Instant, source: IpAddr) -> Result<(), Busy> {
        let mut inner = self.0.lock().unwrap();
        inner.1.push(source);
        inner.0 = inner.0.checked_sub(1).ok_or(BUSY)?;
        Ok(())
    }

    fn full(&mut self, _now: Instant) -> Option<Busy> {
        (self.0.lock().unwrap().0 == 0).then_some(BUSY)
    }
}

fn gated(places: usize) -> (Raw, Places) {
    let (mut raw, gate) = (Raw::new(), Places::default());
    gate.free(places);
    raw.endpoint.set_gate(Box::new(gate.clone()));
    (raw, gate)
}

/// INVITE `n` of a caller who calls again and again.
fn nth_invite(n: usize) -> String {
    invite(&format!("z9hG4bKn{n}"), "").replace("c1@far", &format!("n{n}@far"))
}

fn answer() -> Command {
    Command::Answer {
        body: Bytes::from_static(b"v=0"),
        headers: Vec::new(),
    }
}

#[test]
fn a_call_that_the_gate_refuses_is_told_when_to_come_back_and_forgotten() {
    let (mut raw, gate) = gated(1);
    assert_eq!(statuses(&raw.send(&nth_invite(1))), [100]);
    assert!(raw.invited().is_some());
    let before = raw.endpoint.transactions();
    let sent = raw.send(&nth_invite(2));
    assert_eq!(statuses(&sent), [503]);
    assert_eq!(header(&sent[0], "Retry-After"), Some("17"));
    assert!(raw.invited().is_none());
    assert_eq!(raw.endpoint.transactions(), before);
    assert_eq!(raw.endpoint.counters().overloaded, 1);
    let ack = nth_invite(2).replace("INVITE", "ACK");
    assert!(raw.send(&ack).is_empty(), "its ACK belongs to nothing");
    gate.free(1);
    assert_eq!(statuses(&raw.send(&nth_invite(2))), [100], "asked anew");
}

#[test]
fn the_gate_is_asked_once_for_each_call_and_only_for_those_that_can_be_taken() {
    let (mut raw, gate) = gated(10);
    raw.send(&nth_invite(1).replace("CSeq:", "Require: unheard-of\nCSeq:"));
    raw.send(&nth_invite(2).replace("Contact", "X-No-Contact"));
    raw.flow.remote = "203.0.113.7:5060".parse().unwrap();
    raw.send(&nth_invite(3));
    assert_eq!(gate.asked(), Vec::<IpAddr>::new());
    raw.flow.remote = "10.0.0.1:5060".parse().unwrap();
    raw.send(&nth_invite(4));
    raw.send(&nth_invite(4));
    assert_eq!(gate.asked(), [raw.flow.remote.ip()]);
}

#[test]
fn options_tell_that_the_gate_is_closed_and_that_it_is_open_again() {
    let (mut raw, gate) = gated(0);
    let sent = raw.send(&outside("OPTIONS", "z9hG4bK1", ""));
    assert_eq!(statuses(&sent), [503]);
    assert_eq!(header(&sent[0], "Retry-After"), Some("17"));
    gate.free(1);
    assert_eq!(
        statuses(&raw.send(&outside("OPTIONS", "z9hG4bK2", ""))),
        [200]
    );
    assert_eq!(gate.asked(), Vec::<IpAddr>::new(), "asking takes no place");
}

#[test]
fn options_tell_that_the_tables_are_full() {
    let mut raw = Raw::with(Config {
        limits: Limits {
            dialogs: 4,
            ..Limits::default()
        },
        ..Config::default()
    });
    for n in 0..3 {
        assert_eq!(statuses(&raw.send(&nth_invite(n))), [100], "{n}");
    }
    assert_eq!(statuses(&raw.send(&nth_invite(3))), [503]);
    assert_eq!(
        statuses(&raw.send(&outside("OPTIONS", "z9hG4bK1", ""))),
        [503]
    );
}

/// Offers calls until there is no room for more.
fn fill(raw: &mut Raw) {
    for n in 0..1000 {
        if statuses(&raw.send(&nth_invite(n))) == [503] {
            return;
        }
        raw.invited().unwrap();
    }
    panic!("there is no end to the room");
}

fn tight() -> Raw {
    Raw::with(Config {
        limits: Limits {
            dialogs: 8,
            transactions: 16,
            ..Limits::default()
        },
        ..Config::default()
    })
}

#[test]
fn a_node_full_of_calls_still_transfers_them() {
    let mut raw = tight();
    let (dialog, tag) = raw.talking();
    fill(&mut raw);
    let sent = raw.command(
        dialog,
        Command::Refer {
            refer_to: "<sip:humans@h>".into(),
            headers: Vec::new(),
        },
    );
    assert!(sent[0].starts_with("REFER "), "{sent:?}");
    let accepted = response(&sent[0], "202 Accepted", "");
    assert!(raw.send(&accepted).is_empty());
    let notify = in_dialog(
        "NOTIFY",
        2,
        &tag,
        "z9hG4bKn",
        "Event: refer\nSubscription-State: terminated\nContent-Type: message/sipfrag",
        "SIP/2.0 200 OK",
    );
    assert_eq!(statuses(&raw.send(&notify)), [200]);
    let told = raw.events();
    assert!(
        told.contains(&DialogEvent::Notified {
            sipfrag: Some((200, "OK".into())),
            state: NotifyState::Terminated
        }),
        "{told:?}"
    );
    let bye = Command::Bye {
        headers: Vec::new(),
    };
    assert!(raw.command(dialog, bye)[0].starts_with("BYE "));
}

#[test]
fn a_node_full_of_calls_still_places_the_calls_of_its_transfers() {
    let mut raw = tight();
    fill(&mut raw);
    let placed = || OutgoingInvite {
        ways: raw.flow.into(),
        target: "sip:humans@10.0.0.1".into(),
        from: "<sip:bot@10.0.0.2>".into(),
        to: String::new(),
        call_id: String::new(),
        account: None,
        headers: Vec::new(),
        body: Bytes::from_static(b"v=0"),
    };
    let (now, invites) = (raw.now, [placed(), placed(), placed()]);
    let placed: Vec<Result<DialogId, InviteError>> = invites
        .into_iter()
        .map(|invite| raw.endpoint.invite(now, invite))
        .collect();
    assert!(placed[0].is_ok() && placed[1].is_ok(), "{placed:?}");
    assert_eq!(
        placed[2],
        Err(InviteError::TooManyDialogs),
        "also the reserve has an end"
    );
}

fn wary() -> Raw {
    Raw::with(Config {
        limits: Limits {
            unacknowledged_per_source: 2,
            ..Limits::default()
        },
        ..Config::default()
    })
}

/// Answers call `n`; returns the dialog and our tag, or what was said in place of 200.
fn answered(raw: &mut Raw, n: usize) -> Result<(DialogId, String), String> {
    let sent = raw.send(&nth_invite(n));
    if status(&sent[0]) != 100 {
        return Err(sent[0].clone());
    }
    let mut events = std::iter::from_fn(|| raw.endpoint.poll_event());
    let dialog = events.find_map(|event| match event {
        Event::Invited(invited) => Some(invited.dialog),
        Event::Dialog { .. } | Event::Locate { .. } | Event::Registration { .. } => None,
    });
    let dialog = dialog.unwrap();
    let sent = raw.command(dialog, answer());
    if status(&sent[0]) == 200 {
        Ok((dialog, tag_of(&sent[0])))
    } else {
        Err(sent[0].clone())
    }
}

fn ack(n: usize, tag: &str) -> String {
    in_dialog("ACK", 1, tag, &format!("z9hG4bKack{n}"), "", "")
        .replace("c1@far", &format!("n{n}@far"))
}

#[test]
fn a_source_that_never_acknowledges_is_answered_only_so_often() {
    let mut raw = wary();
    let (_, tag) = answered(&mut raw, 1).unwrap();
    answered(&mut raw, 2).unwrap();
    let refused = answered(&mut raw, 3).unwrap_err();
    assert_eq!(status(&refused), 503);
    assert!(header(&refused, "Retry-After").is_some());
    assert_eq!(raw.endpoint.dialogs(), 2, "nothing of it is remembered");
    raw.flow.remote = "10.0.0.9:5060".parse().unwrap();
    answered(&mut raw, 4).expect("others are not held liable");
    raw.flow.remote = "10.0.0.1:5060".parse().unwrap();
    raw.send(&ack(1, &tag));
    answered(&mut raw, 5).expect("one has been acknowledged");
}

#[test]
fn calls_that_were_offered_together_are_not_all_answered_when_none_is_acknowledged() {
    let mut raw = wary();
    let dialogs: Vec<DialogId> = (0..4)
        .map(|n| {
            raw.send(&nth_invite(n));
            raw.invited().unwrap().dialog
        })
        .collect();
    let said: Vec<u16> = dialogs
        .into_iter()
        .flat_map(|dialog| statuses(&raw.command(dialog, answer())))
        .collect();
    assert_eq!(said, [200, 200, 503, 503]);
    let told = raw.events();
    assert_eq!(told.len(), 2);
    assert!(
        told.iter()
            .all(|event| matches!(event, DialogEvent::Lost { .. })),
        "{told:?}"
    );
}

#[test]
fn who_never_acknowledged_gets_bye_after_32_seconds_and_may_call_again() {
    let mut raw = wary();
    answered(&mut raw, 1).unwrap();
    answered(&mut raw, 2).unwrap();
    let sent = raw.run(Duration::from_millis(31_900));
    assert!(
        sent.iter().all(|message| status(message) == 200),
        "{sent:?}"
    );
    let sent = raw.run(Duration::from_millis(200));
    assert_eq!(
        sent.iter().filter(|m| m.starts_with("BYE ")).count(),
        2,
        "{sent:?}"
    );
    let never = |event: &DialogEvent| *event == DialogEvent::NeverAcknowledged;
    assert!(raw.events().iter().all(never));
    answered(&mut raw, 3).expect("nothing is held against it any more");
}

#[test]
fn without_a_cap_everybody_is_answered() {
    let mut raw = Raw::with(Config {
        limits: Limits {
            unacknowledged_per_source: 0,
            ..Limits::default()
        },
        ..Config::default()
    });
    for n in 0..300 {
        answered(&mut raw, n).unwrap();
    }
}
