//! Who proves what to whom: callers to the bridge, and the bridge to a trunk that asks.

use std::sync::Arc;

use baton_core::history::{EndBy, EndKind};
use baton_core::sip::auth::Account;
use baton_core::sip::trunk::{Trunk, Trunks};
use baton_core::vocab::Entropy;

use crate::support::bridge::House;
use crate::support::doorkeeper::Doorkeeper;
use crate::support::far_end::Placing;
use crate::support::wire::{Message, Weather};
use crate::support::{Ladder, secs};

fn account(password: &str) -> Account {
    Account::new("pbx", password)
}

/// Calls come from a trunk that must prove itself, and whose challenges we answer likewise.
fn proving(house: &mut House) {
    house.sip.trunks = Trunks::new(vec![Trunk {
        name: "pbx".into(),
        credentials: Some(Arc::new(account("s3cret"))),
        ..Trunk::default()
    }]);
}

fn as_account(account: Account) -> Placing {
    Placing {
        account: Some(account),
        ..Placing::default()
    }
}

/// A call by somebody who proved who he is.
fn answered() -> Ladder {
    let placing = as_account(account("s3cret"));
    let mut call = Ladder::calls_in(Weather::FINE, 1, proving, &placing);
    call.sends("401 Unauthorized").sends("180 Ringing");
    call.sends("200 OK (INVITE)")
        .receives("ACK")
        .passes(secs(1));
    call
}

/// The trunk asks who we are whenever we say one of these.
fn asked(call: &mut Ladder, methods: &'static [&'static str]) {
    let mut entropy = Entropy::from_number(5);
    call.world.far.door = Some(Doorkeeper::new(methods, account("s3cret"), &mut entropy));
}

#[test]
fn a_caller_is_asked_proves_itself_and_is_answered() {
    let placing = as_account(account("s3cret"));
    let mut call = Ladder::calls_in(Weather::FINE, 1, proving, &placing);
    call.sends("401 Unauthorized")
        .with("WWW-Authenticate: Digest realm=\"baton\"")
        .with("algorithm=SHA-256")
        .with("algorithm=MD5");
    call.sends("180 Ringing").sends("200 OK (INVITE)");
    call.receives("ACK").passes(secs(1));
    assert_eq!(call.call().invited.trunk, "pbx");
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_caller_proves_itself_through_any_storm_and_is_one_call() {
    let mut answered = 0;
    for seed in 0..40 {
        let placing = as_account(account("s3cret"));
        let mut call = Ladder::calls_in(Weather::STORM, seed, proving, &placing);
        call.passes(secs(30));
        let calls = call.world.bridge.calls().count();
        assert!(calls <= 1, "seed {seed}: {calls} calls");
        answered += calls;
        if calls == 1 {
            call.receives("BYE");
        }
        call.passes(secs(60)).is_forgotten();
    }
    assert!(answered >= 38, "{answered} of 40 got through");
}

#[test]
fn a_wrong_password_is_refused_twice_and_nothing_of_it_stays() {
    let placing = as_account(account("wrong"));
    let mut call = Ladder::calls_in(Weather::FINE, 1, proving, &placing);
    call.sends("401 Unauthorized").sends("401 Unauthorized");
    call.sends_nothing_for(secs(60));
    assert_eq!(call.world.bridge.calls().count(), 0);
    call.is_forgotten();
}

#[test]
fn a_caller_who_cannot_prove_anything_ends_with_the_question() {
    let mut call = Ladder::calls_in(Weather::FINE, 1, proving, &Placing::default());
    call.sends("401 Unauthorized").sends_nothing_for(secs(60));
    assert_eq!(call.world.bridge.calls().count(), 0);
    call.is_forgotten();
}

#[test]
fn a_proof_that_was_overheard_opens_no_second_call() {
    let mut call = answered();
    let is_proof =
        |message: &&Message| message.is("INVITE") && message.text.contains("Authorization:");
    let ladder = call.world.wire.ladder();
    let overheard = ladder.iter().find(is_proof).expect("a proof").text.clone();
    let replayed = overheard
        .replace("\r\n", "\n")
        .replace("branch=z9hG4bK", "branch=z9hG4bKreplayed")
        .replace("Call-ID: ", "Call-ID: replayed");
    // From elsewhere, and with the right source address: the answers go to that.
    let answers = call.stranger_sends("10.0.0.66:5060", &replayed);
    assert!(answers[0].starts_with("SIP/2.0 401"), "{answers:?}");
    call.sends("401 Unauthorized");
    call.stranger_sends("10.0.0.1:5061", &replayed);
    call.sends("401 Unauthorized").with("stale=true");
    assert_eq!(call.world.bridge.calls().count(), 1);
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_handoff_goes_on_when_the_trunk_asks_who_we_are() {
    let mut call = answered();
    asked(&mut call, &["REFER", "BYE"]);
    call.agent_wants_handoff()
        .agent_is_told("handoff requested")
        .agent_is_told("handoff committed");
    call.sends("REFER").sends("REFER");
    let said = call.header("Authorization");
    assert!(
        said.starts_with("Digest username=\"pbx\", realm=\"pbx\""),
        "{said}"
    );
    assert!(said.contains("algorithm=SHA-256"), "{said}");
    call.refer_arrives().receives("202 Accepted");
    call.receives("NOTIFY sipfrag 200").sends("BYE");
    // It knew the nonce, so it was not asked again.
    assert!(call.header("Authorization").contains("nc=00000002"));
    assert_eq!(call.world.far.door.as_ref().map(|door| door.asked), Some(1));
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn a_nonce_that_goes_stale_again_and_again_is_followed_for_a_while() {
    let mut call = answered();
    asked(&mut call, &["REFER"]);
    if let Some(door) = &mut call.world.far.door {
        door.forgets = 2;
    }
    call.agent_wants_handoff();
    call.sends("REFER")
        .sends("REFER")
        .sends("REFER")
        .sends("REFER");
    call.refer_arrives().receives("202 Accepted");
    call.receives("NOTIFY sipfrag 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn a_trunk_that_always_says_stale_gets_no_endless_answers() {
    let mut call = answered();
    asked(&mut call, &["REFER"]);
    if let Some(door) = &mut call.world.far.door {
        door.forgets = usize::MAX;
    }
    call.agent_wants_handoff();
    call.sends("REFER").sends("REFER").sends("REFER");
    call.sends("REFER").sends("REFER");
    call.sends_nothing_for(secs(20));
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_challenge_from_a_trunk_without_credentials_is_never_answered() {
    let mut call = Ladder::answered();
    asked(&mut call, &["REFER", "BYE"]);
    call.agent_wants_handoff();
    call.sends("REFER").sends_nothing_for(secs(20));
    assert!(!call.world.wire.ladder().iter().any(|message| {
        message.from == call.world.bridge.address && message.text.contains("uthorization:")
    }));
    assert_eq!(call.world.far.door.as_ref().map(|door| door.asked), Some(1));
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_challenge_that_is_lost_is_asked_for_again() {
    let mut call = answered();
    asked(&mut call, &["REFER"]);
    call.wire_loses_from_trunk("401", 2);
    call.agent_wants_handoff();
    call.sends("REFER").sends("REFER");
    call.refer_arrives().receives("202 Accepted");
    call.receives("NOTIFY sipfrag 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}
