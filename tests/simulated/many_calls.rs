//! Whole handoff calls by the hundred, over a wire that loses a tenth of everything and puts the rest out of order. The
//! trunk does as it likes. Every call comes to an end, nobody remembers it, and no caller was ever left without RTP.

use std::time::Duration;

use baton_core::agent::{self, HandoffRequest};
use baton_core::history::{EndKind, HandoffState};
use baton_core::vocab::{Entropy, PTIME};

use crate::support::agent::Line;
use crate::support::bridge::{House, Task};
use crate::support::far_end::{Placing, Step};
use crate::support::wire::Weather;
use crate::support::world::World;
use crate::support::{ms, secs};

/// Calls of one world, all at once.
const CALLS: usize = 10;
/// Longer than any handoff and any timer after it.
const LONG_ENOUGH: Duration = secs(600);

fn stormy_worlds(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let world = live_through(seed);
        for number in 0..world.bridge.calls().count() {
            came_to_an_end(&world, number, seed);
        }
    }
}

/// Places its calls, lets their agents and their trunk do what the seed says, and waits until all is quiet.
fn live_through(seed: u64) -> World {
    let mut dice = Entropy::from_number(seed ^ 0xba70);
    let mut world = World::new(House::default(), Weather::STORM, seed);
    for _ in 0..CALLS {
        let dialog = world.place(&Placing::default());
        for (after, step) in fate(&mut dice) {
            world.plan(after, dialog, step);
        }
        world.passes(ms(dice.below(400)));
    }
    for round in 0..4 {
        world.passes(secs(2) + ms(dice.below(1000)));
        let talking: Vec<_> = (0..world.bridge.calls().count())
            .filter(|number| world.bridge.call(*number).phase() == "talking")
            .collect();
        for number in talking {
            if round == 3 || dice.below(2) == 0 {
                wants_handoff(&mut world, number);
            }
        }
    }
    let over = |world: &World| {
        world.bridge.calls().all(|task| task.ended.is_some()) && world.is_forgotten()
    };
    assert!(
        world.awaits(LONG_ENOUGH, over),
        "seed {seed}: {:?}; dialogs and transactions: bridge {} {}, trunk {} {}",
        world.bridge.calls().map(Task::phase).collect::<Vec<_>>(),
        world.bridge.endpoint.dialogs(),
        world.bridge.endpoint.transactions(),
        world.far.endpoint.dialogs(),
        world.far.endpoint.transactions(),
    );
    world
}

fn wants_handoff(world: &mut World, number: usize) {
    let request = agent::Event::Handoff(HandoffRequest::default());
    let now = world.now();
    world
        .bridge
        .agent_does(now, number, vec![Line::Event(request)]);
}

/// What the trunk will do in one call. Steps that do not fit the moment are not taken; the last is always a BYE.
fn fate(dice: &mut Entropy) -> Vec<(Duration, Step)> {
    let mut at = secs(3);
    let mut later = |dice: &mut Entropy| {
        at += ms(300 + dice.below(2500));
        at
    };
    let mut steps = Vec::new();
    for _ in 0..dice.below(14) {
        let step = match dice.below(12) {
            0..=4 => Step::AnswerRefer(202),
            5 => Step::AnswerRefer([405, 603, 403, 503][dice.below(4) as usize % 4]),
            6 | 7 => Step::Notify([100, 180, 183][dice.below(3) as usize % 3]),
            8 => Step::Notify(200),
            9 => Step::Notify([486, 404, 503][dice.below(3) as usize % 3]),
            10 => Step::PressDigit('5'),
            _ => Step::Reinvite(baton_core::sdp::Direction::SendRecv),
        };
        steps.push((later(dice), step));
    }
    if dice.below(10) == 0 {
        steps.push((ms(dice.below(300)), Step::GiveUp));
    }
    steps.push((secs(40) + ms(dice.below(20_000)), Step::HangUp));
    steps
}

fn came_to_an_end(world: &World, number: usize, seed: u64) {
    let task = world.bridge.call(number);
    let last = task.ended.as_ref().expect("it has ended");
    let whose = format!("call {number} of seed {seed}: {:?}", last.ended);
    assert!(task.pace.longest_gap <= PTIME, "{whose}: {:?}", task.pace);
    assert!(task.is_written(), "{whose}");
    let history = task.history(&world.bridge.store).expect("a history");
    let end = history.end.expect("its end");
    assert_eq!(end.kind, last.ended.kind, "{whose}");
    for handoff in &history.handoffs {
        assert!(handoff.state.is_final(), "{whose}: {:?}", handoff.state);
    }
    let transferred = history
        .handoffs
        .last()
        .is_some_and(|handoff| handoff.state == HandoffState::Transferred);
    assert_eq!(
        last.ended.kind == EndKind::Transferred,
        transferred,
        "{whose}"
    );
}

#[test]
fn a_hundred_calls_in_a_storm_all_come_to_an_end() {
    stormy_worlds(0..10);
}

#[test]
fn another_hundred_calls_in_a_storm_all_come_to_an_end() {
    stormy_worlds(10..20);
}

#[test]
fn the_same_seed_gives_the_same_storm_octet_for_octet() {
    let labels = |seed| {
        let world = live_through(seed);
        let ladder = world.wire.ladder();
        let said = ladder.iter().map(|message| message.text.clone());
        said.collect::<Vec<_>>()
    };
    assert_eq!(labels(3), labels(3));
}
