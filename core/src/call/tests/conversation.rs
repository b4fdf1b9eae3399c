//! What is said, pressed and written while the call is up.

use serde_json::json;

use super::*;
use crate::agent::Role;
use crate::call::BargeIn;
use crate::history::turn::MASKED;

fn said(role: Role, text: &str) -> agent::Event {
    agent::Event::Transcript {
        role,
        text: text.into(),
        is_final: true,
    }
}

const fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn the_conversation_is_written_as_it_was_heard() {
    let mut ladder = Ladder::talking();
    ladder.agent(said(Role::Agent, "Hello"));
    ladder.leg(leg::Event::AgentTurn {
        from: at(20),
        to: at(700),
    });
    ladder.leg(leg::Event::SpeechStarted { at: at(900) });
    ladder.leg(leg::Event::SpeechStopped { at: at(1500) });
    ladder.agent(said(Role::Caller, "Billing please"));
    ladder.agent(agent::Event::Transcript {
        role: Role::Caller,
        text: "Bill".into(),
        is_final: false,
    });
    ladder.agent(said(Role::Caller, "  "));
    ladder.agent(said(Role::Agent, "A very long explanation"));
    ladder
        .after_secs(3)
        .leg(leg::Event::Cleared { heard: at(400) })
        .does(&[]);
    let turns = ladder.session().turns;
    let shown: Vec<_> = turns
        .iter()
        .map(|t| (t.text.as_str(), t.from_ms, t.heard_ms))
        .collect();
    assert_eq!(
        shown,
        [
            ("Hello", Some(20), None),
            ("Billing please", Some(900), None),
            ("A very long explanation", Some(2600), Some(400)),
        ]
    );
}

#[test]
fn what_the_agent_asked_to_mask_is_not_kept() {
    let mut ladder = Ladder::talking();
    ladder.presses('1');
    ladder
        .agent(agent::Event::Sensitive(true))
        .presses('4')
        .agent(said(Role::Caller, "my pin is 4"));
    ladder
        .agent(agent::Event::Sensitive(false))
        .presses('#')
        .does(&[]);
    let session = ladder.session();
    let digits: Vec<_> = session.dtmf.iter().map(|d| d.digit).collect();
    assert_eq!(digits, [Some('1'), None, Some('#')]);
    assert_eq!(session.turns[0].text, MASKED);
}

#[test]
fn the_agents_context_is_kept_and_bounded() {
    let context = |text: String| agent::Event::Context {
        set: json!({ "note": text })
            .as_object()
            .expect("an object")
            .clone(),
        current_task: Some("billing".into()),
        transfer: serde_json::Map::new(),
    };
    let mut ladder = Ladder::talking();
    ladder.agent(context("short".into())).does(&[]);
    ladder
        .agent(context("x".repeat(100_000)))
        .does(&["tell error"]);
    let context = ladder.session().context;
    assert_eq!(context.reference_variables["note"], "short");
    assert_eq!(context.current_task_name.as_deref(), Some("billing"));
}

#[test]
fn the_callers_own_way_out_needs_no_agent() {
    let mut ladder = Ladder::talking_with(|setup| setup.handoff.escape_digit = Some('9'));
    ladder.presses('0').does(&[]);
    ladder.presses('9').does(&["tell requested", "COMMIT"]);
    ladder.presses('9').does(&[]);
    ladder.store_commits().does(&["tell committed", "REFER"]);
}

#[test]
fn digits_by_info_count_like_all_others() {
    let info = |content_type: &str, body: &'static [u8]| DialogEvent::Info {
        content_type: content_type.into(),
        body: Bytes::from_static(body),
    };
    let mut ladder = Ladder::talking();
    ladder.receives(info(
        "application/dtmf-relay",
        b"Signal=5\r\nDuration=160\r\n",
    ));
    ladder.does(&["tell digit 5"]);
    ladder
        .receives(info("application/media_control+xml", b"<x/>"))
        .does(&[]);
    assert_eq!(ladder.session().dtmf[0].digit, Some('5'));
}

#[test]
fn an_agent_steers_the_line() {
    let digits = |text: &str| agent::Event::SendDtmf {
        digits: text.into(),
        duration: None,
        gap: None,
    };
    let mut ladder = Ladder::talking();
    ladder
        .agent(digits("12#x\r\n"))
        .agent(digits("xyz"))
        .does(&["digits 12#"]);
    ladder
        .agent(agent::Event::Recording(false))
        .agent(agent::Event::ResumePlayout);
    ladder.does(&["recording false", "resume playout"]);
    ladder
        .agent(agent::Event::Mark { name: "m".into() })
        .agent(agent::Event::Clear)
        .does(&[]);
}

