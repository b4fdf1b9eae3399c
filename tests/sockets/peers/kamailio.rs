//! Kamailio between phones and Baton: it stays in the path of each call with Record-Route.

use std::net::TcpListener;

use crate::support::baton::text;
use crate::support::peer::baresip::{Baresip, Phone};
use crate::support::peer::kamailio::{self, Kamailio};
use crate::support::sound::voiced_ms;
use crate::support::{Baton, Setup};

use super::{ladder, session, steps, turns};

/// How a phone reaches Kamailio, and Kamailio Baton.
#[derive(Clone, Copy, Debug)]
struct Way {
    caller: &'static str,
    bot: &'static str,
}

const UDP: Way = Way {
    caller: "udp",
    bot: "bot-udp",
};
/// Two transports, so two Record-Route header fields.
const TCP_TO_UDP: Way = Way {
    caller: "tcp",
    bot: "bot-udp",
};
/// A caller, the proxy and the bridge, one behind the other.
struct Chain {
    caller: Baresip,
    proxy: Kamailio,
    baton: Baton,
    uri: String,
}

impl Chain {
    fn of(way: Way, setup: Setup) -> Self {
        let baton = setup.start();
        let proxy = Kamailio::start(baton.ports());
        let caller = Phone::new("caller", baton.ports().peer(0)).over(way.caller);
        let uri = proxy.uri(way.bot, way.caller);
        Self {
            caller: caller.start(),
            proxy,
            baton,
            uri,
        }
    }

    fn answered(way: Way) -> Self {
        let mut chain = Self::of(way, Setup::new());
        chain.caller.calls(&chain.uri);
        chain
    }

    /// The proxy has passed on such a request to the caller's own URI, as only the bridge sends them.
    fn proxy_heard_from_baton(&mut self, method: &str) {
        self.proxy.sees(&format!(" says {method} sip:caller-"));
    }
}

#[test]
fn a_call_through_a_proxy_is_talked_on_and_ended_by_the_caller() {
    let mut chain = Chain::answered(UDP);
    chain.baton.wait_until("the caller is heard", |baton| {
        turns(&session(baton)).len() > 1
    });
    chain.caller.does("hangup", "");

    let (call, session) = chain.baton.ended_call();
    assert_eq!(call["end"]["kind"], "caller_hung_up");
    assert_eq!(session["call"]["to"], "bot-udp");
    assert_eq!(chain.proxy.count("says ACK"), 1);
    assert_eq!(chain.proxy.count("says BYE"), 1);
    assert!(voiced_ms(&chain.caller.recording()) > 1000);
}

#[test]
fn our_bye_finds_its_way_back_through_the_proxy() {
    ended_by_us(Chain::answered(UDP));
}

#[test]
fn hold_and_resume_pass_the_proxy() {
    holds_and_resumes(Chain::answered(UDP));
}

#[test]
fn two_record_routes_between_tcp_and_udp_carry_requests_both_ways() {
    let mut chain = Chain::answered(TCP_TO_UDP);
    let answer = chain.caller.trace("Record-Route: ");
    assert!(answer.contains("r2=on"), "a double one: {answer}");
    ended_by_us(chain);
}

#[test]
fn hold_and_resume_pass_two_record_routes() {
    holds_and_resumes(Chain::answered(TCP_TO_UDP));
}

#[test]
fn a_caller_gives_up_behind_the_proxy() {
    // An agent that takes the connection and never says a word: the caller hears ringing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("it is bound");
    let agent = format!(
        "[[agent]]\nname = \"slow\"\nkind = \"websocket\"\nurl = \"ws://{address}/\"\nanswer = \"when_ready\"\nconnect_timeout = \"20s\"\n"
    );
    let mut chain = Chain::of(UDP, Setup::new().agents(&agent));
    chain.caller.does("dial", &chain.uri);
    chain.caller.sees("CALL_RINGING");
    chain.caller.does("hangup", "");

    // A CANCEL is answered hop by hop: the one we see is the proxy's own.
    let (call, session) = chain.baton.ended_call();
    assert_eq!(call["end"]["kind"], "cancelled");
    assert_eq!(session["end"]["kind"], "cancelled");
    chain.caller.trace("SIP/2.0 487");
    assert_eq!(chain.proxy.count("says CANCEL"), 1);
}

