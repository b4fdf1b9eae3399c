//! The live console: which calls are there, how they sound, what was said on the wire. Rendered here, refreshed by
//! a small script; it works without the script, too.

mod ladder;

use axum::extract::{Path, Request, State as Extract};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::{Form, RequestExt};
use maud::{Markup, PreEscaped, html};
use serde::Deserialize;

use super::auth::{self, COOKIE, Scope};
use super::session_page::length;
use super::{State, clock};
use crate::bridge::registry::{CallState, CallView, HandoffView};

const INDEX: &str = include_str!("../../web/console/index.html");
const THEME_CSS: &str = include_str!("../../web/console/theme.css");
const CONSOLE_CSS: &str = include_str!("../../web/console/console.css");
const SESSION_CSS: &str = include_str!("../../web/console/session.css");
const CONSOLE_JS: &str = include_str!("../../web/console/console.js");

/// Ended calls shown; the API has more.
const ENDED_SHOWN: usize = 30;
/// Live calls shown in full: a page with a thousand ladders helps nobody.
const LIVE_SHOWN: usize = 50;

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// `GET /`
pub(super) async fn page(Extract(state): Extract<State>, request: Request) -> Response {
    match auth::authorise(&state, &request, &[Scope::Read]) {
        Ok(_) => with_policy(StatusCode::OK, &list(&state)),
        Err(_) => with_policy(StatusCode::UNAUTHORIZED, &way_in(&state, false)),
    }
}

/// `GET /console/calls`: the list alone, for the script.
pub(super) async fn calls(Extract(state): Extract<State>) -> Html<String> {
    Html(list(&state).into_string())
}

#[derive(Deserialize)]
struct LogIn {
    key: String,
}

/// `POST /login`
pub(super) async fn log_in(Extract(state): Extract<State>, request: Request) -> Response {
    let form = request.extract::<Form<LogIn>, _>().await;
    let token = form
        .ok()
        .and_then(|Form(form)| auth::log_in(&state, form.key.trim()));
    let Some(token) = token else {
        tracing::warn!("somebody tried a wrong key at the console's login");
        return with_policy(StatusCode::UNAUTHORIZED, &way_in(&state, true));
    };
    let secure = state
        .config
        .public_base()
        .is_some_and(|url| url.starts_with("https:"));
    let cookie = format!(
        "{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age=43200{}",
        if secure { "; Secure" } else { "" }
    );
    ([(header::SET_COOKIE, cookie)], Redirect::to("./")).into_response()
}

/// `GET /assets/{name}`
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    const CSS: &str = "text/css; charset=utf-8";
    let (kind, text) = match name.as_str() {
        "theme.css" => (CSS, THEME_CSS),
        "console.css" => (CSS, CONSOLE_CSS),
        "session.css" => (CSS, SESSION_CSS),
        "console.js" => ("text/javascript; charset=utf-8", CONSOLE_JS),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "public, max-age=300"),
    ];
    (headers, text).into_response()
}

fn with_policy(status: StatusCode, content: &Markup) -> Response {
    let page = INDEX.replacen("<!--content-->", &content.0, 1);
    let headers: [(HeaderName, HeaderValue); 2] = [
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(POLICY),
        ),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    ];
    (status, headers, Html(page)).into_response()
}

/// The login, or why there is none.
fn way_in(state: &State, refused: bool) -> Markup {
    if state.config.api_keys.is_empty() {
        return html! {
            section.card.way-in {
                h2 { "This console is only open on the bridge's own machine" }
                p { "No API key is set. Open it at the bridge itself, or set " code { "[http] api_keys" } " and log in with a key." }
            }
        };
    }
    html! {
        section.card.way-in {
            h2 { "Log in" }
            form method="post" action="login" {
                label for="key" { "API key" }
                input #key type="password" name="key" required autocomplete="current-password" autofocus;
                @if refused { p.wrong role="alert" { "No such key." } }
                button { "Log in" }
            }
            p.quiet { "One of the keys in " code { "[http] api_keys" } ", with scope read or all." }
        }
    }
}

fn list(state: &State) -> Markup {
    let calls = state.registry.calls();
    let (live, ended): (Vec<_>, Vec<_>) = calls
        .iter()
        .partition(|call| call.state != CallState::Ended);
    let open = live.len() <= 3;
    html! {
        section aria-labelledby="live" {
            h2 #live { (match live.len() {
                0 => "No live call".to_owned(),
                1 => "1 live call".to_owned(),
                n => format!("{n} live calls"),
            }) }
            @if live.is_empty() { p.quiet.empty { "The next one appears here by itself." } }
            @for call in live.iter().rev().take(LIVE_SHOWN) { (one(call, open)) }
            @if live.len() > LIVE_SHOWN { p.quiet { "The newest " (LIVE_SHOWN) " are shown." } }
        }
        @if !ended.is_empty() {
            section aria-labelledby="ended" {
                h2 #ended { "Recently ended" }
                @for call in ended.iter().take(ENDED_SHOWN) { (one(call, false)) }
            }
        }
    }
}

