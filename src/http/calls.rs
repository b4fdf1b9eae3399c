//! `/v1/calls`: live and recent calls, and three ways to steer a live one.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: a wish is carried out in a task of its own, so that a broken connection cannot cut it in half"
)]

use axum::body::Bytes;
use axum::extract::{Path, State as Extract};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

use baton_core::vocab::CallId;

use super::State;
use super::answer::ApiError;
use super::auth::Client;
use super::idempotency::{self, Begin, Outcome};
use super::steer::{self, Wish};
use crate::bridge::registry::{CallHandle, CallView, OperatorError};

/// `GET /v1/calls`
pub(super) async fn list(Extract(state): Extract<State>) -> Json<Value> {
    Json(json!({ "calls": state.registry.calls() }))
}

/// `GET /v1/calls/{id}`; the id may also be a SIP Call-ID or a Twilio call SID.
pub(super) async fn show(
    Extract(state): Extract<State>,
    Path(id): Path<String>,
) -> Result<Json<CallView>, ApiError> {
    state.registry.call(&id).map(Json).ok_or_else(not_found)
}

/// `POST /v1/calls/{id}/handoff`
pub(super) async fn handoff(
    Extract(state): Extract<State>,
    Extension(client): Extension<Client>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let wish = steer::handoff(&body)?;
    steer(state, &client, id, wish, &headers, &body).await
}

/// `POST /v1/calls/{id}/hangup`
pub(super) async fn hangup(
    Extract(state): Extract<State>,
    Extension(client): Extension<Client>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let wish = steer::hangup(&body)?;
    steer(state, &client, id, wish, &headers, &body).await
}

/// `POST /v1/calls/{id}/dtmf`
pub(super) async fn dtmf(
    Extract(state): Extract<State>,
    Extension(client): Extension<Client>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let wish = steer::dtmf(&body)?;
    steer(state, &client, id, wish, &headers, &body).await
}

/// Carries a wish out once, however often it is sent.
async fn steer(
    state: State,
    client: &Client,
    id: String,
    wish: Wish,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, ApiError> {
    let verb = wish.verb();
    let name =
        idempotency::key_of(headers)?.map(|key| format!("{} {id} {verb} {key}", client.name));
    if let Some(name) = &name
        && let Begin::Done(outcome) = state.idempotency.begin(name, body)
    {
        return outcome.map(respond);
    }
    tracing::info!(call = %id, verb, client = %client.name, "an operator steers a call");
    let task = tokio::spawn(async move {
        let outcome = carry_out(&state, &id, wish).await;
        if let Some(name) = name {
            state.idempotency.finish(&name, &outcome);
        }
        outcome
    });
    let outcome = task.await.unwrap_or_else(|error| {
        Err(ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            error.to_string(),
        ))
    });
    outcome.map(respond)
}

async fn carry_out(state: &State, id: &str, wish: Wish) -> Outcome {
    let call = find(state, id)?;
    let body = match wish {
        Wish::Handoff(request) => call
            .handoff(*request)
            .await
            .map(|id| json!({"handoff_id": id, "state": "requested"})),
        Wish::Hangup { reason } => call
            .hangup(reason)
            .await
            .map(|()| json!({"state": "ending"})),
        Wish::Dtmf {
            digits,
            duration,
            gap,
        } => call
            .dtmf(digits.clone(), duration, gap)
            .await
            .map(|()| json!({ "digits": digits })),
    };
    Ok((StatusCode::ACCEPTED, body.map_err(|error| refused(&error))?))
}

fn find(state: &State, id: &str) -> Result<CallHandle, ApiError> {
    let view = state.registry.call(id).ok_or_else(not_found)?;
    let id: &CallId = &view.id;
    state
        .registry
        .live(id)
        .ok_or_else(|| refused(&OperatorError::Over))
}

fn refused(error: &OperatorError) -> ApiError {
    let (status, code) = match error {
        OperatorError::Over => (StatusCode::CONFLICT, "call_over"),
        OperatorError::Busy => (StatusCode::TOO_MANY_REQUESTS, "call_busy"),
        OperatorError::NoAnswer => (StatusCode::GATEWAY_TIMEOUT, "call_does_not_answer"),
        OperatorError::Refused(_) => (StatusCode::CONFLICT, "refused"),
    };
    ApiError::new(status, code, error.to_string())
}

fn not_found() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "call_not_found",
        "no live or recent call of this node has this id",
    )
}

fn respond((status, body): (StatusCode, Value)) -> Response {
    (status, Json(body)).into_response()
}
