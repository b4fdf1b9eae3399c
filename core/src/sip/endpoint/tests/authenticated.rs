//! Callers that must prove themselves, as UAS (RFC 3261 §22.2): who is asked, who is taken, who is not even asked.

use std::sync::Arc;
use std::time::Duration;

use super::raw::{Raw, header, in_dialog, invite, outside, statuses};
use crate::sip::auth::{Account, Algorithm, Challenge, Counted, Credentials};
use crate::sip::endpoint::{Command, Config};
use crate::sip::message::Method;
use crate::sip::trunk::{Trunk, Trunks};

const URI: &str = "sip:bot@10.0.0.2";

fn proving(networks: &[&str]) -> Trunk {
    Trunk {
        name: "phones".into(),
        networks: networks.iter().map(|n| n.parse().unwrap()).collect(),
        credentials: Some(Arc::new(Account::new("u", "p"))),
        ..Trunk::default()
    }
}

fn raw(trunks: Vec<Trunk>) -> Raw {
    Raw::with(Config {
        trunks: Trunks::new(trunks),
        realm: "voice.example.com".into(),
        ..Config::default()
    })
}

/// The challenges of a 401, in order.
fn challenges(response: &str) -> Vec<Challenge> {
    response
        .lines()
        .filter_map(|line| line.strip_prefix("WWW-Authenticate: "))
        .map(|value| Challenge::parse_all(value).unwrap().remove(0))
        .collect()
}

/// An Authorization line.
fn answer(challenge: &Challenge, (method, uri): (Method, &str), password: &str, nc: u32) -> String {
    let counted = Counted {
        cnonce: "0a4f113b".into(),
        nc,
    };
    let account = Account::new("u", password);
    let answer = Credentials::answer(challenge, &account, (&method, uri), counted).unwrap();
    format!("Authorization: {answer}")
}

fn proof(challenge: &Challenge, password: &str, nc: u32) -> String {
    answer(challenge, (Method::Invite, URI), password, nc)
}

/// What an INVITE without a proof is told.
fn challenged(raw: &mut Raw, branch: &str) -> Vec<Challenge> {
    let sent = raw.send(&invite(branch, ""));
    assert_eq!(statuses(&sent), [401]);
    challenges(&sent[0])
}

#[test]
fn a_caller_is_asked_and_its_answer_opens_the_door() {
    let mut raw = raw(vec![proving(&[])]);
    let asked = challenged(&mut raw, "z9hG4bK1");
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].algorithm, Some(Algorithm::SHA_256));
    assert_eq!(asked[1].algorithm, Some(Algorithm::MD5));
    assert_eq!(asked[0].realm, "voice.example.com");
    assert_eq!(raw.endpoint.transactions(), 0, "asking costs no memory");
    for (n, challenge) in asked.iter().enumerate() {
        let nc = u32::try_from(n).unwrap() + 1;
        let invite = invite(&format!("z9hG4bKa{n}"), &proof(challenge, "p", nc));
        let invite = invite.replace("c1@far", &format!("c{n}@far"));
        assert_eq!(statuses(&raw.send(&invite)), [100]);
        assert_eq!(raw.invited().unwrap().trunk, "phones");
    }
    assert_eq!(raw.endpoint.counters().challenged, 1);
}

#[test]
fn a_wrong_password_is_asked_again_without_a_word_of_why() {
    let mut raw = raw(vec![proving(&[])]);
    let asked = challenged(&mut raw, "z9hG4bK1");
    let unknown = proof(&asked[0], "p", 1).replace("username=\"u\"", "username=\"x\"");
    for line in [proof(&asked[0], "wrong", 1), unknown] {
        let sent = raw.send(&invite("z9hG4bK2", &line));
        assert_eq!(statuses(&sent), [401]);
        assert!(challenges(&sent[0]).iter().all(|c| !c.stale));
    }
    assert!(raw.invited().is_none());
}

#[test]
fn a_guesser_is_shut_out_for_a_minute() {
    let mut raw = raw(vec![proving(&[])]);
    let asked = challenged(&mut raw, "z9hG4bK1");
    for n in 0..10 {
        let guess = proof(&asked[0], &format!("guess{n}"), 1);
        assert_eq!(statuses(&raw.send(&invite("z9hG4bK2", &guess))), [401]);
    }
    let right = proof(&asked[0], "p", 1);
    assert_eq!(statuses(&raw.send(&invite("z9hG4bK3", &right))), [403]);
    raw.run(Duration::from_mins(1));
    let asked = challenged(&mut raw, "z9hG4bK4");
    let right = proof(&asked[0], "p", 1);
    assert_eq!(statuses(&raw.send(&invite("z9hG4bK5", &right))), [100]);
}

#[test]
fn an_old_nonce_and_one_said_before_are_stale() {
    let mut raw = raw(vec![proving(&[])]);
    let asked = challenged(&mut raw, "z9hG4bK1");
    let line = proof(&asked[0], "p", 1);
    assert_eq!(statuses(&raw.send(&invite("z9hG4bK2", &line))), [100]);
    let again = invite("z9hG4bK3", &line).replace("c1@far", "c2@far");
    let sent = raw.send(&again);
    assert_eq!(statuses(&sent), [401]);
    assert!(challenges(&sent[0]).iter().all(|c| c.stale));
    raw.run(Duration::from_secs(61));
    let late = proof(&asked[0], "p", 2);
    let sent = raw.send(&invite("z9hG4bK4", &late).replace("c1@far", "c3@far"));
    assert!(challenges(&sent[0])[0].stale);
    let fresh = proof(&challenges(&sent[0])[0], "p", 1);
    let sent = raw.send(&invite("z9hG4bK5", &fresh).replace("c1@far", "c4@far"));
    assert_eq!(statuses(&sent), [100]);
}