fn one(call: &CallView, open: bool) -> Markup {
    let live = call.state != CallState::Ended;
    html! {
        article.card.call.(if live { "live" } else { "ended" }) {
            header {
                p.parties { b dir="auto" { (shown(&call.from)) } span.to { " → " } span dir="auto" { (shown(&call.to)) } }
                p.badge.(mood(call)) { (standing(call)) }
            }
            p.facts {
                (length(duration(call)))
                @for (what, name) in [("by", &call.trunk), ("route", &call.route), ("agent", &call.agent)] {
                    @if !name.is_empty() { " · " (what) " " b dir="auto" { (name) } }
                }
                @if let Some(answered) = call.timings.answered_ms { " · answered after " (answered) " ms" }
                " · " a href=(format!("sessions/{}", call.session_history_key)) { "conversation" }
            }
            (quality(call))
            (handoffs(&call.handoffs))
            @if !call.ladder.is_empty() {
                details #(format!("ladder-{}", call.id)) open[open] {
                    summary { "Ladder, " (call.ladder.len()) " steps" }
                    (ladder::render(call))
                }
            }
            @if live { (steering(call)) }
        }
    }
}

fn quality(call: &CallView) -> Markup {
    let Some(quality) = &call.quality else {
        return html! {};
    };
    let due = quality.packets_received + quality.packets_lost;
    // Per mille first: whole numbers all the way.
    let lost = (quality.packets_lost * 1000).checked_div(due).unwrap_or(0);
    html! {
        p.quality {
            @if call.state != CallState::Ended {
                label { "level " meter min="-60" max="0" low="-50" value=(quality.level_dbfs.clamp(-60.0, 0.0)) {} }
            }
            span { "loss " b { (lost / 10) "." (lost % 10) " %" } }
            span { "jitter " b { (format!("{:.1}", quality.jitter_ms)) " ms" } }
            span { "concealed " b { (quality.concealed_ms) " ms" } }
            @if quality.packets_refused > 0 { span { "refused " b { (quality.packets_refused) } } }
        }
    }
}

fn handoffs(handoffs: &[HandoffView]) -> Markup {
    html! {
        @if !handoffs.is_empty() {
            ul.handoffs { @for handoff in handoffs {
                li {
                    span.badge.(handoff_mood(&handoff.state)) { (handoff.style) " " (handoff.state) }
                    @if let Some(target) = &handoff.target { " " span dir="auto" { (target) } }
                    @if let Some(status) = handoff.sip_status { " " code { (status) } }
                    @if let Some(reason) = &handoff.reason { " " span.quiet dir="auto" { (reason) } }
                }
            } }
        }
    }
}

fn steering(call: &CallView) -> Markup {
    html! {
        p.steer {
            button type="button" data-call=(call.id) data-verb="handoff" data-ask="Hand this caller over to a human?" { "Hand off" }
            button.danger type="button" data-call=(call.id) data-verb="hangup" data-ask="Hang up on this caller?" { "Hang up" }
        }
    }
}

fn shown(name: &str) -> Markup {
    if name.is_empty() {
        return PreEscaped("unknown".into());
    }
    html! { (name) }
}

fn duration(call: &CallView) -> u64 {
    let until = call.ended.unwrap_or_else(clock::unix_millis);
    until.0.saturating_sub(call.started.0)
}

fn standing(call: &CallView) -> String {
    let word = call
        .end
        .as_ref()
        .map_or(call.state.as_str(), |end| &end.kind);
    word.replace('_', " ")
}

fn mood(call: &CallView) -> &'static str {
    match (&call.end, call.state) {
        (Some(end), _) => match end.kind.as_str() {
            "failed" | "lost" => "bad",
            "transferred" | "bridged" | "returned" => "good",
            _ => "plain",
        },
        (None, CallState::Talking | CallState::Bridged) => "good",
        (None, _) => "busy",
    }
}

fn handoff_mood(state: &str) -> &'static str {
    match state {
        "transferred" | "bridged" | "returned" => "good",
        "failed" => "bad",
        "unconfirmed" => "warn",
        _ => "busy",
    }
}
