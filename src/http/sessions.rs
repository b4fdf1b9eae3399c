//! A session's history: as JSON for programs, as a page for people, and its recording.

use axum::extract::{ConnectInfo, Path, State as Extract};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::{Extension, Json};

use baton_core::history::{BackendError, Session};
use baton_core::vocab::HandoffKey;

use super::answer::ApiError;
use super::counters::count;
use super::{Peer, State, audio, session_page};

/// Who asks, for the log; a test has no connection.
type From = Option<Extension<ConnectInfo<Peer>>>;

/// `GET /v1/sessions/{key}`
pub(super) async fn json(
    Extract(state): Extract<State>,
    peer: From,
    Path(key): Path<String>,
) -> Result<Json<Session>, ApiError> {
    let session = find(&state, &key).await.map_err(|missing| match missing {
        Missing::Unknown => ApiError::new(
            StatusCode::NOT_FOUND,
            "session_not_found",
            "no session has this key, or its time is over",
        ),
        Missing::Unavailable(error) => ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "history_unavailable",
            error.to_string(),
        ),
    })?;
    note_read(&state, &session, peer, "json");
    Ok(Json(session))
}

/// `GET /sessions/{key}`
pub(super) async fn page(
    Extract(state): Extract<State>,
    peer: From,
    Path(key): Path<String>,
) -> Response {
    let (status, markup) = match find(&state, &key).await {
        Ok(session) => {
            note_read(&state, &session, peer, "page");
            let has_audio = audio::path_of(&state.config.recording_dir, &session).is_some();
            (StatusCode::OK, session_page::render(&session, has_audio))
        }
        Err(missing) => missing.as_page(),
    };
    as_html(&state, status, markup)
}

/// `GET /sessions/{key}/audio.wav`, ranges included.
pub(super) async fn audio(
    Extract(state): Extract<State>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Response {
    let session = match find(&state, &key).await {
        Ok(session) => session,
        Err(missing) => {
            let (status, markup) = missing.as_page();
            return as_html(&state, status, markup);
        }
    };
    match audio::path_of(&state.config.recording_dir, &session) {
        Some(path) => {
            audio::send(
                &path,
                headers.get(header::RANGE),
                headers.contains_key(header::IF_RANGE),
            )
            .await
        }
        None => as_html(&state, StatusCode::NOT_FOUND, session_page::gone()),
    }
}

enum Missing {
    Unknown,
    Unavailable(BackendError),
}

impl Missing {
    fn as_page(&self) -> (StatusCode, maud::Markup) {
        match self {
            Self::Unknown => (StatusCode::NOT_FOUND, session_page::gone()),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, session_page::unavailable()),
        }
    }
}

/// Reads and folds. A text that is no key is answered like an unknown one.
async fn find(state: &State, key: &str) -> Result<Session, Missing> {
    let key: HandoffKey = key.parse().map_err(|_| Missing::Unknown)?;
    match state.history.read(key).await {
        Ok(Some(events)) => Ok(Session::fold(key, &events)),
        Ok(None) => Err(Missing::Unknown),
        Err(error) => {
            tracing::warn!(session = ?key, %error, "a history cannot be read");
            count(&state.counters.history_unavailable);
            Err(Missing::Unavailable(error))
        }
    }
}

fn note_read(state: &State, session: &Session, peer: From, shape: &str) {
    count(&state.counters.history_read);
    let peer = peer.map(|Extension(ConnectInfo(Peer(peer)))| peer.ip());
    tracing::info!(session = ?session.key, ?peer, shape, "a session history was read");
}

fn as_html(state: &State, status: StatusCode, markup: maud::Markup) -> Response {
    let mut response = (status, Html(markup.into_string())).into_response();
    let ancestors = &state.config.frame_ancestors;
    let who = if ancestors.is_empty() {
        response
            .headers_mut()
            .insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        "'none'".to_owned()
    } else {
        ancestors.join(" ")
    };
    let policy = format!(
        "default-src 'none'; style-src 'self'; media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors {who}"
    );
    // A setting that is no header value was refused by `Config::validate`; without a policy nothing may be framed.
    let policy = HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static(
        "default-src 'none'; frame-ancestors 'none'",
    ));
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}
