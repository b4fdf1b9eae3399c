//! From INVITE to a conversation, or to a clear refusal.

use baton_core::agent;
use baton_core::agent::prompts::Prompt;
use baton_core::call::AnswerPolicy;
use baton_core::history::{EndBy, EndKind};
use baton_core::sip::endpoint::Readiness;
use bytes::Bytes;

use crate::support::bridge::Dial;
use crate::support::far_end::Placing;
use crate::support::{Ladder, ms, secs};

#[test]
fn a_call_rings_until_the_agent_can_be_talked_to() {
    let mut call = Ladder::calls_with(|house| house.dial = Dial::Opens(secs(2)));
    call.sends("100 Trying").sends("180 Ringing");
    call.sends_nothing_for(ms(1900));
    call.sends("200 OK (INVITE)")
        .with("m=audio 10000 RTP/AVP 0");
    call.receives("ACK").agent_is_told("start");
    call.passes(secs(1)).receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn both_hear_each_other_from_the_answer_on() {
    let mut call = Ladder::answered();
    call.agent_speaks(Prompt::Greeting).caller_hears_the_agent();
    call.caller_speaks().agent_is_told("speech started");
    call.caller_is_silent().agent_is_told("speech stopped");
    let frames = call.call().agent.frames();
    call.passes(secs(2));
    assert_eq!(call.call().agent.frames(), frames + 100);
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_call_may_be_answered_before_its_agent_is_there() {
    let mut call = Ladder::calls_with(|house| {
        house.call.answer = AnswerPolicy::AtOnce;
        house.dial = Dial::Opens(secs(2));
    });
    call.sends("200 OK (INVITE)").receives("ACK");
    call.passes(ms(1500)).agent_is_not_told("start");
    call.agent_is_told("start").passes(secs(1));
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn an_invite_without_an_offer_is_given_ours_and_answered_in_the_ack() {
    // The trunk's endpoint cannot answer an offer in its ACK, so this one is played by hand.
    let mut call = Ladder::calls_with(|house| house.dial = Dial::Opens(secs(1)));
    let answers = call.stranger_sends("10.0.0.9:5060", &late_offer("INVITE", "", ""));
    let ok = answers.last().expect("answered");
    assert!(ok.starts_with("SIP/2.0 200 OK"), "{ok}");
    assert!(ok.contains("m=audio 10002 RTP/AVP 0 8"), "{ok}");
    let to = ok.lines().find(|line| line.starts_with("To:"));
    let tag = to.and_then(|to| to.split(";tag=").nth(1)).expect("a tag");
    let sdp =
        "v=0\no=- 1 1 IN IP4 10.0.0.9\ns=-\nc=IN IP4 10.0.0.9\nt=0 0\nm=audio 4000 RTP/AVP 0\n";
    let ack = late_offer("ACK", tag, sdp);
    assert!(call.stranger_sends("10.0.0.9:5060", &ack).is_empty());
    call.passes(secs(2));
    let late = call.world.bridge.call(1);
    assert_eq!(late.phase(), "talking");
    assert!(late.pace.packets > 0, "RTP goes where the ACK said");
}

fn late_offer(method: &str, tag: &str, sdp: &str) -> String {
    let tag = if tag.is_empty() {
        String::new()
    } else {
        format!(";tag={tag}")
    };
    let content = if sdp.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\n"
    };
    let length = sdp.replace('\n', "\r\n").len();
    format!(
        "{method} sip:bot@10.0.0.2 SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bK{method}1\n\
         Max-Forwards: 70\nFrom: <sip:late@10.0.0.9>;tag=l1\nTo: <sip:bot@10.0.0.2>{tag}\n\
         Call-ID: late@10.0.0.9\nCSeq: 1 {method}\nContact: <sip:late@10.0.0.9:5060>\n\
         {content}Content-Length: {length}\n\n{sdp}"
    )
}

#[test]
fn an_offer_with_no_codec_of_ours_is_refused_with_a_warning() {
    let offer = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
        m=audio 40000 RTP/AVP 18\r\na=rtpmap:18 G729/8000\r\n";
    let mut call = Ladder::places(&Placing {
        offer: Some(Bytes::from_static(offer.as_bytes())),
        ..Placing::default()
    });
    call.sends("488 Not Acceptable Here").with("Warning: 305");
    call.ends(EndKind::Rejected, EndBy::Bridge);
}

#[test]
fn an_offer_that_is_no_sdp_is_refused() {
    let mut call = Ladder::places(&Placing {
        offer: Some(Bytes::from_static(b"\0\xff not a description")),
        ..Placing::default()
    });
    call.sends("488 Not Acceptable Here");
    call.ends(EndKind::Rejected, EndBy::Bridge);
}

#[test]
fn an_agent_whose_socket_is_not_open_cannot_say_anything_yet() {
    let mut call = Ladder::calls_with(|house| house.dial = Dial::Opens(secs(2)));
    call.sends("180 Ringing");
    call.agent(agent::Event::Reject { status: 486 })
        .sends_nothing_for(secs(1));
    call.sends("200 OK (INVITE)").receives("ACK");
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}

#[test]
fn a_node_that_is_full_says_when_to_come_back() {
    let mut call = Ladder::answered();
    let retry_after = secs(7);
    call.world
        .bridge
        .endpoint
        .set_readiness(Readiness::Busy { retry_after });
    call.world.place(&Placing::default());
    call.sends("503 Service Unavailable").with("Retry-After:");
    call.receives("BYE");
    call.ends(EndKind::CallerHungUp, EndBy::Caller);
}
