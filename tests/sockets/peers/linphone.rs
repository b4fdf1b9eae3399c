//! Linphone calls, presses a key, and is sent to a human with REFER.

use crate::support::baton::text;
use crate::support::peer::baresip::Phone;
use crate::support::peer::linphone::Linphone;
use crate::support::peer::speech;
use crate::support::sound::{likeness, voiced_ms};
use crate::support::{Baton, Setup};

use super::{keys, ladder, session, turns};

#[test]
fn linphone_hears_the_agent_and_is_heard() {
    let mut baton = Baton::start();
    let mut caller = Linphone::start("caller", baton.ports().peer(0));
    caller.calls(&baton.uri());
    baton.wait_until("the caller is heard", |baton| {
        turns(&session(baton)).len() > 1
    });
    caller.types("terminate");
    caller.says("ended (No error)");

    let (call, session) = baton.ended_call();
    assert_eq!(call["end"]["kind"], "caller_hung_up");
    assert_eq!(session["end"]["by"], "caller");
    assert_eq!(session["call"]["from"], "caller");
    let turns = turns(&session);
    assert!(
        turns[1].starts_with("caller: (caller spoke for "),
        "{turns:?}"
    );
    let heard = caller.recording();
    assert!(voiced_ms(&heard) > 1000, "two seconds of greeting");
    let alike = likeness(&heard, &speech::greeting()[..8000]);
    assert!(alike > 0.8, "through its own jitter buffer: {alike}");
}

#[test]
fn baton_hangs_up_on_linphone() {
    let mut baton = Baton::start();
    let mut caller = Linphone::start("caller", baton.ports().peer(0));
    caller.calls(&baton.uri());
    baton.steers("hangup");
    caller.says("ended (No error)");
    let (call, _) = baton.ended_call();
    assert_eq!(call["end"]["by"], "operator", "{call}");
}

#[test]
fn linphone_pauses_the_call_and_resumes_it() {
    let mut baton = Baton::start();
    let mut caller = Linphone::start("caller", baton.ports().peer(0));
    caller.calls(&baton.uri());
    caller.types("pause");
    caller.says("is now paused");
    baton.wait_until("it is on hold", |baton| {
        ladder(baton).contains(&"hold".into())
    });
    caller.types("resume");
    baton.wait_until("it is back", |baton| {
        ladder(baton).contains(&"retrieved".into())
    });
    baton.wait_until("the caller is heard again", |baton| {
        turns(&session(baton))
            .iter()
            .any(|turn| turn.starts_with("caller:"))
    });
    caller.types("terminate");
    let (call, _) = baton.ended_call();
    assert_eq!(call["end"]["kind"], "caller_hung_up");
}

#[test]
fn a_key_brings_linphone_to_the_human_with_the_key_of_the_history_in_a_header() {
    let setup = Setup::new();
    let ports = setup.ports.peer(1);
    let mut baton = setup
        .human(&format!("sip:humans@127.0.0.1:{}", ports.sip()))
        .start();
    let mut human = Phone::new("humans", ports).answers().start();
    let mut caller = Linphone::start("caller", baton.ports().peer(0));
    caller.calls(&baton.uri());
    // The scripted agent's way out. Linphone holds the call while it follows the REFER.
    caller.types("0");
    human.sees("CALL_ESTABLISHED");

    let (call, session) = baton.ended_call();
    assert_eq!(keys(&session), ["0"]);
    assert_eq!(call["end"]["kind"], "transferred", "{call}");
    assert_eq!(session["handoffs"][0]["state"], "transferred", "{session}");
    let header = human.trace("X-Session-History-Key: ");
    assert_eq!(
        header.trim(),
        format!("X-Session-History-Key: {}", text(&session["key"])),
        "Linphone makes the header of Refer-To a header of its INVITE"
    );
    // Caller and human talk on without us.
    human.has_heard(2500);
}
