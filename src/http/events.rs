//! `GET /v1/events`: call and handoff state changes as server-sent events.

use std::convert::Infallible;

use axum::extract::State as Extract;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use tokio::sync::broadcast::error::RecvError;

use super::State;

/// `GET /v1/events`; a viewer that is too slow gets `lagged` with the number of events it missed.
pub(super) async fn stream(
    Extract(state): Extract<State>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = stream::unfold(state.registry.watch(), |mut watch| async {
        let event = match watch.recv().await {
            Ok(change) => Event::default()
                .event(change.name())
                .data(serde_json::to_string(&change).unwrap_or_default()),
            Err(RecvError::Lagged(missed)) => Event::default()
                .event("lagged")
                .data(format!("{{\"missed\":{missed}}}")),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(event), watch))
    });
    Sse::new(changes).keep_alive(KeepAlive::default())
}
