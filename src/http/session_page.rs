//! The page a human reads while picking up the call: why it comes, what is known, what was said. No scripts.

mod timeline;

use maud::{DOCTYPE, Markup, html};
use serde_json::{Map, Value};

use baton_core::history::session::Handoff;
use baton_core::history::{HandoffState, Role, Session, UnixMillis};

use timeline::{Entry, Note};

/// Levels of nested context that are spelled out.
const NESTED_MAX: usize = 2;

/// A session as HTML.
pub(super) fn render(session: &Session, has_audio: bool) -> Markup {
    let caller = session.call.as_ref().map_or("Unknown caller", |call| {
        name_or(&call.from, "Unknown caller")
    });
    let title = format!("Conversation with {caller}");
    document(
        &title,
        &html! {
            header.top {
                p.brand { "Conversation history" }
                h1 dir="auto" { (caller) }
                (facts_line(session))
                (state_badge(session))
            }
            main.session {
                (brief(session))
                section.side {
                    @if has_audio { (recording(session)) }
                    (card_of("What is known", &session.context.reference_variables))
                }
                (talk(session))
                section.more {
                    (card_of("For the transfer", &session.context.transfer_variables))
                    (handoffs(&session.handoffs))
                    (details(session))
                }
            }
        },
    )
}

/// The page for a key that names nothing, or nothing any more.
pub(super) fn gone() -> Markup {
    message(
        "This conversation is not available",
        "The link may have expired, or a part of it may be missing. Conversations are kept for a limited time.",
        "If the caller is with you, go on without it: ask what the call is about, and tell your administrator about the link.",
    )
}

/// The page for a store that cannot be read just now.
pub(super) fn unavailable() -> Markup {
    message(
        "This conversation cannot be loaded right now",
        "It is not lost. Reload the page in a few seconds.",
        "If the caller is with you, greet them meanwhile.",
    )
}

fn message(title: &str, what: &str, next: &str) -> Markup {
    document(
        title,
        &html! {
            main.message {
                h1 { (title) }
                p { (what) }
                p.quiet { (next) }
            }
        },
    )
}

fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex, nofollow";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="stylesheet" href="../assets/theme.css";
                link rel="stylesheet" href="../assets/session.css";
            }
            body { (body) }
        }
    }
}

/// To whom, when, how long, with whom: one line.
fn facts_line(session: &Session) -> Markup {
    let mut parts = Vec::new();
    if let Some(call) = &session.call {
        parts
            .push(html! { "called " span dir="auto" { (name_or(&call.to, "an unknown number")) } });
    }
    if let Some(at) = session.started_at {
        parts.push(html! { time datetime=(at) { (date(at)) } });
    }
    match (session.answered_at, session.ended_at) {
        (Some(from), Some(to)) => parts.push(html! { (length(to.0.saturating_sub(from.0))) }),
        (_, None) if session.end.is_none() => parts.push(html! { "still going on" }),
        _ => {}
    }
    if let Some(call) = &session.call {
        parts.push(html! { "with " span dir="auto" { (name_or(&call.agent, "the agent")) } });
    }
    html! {
        p.facts { @for (at, part) in parts.iter().enumerate() {
            @if at > 0 { span.dot aria-hidden="true" { " · " } }
            (part)
        } }
    }
}

fn state_badge(session: &Session) -> Markup {
    let Some(handoff) = session.handoffs.last() else {
        return html! {};
    };
    html! {
        p.badge.(mood(handoff.state)) dir="auto" {
            (words(handoff.state))
            @let target = plain_target(&handoff.target);
            @if !target.is_empty() { " · " (target) }
        }
    }
}

/// Why the call comes to a human: the first thing to read.
fn brief(session: &Session) -> Markup {
    let last = |of: fn(&Handoff) -> Option<&String>| session.handoffs.iter().rev().find_map(of);
    let reason = last(|handoff| handoff.reason.as_ref());
    let summary = last(|handoff| handoff.summary.as_ref());
    let task = session.context.current_task_name.as_ref();
    html! {
        section.card.brief aria-labelledby="why" {
            h2 #why { "Why this call comes to you" }
            @if let Some(reason) = reason { p.reason dir="auto" { (reason) } }
            @if let Some(summary) = summary { p.summary dir="auto" { (summary) } }
            @if reason.is_none() && summary.is_none() {
                p.quiet { "No reason or summary was left. The conversation below tells." }
            }
            @if let Some(task) = task {
                p.task { "In the middle of: " b dir="auto" { (humanise(task)) } }
            }
        }
    }
}