#[test]
fn an_agent_hangs_up_with_headers_that_may_travel() {
    let headers = vec![
        ("X-Result".to_owned(), "done".to_owned()),
        ("Via".to_owned(), "evil".to_owned()),
        ("X-Bad".to_owned(), "a\r\nVia: evil".to_owned()),
    ];
    let mut ladder = Ladder::talking();
    ladder.agent(agent::Event::Hangup {
        headers,
        reason: Some("done".into()),
    });
    let Some(Action::Sip(Command::Bye { headers })) = ladder.call.poll_action() else {
        panic!("no BYE");
    };
    assert_eq!(headers, [("X-Result".to_owned(), "done".to_owned())]);
    ladder.does(&["close leg"]);
    ladder.ends(EndKind::AgentHungUp, EndBy::Agent);
}

#[test]
fn an_operator_steers_the_call_and_is_answered_each_time() {
    let mut ladder = Ladder::ringing();
    ladder.input(Input::Operator(
        Operator::Handoff(HandoffRequest::default()),
    ));
    ladder.input(Input::Operator(Operator::Dtmf {
        digits: "1".into(),
        duration: None,
        gap: None,
    }));
    ladder.does(&[
        "reply there is no call to hand over",
        "reply there is no call to hand over",
    ]);
    ladder
        .leg(leg::Event::AgentOpen)
        .does(&["200", "leg answered"]);
    ladder
        .input(Input::Operator(Operator::Dtmf {
            digits: "1".into(),
            duration: None,
            gap: None,
        }))
        .does(&["digits 1", "reply ok"]);
    ladder.input(Input::Operator(
        Operator::Handoff(HandoffRequest::default()),
    ));
    ladder.does(&["tell requested", "COMMIT", "reply ok"]);
    ladder.input(Input::Operator(Operator::Hangup { reason: None }));
    ladder.does(&["BYE", "close leg", "reply ok"]);
    ladder.ends(EndKind::AgentHungUp, EndBy::Operator);
    ladder.input(Input::Operator(
        Operator::Handoff(HandoffRequest::default()),
    ));
    ladder.does(&["reply there is no call to hand over"]);
}

#[test]
fn nobody_transfers_us() {
    let mut ladder = Ladder::talking();
    ladder.receives(DialogEvent::Referred {
        refer_to: "<sip:evil@example.com>".into(),
        referred_by: None,
        headers: vec![],
    });
    ladder.does(&["REFER answered 603"]);
}

fn barging(barge_in: BargeIn) -> Ladder {
    let mut ladder = Ladder::talking_with(|setup| setup.config.barge_in = barge_in);
    ladder.leg(leg::Event::SpeechStarted {
        at: Duration::from_secs(1),
    });
    ladder
}

fn caller_falls_silent() -> leg::Event {
    leg::Event::SpeechStopped {
        at: Duration::from_secs(2),
    }
}

#[test]
fn the_callers_voice_does_to_the_agents_what_was_configured() {
    for (barge_in, does) in [
        (BargeIn::Off, &[][..]),
        (BargeIn::Notify, &[]),
        (BargeIn::Pause, &["pause playout"]),
        (BargeIn::Clear, &["Clear"]),
    ] {
        barging(barge_in).does(does);
    }
}

#[test]
fn an_agent_that_says_nothing_to_an_interruption_goes_on_where_it_stopped() {
    let mut ladder = barging(BargeIn::Pause);
    ladder.does(&["pause playout"]);
    ladder.leg(caller_falls_silent()).after_secs(1).does(&[]);
    ladder.after_secs(1).does(&["resume playout"]);
}

#[test]
fn a_caller_who_speaks_on_keeps_the_agent_paused() {
    let mut ladder = barging(BargeIn::Pause);
    ladder.leg(caller_falls_silent()).after_secs(1);
    ladder.leg(leg::Event::SpeechStarted {
        at: Duration::from_secs(3),
    });
    ladder.does(&["pause playout", "pause playout"]);
    ladder.after_secs(60).does(&[]);
}

#[test]
fn an_operators_digits_last_as_long_as_asked_within_what_a_phone_can_hear() {
    for (asked, given) in [
        (Some(at(300)), at(300)),
        (None, at(160)),
        (Some(at(1)), at(40)),
    ] {
        let mut ladder = Ladder::talking();
        ladder.input(Input::Operator(Operator::Dtmf {
            digits: "1".into(),
            duration: asked,
            gap: Some(at(500)),
        }));
        let Some(Action::Leg(leg::Command::SendDigits { duration, gap, .. })) =
            ladder.call.poll_action()
        else {
            panic!("no digits");
        };
        assert_eq!((duration, gap), (given, at(500)));
    }
}
