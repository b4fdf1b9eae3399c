//! NOTIFYs at unusual times, in unusual shapes, and from people who are not the trunk.

use baton_core::agent;
use baton_core::history::{EndBy, EndKind, FailureKind, HandoffState};

use crate::support::{Ladder, ms, secs};

// Before the 202.

#[test]
fn a_notify_may_overtake_the_202() {
    let mut call = Ladder::referred();
    call.wire_delays("202 Accepted", ms(400));
    call.trunk_sends("202 Accepted");
    call.receives("NOTIFY sipfrag 100")
        .agent_is_told("handoff trying 100");
    call.passes(secs(1)).receives("NOTIFY sipfrag 200");
    call.agent_is_told("handoff transferred 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn even_the_last_notify_may_overtake_the_202() {
    let mut call = Ladder::referred();
    call.wire_delays("202 Accepted", ms(400));
    call.trunk_sends("202 Accepted");
    call.receives("NOTIFY sipfrag 200");
    call.agent_is_told("handoff transferred 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

#[test]
fn bad_news_may_overtake_the_202_and_the_202_does_not_mend_it() {
    let mut call = Ladder::referred();
    call.wire_delays("202 Accepted", ms(400));
    call.trunk_sends("202 Accepted");
    call.receives("NOTIFY sipfrag 486");
    call.agent_is_told("handoff failed 486");
    call.resumes().passes(secs(1));
    call.handoff_failed(FailureKind::TargetFailed, Some(486));
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_notify_whose_202_is_lost_for_good_counts_as_the_202_would() {
    let mut call = Ladder::referred();
    call.wire_loses_from_trunk("202 Accepted", usize::MAX);
    call.trunk_sends("202 Accepted");
    call.receives("NOTIFY sipfrag 100").passes(secs(15));
    call.receives("NOTIFY sipfrag 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

// Out of order, twice, too late.

#[test]
fn a_stale_100_after_the_200_changes_nothing() {
    let mut call = Ladder::accepted();
    call.wire_delays("NOTIFY sipfrag 100", ms(200));
    call.trunk_sends("NOTIFY sipfrag 100");
    call.receives("NOTIFY sipfrag 200");
    call.agent_is_told("handoff transferred 200").sends("BYE");
    // Its CSeq is an old one by then (RFC 3261 §12.2.2).
    call.sends("500");
    call.ends(EndKind::Transferred, EndBy::Bridge);
}

// After our BYE.

#[test]
fn good_news_after_our_bye_is_answered_and_settles_what_was_settled() {
    let mut call = Ladder::accepted();
    call.receives("NOTIFY sipfrag 180").key_is_read();
    call.within(secs(65)).sends("BYE");
    call.receives("200 OK (BYE)").receives("NOTIFY sipfrag 200");
    call.passes(ms(50));
    assert_eq!(call.count_sent("200 OK (NOTIFY)"), 2);
    call.ends(EndKind::Transferred, EndBy::Bridge);
    call.handoff_is(HandoffState::Transferred);
}

#[test]
fn bad_news_after_our_bye_does_not_undo_what_was_proven() {
    let mut call = Ladder::accepted();
    call.receives("NOTIFY sipfrag 180");
    call.key_is_read().passes(secs(1));
    // The trunk never says how it went; with the key read, that is a transfer (and its BYE is ours to send).
    call.within(secs(65)).sends("BYE");
    call.receives("NOTIFY sipfrag 486").passes(secs(1));
    assert_eq!(call.count_sent("200 OK (NOTIFY)"), 2);
    call.ends(EndKind::Transferred, EndBy::Bridge);
    call.handoff_is(HandoffState::Transferred);
}

#[test]
fn a_notify_that_crosses_our_bye_is_answered() {
    let mut call = Ladder::accepted();
    call.receives("NOTIFY sipfrag 100");
    call.operator(baton_core::call::Operator::Hangup { reason: None });
    call.trunk_sends("NOTIFY sipfrag 200").sends("BYE");
    call.passes(secs(1));
    assert_eq!(call.count_sent("200 OK (NOTIFY)"), 2);
    call.ends(EndKind::AgentHungUp, EndBy::Operator);
}

// After we gave up.

#[test]
fn good_news_after_we_gave_up_is_the_truth_all_the_same() {
    let mut call = Ladder::accepted();
    call.passes(secs(31)).agent_is_told("handoff failed");
    call.agent_is_told("handoff resumed").passes(secs(3));
    call.receives("NOTIFY sipfrag 200");
    call.agent_is_told("handoff transferred 200").sends("BYE");
    call.ends(EndKind::Transferred, EndBy::Bridge);
    call.handoff_is(HandoffState::Transferred);
}

#[test]
fn bad_news_after_we_gave_up_is_no_news() {
    let mut call = Ladder::accepted();
    call.passes(secs(31)).agent_is_told("handoff failed");
    call.resumes().receives("NOTIFY sipfrag 486");
    call.passes(secs(1)).agent_is_not_told("handoff");
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_notify_after_a_refused_refer_belongs_to_nothing() {
    let mut call = Ladder::referred();
    call.receives("603 Decline")
        .agent_is_told("handoff failed 603");
    call.resumes();
    let notify = spoken(&mut call, |notify| notify);
    let answers = call.stranger_sends(TRUNKS_OTHER_PORT, &notify);
    assert!(answers[0].starts_with("SIP/2.0 481"), "{answers:?}");
    call.sends("481").agent_is_not_told("handoff");
    call.agent(agent::Event::Hangup {
        headers: Vec::new(),
        reason: None,
    });
    call.sends("BYE");
    call.ends(EndKind::AgentHungUp, EndBy::Agent);
}

// From a stranger.

const STRANGER: &str = "10.0.0.66:5060";
const TRUNKS_OTHER_PORT: &str = "10.0.0.67:5060";

/// A NOTIFY 200 for the last REFER as the trunk would send it, changed.
fn spoken(call: &mut Ladder, change: impl FnOnce(String) -> String) -> String {
    let bridge = call.world.bridge.address;
    let ladder = call.world.wire.ladder();
    let refer = ladder
        .iter()
        .rev()
        .find(|message| message.from == bridge && message.is("REFER"))
        .expect("a REFER was sent");
    let field = |name: &str| {
        let line = refer.text.lines().find_map(|line| line.strip_prefix(name));
        line.expect("in every request").trim().to_owned()
    };
    let (from, to, call_id) = (field("To:"), field("From:"), field("Call-ID:"));
    change(format!(
        "NOTIFY sip:bot@10.0.0.2 SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.66:5060;branch=z9hG4bKstranger\n\
         Max-Forwards: 70\nFrom: {from}\nTo: {to}\nCall-ID: {call_id}\nCSeq: 9000 NOTIFY\n\
         Event: refer\nSubscription-State: terminated;reason=noresource\n\
         Content-Type: message/sipfrag;version=2.0\nContent-Length: 16\n\nSIP/2.0 200 OK\n"
    ))
}

/// The bridge says this to the stranger, and the handoff goes on as if nothing had been said.
#[track_caller]
fn shown_the_door(change: impl FnOnce(String) -> String, status: &str) {
    let mut call = Ladder::accepted();
    let notify = spoken(&mut call, change);
    let answers = call.stranger_sends(STRANGER, &notify);
    assert!(
        answers.len() == 1 && answers[0].starts_with(&format!("SIP/2.0 {status}")),
        "{answers:?}"
    );
    call.sends(status).agent_is_not_told("handoff");
    call.receives("NOTIFY sipfrag 486");
    call.agent_is_told("handoff failed 486");
    call.resumes().receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_stranger_who_guesses_our_tag_wrong_transfers_nobody() {
    shown_the_door(
        |notify| {
            let to = notify.lines().find(|line| line.starts_with("To:"));
            let tag = to.and_then(|to| to.split(";tag=").nth(1)).expect("a tag");
            notify.replace(tag, "0123456789abcdef")
        },
        "481",
    );
}

#[test]
fn a_stranger_who_guesses_the_trunks_tag_wrong_transfers_nobody() {
    shown_the_door(
        |notify| {
            let from = notify.lines().find(|line| line.starts_with("From:"));
            let tag = from.and_then(|f| f.split(";tag=").nth(1)).expect("a tag");
            notify.replace(tag, "0123456789abcdef")
        },
        "481",
    );
}

#[test]
fn a_stranger_with_another_call_id_transfers_nobody() {
    shown_the_door(|notify| notify.replace("Call-ID: ", "Call-ID: x"), "481");
}

#[test]
fn a_notify_outside_any_dialog_transfers_nobody() {
    shown_the_door(
        |notify| {
            let lines = notify.lines().map(|line| match line.split_once(";tag=") {
                Some((head, _)) if line.starts_with("To:") => head.to_owned(),
                _ => line.to_owned(),
            });
            lines.map(|line| line + "\n").collect()
        },
        "481",
    );
}

// In unusual shapes, in the dialog.

/// What the bridge answers to a NOTIFY of this shape, and that it settles nothing.
#[track_caller]
fn settles_nothing(change: impl FnOnce(String) -> String, status: &str) {
    let mut call = Ladder::accepted();
    let notify = spoken(&mut call, change);
    let answers = call.stranger_sends(STRANGER, &notify);
    assert!(
        answers[0].starts_with(&format!("SIP/2.0 {status}")),
        "{answers:?}"
    );
    if status != "200" {
        call.sends(status);
    }
    call.passes(secs(1)).agent_is_not_told("handoff");
    assert_eq!(call.call().phase(), "handing_off");
}

#[test]
fn a_notify_without_event_is_a_bad_request() {
    settles_nothing(|notify| notify.replace("Event: refer\n", ""), "400");
}

#[test]
fn a_notify_for_another_event_is_a_bad_event() {
    settles_nothing(
        |notify| notify.replace("Event: refer", "Event: presence"),
        "489",
    );
}

#[test]
fn a_notify_for_a_refer_that_never_was_is_refused() {
    settles_nothing(
        |notify| notify.replace("Event: refer", "Event: refer;id=77"),
        "481",
    );
}

#[test]
fn a_notify_whose_body_is_rubbish_settles_nothing() {
    settles_nothing(
        |notify| notify.replace("SIP/2.0 200 OK\n", "SIP/9.9 2oo OK\n"),
        "200",
    );
}
