//! baresip calls, holds, presses keys, hangs up, and is sent to a human with REFER.

use serde_json::Value;

use crate::support::baton::text;
use crate::support::peer::baresip::{Baresip, Phone};
use crate::support::peer::speech;
use crate::support::sound::likeness;
use crate::support::{Baton, Setup};

use super::{keys, ladder, session, steps, turns};

/// The agent that says what it hears.
const ECHO: &str = "[[agent]]\nname = \"echo\"\nkind = \"echo\"\n";

#[test]
fn baresip_hears_the_agent_and_is_heard() {
    let mut baton = Baton::start();
    let mut caller = Phone::new("caller", baton.ports().peer(0)).start();
    caller.calls(&baton.uri());
    // Two seconds of the greeting, then the caller cuts in.
    baton.wait_until("the caller is heard", |baton| {
        turns(&session(baton)).len() > 1
    });
    caller.does("hangup", "");

    let (call, session) = baton.ended_call();
    assert_eq!(call["end"]["kind"], "caller_hung_up");
    assert_eq!(call["quality"]["packets_refused"], 0, "{call}");
    assert_eq!(session["end"]["by"], "caller");
    assert_eq!(session["call"]["from"], "caller");
    let turns = turns(&session);
    assert!(
        turns[0].starts_with("agent: Hello, this is Baton."),
        "{turns:?}"
    );
    assert!(
        turns[1].starts_with("caller: (caller spoke for "),
        "{turns:?}"
    );

    let heard = caller.recording();
    let greeting = &speech::greeting()[..8000];
    let alike = likeness(&heard, greeting);
    assert!(alike > 0.95, "the greeting, sample for sample: {alike}");
}

#[test]
fn speech_goes_there_and_back_unharmed() {
    let mut baton = Baton::with(ECHO, "");
    let mut caller = Phone::new("caller", baton.ports().peer(0))
        .says(speech::caller_after(0))
        .start();
    caller.calls(&baton.uri());
    caller.has_heard(5000);
    caller.does("hangup", "");
    baton.ended_call();

    let alike = likeness(&caller.recording(), &speech::caller());
    assert!(alike > 0.9, "the echo of four seconds of speech: {alike}");
}

#[test]
fn baton_hangs_up_on_baresip() {
    let mut baton = Baton::start();
    let mut caller = Phone::new("caller", baton.ports().peer(0)).start();
    caller.calls(&baton.uri());
    baton.steers("hangup");
    let closed = caller.sees("CALL_CLOSED");
    assert_eq!(closed["param"], "Connection reset by peer");

    let (call, _) = baton.ended_call();
    assert_eq!(call["end"]["by"], "operator", "{call}");
}

#[test]
fn baresip_presses_keys() {
    let mut baton = Baton::start();
    let mut caller = Phone::new("caller", baton.ports().peer(0)).start();
    caller.calls(&baton.uri());
    for key in ["4", "2", "#"] {
        caller.does("sndcode", key);
        baton.wait_until("the key is heard", |baton| {
            keys(&session(baton)).last() == Some(&key.to_owned())
        });
    }
    caller.does("hangup", "");
    let (_, session) = baton.ended_call();
    assert_eq!(keys(&session), ["4", "2", "#"], "once each");
}

#[test]
fn baresip_holds_the_call_and_takes_it_back() {
    let mut baton = Baton::start();
    let mut caller = Phone::new("caller", baton.ports().peer(0)).start();
    caller.calls(&baton.uri());
    caller.does("hold", "");
    baton.wait_until("it is on hold", |baton| {
        ladder(baton).contains(&"hold".into())
    });
    caller.sees("CALL_REMOTE_SDP");
    assert_eq!(caller.traced("a=recvonly"), 1, "our answer to a=sendonly");
    caller.does("resume", "");
    baton.wait_until("it is back", |baton| {
        ladder(baton).contains(&"retrieved".into())
    });
    baton.wait_until("the caller is heard again", |baton| {
        turns(&session(baton))
            .iter()
            .any(|turn| turn.starts_with("caller:"))
    });
    caller.does("hangup", "");

    let (call, _) = baton.ended_call();
    assert_eq!(call["end"]["kind"], "caller_hung_up");
}

