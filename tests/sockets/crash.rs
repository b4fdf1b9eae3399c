//! Disasters: `kill -9` in the middle of a handoff, a disk that cannot be written, ports that are taken.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use baton::softphone::{CallPlan, OnRefer, Outcome};
use serde_json::{Value, json};

use crate::support::baton::text;
use crate::support::phone::{answered, calls, count_of, ended, hung_up, key_in, plan, referred};
use crate::support::{AgentServer, Baton, Setup, http};

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_behind_the_refer_loses_nothing_of_the_history() {
    let server = AgentServer::bind().await;
    let mut baton = Setup::new()
        .agents(&server.section("websocket", ""))
        .start();
    let silent = CallPlan {
        on_refer: OnRefer::Silent,
        ..plan(&baton)
    };
    let mut call = calls(silent).await;
    let mut agent = server.answers().await;
    agent.hears("start").await;
    answered(&mut call).await;
    for frame in [
        json!({"type": "transcript", "role": "caller", "text": "My parcel is late."}),
        json!({"type": "context", "set": {"parcel": "P-17"}}),
        json!({"type": "handoff", "reason": "late parcel", "summary": "Parcel P-17."}),
    ] {
        agent.says(&frame).await;
    }
    let refer_to = referred(&mut call).await;
    baton.kill_9();
    drop(call);

    let key = key_in(&refer_to);
    let stored = baton.setup.run(&["history", key, "--json"]);
    assert_eq!(stored.code, Some(0), "{stored:?}");
    let stored: Value = serde_json::from_str(&stored.out).expect("JSON");
    baton.start_again();
    let session = baton.session(key);
    assert_eq!(
        session, stored,
        "the store and the node that serves it tell the same"
    );
    assert_eq!(session["turns"][0]["text"], "My parcel is late.");
    assert_eq!(
        session["context"]["referenceVariables"],
        json!({"parcel": "P-17"})
    );
    let handoff = &session["handoffs"][0];
    assert_eq!(
        (&handoff["state"], &handoff["reason"]),
        (&json!("committed"), &json!("late parcel"))
    );
    assert_eq!(
        session["end"],
        Value::Null,
        "nobody pretends to know how it ended"
    );
    let page =
        http::get(baton.ports().http(), &format!("/sessions/{key}")).expect("the human's page");
    assert_eq!(page.status, 200);
    assert!(
        page.body.contains("My parcel is late.") && page.body.contains("Parcel P-17."),
        "{}",
        page.body
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_in_mid_call_holds_the_handoff_back_and_the_agent_is_told() {
    let server = AgentServer::bind().await;
    let setup = Setup::new()
        .agents(&server.section("websocket", ""))
        .survives_full_disk();
    let mut baton = setup.start();
    let mut call = calls(plan(&baton)).await;
    let mut agent = server.answers().await;
    agent.hears("start").await;
    answered(&mut call).await;

    baton.limit_files(Some(1));
    agent.says(&json!({"type": "transcript", "role": "caller", "text": "Said while the disk was full."})).await;
    agent
        .says(&json!({"type": "handoff", "reason": "first"}))
        .await;
    let failed = agent
        .hears_such("handoff", |frame| frame["state"] == "failed")
        .await;
    assert!(
        text(&failed["reason"]).contains("history"),
        "the agent can tell why: {failed}"
    );
    agent
        .hears_such("handoff", |frame| frame["state"] == "resumed")
        .await;

    baton.limit_files(None);
    agent
        .says(&json!({"type": "handoff", "reason": "second"}))
        .await;
    let refer_to = referred(&mut call).await;
    let report = ended(call).await;
    assert_eq!(
        count_of(&report, "REFER"),
        1,
        "the first handoff never left"
    );
    let (_, session) = baton.ended_call();
    assert_eq!(key_in(&refer_to), text(&session["key"]));
    let handoffs = session["handoffs"].as_array().expect("handoffs");
    let seen: Vec<_> = handoffs
        .iter()
        .map(|h| (text(&h["reason"]), text(&h["state"])))
        .collect();
    assert_eq!(seen.last(), Some(&("second", "transferred")), "{session}");
    assert!(
        session
            .to_string()
            .contains("Said while the disk was full."),
        "{session}"
    );
    assert!(
        handoffs.iter().any(|h| h["failure"] == "not_durable"),
        "{session}"
    );
}

#[test]
fn a_store_that_cannot_be_written_is_an_error_at_the_start_that_names_path_and_setting() {
    let setup = Setup::new();
    // Also root cannot make a directory in a file.
    let file = setup.dir().join("no-directory");
    std::fs::write(&file, "").expect("it can be written");
    let path = format!("{}/store", file.display());
    let fate = setup.store(&format!("embedded:{path}")).run(&["serve"]);
    assert_eq!(fate.code, Some(1), "{fate:?}");
    assert!(
        fate.err.contains(&path) && fate.err.contains("[store] url"),
        "{}",
        fate.err
    );
    assert_eq!(
        fate.err.trim().lines().count(),
        1,
        "one line, no stack: {}",
        fate.err
    );
    assert!(!fate.out.contains("takes calls"), "{}", fate.out);
}

#[test]
fn a_store_in_use_names_the_process_that_has_it() {
    let first = Baton::start();
    let store = format!("embedded:{}/store", first.setup.dir().display());
    let fate = Setup::new().store(&store).run(&["serve"]);
    assert_eq!(fate.code, Some(1), "{fate:?}");
    assert!(
        fate.err.contains("in use by process") && fate.err.contains("[store] url"),
        "{}",
        fate.err
    );
}

#[test]
fn a_taken_sip_port_is_an_error_that_names_port_and_setting() {
    let setup = Setup::new();
    let port = setup.ports.sip();
    let _taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("this test's own port");
    let fate = setup.run(&["serve"]);
    assert_eq!(fate.code, Some(1), "{fate:?}");
    assert!(
        fate.err.contains(&format!("udp:127.0.0.1:{port}")) && fate.err.contains("[sip] listen"),
        "{}",
        fate.err
    );
}

#[test]
fn a_taken_http_port_is_an_error_that_names_port_and_setting() {
    let setup = Setup::new();
    let port = setup.ports.http();
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("this test's own port");
    let fate = setup.run(&["serve"]);
    assert_eq!(fate.code, Some(1), "{fate:?}");
    assert!(
        fate.err.contains(&format!("tcp:127.0.0.1:{port}")) && fate.err.contains("[http] listen"),
        "{}",
        fate.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_no_rtp_port_left_a_call_is_told_to_come_again() {
    let setup = Setup::new().agents("[[agent]]\nname = \"echo\"\nkind = \"echo\"\n");
    let first = *setup.ports.rtp().start();
    let mut baton = setup.rtp_ports(first, first + 1).start();
    let mut call = calls(plan(&baton)).await;
    answered(&mut call).await;
    let second = ended(calls(plan(&baton)).await).await;
    assert!(
        matches!(second.outcome, Outcome::Refused { status: 503, .. }),
        "{:?}",
        second.outcome
    );
    baton.says("[media] rtp_ports");
    hung_up(call).await;
    // The port is free again once its call is over.
    baton.ended_calls(1);
    let mut third = calls(plan(&baton)).await;
    answered(&mut third).await;
    hung_up(third).await;
}