fn recording(session: &Session) -> Markup {
    html! {
        div.card aria-label="Recording" {
            h2 { "Recording" }
            audio controls preload="metadata" src=(format!("{}/audio.wav", session.key)) {}
            p.quiet { "Caller left, agent right." }
        }
    }
}

fn card_of(title: &str, values: &Map<String, Value>) -> Markup {
    html! {
        @if !values.is_empty() {
            div.card {
                h2 { (title) }
                dl.pairs { @for (name, value) in values {
                    dt title=(name) dir="auto" { (humanise(name)) }
                    dd dir="auto" { (value_of(value, NESTED_MAX)) }
                } }
            }
        }
    }
}

/// One value; what is nested deeper than `depth` is shown as JSON.
fn value_of(value: &Value, depth: usize) -> Markup {
    match value {
        Value::Null => html! { span.quiet { "none" } },
        Value::Bool(yes) => html! { (if *yes { "yes" } else { "no" }) },
        Value::Number(number) => html! { (number) },
        Value::String(text) if text.is_empty() => html! { span.quiet { "empty" } },
        Value::String(text) => html! { (text) },
        Value::Array(items) if depth > 0 => html! {
            ul { @for item in items { li { (value_of(item, depth - 1)) } } }
        },
        Value::Object(fields) if depth > 0 => html! {
            ul { @for (name, value) in fields {
                li { span.quiet title=(name) { (humanise(name)) ": " } (value_of(value, depth - 1)) }
            } }
        },
        deep @ (Value::Array(_) | Value::Object(_)) => html! { pre { (format!("{deep:#}")) } },
    }
}

fn talk(session: &Session) -> Markup {
    let entries = timeline::of(session);
    html! {
        section.talk aria-labelledby="said" {
            h2 #said { "What was said" }
            @if entries.is_empty() { p.quiet { "Nothing was written down." } }
            ol { @for entry in &entries { (line(entry)) } }
            @if session.end.is_none() {
                p.quiet.live { "The call is still going on. " a href="" { "Reload" } " for the latest." }
            }
        }
    }
}

fn line(entry: &Entry<'_>) -> Markup {
    match entry {
        Entry::Turn { turn, masked } => {
            let (side, who) = match turn.role {
                Role::Caller => ("caller", "Caller"),
                Role::Agent => ("agent", "Agent"),
            };
            html! {
                li.turn.(side) {
                    p.who { (who) @if let Some(at) = turn.from_ms { " " span.at { (clock(at)) } } }
                    @if *masked { p.bubble.masked { "Not written down: sensitive" } }
                    @else { p.bubble dir="auto" { (turn.text) } }
                    @if let Some(heard) = turn.heard_ms {
                        p.cut { "Interrupted; the caller heard " (seconds(heard)) }
                    }
                }
            }
        }
        Entry::Digits { digits, at_ms } => html! {
            li.note {
                span { "Caller pressed " }
                @for digit in digits {
                    @match digit { Some(digit) => kbd { (digit) }, None => kbd title="hidden" { "•" } }
                    " "
                }
                span.at { (clock(*at_ms)) }
            }
        },
        Entry::Note(Note { text, mood, at_ms }) => html! {
            li.note.(mood) { (text) @if let Some(at) = at_ms { " " span.at { (clock(*at)) } } }
        },
    }
}

fn handoffs(handoffs: &[Handoff]) -> Markup {
    html! {
        @if !handoffs.is_empty() {
            div.card {
                h2 { (if handoffs.len() == 1 { "Handoff" } else { "Handoffs" }) }
                @for handoff in handoffs.iter().rev() { (one_handoff(handoff)) }
            }
        }
    }
}

