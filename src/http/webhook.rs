//! Twilio's webhooks: what they carry, and whether they are Twilio's.

use axum::RequestExt;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use baton_core::twilio::webhook_signature::{Body, parse_form, verify};

use super::answer::ApiError;
use super::counters::count;
use super::{State, auth};

/// A webhook that may be acted upon.
#[derive(Debug)]
pub(super) struct Webhook {
    parameters: Vec<(String, String)>,
    /// How Twilio reaches this server, without a slash at the end.
    pub(super) base: String,
}

impl Webhook {
    /// Reads a webhook and verifies its signature; without an auth token only this machine is believed.
    ///
    /// # Errors
    /// The answer for what must not be acted upon.
    pub(super) async fn open(state: &State, request: Request) -> Result<Self, Response> {
        let local = auth::is_this_machine(&request);
        let (method, uri, headers) = (
            request.method().clone(),
            request.uri().clone(),
            request.headers().clone(),
        );
        let body: Bytes = request
            .extract()
            .await
            .map_err(IntoResponse::into_response)?;
        let form = match form_of(&method, &headers, &body) {
            Some(form) => parse_form(&String::from_utf8_lossy(form)),
            None => Vec::new(),
        };
        let bases = bases(state, &headers);
        let base = match &state.config.twilio.auth_token {
            Some(token) => {
                let signature = text(&headers, "x-twilio-signature").unwrap_or_default();
                let signed = match form_of(&method, &headers, &body) {
                    Some(_) => Body::Form(&form),
                    None if body.is_empty() => Body::None,
                    None => Body::Raw(&body),
                };
                let path = uri.path_and_query().map_or("/", |path| path.as_str());
                bases
                    .into_iter()
                    .find(|base| verify(token, signature, &format!("{base}{path}"), signed).is_ok())
            }
            None => bases.into_iter().next().filter(|_| local),
        };
        let Some(base) = base else {
            count(&state.counters.webhook_refused);
            tracing::warn!(path = uri.path(), "a webhook is not signed by Twilio");
            return Err(refused(state).into_response());
        };
        let mut parameters = form;
        parameters.extend(parse_form(uri.query().unwrap_or_default()));
        Ok(Self { parameters, base })
    }

    /// The first parameter of this name that is not empty; the form's before the query's.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(known, value)| known == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }
}

/// The answer to a webhook.
pub(super) fn twiml(document: String) -> Response {
    (
        [(header::CONTENT_TYPE, "text/xml; charset=utf-8")],
        document,
    )
        .into_response()
}

fn refused(state: &State) -> ApiError {
    let message = if state.config.twilio.auth_token.is_some() {
        "X-Twilio-Signature is missing or does not match; check [twilio] auth_token and [http] public_url"
    } else {
        "no [twilio] auth_token is set, so webhooks are taken only from this machine"
    };
    ApiError::new(StatusCode::FORBIDDEN, "webhook_refused", message)
}

/// The body, when it is a form: what a POST is, unless it says otherwise.
fn form_of<'a>(method: &Method, headers: &HeaderMap, body: &'a Bytes) -> Option<&'a [u8]> {
    let kind = text(headers, "content-type").unwrap_or("application/x-www-form-urlencoded");
    let is_form = kind
        .trim_start()
        .to_ascii_lowercase()
        .starts_with("application/x-www-form-urlencoded");
    (*method == Method::POST && is_form).then_some(&body[..])
}

/// Where this server is for the world: as configured; otherwise as the request names it, for a bridge that is
/// tried out behind a tunnel. A signature covers it either way.
fn bases(state: &State, headers: &HeaderMap) -> Vec<String> {
    if let Some(base) = state.config.public_base() {
        return vec![base.to_owned()];
    }
    let host = text(headers, "host").filter(|host| {
        host.parse::<Uri>()
            .is_ok_and(|uri| uri.authority().is_some())
    });
    let Some(host) = host else {
        return Vec::new();
    };
    ["http", "https"]
        .iter()
        .map(|scheme| format!("{scheme}://{host}"))
        .collect()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