#[test]
fn a_refer_and_its_notifies_pass_the_proxy() {
    let setup = Setup::new();
    let ports = setup.ports.peer(1);
    let human = format!("sip:humans@127.0.0.1:{}", ports.sip());
    let mut human_phone = Phone::new("humans", ports).answers().start();
    let mut chain = Chain::of(TCP_TO_UDP, setup.human(&human));
    chain.caller.calls(&chain.uri);
    chain.baton.steers("handoff");
    human_phone.sees("CALL_ESTABLISHED");

    let (call, session) = chain.baton.ended_call();
    assert_eq!(call["end"]["kind"], "transferred");
    let handoff = &session["handoffs"][0];
    assert_eq!(
        steps(handoff),
        ["requested", "committed", "trying", "trying", "transferred"]
    );
    chain.proxy_heard_from_baton("REFER");
    assert_eq!(chain.proxy.count("says NOTIFY"), 2);
    let invite = human_phone.trace("INVITE sip:humans@");
    assert!(invite.contains(text(&session["key"])), "{invite}");
}

#[test]
fn a_refer_finds_a_human_who_is_registered_at_the_proxy() {
    let setup = Setup::new();
    let human = format!("sip:humans@127.0.0.1:{}", setup.ports.peer(2).sip());
    let mut chain = Chain::of(UDP, setup.human(&human));
    let mut human_phone = Phone::new("humans", chain.baton.ports().peer(1))
        .answers()
        .registered_at(chain.baton.ports().peer(2), kamailio::PASSWORD)
        .start();
    human_phone.sees("REGISTER_OK");
    chain.caller.calls(&chain.uri);
    chain.baton.steers("handoff");
    human_phone.sees("CALL_ESTABLISHED");

    let (call, session) = chain.baton.ended_call();
    assert_eq!(call["end"]["kind"], "transferred");
    let invite = human_phone.trace("INVITE sip:humans-");
    assert!(
        !invite.contains("X-Session"),
        "a registrar's contact has no key: {invite}"
    );
    let with_key = human_phone.trace(text(&session["key"]));
    assert!(with_key.starts_with("To: <sip:humans@"), "{with_key}");
}

#[test]
fn a_caller_who_is_gone_is_told_to_us_by_the_proxy_with_408() {
    let mut chain = Chain::of(UDP, Setup::new().media("no_rtp_timeout = \"4s\""));
    chain.caller.calls(&chain.uri);
    chain.caller.dies();
    chain.baton.steers("handoff");
    // Nobody answers the REFER, and the proxy says so after a second and a half. It may still be the proxy's fault:
    // the agent goes on, until it is plain that nobody is there.
    let (call, session) = chain.baton.ended_call();
    let handoff = &session["handoffs"][0];
    assert_eq!(handoff["state"], "failed", "{handoff}");
    assert_eq!(handoff["sip_status"], 408, "{handoff}");
    assert_eq!(handoff["resumed"], true, "{handoff}");
    assert_eq!(call["end"]["kind"], "lost", "{call}");
    chain.proxy_heard_from_baton("BYE");
}

fn ended_by_us(mut chain: Chain) {
    chain.baton.steers("hangup");
    chain.caller.sees("CALL_CLOSED");
    chain.proxy_heard_from_baton("BYE");
    let (call, _) = chain.baton.ended_call();
    assert_eq!(call["end"]["by"], "operator", "{call}");
}

fn holds_and_resumes(mut chain: Chain) {
    chain.caller.does("hold", "");
    chain.baton.wait_until("it is on hold", |baton| {
        ladder(baton).contains(&"hold".into())
    });
    chain.caller.sees("CALL_REMOTE_SDP");
    chain.caller.does("resume", "");
    chain.baton.wait_until("it is back", |baton| {
        ladder(baton).contains(&"retrieved".into())
    });
    assert_eq!(chain.proxy.count("says INVITE"), 3);
    chain.caller.does("hangup", "");
    let (call, _) = chain.baton.ended_call();
    assert_eq!(call["end"]["kind"], "caller_hung_up");
}
