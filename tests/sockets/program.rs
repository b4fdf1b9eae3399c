//! The program as its users meet it: commands, exit codes, signals.

use std::process::{Command, Stdio};

use baton::softphone::{CallPlan, OnRefer, Outcome};
use serde_json::{Value, json};

use crate::support::baton::text;
use crate::support::phone::{answered, calls, ended, hung_up, plan};
use crate::support::{AgentServer, Baton, Fate, RawCaller, Setup, http};

const ECHO: &str = "[[agent]]\nname = \"echo\"\nkind = \"echo\"\n";

#[test]
fn the_demo_sees_every_step_and_leaves_what_was_heard() {
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let output = Command::new(env!("CARGO_BIN_EXE_baton"))
        .args(["demo", "--dir"])
        .arg(dir.path())
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let fate = Fate::of(&output);
    assert_eq!(fate.code, Some(0), "{fate:?}");
    for step in [
        "INVITE",
        "REFER with the key",
        "Referred-By",
        "redirect, same key",
        "NOTIFY 100, 200",
        "BYE from baton",
        "durable before REFER",
        "outcome known",
        "the human's page",
        "every step was seen on the wire",
    ] {
        assert!(fate.out.contains(step), "{step:?} in\n{}", fate.out);
    }
    for file in ["caller-heard.wav", "both-sides.wav"] {
        let len = std::fs::metadata(dir.path().join(file)).expect(file).len();
        assert!(len > 100_000, "{file}: {len}");
    }
}

#[test]
fn check_finds_nothing_wrong_with_a_good_file() {
    let fate = Setup::new().run(&["check"]);
    assert_eq!(fate.code, Some(0), "{fate:?}");
    assert!(fate.out.contains("0 errors"), "{}", fate.out);
    assert!(
        fate.out.contains("[store]") && fate.out.contains("[sip] listen"),
        "{}",
        fate.out
    );
}

#[test]
fn check_names_what_cannot_work_and_its_fix() {
    let setup = Setup::new().agents("[[agent]]\nname = \"bot\"\nkind = \"websocket\"\n");
    let fate = setup.store("embedded:/dev/null/store").run(&["check"]);
    assert_eq!(fate.code, Some(1), "{fate:?}");
    for said in [
        "[[agent]] bot",
        "has no `url`",
        "wss://",
        "/dev/null/store",
        "2 errors",
    ] {
        assert!(fate.out.contains(said), "{said:?} in\n{}", fate.out);
    }
}

