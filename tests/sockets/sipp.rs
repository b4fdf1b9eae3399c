//! One test per file of `sipp-scenarios/`: what the far end saw (SIPp was content) and what Baton saw of it.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::baton::text;
use crate::support::{Baton, Sipp, http};

#[test]
fn a_caller_who_talks_and_hangs_up() {
    let mut baton = Baton::start();
    let far_end = Sipp::plays("uac-answer-bye").calls(&mut baton);
    assert!(far_end.said("answer ").starts_with("m=audio "));

    let (call, session) = baton.ended_call();
    assert_eq!(call["end"]["kind"], "caller_hung_up");
    assert_eq!(session["end"]["by"], "caller");
    assert_eq!(session["handoffs"], json!([]));
    // Two seconds of both: about a hundred packets in, and one every 20 ms out.
    assert!(count(&call["quality"]["packets_received"]) >= 95, "{call}");
    assert!(count(&call["quality"]["packets_sent"]) >= 95, "{call}");
    assert_eq!(call["quality"]["packets_refused"], 0, "{call}");
}

#[test]
fn a_caller_who_gives_up_while_it_rings() {
    // An agent that takes the connection and never says a word: the caller hears ringing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("it is bound");
    let agent = format!(
        "[[agent]]\nname = \"slow\"\nkind = \"websocket\"\nurl = \"ws://{address}/\"\nanswer = \"when_ready\"\nconnect_timeout = \"20s\"\n"
    );
    let mut baton = Baton::with(&agent, "");
    Sipp::plays("uac-cancel-early").calls(&mut baton);

    let (call, session) = baton.ended_call();
    assert_eq!(call["end"]["kind"], "cancelled");
    assert_eq!(call["answered"], Value::Null);
    assert_eq!(session["end"]["kind"], "cancelled");
}

/// The same far end by one connection for all of it, and by one connection per call.
#[test]
fn the_main_scenarios_go_over_tcp_too() {
    for (scenario, end) in [
        ("uac-answer-bye", Some("caller_hung_up")),
        ("uac-options", None),
        ("uac-bad-sdp-488", Some("rejected")),
        ("uac-refer-202-notify-200", Some("transferred")),
    ] {
        for mode in ["t1", "tn"] {
            let mut baton = Baton::start();
            let far_end = Sipp::plays(scenario)
                .with(&["-t", mode, "-max_socket", "50"])
                .calls(&mut baton);
            assert!(
                far_end.messages.contains("SIP/2.0/TCP"),
                "{scenario} {mode}"
            );
            assert!(!far_end.messages.contains("SIP/2.0/UDP"), "{scenario}");
            let expected = usize::from(end.is_some());
            for call in baton.ended_calls(expected) {
                assert_eq!(Some(text(&call["end"]["kind"])), end, "{scenario} {mode}");
            }
        }
    }
}

#[test]
fn a_lost_ack_brings_the_200_again() {
    let mut baton = Baton::start();
    let far_end = Sipp::plays("uac-lost-ack").with(&["-nr"]).calls(&mut baton);
    assert!(
        far_end.messages.matches("SIP/2.0 200 OK").count() >= 4,
        "three to INVITE, one to BYE"
    );

    let (call, _) = baton.ended_call();
    assert_eq!(call["end"]["kind"], "caller_hung_up");
}

#[test]
fn options_is_answered_and_is_no_call() {
    let mut baton = Baton::start();
    Sipp::plays("uac-options").calls(&mut baton);
    assert_eq!(baton.calls(), Vec::<Value>::new());
}

#[test]
fn a_codec_we_do_not_speak_is_refused_with_a_warning() {
    let mut baton = Baton::start();
    Sipp::plays("uac-bad-sdp-488").calls(&mut baton);
    baton.wait_until("nothing of it lives on", |baton| {
        baton
            .calls()
            .iter()
            .all(|call| call["end"]["kind"] == "rejected")
    });
}