fn one_handoff(handoff: &Handoff) -> Markup {
    html! {
        div.handoff {
            p { span.badge.(mood(handoff.state)) { (words(handoff.state)) } }
            p.quiet dir="auto" { (plain_target(&handoff.target)) " · " (handoff.style) }
            @if handoff.resumed { p.quiet { "The caller went back to the agent." } }
            details {
                summary { "What the far end said" }
                ol.steps { @for step in &handoff.steps {
                    li {
                        @if let Some(at) = step.at { time.at datetime=(at) { (time_of_day(at)) } " " }
                        (step.state.as_str())
                        @if let Some(status) = step.sip_status { " " code { (status) } }
                        @if let Some(text) = step.sipfrag.as_ref().or(step.reason.as_ref()) {
                            " " span.quiet dir="auto" { (text) }
                        }
                    }
                } }
            }
        }
    }
}

fn details(session: &Session) -> Markup {
    html! {
        @if let Some(call) = &session.call {
            details.card {
                summary { "About this call" }
                dl.pairs {
                    (pair("Call", call.id.as_str()))
                    (pair("SIP Call-ID", &call.sip_call_id))
                    (pair("Twilio call", call.twilio_call_sid.as_deref().unwrap_or_default()))
                    (pair("Trunk", &call.trunk))
                    (pair("Route", &call.route))
                    (pair("Agent", &call.agent))
                    (pair("Node", &call.node))
                    @if let Some(end) = &session.end {
                        dt { "End" }
                        dd dir="auto" {
                            (humanise(end.kind.as_str())) " (" (end.by.as_str()) ")"
                            @if !end.reason.is_empty() { ": " (end.reason) }
                        }
                    }
                }
            }
        }
    }
}

fn pair(name: &str, value: &str) -> Markup {
    html! { @if !value.is_empty() { dt { (name) } dd dir="auto" { (value) } } }
}

/// A handoff's state in a human's words.
pub(super) fn words(state: HandoffState) -> &'static str {
    match state {
        HandoffState::Requested => "Handoff requested",
        HandoffState::Committed => "Handoff on its way",
        HandoffState::Trying => "Connecting",
        HandoffState::Ringing => "Ringing",
        HandoffState::Transferred => "Handed over",
        HandoffState::Bridged => "Connected through the bridge",
        HandoffState::Returned => "Returned to the platform",
        HandoffState::Failed => "Handoff failed",
        HandoffState::Unconfirmed => "Handoff not confirmed",
        HandoffState::Resumed => "Back with the agent",
    }
}

/// The style class that goes with a state.
pub(super) fn mood(state: HandoffState) -> &'static str {
    match state {
        HandoffState::Transferred | HandoffState::Bridged | HandoffState::Returned => "good",
        HandoffState::Failed => "bad",
        HandoffState::Unconfirmed => "warn",
        HandoffState::Requested
        | HandoffState::Committed
        | HandoffState::Trying
        | HandoffState::Ringing
        | HandoffState::Resumed => "busy",
    }
}

/// A target without what only machines need: scheme, brackets, parameters and headers.
fn plain_target(target: &str) -> &str {
    let target = target.trim().trim_start_matches('<');
    let bare = ["sips:", "sip:", "tel:"]
        .iter()
        .find_map(|scheme| target.strip_prefix(scheme))
        .unwrap_or(target);
    bare.split([';', '?', '>']).next().unwrap_or_default()
}

fn name_or<'a>(name: &'a str, otherwise: &'a str) -> &'a str {
    if name.trim().is_empty() {
        otherwise
    } else {
        name
    }
}

/// `account_number` and `accountNumber` as `Account number`.
fn humanise(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    let mut before = ' ';
    for c in name.chars() {
        match c {
            '_' | '-' => text.push(' '),
            c if c.is_uppercase() && before.is_lowercase() => {
                text.push(' ');
                text.extend(c.to_lowercase());
            }
            c if text.is_empty() => text.extend(c.to_uppercase()),
            c => text.push(c),
        }
        before = c;
    }
    text
}

fn date(at: UnixMillis) -> String {
    format_time(at, "%-d %B %Y, %H:%M UTC")
}

fn time_of_day(at: UnixMillis) -> String {
    format_time(at, "%H:%M:%S")
}

fn format_time(at: UnixMillis, format: &str) -> String {
    i64::try_from(at.0)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| at.to_string(), |time| time.strftime(format).to_string())
}

/// Media time as `2:05`.
fn clock(ms: u64) -> String {
    let seconds = ms / 1000;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

/// A duration as `2 min 31 s`.
pub(super) fn length(ms: u64) -> String {
    let seconds = ms / 1000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

#[cfg(test)]
mod tests;
