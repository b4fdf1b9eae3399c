//! A session history for a terminal: who called, what was said, how it was handed over.

use std::fmt::Write as _;

use baton_core::history::session::{Handoff, Session, Step};
use baton_core::history::{HandoffState, Role, Turn, UnixMillis};
use console::style;
use serde_json::{Map, Value};

/// Width of the text column; long turns wrap here.
const TEXT_WIDTH: usize = 72;
/// Where the text column starts.
const INDENT: usize = 18;

/// Renders it; colours only when standard output is a terminal.
pub fn render(session: &Session) -> String {
    let mut out = String::new();
    head(&mut out, session);
    conversation(&mut out, session);
    context(&mut out, session);
    for handoff in &session.handoffs {
        handed_over(&mut out, session, handoff);
    }
    if let Some(end) = &session.end {
        let line = format!("{} by the {}: {}", end.kind, end.by, end.reason);
        field(&mut out, "end", &line);
    }
    out
}

fn head(out: &mut String, session: &Session) {
    let _ = writeln!(
        out,
        "\n  {}  {}",
        style("Session").bold(),
        style(session.key.as_str()).cyan()
    );
    if let Some(call) = &session.call {
        field(
            out,
            "call",
            &format!("{} → {} over {}", call.from, call.to, call.trunk),
        );
        field(
            out,
            "agent",
            &format!("{} (route {})", call.agent, call.route),
        );
    }
    if let Some(started) = session.started_at {
        let lasted = session.ended_at.map_or_else(
            || "still on".to_owned(),
            |ended| format!("lasted {}", minutes(since(started, ended))),
        );
        field(out, "time", &format!("{started}, {lasted}"));
    }
    out.push('\n');
}

fn conversation(out: &mut String, session: &Session) {
    let mut lines: Vec<(u64, String)> = session.turns.iter().map(turn).collect();
    lines.extend(session.dtmf.iter().map(|key| {
        let digit = key.digit.map_or("*masked*".to_owned(), String::from);
        (
            key.at_ms,
            said(key.at_ms, "caller", &format!("[pressed {digit}]")),
        )
    }));
    lines.sort_by_key(|(at, _)| *at);
    for (_, line) in lines {
        out.push_str(&line);
    }
    out.push('\n');
}

fn turn(turn: &Turn) -> (u64, String) {
    let at = turn.from_ms.unwrap_or_default();
    let who = match turn.role {
        Role::Caller => "caller",
        Role::Agent => "agent",
    };
    let text = match turn.heard_ms {
        Some(heard) => format!("{} (cut short, {} heard)", turn.text, seconds(heard)),
        None => turn.text.clone(),
    };
    (at, said(at, who, &text))
}

fn said(at: u64, who: &str, text: &str) -> String {
    let who_styled = if who == "caller" {
        style(who).green()
    } else {
        style(who).blue()
    };
    let mut out = String::new();
    for (index, line) in wrap(text, TEXT_WIDTH).iter().enumerate() {
        let _ = match index {
            0 => writeln!(
                out,
                "  {:>8}  {who_styled:<6} {line}",
                style(minutes(at)).dim()
            ),
            _ => writeln!(out, "{:INDENT$} {line}", ""),
        };
    }
    out
}

fn context(out: &mut String, session: &Session) {
    if let Some(task) = &session.context.current_task_name {
        field(out, "task", task);
    }
    values(out, "context", &session.context.reference_variables);
    values(out, "transfer", &session.context.transfer_variables);
    if let Some(file) = session
        .recording
        .as_ref()
        .and_then(|recording| recording.file.as_ref())
    {
        field(out, "recording", file);
    }
}

fn values(out: &mut String, name: &str, map: &Map<String, Value>) {
    for (key, value) in map {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        field(out, name, &format!("{key} = {value}"));
    }
}

fn handed_over(out: &mut String, session: &Session, handoff: &Handoff) {
    let state = match handoff.state {
        HandoffState::Transferred | HandoffState::Bridged | HandoffState::Returned => {
            style(handoff.state.as_str()).green().bold()
        }
        HandoffState::Failed | HandoffState::Unconfirmed => {
            style(handoff.state.as_str()).red().bold()
        }
        HandoffState::Requested
        | HandoffState::Committed
        | HandoffState::Trying
        | HandoffState::Ringing
        | HandoffState::Resumed => style(handoff.state.as_str()).bold(),
    };
    field(
        out,
        "handoff",
        &format!("{} → {} {state}", handoff.style, handoff.target),
    );
    for (name, text) in [("why", &handoff.reason), ("summary", &handoff.summary)] {
        if let Some(text) = text {
            field(out, name, text);
        }
    }
    for step in &handoff.steps {
        let at = session
            .started_at
            .zip(step.at)
            .map_or(0, |(start, at)| since(start, at));
        let line = format!(
            "{:>9}  {:<12} {}",
            seconds(at),
            step.state.as_str(),
            evidence(step)
        );
        field(out, "", line.trim_end());
    }
}

/// What the far end said: its NOTIFY, its answer to the REFER, or our own reason.
fn evidence(step: &Step) -> String {
    let reason = step.reason.as_deref().unwrap_or_default();
    match (&step.sipfrag, step.sip_status) {
        (Some(sipfrag), _) => format!("NOTIFY {}", sipfrag.trim_start_matches("SIP/2.0 ")),
        (None, Some(status)) => format!(
            "{status} {}",
            reason.trim_start_matches(&status.to_string()).trim()
        ),
        (None, None) => reason.to_owned(),
    }
}

fn field(out: &mut String, name: &str, text: &str) {
    let _ = writeln!(out, "  {:<10} {text}", style(name).dim());
}

fn since(from: UnixMillis, to: UnixMillis) -> u64 {
    to.0.saturating_sub(from.0)
}

fn minutes(ms: u64) -> String {
    format!("{}:{:02}", ms / 60_000, ms / 1000 % 60)
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03} s", ms / 1000, ms % 1000)
}

/// Breaks a text between words; a word longer than the column is cut. Control characters of a hostile transcript
/// do not reach the terminal.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let word: String = word
            .chars()
            .filter(|c| !c.is_control())
            .take(width)
            .collect();
        let line = lines.last_mut().expect("there is always a line");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word);
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use baton_core::history::Event;
    use baton_core::vocab::{Entropy, HandoffKey};

    use super::*;

    fn session(events: &str) -> Session {
        let events: Vec<Event> = serde_json::from_str(events).unwrap();
        Session::fold(HandoffKey::generate(&mut Entropy::from_number(1)), &events)
    }

    #[test]
    fn a_conversation_reads_in_the_order_it_was_spoken() {
        let session = session(
            r#"[
            {"v":1,"at":1000,"event":"turn","role":"agent","text":"Hello.","from_ms":20,"to_ms":900},
            {"v":1,"at":2000,"event":"dtmf","digit":"0","at_ms":61500},
            {"v":1,"at":3000,"event":"turn","role":"caller","text":"A person, please.","from_ms":1500}
            ]"#,
        );
        let text = console::strip_ansi_codes(&render(&session)).into_owned();
        let order = [
            "0:00  agent  Hello.",
            "0:01  caller A person, please.",
            "1:01  caller [pressed 0]",
        ];
        let at: Vec<_> = order
            .iter()
            .map(|line| text.find(line).expect(line))
            .collect();
        assert!(at.is_sorted(), "{text}");
    }

    #[test]
    fn long_turns_wrap_and_control_characters_are_kept_from_the_terminal() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("\u{1b}[31mred", 20), ["[31mred"]);
        assert_eq!(wrap("", 5), [""]);
    }
}
