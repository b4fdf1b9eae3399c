//! Offers inside the call, hold, and media that stops.

use super::*;

fn reinvite(offer: &str) -> DialogEvent {
    DialogEvent::Reinvited {
        offer: Bytes::copy_from_slice(offer.as_bytes()),
    }
}

#[test]
fn hold_and_retrieve_are_answered_and_the_agent_is_told() {
    let mut ladder = Ladder::talking();
    ladder.receives(reinvite(&format!("{OFFER}a=sendonly\r\n")));
    ladder.does(&[
        "re-INVITE 200",
        "remote 192.0.2.1:4000 send false receive false",
        "tell hold",
    ]);
    ladder.receives(reinvite(&format!("{OFFER}a=inactive\r\n")));
    ladder.does(&[
        "re-INVITE 200",
        "remote 192.0.2.1:4000 send false receive false",
    ]);
    ladder.receives(reinvite(OFFER));
    ladder.does(&[
        "re-INVITE 200",
        "remote 192.0.2.1:4000 send true receive true",
        "tell resume",
    ]);
    assert!(
        ladder
            .milestones
            .ends_with(&["hold".into(), "retrieved".into()])
    );
}

#[test]
fn another_address_is_followed_and_a_useless_offer_changes_nothing() {
    let mut ladder = Ladder::talking();
    ladder.receives(reinvite(&OFFER.replace("audio 4000", "audio 5000")));
    ladder.does(&[
        "re-INVITE 200",
        "remote 192.0.2.1:5000 send true receive true",
    ]);
    for offer in [OFFER.replace("AVP 0 101", "AVP 18"), "rubbish".to_owned()] {
        ladder.receives(reinvite(&offer)).does(&["re-INVITE 488"]);
    }
    assert_eq!(ladder.call.phase(), "talking");
}

#[test]
fn a_reinvite_without_offer_gets_ours_and_is_answered_in_the_ack() {
    let mut ladder = Ladder::talking();
    ladder.receives(reinvite("")).does(&["re-INVITE 200"]);
    ladder.receives(ack(&OFFER.replace("audio 4000", "audio 6000")));
    ladder.does(&["remote 192.0.2.1:6000 send true receive true"]);
    ladder.receives(ack("")).does(&[]);
}

#[test]
fn a_reinvite_while_a_handoff_runs_is_answered_like_any_other() {
    let mut ladder = Ladder::accepted();
    ladder.receives(reinvite(&format!("{OFFER}a=sendonly\r\n")));
    ladder.does(&[
        "re-INVITE 200",
        "remote 192.0.2.1:4000 send false receive false",
        "tell hold",
    ]);
    ladder
        .receives(notify(486))
        .does(&["tell failed 486", "tell resumed"]);
}

#[test]
fn a_caller_without_rtp_is_hung_up_on() {
    let mut ladder = Ladder::talking();
    ladder
        .leg(leg::Event::MediaLost)
        .does(&["BYE", "close leg"]);
    ladder.ends(EndKind::Lost, EndBy::Bridge);
}

#[test]
fn rtp_that_stops_during_a_transfer_does_not_end_it_unless_it_fails() {
    let mut ladder = Ladder::accepted();
    ladder.leg(leg::Event::MediaLost).does(&[]);
    ladder
        .receives(notify(200))
        .does(&["tell transferred 200", "BYE", "close leg"]);
    ladder.ends(EndKind::Transferred, EndBy::Bridge);

    let mut ladder = Ladder::accepted();
    ladder.leg(leg::Event::MediaLost).does(&[]);
    ladder
        .receives(notify(486))
        .does(&["tell failed 486", "tell resumed", "BYE", "close leg"]);
    ladder.ends(EndKind::Lost, EndBy::Bridge);
}

#[test]
fn a_media_path_that_closes_under_a_call_ends_it() {
    let mut ladder = Ladder::talking();
    ladder.leg_closes().does(&["BYE", "ended failed by bridge"]);
}
