//! The main job: the caller is handed over, the history goes before, and the outcome is known.

use baton_core::agent::prompts::Prompt;
use baton_core::agent::{self, HandoffRequest, Role};
use baton_core::call::Operator;
use baton_core::handoff::{KeyPlacement, Style};
use baton_core::history::{EndBy, EndKind, HandoffState};

use crate::support::agent::Line;
use crate::support::{Ladder, ms, secs};

#[test]
fn a_caller_is_handed_over_with_the_history_in_front() {
    let mut call = Ladder::answered();
    call.store_hangs().agent_wants_handoff();
    call.agent_is_told("handoff requested")
        .sends_nothing_for(secs(2));
    call.store_works().agent_is_told("handoff committed");
    let key = call.key();
    call.sends("REFER").with(&format!(
        "Refer-To: <sip:queue@flex.example.com?X-Session-History-Key={key}>"
    ));
    assert!(call.header("Referred-By").contains("+15551230000"));
    call.refer_arrives().receives("202 Accepted");
    call.agent_is_told("handoff trying 202");
    call.receives("NOTIFY sipfrag 100")
        .agent_is_told("handoff trying 100")
        .sends_nothing_for(secs(1));
    call.receives("NOTIFY sipfrag 180")
        .agent_is_told("handoff ringing 180")
        .sends_nothing_for(secs(3));
    call.receives("NOTIFY sipfrag 200")
        .agent_is_told("handoff transferred 200")
        .sends("BYE");
    call.agent_is_told("stop");
    call.ends(EndKind::Transferred, EndBy::Bridge);
    call.handoff_is(HandoffState::Transferred);
}