#[test]
fn a_call_that_baresip_gives_up_while_it_rings() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("it is bound");
    let agent = format!(
        "[[agent]]\nname = \"slow\"\nkind = \"websocket\"\nurl = \"ws://{address}/\"\nanswer = \"when_ready\"\nconnect_timeout = \"20s\"\n"
    );
    let mut baton = Baton::with(&agent, "");
    let mut caller = Phone::new("caller", baton.ports().peer(0)).start();
    caller.does("dial", &baton.uri());
    caller.sees("CALL_RINGING");
    caller.does("hangup", "");

    let (call, session) = baton.ended_call();
    assert_eq!(call["end"]["kind"], "cancelled");
    assert_eq!(session["end"]["kind"], "cancelled");
    caller.trace("SIP/2.0 487");
}

#[test]
fn baresip_asks_for_our_options() {
    let baton = Baton::start();
    let mut caller = Phone::new("caller", baton.ports().peer(0)).start();
    caller.does("options", &baton.uri());
    caller.trace("Accept: application/sdp");
    assert_eq!(baton.calls(), Vec::<Value>::new());
}

#[test]
fn a_refer_takes_baresip_to_the_human_with_the_key() {
    let (mut baton, mut caller, mut human) = with_a_human(Phone::answers);
    caller.calls(&baton.uri());
    baton.steers("handoff");
    human.sees("CALL_ESTABLISHED");

    let (call, session) = baton.ended_call();
    assert_eq!(call["end"]["kind"], "transferred");
    let handoff = &session["handoffs"][0];
    assert_eq!(handoff["state"], "transferred", "{handoff}");
    assert_eq!(handoff["sip_status"], 200, "{handoff}");
    assert_eq!(
        steps(handoff),
        ["requested", "committed", "trying", "trying", "transferred"],
        "its 202, its NOTIFY 100 and its NOTIFY 200"
    );
    // baresip puts the whole Refer-To URI into its INVITE, where the key is a parameter of the Request-URI.
    let key = text(&session["key"]);
    let invite = human.trace("INVITE sip:humans@");
    assert!(
        invite.contains(&format!("?X-Session-History-Key={key}")),
        "{invite}"
    );
    assert_eq!(caller.traced("BYE sip:"), 1, "ours: the old call has ended");
    // Caller and human talk on without us.
    human.has_heard(2500);
    assert_eq!(baton.calls().len(), 1);
}

#[test]
fn a_human_who_declines_gives_baresip_back_to_the_agent() {
    let (mut baton, mut caller, mut human) = with_a_human(|phone| phone);
    caller.calls(&baton.uri());
    baton.steers("handoff");
    human.sees("CALL_INCOMING");
    human.does("hangup", "");
    baton.wait_until("the agent goes on", |baton| {
        ladder(baton).contains(&"refer resumed".into())
    });
    caller.does("hangup", "");

    let (call, session) = baton.ended_call();
    assert_eq!(call["end"]["kind"], "caller_hung_up");
    let handoff = &session["handoffs"][0];
    assert_eq!(handoff["state"], "failed", "{handoff}");
    assert_eq!(handoff["failure"], "target_failed", "{handoff}");
    assert_eq!(handoff["sip_status"], 486, "{handoff}");
    assert_eq!(handoff["resumed"], true, "{handoff}");
}

/// A bridge whose human is a second baresip.
fn with_a_human(manner: impl Fn(Phone) -> Phone) -> (Baton, Baresip, Baresip) {
    let setup = Setup::new();
    let ports = setup.ports.peer(1);
    let baton = setup
        .human(&format!("sip:humans@127.0.0.1:{}", ports.sip()))
        .start();
    let human = manner(Phone::new("humans", ports)).start();
    let caller = Phone::new("caller", baton.ports().peer(0)).start();
    (baton, caller, human)
}