#[test]
fn who_is_on_no_list_gets_403_and_never_401() {
    let mut raw = raw(vec![proving(&["192.0.2.0/24"])]);
    assert_eq!(statuses(&raw.send(&invite("z9hG4bK1", ""))), [403]);
    let forged = "Authorization: Digest username=\"u\", realm=\"voice.example.com\", nonce=\"n\", uri=\"x\", response=\"\"";
    assert_eq!(statuses(&raw.send(&invite("z9hG4bK2", forged))), [403]);
    raw.flow.remote = "192.0.2.7:5060".parse().unwrap();
    assert_eq!(statuses(&raw.send(&invite("z9hG4bK3", ""))), [401]);
}

#[test]
fn a_trunk_that_need_not_prove_itself_is_taken_where_nobody_proved_anything() {
    let near = Trunk {
        name: "near".into(),
        networks: vec!["10.0.0.0/8".parse().unwrap()],
        ..Trunk::default()
    };
    let mut raw = raw(vec![proving(&[]), near]);
    assert_eq!(statuses(&raw.send(&invite("z9hG4bK1", ""))), [100]);
    assert_eq!(raw.invited().unwrap().trunk, "near");
    raw.flow.remote = "203.0.113.7:5060".parse().unwrap();
    let sent = raw.send(&invite("z9hG4bK2", "").replace("c1@far", "c2@far"));
    assert_eq!(statuses(&sent), [401]);
}

#[test]
fn options_are_answered_unasked_and_other_requests_outside_dialogs_are_asked() {
    let mut raw = raw(vec![proving(&[])]);
    assert_eq!(
        statuses(&raw.send(&outside("OPTIONS", "z9hG4bK1", ""))),
        [200]
    );
    assert_eq!(statuses(&raw.send(&outside("BYE", "z9hG4bK2", ""))), [401]);
    assert_eq!(
        statuses(&raw.send(&outside("CANCEL", "z9hG4bK3", ""))),
        [481]
    );
    assert!(raw.send(&outside("ACK", "z9hG4bK4", "")).is_empty());
}

/// A call that proved itself, and our tag.
fn talking(raw: &mut Raw) -> String {
    let asked = challenged(raw, "z9hG4bK0");
    raw.send(&invite("z9hG4bKi", &proof(&asked[0], "p", 1)));
    let dialog = raw.invited().unwrap().dialog;
    let answer = Command::Answer {
        body: bytes::Bytes::from_static(b"v=0"),
        headers: Vec::new(),
    };
    let sent = raw.command(dialog, answer);
    let tag = super::raw::tag_of(&sent[0]);
    assert!(
        raw.send(&in_dialog("ACK", 1, &tag, "z9hG4bKa", "", ""))
            .is_empty()
    );
    tag
}

#[test]
fn in_its_dialog_a_caller_need_not_prove_itself_again() {
    let mut raw = raw(vec![proving(&[])]);
    let tag = talking(&mut raw);
    raw.flow.remote.set_port(40_000);
    let bye = in_dialog("BYE", 2, &tag, "z9hG4bKb", "", "");
    assert_eq!(statuses(&raw.send(&bye)), [200]);
}

#[test]
fn from_another_address_a_dialog_must_be_proved_again() {
    let mut raw = raw(vec![proving(&[])]);
    let tag = talking(&mut raw);
    raw.flow.remote = "203.0.113.66:5060".parse().unwrap();
    let bye = |branch, line: &str| in_dialog("BYE", 2, &tag, branch, line, "");
    let sent = raw.send(&bye("z9hG4bKb", ""));
    assert_eq!(statuses(&sent), [401]);
    let asked = challenges(&sent[0]).remove(0);
    let wrong = answer(&asked, (Method::Bye, URI), "wrong", 1);
    assert_eq!(statuses(&raw.send(&bye("z9hG4bKc", &wrong))), [401]);
    let right = answer(&asked, (Method::Bye, URI), "p", 1);
    let sent = raw.send(&bye("z9hG4bKd", &right));
    assert_ne!(statuses(&sent), [401]);
}

#[test]
fn a_flood_of_challenges_leaves_nothing_behind() {
    let mut raw = raw(vec![proving(&[])]);
    for n in 0..2000_u32 {
        raw.flow
            .remote
            .set_ip(std::net::IpAddr::from((0x0b00_0000 + n).to_be_bytes()));
        let sent = raw.send(&invite(&format!("z9hG4bK{n}"), ""));
        assert_eq!(statuses(&sent), [401]);
        assert!(header(&sent[0], "Contact").is_none());
    }
    assert_eq!(raw.endpoint.transactions() + raw.endpoint.dialogs(), 0);
    assert_eq!(raw.endpoint.poll_timeout(), None);
}
