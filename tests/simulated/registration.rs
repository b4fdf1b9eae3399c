//! A binding that lives, whatever happens to the wire and to the registrar.

use std::sync::Arc;
use std::time::Duration;

use baton_core::sip::auth::Account;
use baton_core::sip::registration::{Register, Standing};
use baton_core::sip::trunk::{Trunk, Trunks};
use baton_core::vocab::Entropy;

use crate::support::bridge::House;
use crate::support::far_end::Placing;
use crate::support::registrar::Registrar;
use crate::support::wire::Weather;
use crate::support::world::World;
use crate::support::{ms, secs};

const REGISTRAR: &str = "10.0.0.9:5060";

fn registering(weather: Weather, seed: u64, password: &str) -> World {
    let register = Register {
        registrar: "sip:pbx.example.com".into(),
        account: Arc::new(Account::new("bot", password)),
        expires: secs(300),
    };
    let mut house = House::default();
    house.sip.trunks = Trunks::new(vec![Trunk {
        name: "pbx".into(),
        register: Some(Arc::new(register)),
        ..Trunk::default()
    }]);
    let mut world = World::new(house, weather, seed);
    let address = REGISTRAR.parse().expect("an address");
    let uri = "sip:pbx.example.com".to_owned();
    world.bridge.zone.insert(uri, vec![address]);
    world.registrar = Some(registrar(seed));
    let now = world.now();
    world.bridge.endpoint.register(now);
    world.settle();
    world
}

fn registrar(seed: u64) -> Registrar {
    let address = REGISTRAR.parse().expect("an address");
    let mut entropy = Entropy::from_number(seed);
    Registrar::new(address, Account::new("bot", "s3cret"), &mut entropy)
}

fn at(world: &mut World) -> &mut Registrar {
    world.registrar.as_mut().expect("there is one")
}

fn is_bound(world: &World) -> bool {
    let now = world.now();
    world
        .registrar
        .as_ref()
        .is_some_and(|registrar| registrar.is_bound(now))
}

/// Whether the binding is there at every second of this time.
fn stays_bound(world: &mut World, time: Duration) -> bool {
    (0..time.as_secs()).all(|_| {
        world.passes(secs(1));
        is_bound(world)
    })
}

fn standings(world: &World) -> Vec<Standing> {
    let told = world.bridge.registrations.iter();
    told.map(|(_, standing)| *standing).collect()
}

#[test]
fn it_is_there_within_a_second_and_stays_for_a_day() {
    let mut world = registering(Weather::FINE, 1, "s3cret");
    world.passes(ms(100));
    assert!(is_bound(&world));
    assert!(stays_bound(&mut world, secs(24 * 3600)));
    assert_eq!(standings(&world), [Standing::Registered]);
    let accepted = at(&mut world).accepted.len();
    assert!((380..600).contains(&accepted), "{accepted} in a day");
}

#[test]
fn a_storm_does_not_end_it() {
    for seed in 0..10 {
        let mut world = registering(Weather::STORM, seed, "s3cret");
        world.passes(secs(32));
        assert!(is_bound(&world), "seed {seed}");
        assert!(stays_bound(&mut world, secs(3600)), "seed {seed}");
    }
}

#[test]
fn a_registrar_that_falls_silent_finds_us_again_when_it_is_back() {
    let mut world = registering(Weather::FINE, 1, "s3cret");
    world.passes(secs(1));
    at(&mut world).silent = true;
    world.passes(secs(1200));
    assert!(!is_bound(&world));
    assert_eq!(
        standings(&world),
        [Standing::Registered, Standing::Failed(408)]
    );
    let sent = world
        .wire
        .ladder()
        .iter()
        .filter(|m| m.is("REGISTER") && !m.is_repeat);
    let sent = sent.count();
    assert!(sent < 20, "it does not hammer: {sent}");
    at(&mut world).silent = false;
    assert!(world.awaits(secs(340), is_bound), "back within one pause");
    assert!(stays_bound(&mut world, secs(3600)));
    assert_eq!(standings(&world).last(), Some(&Standing::Registered));
}

#[test]
fn a_registrar_that_is_started_again_has_us_again_at_the_next_refresh() {
    let mut world = registering(Weather::FINE, 1, "s3cret");
    world.passes(secs(1));
    world.registrar = Some(registrar(2)); // without bindings, and with other nonces
    assert!(world.awaits(secs(300), is_bound));
    assert!(stays_bound(&mut world, secs(3600)));
    assert_eq!(standings(&world), [Standing::Registered]);
}

#[test]
fn a_registrar_that_wants_longer_bindings_gets_them() {
    let mut world = registering(Weather::FINE, 1, "s3cret");
    at(&mut world).least = 1800;
    world.passes(secs(1));
    assert!(stays_bound(&mut world, secs(4 * 3600)));
    assert!(
        at(&mut world)
            .accepted
            .iter()
            .all(|seconds| *seconds == 1800)
    );
    assert_eq!(standings(&world), [Standing::Registered]);
}

#[test]
fn a_wrong_password_locks_nobody_out() {
    let mut world = registering(Weather::FINE, 1, "wrong");
    world.passes(secs(24 * 3600));
    assert!(!is_bound(&world));
    let sent = world
        .wire
        .ladder()
        .iter()
        .filter(|m| m.is("REGISTER") && !m.is_repeat);
    let sent = sent.count();
    assert!((60..250).contains(&sent), "{sent} in a day");
}

#[test]
fn a_call_through_it_belongs_to_its_trunk_and_one_beside_it_to_nobody() {
    let mut world = registering(Weather::FINE, 1, "s3cret");
    world.passes(secs(1));
    let called = at(&mut world).contact_user();
    world.place(&Placing {
        called,
        ..Placing::default()
    });
    world.passes(secs(1));
    assert_eq!(world.bridge.call(0).invited.trunk, "pbx");
    world.place(&Placing::default());
    world.passes(secs(1));
    assert_eq!(world.bridge.calls().count(), 1);
    let forbidden = |m: &crate::support::wire::Message| m.is("403 Forbidden (INVITE)");
    assert!(world.wire.ladder().iter().any(forbidden));
}

#[test]
fn a_node_that_stops_takes_its_binding_back() {
    for weather in [Weather::FINE, Weather::STORM] {
        let mut world = registering(weather, 1, "s3cret");
        world.passes(secs(40));
        assert!(is_bound(&world));
        let now = world.now();
        world.bridge.is_told_to_stop(now);
        world.passes(secs(40));
        assert!(!is_bound(&world));
        assert_eq!(at(&mut world).accepted.last(), Some(&0));
        assert!(world.is_forgotten());
    }
}