#[test]
fn pressed_keys_are_heard_once_each() {
    let mut baton = Baton::start();
    Sipp::plays("uac-dtmf-rfc4733").calls(&mut baton);

    let (_, session) = baton.ended_call();
    let digits: Vec<_> = array(&session["dtmf"])
        .iter()
        .map(|key| text(&key["digit"]))
        .collect();
    assert_eq!(digits, ["4", "2", "#"]);
    let times: Vec<_> = array(&session["dtmf"])
        .iter()
        .map(|key| count(&key["at_ms"]))
        .collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn a_handoff_that_succeeds_carries_the_key_of_the_history() {
    let mut baton = Baton::start();
    let far_end = Sipp::plays("uac-refer-202-notify-200").calls(&mut baton);

    let (call, session) = baton.ended_call();
    assert_eq!(call["end"]["kind"], "transferred");
    assert_eq!(session["end"]["kind"], "transferred");
    let key = far_end.said("history key ");
    assert_eq!(
        key,
        text(&session["key"]),
        "the key on the wire opens this history"
    );
    let handoff = last_handoff(&session);
    assert_eq!(handoff["state"], "transferred");
    assert_eq!(
        steps(handoff),
        [
            "requested",
            "committed",
            "trying",
            "trying",
            "ringing",
            "transferred"
        ],
        "202 and NOTIFY 100 are both evidence of trying"
    );
    let page =
        http::get(baton.ports().http(), &format!("/sessions/{key}")).expect("the human's page");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("<html"), "{}", page.body);
}

#[test]
fn a_trunk_without_refer_gives_the_caller_back_to_the_agent() {
    let mut baton = Baton::start();
    Sipp::plays("uac-refer-405").calls(&mut baton);
    resumed(&mut baton, "refused", 405);
}

#[test]
fn a_busy_human_gives_the_caller_back_to_the_agent() {
    let mut baton = Baton::start();
    Sipp::plays("uac-refer-notify-486").calls(&mut baton);
    resumed(&mut baton, "target_failed", 486);
}

#[test]
fn a_bye_that_crosses_the_refer_ends_call_and_handoff() {
    let mut baton = Baton::start();
    Sipp::plays("uac-refer-bye-race").calls(&mut baton);

    let (call, session) = baton.ended_call();
    assert_eq!(call["end"]["kind"], "caller_hung_up");
    let handoff = last_handoff(&session);
    assert_eq!(handoff["state"], "failed");
    assert_eq!(handoff["failure"], "caller_hung_up");
    assert_eq!(handoff["resumed"], false);
}

#[test]
fn a_202_and_a_bye_without_proof_stay_unconfirmed() {
    let mut baton = Baton::start();
    Sipp::plays("uac-refer-202-bye").calls(&mut baton);

    let (call, session) = baton.ended_call();
    assert_eq!(call["end"]["kind"], "caller_hung_up");
    assert_eq!(last_handoff(&session)["state"], "unconfirmed");
}

#[test]
fn a_burst_is_served_up_to_the_limit_and_told_when_to_come_again() {
    let mut baton = Baton::with(
        "[[agent]]\nname = \"echo\"\nkind = \"echo\"\n",
        "max_calls = 2",
    );
    let far_end = Sipp::plays("uac-burst-503")
        .with(&["-m", "6", "-l", "6", "-r", "100"])
        .calls(&mut baton);
    assert_eq!(far_end.count("answered"), 2, "{:?}", far_end.log);
    assert_eq!(far_end.count("busy"), 4, "{:?}", far_end.log);

    baton.wait_until("the two that were answered have ended", |baton| {
        let calls = baton.calls();
        let ended = |kind: &str| {
            calls
                .iter()
                .filter(|call| call["end"]["kind"] == kind)
                .count()
        };
        ended("caller_hung_up") == 2 && calls.iter().all(|call| !call["end"].is_null())
    });
    // The places are free again.
    let again = Sipp::plays("uac-burst-503").calls(&mut baton);
    assert_eq!(again.count("answered"), 1, "{:?}", again.log);
}

/// The handoff failed for this reason, the agent went on, and in the end the caller hung up.
fn resumed(baton: &mut Baton, failure: &str, sip_status: u16) {
    let (call, session) = baton.ended_call();
    assert_eq!(call["end"]["kind"], "caller_hung_up");
    let handoff = last_handoff(&session);
    assert_eq!(handoff["state"], "failed", "{handoff}");
    assert_eq!(handoff["failure"], failure, "{handoff}");
    assert_eq!(handoff["sip_status"], sip_status, "{handoff}");
    assert_eq!(handoff["resumed"], true, "{handoff}");
    assert_eq!(steps(handoff).last(), Some(&"resumed"), "{handoff}");
}

fn last_handoff(session: &Value) -> &Value {
    array(&session["handoffs"])
        .last()
        .unwrap_or_else(|| panic!("a handoff in {session}"))
}

fn steps(handoff: &Value) -> Vec<&str> {
    array(&handoff["steps"])
        .iter()
        .map(|step| text(&step["state"]))
        .collect()
}

fn array(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("a list, not {value}"))
}

fn count(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("a number, not {value}"))
}