#[test]
fn check_sees_that_a_port_is_taken() {
    let running = Baton::start();
    let fate = running.setup.run(&["check"]);
    assert!(
        fate.out
            .contains(&format!("udp:127.0.0.1:{}", running.ports().sip())),
        "{}",
        fate.out
    );
    assert!(fate.out.contains("in use"), "{}", fate.out);
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_nearest_one() {
    for command in ["serve", "check", "health"] {
        let fate = Setup::new().sip("max_cals = 3").run(&[command]);
        assert_eq!(fate.code, Some(1), "{command}: {fate:?}");
        assert!(
            fate.err.contains("unknown key in [sip] `max_cals`"),
            "{}",
            fate.err
        );
        assert!(
            fate.err.contains("did you mean `max_calls`?"),
            "{}",
            fate.err
        );
        assert!(fate.err.contains("baton.toml"), "{}", fate.err);
    }
}

#[test]
fn a_missing_file_and_a_wrong_word_are_told_apart() {
    let run = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_baton"))
            .args(words)
            .output();
        Fate::of(&output.expect("the binary runs"))
    };
    let missing = run(&["serve", "-c", "/nowhere/baton.toml"]);
    assert_eq!(missing.code, Some(1), "{missing:?}");
    assert!(
        missing.err.contains("/nowhere/baton.toml"),
        "{}",
        missing.err
    );
    let wrong = run(&["serf"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(
        wrong.err.contains("serve"),
        "the nearest command: {}",
        wrong.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_printed_by_the_node_that_runs_and_from_its_store_when_none_does() {
    let server = AgentServer::bind().await;
    let mut baton = Setup::new()
        .agents(&server.section("websocket", ""))
        .start();
    let mut call = calls(plan(&baton)).await;
    let mut agent = server.answers().await;
    agent.hears("start").await;
    answered(&mut call).await;
    agent
        .says(&json!({"type": "transcript", "role": "caller", "text": "Print this."}))
        .await;
    agent
        .says(&json!({"type": "handoff", "reason": "printing"}))
        .await;
    ended(call).await;
    let (_, session) = baton.ended_call();
    let key = text(&session["key"]).to_owned();

    let running = baton.setup.run(&["history", &key]);
    assert_eq!(running.code, Some(0), "{running:?}");
    assert!(
        running.out.contains("Print this.") && running.out.contains("transferred"),
        "{}",
        running.out
    );
    let json = baton.setup.run(&["history", &key, "--json"]);
    assert_eq!(
        serde_json::from_str::<Value>(&json.out).expect("JSON"),
        session
    );
    baton.signal("TERM");
    assert_eq!(baton.exit_code(), Some(0));
    let stopped = baton.setup.run(&["history", &key]);
    assert_eq!((stopped.code, stopped.out), (Some(0), running.out));

    let unknown = baton.setup.run(&["history", "0123456789ABCDEFGHIJKL"]);
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(unknown.err.contains("no history"), "{}", unknown.err);
    let no_key = baton.setup.run(&["history", "../etc/passwd"]);
    assert_eq!(no_key.code, Some(1), "{no_key:?}");
}

#[test]
fn health_is_0_while_calls_are_taken_and_1_otherwise() {
    let mut baton = Baton::start();
    assert_eq!(baton.setup.run(&["health"]).code, Some(0));
    baton.signal("TERM");
    assert_eq!(baton.exit_code(), Some(0));
    let fate = baton.setup.run(&["health"]);
    assert_eq!(fate.code, Some(1), "{fate:?}");
    assert!(fate.out.contains("[http] listen"), "{}", fate.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_takes_no_more_calls_and_lets_the_running_one_finish() {
    let mut baton = Setup::new().agents(ECHO).drain("30s").start();
    let mut call = calls(plan(&baton)).await;
    answered(&mut call).await;
    baton.signal("TERM");
    baton.wait_until("it is not ready", |baton| {
        http::get(baton.ports().http(), "/readyz").is_ok_and(|answer| answer.status == 503)
    });
    assert_eq!(baton.setup.run(&["health"]).code, Some(1));
    let options = RawCaller::new(&baton, "draining").pings();
    assert!(options.starts_with("SIP/2.0 503"), "{options}");
    let refused = ended(calls(plan(&baton)).await).await;
    assert!(
        matches!(refused.outcome, Outcome::Refused { status: 503, .. }),
        "{:?}",
        refused.outcome
    );
    let report = hung_up(call).await;
    assert!(
        matches!(report.outcome, Outcome::Completed { by_us: true, .. }),
        "{:?}",
        report.outcome
    );
    assert_eq!(baton.exit_code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_running_calls_at_once() {
    let mut baton = Setup::new().agents(ECHO).drain("600s").start();
    let mut call = calls(plan(&baton)).await;
    answered(&mut call).await;
    baton.signal("TERM");
    baton.says("draining");
    baton.signal("TERM");
    let report = ended(call).await;
    assert!(
        matches!(report.outcome, Outcome::Completed { by_us: false, .. }),
        "a BYE, not silence: {:?}",
        report.outcome
    );
    assert_eq!(baton.exit_code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handoff_under_way_survives_the_drain() {
    let server = AgentServer::bind().await;
    let mut baton = Setup::new()
        .agents(&server.section("websocket", ""))
        .drain("30s")
        .start();
    let mut call = calls(CallPlan {
        on_refer: OnRefer::Accept,
        ..plan(&baton)
    })
    .await;
    let mut agent = server.answers().await;
    agent.hears("start").await;
    answered(&mut call).await;
    baton.signal("TERM");
    baton.says("draining");
    agent.says(&json!({"type": "handoff"})).await;
    agent
        .hears_such("handoff", |frame| frame["state"] == "transferred")
        .await;
    let report = ended(call).await;
    assert!(report.refer.is_some_and(|refer| refer.bye_received));
    assert_eq!(baton.exit_code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_takes_a_good_file_and_refuses_a_bad_one() {
    let mut baton = Setup::new().agents(ECHO).start();
    // A file that cannot be read, and one that cannot work: the running configuration stays.
    let bad = [
        ("[sip]\nmax_cals = 1\n", "did you mean `max_calls`?"),
        (
            "[[route]]\nname = \"r\"\nagent = \"nobody\"\n",
            "there is no [[agent]] named `nobody`",
        ),
    ];
    for (file, why) in bad {
        std::fs::write(baton.setup.dir().join("baton.toml"), file).expect("it can be written");
        baton.signal("HUP");
        baton.says(why);
        assert!(!baton.has_said("configuration read again"));
        let mut call = calls(plan(&baton)).await;
        answered(&mut call).await;
        hung_up(call).await;
    }
    // A good one that lets nobody near call.
    let nobody = "[[trunk]]\nname = \"carrier\"\nfrom = [\"192.0.2.0/24\"]\n";
    nobody.clone_into(&mut baton.setup.more);
    baton.setup.write();
    baton.signal("HUP");
    baton.says("configuration read again");
    let refused = ended(calls(plan(&baton)).await).await;
    assert!(
        matches!(refused.outcome, Outcome::Refused { status: 403, .. }),
        "{:?}",
        refused.outcome
    );
}
