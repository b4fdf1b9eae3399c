//! From the INVITE to the ACK.

use super::*;

#[test]
fn a_call_rings_until_its_agent_can_be_talked_to() {
    let mut ladder = Ladder::ringing();
    ladder.after(Duration::from_millis(800)).does(&[]);
    ladder
        .leg(leg::Event::AgentOpen)
        .does(&["200", "leg answered"]);
    ladder
        .agent(agent::Event::Ready)
        .agent(agent::Event::Accept)
        .does(&[]);
    ladder.receives(ack("")).does(&[]);
    assert_eq!(ladder.call.phase(), "talking");
    assert_eq!(
        ladder.call.milestones().answer_delay(),
        Some(Duration::from_millis(800))
    );
    assert_eq!(
        ladder.milestones,
        ["INVITE", "180 Ringing", "agent open", "200 OK", "ACK"]
    );
}

#[test]
fn a_call_may_be_answered_at_once() {
    let mut ladder = Ladder::invited_with(|setup| setup.config.answer = AnswerPolicy::AtOnce);
    ladder.does(&["open leg", "200", "leg answered"]);
    ladder
        .receives(ack(""))
        .leg(leg::Event::AgentOpen)
        .does(&[]);
}

#[test]
fn the_agent_and_the_history_know_who_calls() {
    let ladder = Ladder::ringing();
    let start = &ladder.call.facts.start;
    assert_eq!(
        start.call.headers,
        [("X-Twilio-CallSid".to_owned(), "CA1".to_owned())]
    );
    assert_eq!(start.call.twilio_call_sid.as_deref(), Some("CA1"));
    assert_eq!(start.input_context["language"], "en");
    let call = ladder.session().call.expect("recorded");
    assert_eq!(
        (call.from.as_str(), call.route.as_str()),
        ("+15559870000", "support")
    );
    assert_eq!(
        ladder.session().started_at,
        Some(UnixMillis(1_700_000_000_000))
    );
}

#[test]
fn an_offer_without_a_codec_of_ours_is_refused_with_a_warning() {
    for offer in [
        OFFER.replace("RTP/AVP 0 101", "RTP/AVP 18"),
        OFFER.replace("RTP/AVP 0", "RTP/SAVPF 0"),
        OFFER.replace("m=audio", "m=video"),
        "this is no SDP".to_owned(),
    ] {
        let mut ladder = Ladder::invited_with(|setup| setup.invited = invited(&offer));
        ladder.does(&["488 Warning", "ended rejected by bridge"]);
        assert_eq!(ladder.session().end.expect("ended").kind, EndKind::Rejected);
    }
}

#[test]
fn a_late_offer_is_ours_and_its_answer_comes_with_the_ack() {
    let mut ladder = Ladder::invited_with(|setup| setup.invited = invited(""));
    ladder.does(&["200"]);
    ladder
        .receives(ack(OFFER))
        .does(&["open leg", "leg answered"]);
    ladder.leg(leg::Event::AgentOpen).does(&[]);
    assert_eq!(ladder.call.phase(), "talking");
}

#[test]
fn a_late_offer_whose_ack_has_no_usable_answer_ends_the_call() {
    for answer in ["", "rubbish", &OFFER.replace(" 0 101", " 18")] {
        let mut ladder = Ladder::invited_with(|setup| setup.invited = invited(""));
        ladder.does(&["200"]);
        ladder
            .receives(ack(answer))
            .does(&["BYE", "ended failed by caller"]);
    }
}

#[test]
fn an_agent_may_refuse_the_call() {
    for (status, sent) in [(486, "486"), (603, "603"), (200, "480"), (999, "480")] {
        let mut ladder = Ladder::ringing();
        ladder
            .agent(agent::Event::Reject { status })
            .does(&[sent, "close leg"]);
        ladder.ends(EndKind::Rejected, EndBy::Agent);
    }
}

#[test]
fn an_agent_may_send_the_caller_on_with_the_key() {
    let mut ladder = Ladder::ringing();
    let target = "sip:desk@pbx.example.com".to_owned();
    ladder
        .agent(agent::Event::Redirect { target })
        .does(&["COMMIT"]);
    ladder
        .store_commits()
        .does(&["302 with target", "close leg"]);
    ladder.ends(EndKind::Rejected, EndBy::Agent);
    assert_eq!(
        ladder.session().handoffs[0].state,
        history::HandoffState::Unconfirmed
    );
}

#[test]
fn a_redirect_without_durable_history_or_with_a_bad_target_sends_nobody_on() {
    let target = |text: &str| agent::Event::Redirect {
        target: text.into(),
    };
    let mut ladder = Ladder::ringing();
    ladder
        .agent(target("sip:desk@pbx.example.com"))
        .does(&["COMMIT"]);
    ladder.store_fails().does(&["480", "close leg"]);
    ladder.ends(EndKind::Rejected, EndBy::Bridge);

    let mut ladder = Ladder::ringing();
    ladder.agent(target("http://evil")).does(&[]);
    ladder
        .leg(leg::Event::AgentOpen)
        .does(&["200", "leg answered"]);
}

#[test]
fn a_caller_who_waits_long_keeps_hearing_that_it_rings() {
    let mut ladder =
        Ladder::ringing_with(|setup| setup.config.connect_timeout = Duration::from_mins(3));
    ladder.after_secs(59).does(&[]);
    ladder.after_secs(1).does(&["180"]);
    ladder.after_secs(60).does(&["180"]);
}

#[test]
fn an_answer_that_nobody_acknowledges_ends_the_call() {
    let mut ladder = Ladder::answering_with(|_| {});
    ladder
        .receives(DialogEvent::NeverAcknowledged)
        .does(&["close leg"]);
    ladder.ends(EndKind::Failed, EndBy::Caller);
}

#[test]
fn a_leg_that_cannot_be_opened_refuses_the_call() {
    let mut ladder = Ladder::ringing();
    ladder.leg_closes().does(&["500", "ended failed by bridge"]);
}
