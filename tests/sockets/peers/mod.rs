//! Other people's programs as the far end, from Debian's packages.

mod baresip;
mod kamailio;
mod linphone;

use serde_json::{Value, json};

use crate::support::Baton;
use crate::support::baton::text;

/// The history of the only call so far.
fn session(baton: &Baton) -> Value {
    let call = baton.calls().remove(0);
    baton.session(text(&call["session_history_key"]))
}

/// Its ladder's messages.
fn ladder(baton: &Baton) -> Vec<String> {
    let call = baton.calls().remove(0);
    let rungs = call["ladder"].as_array().expect("a ladder").iter();
    rungs.map(|rung| text(&rung["what"]).to_owned()).collect()
}

/// `role: text` of each turn.
fn turns(session: &Value) -> Vec<String> {
    let turns = session["turns"].as_array().expect("turns").iter();
    turns
        .map(|turn| format!("{}: {}", text(&turn["role"]), text(&turn["text"])))
        .collect()
}

/// The keys that were pressed.
fn keys(session: &Value) -> Vec<String> {
    let keys = session["dtmf"].as_array().expect("keys").iter();
    keys.map(|key| text(&key["digit"]).to_owned()).collect()
}

/// The states that a handoff went through.
fn steps(handoff: &Value) -> Vec<Value> {
    let steps = handoff["steps"].as_array().expect("steps").iter();
    steps.map(|step| json!(step["state"])).collect()
}