#[test]
fn the_whole_conversation_is_in_the_history_before_the_refer_leaves() {
    let mut call = Ladder::answered();
    let said = |role, text: &str| agent::Event::Transcript {
        role,
        text: text.into(),
        is_final: true,
    };
    call.agent(said(Role::Caller, "I want my money back"))
        .agent(said(Role::Agent, "One moment"))
        .agent(agent::Event::Context {
            set: serde_json::Map::from_iter([("account".to_owned(), 7.into())]),
            current_task: Some("refund".into()),
            transfer: serde_json::Map::new(),
        });
    call.agent_wants_handoff().sends("REFER");
    // The instant the REFER is on the wire; nothing later may be needed.
    let history = call.history();
    let texts: Vec<_> = history
        .turns
        .iter()
        .map(|turn| turn.text.as_str())
        .collect();
    assert_eq!(texts, ["I want my money back", "One moment"]);
    assert_eq!(history.context.current_task_name.as_deref(), Some("refund"));
    assert_eq!(history.context.reference_variables["account"], 7);
    let handoff = history.handoffs.last().expect("the request");
    assert_eq!(handoff.reason.as_deref(), Some("billing"));
    assert_eq!(handoff.summary.as_deref(), Some("wants a refund"));
    call.refer_arrives().receives("202 Accepted");
    call.receives("NOTIFY sipfrag 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn the_refer_waits_until_the_agent_has_said_its_last_words() {
    let mut call = Ladder::answered();
    let mark = "goodbye".to_owned();
    call.agent_does(vec![
        Line::Speech(Prompt::ToAPerson),
        Line::Event(agent::Event::Mark { name: mark.clone() }),
        Line::Event(agent::Event::Handoff(HandoffRequest {
            say_first: Some(mark),
            ..HandoffRequest::default()
        })),
    ]);
    call.agent_is_told("handoff requested");
    call.sends_nothing_for(Prompt::ToAPerson.duration().saturating_sub(ms(200)));
    call.sends("REFER").agent_is_told("mark goodbye true");
    call.refer_arrives().receives("202 Accepted");
    call.receives("NOTIFY sipfrag 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn last_words_that_never_end_do_not_keep_the_caller_from_the_human() {
    let mut call = Ladder::answered();
    call.agent(agent::Event::Handoff(HandoffRequest {
        say_first: Some("a mark that nobody set".into()),
        ..HandoffRequest::default()
    }));
    call.sends_nothing_for(secs(9)).sends("REFER");
    call.refer_arrives().receives("202 Accepted");
    call.receives("NOTIFY sipfrag 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn the_key_travels_where_the_trunk_wants_it() {
    for (placement, where_it_is) in [
        (KeyPlacement::ReferToHeader, "Refer-To"),
        (KeyPlacement::CustomHeader, "X-Session-History-Key"),
        (KeyPlacement::ContactHeader, "Contact"),
        (KeyPlacement::UserToUser, "Refer-To"),
    ] {
        let mut call = Ladder::answered_with(|house| house.placement = placement);
        call.agent_wants_handoff().sends("REFER");
        let (key, value) = (call.key(), call.header(where_it_is));
        assert!(value.contains(&key), "{placement:?}: {value}");
        assert_eq!(call.count_sent("REFER"), 1);
        call.refer_arrives().receives("202 Accepted");
        call.receives("NOTIFY sipfrag 200").sends("BYE");
        call.ends(EndKind::Transferred, EndBy::Bridge);
    }
}

#[test]
fn an_operator_hands_over_as_an_agent_does() {
    let mut call = Ladder::answered();
    let target = Some("sip:boss@pbx.example.com".to_owned());
    call.operator(Operator::Handoff(HandoffRequest {
        target,
        ..HandoffRequest::default()
    }));
    call.sends("REFER").with("<sip:boss@pbx.example.com?");
    assert!(matches!(call.call().replies[..], [Ok(Some(_))]));
    call.refer_arrives().receives("202 Accepted");
    call.receives("NOTIFY sipfrag 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn a_second_handoff_while_one_runs_is_refused_and_changes_nothing() {
    let mut call = Ladder::referred();
    call.agent_wants_handoff().agent_is_told("handoff failed");
    assert!(call.agent_is_told_why().contains("running already"));
    call.receives("202 Accepted").receives("NOTIFY sipfrag 200");
    call.sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
    assert_eq!(call.count_sent("REFER"), 1);
}

#[test]
fn a_target_that_cannot_be_written_is_refused_before_anything_is_sent() {
    for target in [
        "http://example.com",
        "sip:",
        "sip:a b@c",
        "sip:x@h>\r\nX-Evil: 1",
        &format!("sip:{}@h", "x".repeat(70_000)),
    ] {
        let mut call = Ladder::answered();
        call.agent(agent::Event::Handoff(HandoffRequest {
            target: Some(target.to_owned()),
            ..HandoffRequest::default()
        }));
        call.agent_is_told("handoff failed")
            .sends_nothing_for(secs(2));
        assert_eq!(call.call().phase(), "talking");
        call.receives("BYE");
        call.ends(EndKind::CallerHungUp, EndBy::Caller);
    }
}

#[test]
fn hang_up_and_return_takes_the_key_along_and_waits_for_the_far_ends_word() {
    let mut call = Ladder::answered_with(|house| house.handoff.styles = vec![Style::Hangup]);
    call.store_hangs().agent_wants_handoff();
    call.sends_nothing_for(secs(1)).store_works();
    let key = call.key();
    call.sends("BYE").with("Transfer-Target:").with(&key);
    call.ends(EndKind::Returned, EndBy::Bridge);
    call.handoff_is(HandoffState::Returned);
}

#[test]
fn when_refer_is_refused_the_next_style_follows_with_a_commit_of_its_own() {
    let mut call = Ladder::referred_with(|house| {
        house.handoff.styles = vec![Style::Refer, Style::Hangup];
    });
    call.store_hangs().receives("405 Method Not Allowed");
    call.agent_is_told("handoff failed 405")
        .agent_is_told("handoff requested")
        .sends_nothing_for(secs(1));
    call.store_works().sends("BYE").with("Transfer-Target:");
    call.ends(EndKind::Returned, EndBy::Bridge);
}
