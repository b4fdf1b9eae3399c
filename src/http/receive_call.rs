//! `/twilio/receive-call`: TwiML that brings a call to us over SIP, with the way back (`referUrl`) in it.

use axum::extract::{Request, State as Extract};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use baton_core::twilio::twiml::{self, SipUri};

use super::State;
use super::answer::ApiError;
use super::webhook::{self, Webhook};

/// The user part for a call whose called number is not known, or too long to be one.
const ANYBODY: &str = "baton";
const USER_MAX: usize = 100;

/// `GET/POST /twilio/receive-call`
pub(super) async fn handle(Extract(state): Extract<State>, request: Request) -> Response {
    let webhook = match Webhook::open(&state, request).await {
        Ok(webhook) => webhook,
        Err(refused) => return refused,
    };
    let called = webhook
        .parameter("Called")
        .or_else(|| webhook.parameter("To"))
        .map(user_part)
        .filter(|user| (1..=USER_MAX).contains(&user.len()))
        .unwrap_or(ANYBODY);
    let address = state
        .config
        .sip_address
        .clone()
        .or_else(|| host_of(&webhook.base));
    let Some(address) = address else {
        return ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "no_sip_address",
            "the public SIP address is not known; set [sip] public_address or [http] public_url",
        )
        .into_response();
    };
    // The call SID that Twilio gives us is the caller's leg; the INVITE names another, the child's.
    let parent: Vec<(&str, &str)> = webhook
        .parameter("CallSid")
        .filter(|sid| is_sid(sid))
        .map(|sid| ("x-parent-callsid", sid))
        .into_iter()
        .collect();
    let mut parts = address.split(';');
    let host = parts.next().unwrap_or_default();
    let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
    let uri = SipUri {
        user: called,
        host,
        parameters: &parameters,
        headers: &parent,
    };
    let refer_url = format!("{}/twilio/refer-handler", webhook.base);
    match twiml::dial_sip(&uri, &refer_url) {
        Ok(document) => webhook::twiml(document),
        Err(error) => ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "twiml",
            error.to_string(),
        )
        .into_response(),
    }
}

/// The user part of what was called: a number as a rule, a SIP URI for calls from a SIP domain.
fn user_part(called: &str) -> &str {
    let called = called.trim();
    let bare = called
        .strip_prefix("sips:")
        .or_else(|| called.strip_prefix("sip:"))
        .unwrap_or(called);
    bare.split(['@', ';']).next().unwrap_or_default()
}

fn host_of(base: &str) -> Option<String> {
    base.parse::<Uri>().ok()?.host().map(ToOwned::to_owned)
}

fn is_sid(sid: &str) -> bool {
    (1..=64).contains(&sid.len()) && sid.bytes().all(|b| b.is_ascii_alphanumeric())
}
