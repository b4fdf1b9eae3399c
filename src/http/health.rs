//! Alive, ready, and the metrics.

use axum::Json;
use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Readiness, State};

/// `GET /healthz`: this process serves HTTP.
pub(super) async fn alive() -> Json<Value> {
    Json(json!({"status": "alive"}))
}

/// `GET /readyz`: this node takes calls.
pub(super) async fn ready(Extract(state): Extract<State>) -> Response {
    match (state.readiness)() {
        Readiness::Ready => Json(json!({"status": "ready"})).into_response(),
        Readiness::NotReady(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"status": "not_ready", "reason": reason})),
        )
            .into_response(),
    }
}

/// `GET /metrics`
pub(super) async fn metrics(Extract(state): Extract<State>) -> Response {
    let mut text = state.counters.render();
    let rest = (state.metrics)();
    text.push_str(&rest);
    if !rest.trim_end().ends_with("# EOF") {
        text.push_str("# EOF\n");
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
