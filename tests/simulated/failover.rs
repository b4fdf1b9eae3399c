//! Servers that are silent, full or late (RFC 3263 §4.3): between a trunk and us, and between us and a trunk whose
//! Contact is a name.

use std::net::SocketAddr;

use baton_core::history::{EndBy, EndKind, HandoffState};
use baton_core::sip::endpoint::{Advertised, Config};

use crate::support::bridge::{Dial, House};
use crate::support::far_end::{Placing, Step};
use crate::support::wire::Weather;
use crate::support::{Ladder, ms, secs};

const FULL: &str = "503 Service Unavailable";

fn server(number: u8) -> SocketAddr {
    ([10, 0, 9, number], 5060).into()
}

/// A trunk that tries these servers before us.
fn trying(servers: &[SocketAddr]) -> Placing {
    Placing {
        tries: servers.to_vec(),
        ..Placing::default()
    }
}

/// Requests of a kind that other servers heard, repeats included.
fn heard(call: &Ladder, method: &str) -> usize {
    let heard = call.world.strangers_heard.iter();
    heard.filter(|text| text.starts_with(method)).count()
}

/// From the answer to the caller's BYE.
fn is_talked(call: &mut Ladder) {
    call.sends("200 OK (INVITE)").receives("ACK");
    call.passes(secs(1)).receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_trunk_whose_first_server_is_full_reaches_us_at_once() {
    let mut call = Ladder::places(&trying(&[server(1)]));
    call.world.servers.insert(server(1), FULL);
    call.within(ms(100)).sends("180 Ringing").within(secs(5));
    assert_eq!((heard(&call, "INVITE"), heard(&call, "ACK")), (1, 1));
    is_talked(&mut call);
}

#[test]
fn a_trunk_whose_first_server_is_silent_reaches_us_after_four_seconds() {
    let mut call = Ladder::places(&trying(&[server(1)]));
    call.sends_nothing_for(ms(4_000)).sends("180 Ringing");
    assert_eq!(heard(&call, "INVITE"), 4);
    is_talked(&mut call);
}

#[test]
fn the_second_call_does_not_try_the_silent_server_again() {
    let placing = trying(&[server(1)]);
    let mut call = Ladder::places(&placing);
    call.within(secs(6))
        .sends("180 Ringing")
        .sends("200 OK (INVITE)")
        .receives("ACK");
    let before = heard(&call, "INVITE");
    call.world.place(&placing);
    call.within(ms(100)).sends("180 Ringing").within(secs(5));
    call.sends("200 OK (INVITE)").passes(secs(1));
    assert_eq!(heard(&call, "INVITE"), before);
}

#[test]
fn a_server_that_rings_after_it_was_left_is_cancelled_and_the_call_goes_on() {
    let mut call = Ladder::places(&trying(&[server(1)]));
    call.within(secs(6)).sends("180 Ringing");
    let invite = call.world.strangers_heard[0].clone();
    let trunk = call.world.far.address;
    call.world.answer(server(1), trunk, &invite, "180 Ringing");
    call.passes(ms(100));
    assert_eq!(heard(&call, "CANCEL"), 1);
    call.world
        .answer(server(1), trunk, &invite, "487 Request Terminated");
    is_talked(&mut call);
}

#[test]
fn a_server_that_answers_after_it_was_left_is_hung_up_and_the_call_goes_on() {
    let mut call = Ladder::places(&trying(&[server(1)]));
    call.within(secs(6)).sends("180 Ringing");
    let invite = call.world.strangers_heard[0].clone();
    let trunk = call.world.far.address;
    call.world.answer(server(1), trunk, &invite, "200 OK");
    call.passes(ms(100));
    assert_eq!((heard(&call, "ACK"), heard(&call, "BYE")), (1, 1));
    is_talked(&mut call);
}

#[test]
fn a_caller_who_gives_up_between_two_servers_is_let_go_by_both() {
    let mut call = Ladder::places(&trying(&[server(1), server(2)]));
    call.passes(ms(4_500)).trunk_sends("CANCEL");
    // The second is silent too. Nobody else is asked, us least of all.
    call.sends_nothing_for(secs(60));
    assert_eq!(
        heard(&call, "CANCEL"),
        0,
        "nothing came back that could be cancelled"
    );
    call.is_forgotten();
}

#[test]
fn a_caller_who_gives_up_while_a_server_refuses_asks_nobody_else() {
    let mut call = Ladder::places(&trying(&[server(1)]));
    call.world.servers.insert(server(1), FULL);
    let dialog = call.dialog;
    call.world.plan(ms(15), dialog, Step::GiveUp);
    call.sends_nothing_for(secs(40)).is_forgotten();
}

#[test]
fn a_caller_who_gives_up_while_we_ring_is_let_go_by_us() {
    let slow = |house: &mut House| house.dial = Dial::Opens(secs(2));
    let mut call = Ladder::calls_in(Weather::FINE, 1, slow, &trying(&[server(1)]));
    call.world.servers.insert(server(1), FULL);
    call.sends("180 Ringing").receives("CANCEL");
    call.sends("487 Request Terminated");
    call.ends(EndKind::Cancelled, EndBy::Caller);
    assert_eq!(heard(&call, "CANCEL"), 0);
}

#[test]
fn failover_survives_a_storm() {
    for seed in 1..=20 {
        let placing = trying(&[server(1), server(2)]);
        let mut call = Ladder::calls_in(Weather::STORM, seed, |_| {}, &placing);
        call.world.servers.insert(server(2), FULL);
        call.within(secs(60))
            .sends("180 Ringing")
            .sends("200 OK (INVITE)");
        call.receives("ACK").passes(secs(1)).receives("BYE");
        call.ends(EndKind::CallerHungUp, EndBy::Caller);
    }
}

/// A trunk that names itself, at these places.
fn named(places: impl FnOnce(SocketAddr) -> Vec<SocketAddr>) -> Ladder {
    let name = "trunk.example.com:5060";
    let mut call = Ladder::calls_with(|house| {
        house.trunk = Config {
            advertised: Advertised {
                udp: Some(name.into()),
                ..Advertised::default()
            },
            ..Config::default()
        };
    });
    let places = places(call.world.far.address);
    let contact = format!("sip:+15559870000@{name}");
    call.world.bridge.zone.insert(contact, places);
    call.sends("180 Ringing").sends("200 OK (INVITE)");
    call.receives("ACK").passes(secs(1));
    call
}

#[test]
fn a_refer_to_a_named_trunk_goes_past_its_dead_server_and_the_bye_does_not_try_it_again() {
    let mut call = named(|trunk| vec![server(1), trunk]);
    call.agent_wants_handoff().sends("REFER");
    // The same request by the next way is another message: it has its own branch.
    call.sends("REFER").refer_arrives();
    assert_eq!(heard(&call, "REFER"), 4);
    call.receives("202 Accepted")
        .receives("NOTIFY sipfrag 200")
        .sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
    call.handoff_is(HandoffState::Transferred);
    assert_eq!(heard(&call, "BYE"), 0);
}

#[test]
fn a_named_trunk_that_is_nowhere_is_where_its_call_came_from() {
    for dead in [false, true] {
        let mut call = named(|_| if dead { vec![server(1)] } else { Vec::new() });
        call.agent_wants_handoff().within(secs(9)).sends("REFER");
        if dead {
            call.sends("REFER");
        }
        call.refer_arrives().receives("202 Accepted");
        call.receives("NOTIFY sipfrag 200").sends("BYE");
        call.ends(EndKind::Transferred, EndBy::Bridge);
    }
}
