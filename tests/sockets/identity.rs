//! Passwords on real sockets: callers that must have one, a registrar that wants ours, and a file read again.

use std::process::Command;

use crate::support::baton::{Setup, text};
use crate::support::{Sipp, http};

fn phones(password: &str) -> String {
    format!(
        "[[trunk]]\nname = \"phones\"\ncredentials = {{ username = \"bot\", password = \"{password}\" }}\n"
    )
}

fn metrics(baton: &crate::support::Baton) -> String {
    let answer = http::get(baton.ports().http(), "/metrics").expect("it is served");
    answer.body
}

/// `baton call` with these words; its exit code.
fn phone_says(baton: &crate::support::Baton, words: &[&str]) -> Option<i32> {
    let output = Command::new(env!("CARGO_BIN_EXE_baton"))
        .args(["call", &baton.uri(), "--duration", "300ms"])
        .args(words)
        .env_remove("BATON_CALL_PASSWORD")
        .output()
        .expect("the binary runs");
    output.status.code()
}

#[test]
fn our_own_phone_proves_itself_with_the_strongest_hash() {
    let mut baton = Setup::new().more(&phones("s3cret")).start();
    let right = ["--user", "bot", "--password", "s3cret"];
    assert_eq!(phone_says(&baton, &right), Some(0));
    assert_eq!(baton.ended_calls(1).len(), 1);
    let rejected = Some(3);
    assert_eq!(
        phone_says(&baton, &["--user", "bot", "--password", "guess"]),
        rejected
    );
    assert_eq!(phone_says(&baton, &[]), rejected);
    assert_eq!(phone_says(&baton, &["--user", "bot"]), Some(2));
    assert_eq!(baton.calls().len(), 1, "nobody else got in");
}

#[test]
fn a_password_that_is_changed_in_the_file_holds_from_the_next_call_on() {
    let mut baton = Setup::new().more(&phones("old")).start();
    let new = ["--user", "bot", "--password", "new"];
    assert_eq!(phone_says(&baton, &new), Some(3));
    baton.setup.more = phones("new");
    baton.setup.write();
    baton.signal("HUP");
    baton.says("configuration read again");
    assert_eq!(phone_says(&baton, &new), Some(0));
    assert_eq!(baton.ended_calls(1).len(), 1);
}

#[test]
fn a_binding_is_made_with_a_password_and_taken_back_in_the_end() {
    let setup = Setup::new();
    let registrar = Sipp::plays("uas-register-401").waits(&setup.ports);
    let at = setup.ports.sipp();
    let trunk = format!(
        "[[trunk]]\nname = \"pbx\"\nregister = {{ registrar = \"sip:127.0.0.1:{at}\", username = \"bot\", \
         password = \"s3cret\", expires = \"120s\" }}\n"
    );
    let mut baton = setup.more(&trunk).start();
    baton.wait_until("it is registered", |baton| {
        metrics(baton).contains("baton_registered{trunk=\"pbx\"} 1")
    });
    assert!(baton.has_said("registered"));
    // It is known by its binding, and by nothing else: this call comes from the registrar's address.
    assert_eq!(phone_says(&baton, &[]), Some(0));
    let (call, session) = baton.ended_call();
    assert_eq!(call["trunk"], "pbx");
    baton.signal("TERM");
    let far_end = registrar.ends(|| baton.story());
    assert!(text(&session["key"]).len() == 22);
    assert_eq!(far_end.count("contact "), 1);
    assert_eq!(far_end.count("gone "), 1); // the scenario itself insists on Expires: 0
    assert_eq!(far_end.messages.matches("username=\"bot\"").count(), 2);
    assert_eq!(baton.exit_code(), Some(0));
}
