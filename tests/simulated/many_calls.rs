//! Whole handoff calls by the hundred, over a wire that loses a tenth of everything and puts the rest out of order. The
//! trunk does as it likes. Every call comes to an end, nobody remembers it, and no caller was ever left without RTP.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use baton_core::agent::{self, HandoffRequest};
use baton_core::history::session::Handoff;
use baton_core::history::{EndKind, HandoffState};
use baton_core::sdp::Direction;
use baton_core::vocab::{Entropy, PTIME};

use crate::support::agent::Line;
use crate::support::bridge::{Dial, House, Task};
use crate::support::far_end::{Placing, Step};
use crate::support::wire::Weather;
use crate::support::world::World;
use crate::support::{ms, secs};

/// Calls of one world, all at once.
const CALLS: usize = 10;
/// Longer than any handoff and any timer after it.
const LONG_ENOUGH: Duration = secs(120);
/// How often the agents and the trunk have ideas.
const ROUND: Duration = ms(100);

/// How a hundred calls ended. A storm that leads to one end only would test little.
fn stormy_worlds(seeds: std::ops::Range<u64>) {
    let mut ends = BTreeMap::new();
    let mut handoffs = BTreeMap::new();
    for seed in seeds {
        let world = live_through(seed);
        for number in 0..world.bridge.calls().count() {
            let (end, handed) = came_to_an_end(&world, number, seed);
            *ends.entry(end.as_str()).or_insert(0) += 1;
            for how in handed {
                *handoffs.entry(how).or_insert(0) += 1;
            }
        }
    }
    println!("{ends:?} {handoffs:?}");
    for end in ["transferred", "caller_hung_up", "cancelled"] {
        assert!(ends.contains_key(end), "no call ended {end}: {ends:?}");
    }
    for how in [
        "transferred",
        "unconfirmed",
        "refused",
        "target_failed",
        "no_answer",
        "silent",
    ] {
        assert!(
            handoffs.contains_key(how),
            "no handoff came to {how}: {handoffs:?}"
        );
    }
}

/// Places its calls, lets their agents and their trunk do what the seed says, and waits until all is quiet.
fn live_through(seed: u64) -> World {
    let mut dice = Entropy::from_number(seed ^ 0xba70);
    let mut world = World::new(impatient(), Weather::STORM, seed);
    let mut callers = Vec::new();
    for _ in 0..CALLS {
        let dialog = world.place(&Placing::default());
        callers.push(dialog);
        for (after, step) in fate(&mut dice) {
            world.plan(after, dialog, step);
        }
        world.passes(ms(dice.below(400)));
    }
    let mut asked = BTreeSet::new();
    for _ in 0..LONG_ENOUGH.as_millis() / ROUND.as_millis() {
        if world.bridge.calls().all(|task| task.ended.is_some()) {
            break;
        }
        for number in 0..world.bridge.calls().count() {
            if world.bridge.call(number).phase() == "talking" && dice.below(30) == 0 {
                wants_handoff(&mut world, number);
            }
        }
        for dialog in &callers {
            if !world.far.caller(*dialog).is_referred {
                asked.remove(dialog);
            } else if asked.insert(*dialog) {
                for (after, step) in manners(&mut dice) {
                    world.plan(after, *dialog, step);
                }
            }
        }
        world.passes(ROUND);
    }
    let quiet = |world: &World| {
        world.is_forgotten() && world.bridge.calls().all(|task| task.ended.is_some())
    };
    assert!(
        world.awaits(secs(200), quiet),
        "seed {seed}: {:?}; dialogs and transactions: bridge {} {}, trunk {} {}",
        world.bridge.calls().map(Task::phase).collect::<Vec<_>>(),
        world.bridge.endpoint.dialogs(),
        world.bridge.endpoint.transactions(),
        world.far.endpoint.dialogs(),
        world.far.endpoint.transactions(),
    );
    world
}

/// A bridge whose handoffs are given up sooner than usual, so that a call is over in half a minute.
fn impatient() -> House {
    let mut house = House {
        dial: Dial::Opens(ms(400)),
        ..House::default()
    };
    house.handoff.timeouts.refer = secs(4);
    house.handoff.timeouts.notify = secs(3);
    house.handoff.timeouts.progress = secs(4);
    house.handoff.timeouts.total = secs(10);
    house
}

fn wants_handoff(world: &mut World, number: usize) {
    let request = agent::Event::Handoff(HandoffRequest::default());
    let now = world.now();
    world
        .bridge
        .agent_does(now, number, vec![Line::Event(request)]);
}

/// What happens to a call whatever else does: some give up, some press keys and change their mind about the media,
/// and nobody stays for ever.
fn fate(dice: &mut Entropy) -> Vec<(Duration, Step)> {
    let mut steps = Vec::new();
    if dice.below(10) == 0 {
        steps.push((ms(100 + dice.below(500)), Step::GiveUp));
    }
    for _ in 0..dice.below(3) {
        let again = Step::Reinvite(Direction::SendRecv);
        let step = one_of(dice, [Step::PressDigit('5'), again]);
        steps.push((secs(1) + ms(dice.below(10_000)), step));
    }
    steps.push((secs(10) + ms(dice.below(8_000)), Step::HangUp));
    steps
}

/// What the trunk does about a REFER.
fn manners(dice: &mut Entropy) -> Vec<(Duration, Step)> {
    let soon = ms(dice.below(1500));
    let busy = one_of(dice, [486, 404, 503, 603]);
    let refusal = one_of(dice, [405, 603, 403, 503]);
    let accepts = (soon, Step::AnswerRefer(202));
    let tries = (soon, Step::Notify(100));
    let rings = (soon + ms(200), Step::Notify(180));
    let later = soon + ms(100 + dice.below(2500));
    match dice.below(20) {
        0..=7 => vec![accepts, tries, rings, (later, Step::Notify(200))],
        8 | 9 => vec![accepts, (soon, Step::Notify(200))],
        10 | 11 => vec![accepts, tries, (later, Step::Notify(busy))],
        12 | 13 => vec![(soon, Step::AnswerRefer(refusal))],
        14 => vec![accepts, tries, (later, Step::NotifyLast(100))],
        15 => vec![accepts, tries],
        16 => vec![accepts],
        17 => vec![accepts, tries, (later, Step::HangUp)],
        18 => vec![(soon, Step::HangUp)],
        _ => Vec::new(),
    }
}

fn one_of<T: Copy, const N: usize>(dice: &mut Entropy, these: [T; N]) -> T {
    let index = usize::try_from(dice.below(N as u64)).unwrap_or(0);
    these[index]
}

/// How the call ended, and what its handoffs came to.
fn came_to_an_end(world: &World, number: usize, seed: u64) -> (EndKind, Vec<&'static str>) {
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
    let how = |handoff: &Handoff| {
        handoff
            .failure
            .map_or(handoff.state.as_str(), |f| f.as_str())
    };
    (end.kind, history.handoffs.iter().map(how).collect())
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
