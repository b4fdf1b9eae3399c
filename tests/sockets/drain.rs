//! SIGTERM with calls up: what the trunk sees, what the history says, and how the process exits.

use std::time::{Duration, Instant};

use baton::softphone::{CallPlan, CallReport, OnRefer, Outcome};
use serde_json::Value;

use crate::support::baton::text;
use crate::support::phone::{answered, calls, ended, key_in, plan, referred};
use crate::support::{Baton, RawCaller, Setup};

const ECHO: &str = "[[agent]]\nname = \"echo\"\nkind = \"echo\"\n";
const STOPPED: &str = "the node was stopped";

/// What the store says of a call after the process is gone.
fn stored(baton: &Baton, key: &str) -> Value {
    let printed = baton.setup.run(&["history", key, "--json"]);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    serde_json::from_str(&printed.out).expect("JSON")
}

fn only_key(baton: &Baton) -> String {
    let calls = baton.calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    text(&calls[0]["session_history_key"]).to_owned()
}

/// The bridge hung up, and the caller heard it coming: no packet was missing before.
fn was_hung_up(report: &CallReport) {
    assert!(
        matches!(report.outcome, Outcome::Completed { by_us: false, .. }),
        "{:?}",
        report.outcome
    );
    assert!(
        report.rtp.worst_gap.own_ms() < 250.0,
        "dead air: {}",
        report.rtp.worst_gap
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_outlives_the_drain_is_handed_over() {
    let mut baton = Setup::new().agents(ECHO).drain("1s").start();
    let mut call = calls(CallPlan {
        on_refer: OnRefer::Accept,
        ..plan(&baton)
    })
    .await;
    answered(&mut call).await;
    let key = only_key(&baton);
    let told = Instant::now();
    baton.signal("TERM");
    let refer_to = referred(&mut call).await;
    assert!(
        told.elapsed() >= Duration::from_secs(1),
        "not before its time"
    );
    assert_eq!(key_in(&refer_to), key);
    let report = ended(call).await;
    was_hung_up(&report);
    assert!(report.refer.is_some_and(|refer| refer.bye_received));
    assert_eq!(baton.exit_code(), Some(0));
    let session = stored(&baton, &key);
    assert_eq!(session["end"]["kind"], "transferred", "{session}");
    let handoff = &session["handoffs"][0];
    assert_eq!(
        (text(&handoff["state"]), text(&handoff["reason"])),
        ("transferred", "shutdown")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_for_whom_there_is_no_human_hears_a_goodbye() {
    let setup = Setup::new().agents(ECHO).no_handoff();
    let mut baton = setup.drain("0s").start();
    let mut call = calls(plan(&baton)).await;
    answered(&mut call).await;
    let key = only_key(&baton);
    baton.signal("TERM");
    let report = ended(call).await;
    was_hung_up(&report);
    assert!(
        report.rtp.first_voice_ms.is_some(),
        "an echo of silence is silent, so this voice is the goodbye"
    );
    assert_eq!(baton.exit_code(), Some(0));
    let session = stored(&baton, &key);
    assert_eq!(session["end"]["reason"], STOPPED, "{session}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_exits_at_once_with_every_history_written() {
    let mut baton = Setup::new().agents(ECHO).drain("600s").start();
    let mut both = Vec::new();
    for _ in 0..2 {
        let mut call = calls(plan(&baton)).await;
        answered(&mut call).await;
        both.push(call);
    }
    let keys: Vec<_> = baton
        .calls()
        .iter()
        .map(|call| text(&call["session_history_key"]).to_owned())
        .collect();
    baton.signal("TERM");
    baton.says("draining");
    let told = Instant::now();
    baton.signal("TERM");
    for call in both {
        was_hung_up(&ended(call).await);
    }
    assert_eq!(baton.exit_code(), Some(0));
    let took = told.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(keys.len(), 2);
    for key in keys {
        let session = stored(&baton, &key);
        assert_eq!(session["end"]["reason"], STOPPED, "{session}");
        assert_eq!(session["end"]["kind"], "failed");
    }
}

#[test]
fn a_third_signal_does_not_even_wait_for_a_trunk_that_is_silent() {
    let mut baton = Setup::new().agents(ECHO).drain("600s").start();
    let mut silent = RawCaller::new(&baton, "silent");
    silent.calls();
    baton.signal("TERM");
    baton.says("draining");
    baton.signal("TERM");
    baton.says("told twice");
    // Its BYE is never answered; until that is clear there is a second.
    baton.signal("TERM");
    assert_eq!(baton.exit_code(), Some(1), "something was left undone");
    assert!(baton.has_said("leaving as it is"));
}

#[test]
fn a_bye_that_is_lost_on_the_way_is_said_again_before_the_process_goes() {
    let mut baton = Setup::new().agents(ECHO).no_handoff().drain("0s").start();
    let mut caller = RawCaller::new(&baton, "deaf");
    caller.calls();
    baton.signal("TERM");
    let mut byes = 0;
    let end = Instant::now() + Duration::from_secs(25);
    while byes < 2 && Instant::now() < end {
        byes += usize::from(caller.hears().is_some_and(|text| text.starts_with("BYE ")));
    }
    assert_eq!(byes, 2, "the first one is lost, for all the bridge knows");
    baton.signal("TERM");
    baton.exit_code();
}
