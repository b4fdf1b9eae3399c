//! Which path leads where, and through which layers.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::auth::{self, Scope};
use super::{State, answer, calls, console, events, health, receive_call, refer_handler, sessions};

/// Largest body read.
const BODY_MAX: usize = 1024 * 1024;

/// A request that was not answered within this is given up: its client does not send, or we hang.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);

/// Everything the HTTP side serves. Others (stream ingress) merge their own routes into it.
pub fn router(state: State) -> Router {
    let open = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route(
            "/twilio/receive-call",
            get(receive_call::handle).post(receive_call::handle),
        )
        .route(
            "/twilio/refer-handler",
            get(refer_handler::handle).post(refer_handler::handle),
        )
        .route("/sessions/{key}", get(sessions::page))
        .route("/sessions/{key}/audio.wav", get(sessions::audio))
        .route("/", get(console::page))
        .route("/login", post(console::log_in))
        .route("/assets/{name}", get(console::asset));
    let read = Router::new()
        .route("/v1/calls", get(calls::list))
        .route("/v1/calls/{id}", get(calls::show))
        .route("/v1/events", get(events::stream))
        .route("/v1/sessions/{key}", get(sessions::json))
        .route("/console/calls", get(console::calls));
    let control = Router::new()
        .route("/v1/calls/{id}/hangup", post(calls::hangup))
        .route("/v1/calls/{id}/dtmf", post(calls::dtmf));
    let handoff = Router::new().route("/v1/calls/{id}/handoff", post(calls::handoff));
    Router::new()
        .merge(open)
        .merge(guarded(read, &state, &[Scope::Read]))
        .merge(guarded(control, &state, &[Scope::Control]))
        .merge(guarded(handoff, &state, &[Scope::Control, Scope::Transfer]))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn(in_time))
        .layer(middleware::from_fn_with_state(
            state.clone(),
            answer::finish,
        ))
        .with_state(state)
}

fn guarded(routes: Router<State>, state: &State, wanted: &'static [Scope]) -> Router<State> {
    let layer = middleware::from_fn_with_state((state.clone(), wanted), auth::require);
    routes.route_layer(layer)
}

async fn in_time(request: Request, next: Next) -> Response {
    tokio::time::timeout(REQUEST_WITHIN, next.run(request))
        .await
        .unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response())
}
