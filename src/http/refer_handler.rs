//! `/twilio/refer-handler`: where Twilio asks what to do with a call that we referred. The key is read from the
//! Refer-To contents and carried on to the Studio flow; that it was asked for is proof that the transfer happens, and is
//! told to the live call and written into the history.

use std::fmt::Write;
use std::time::Duration;

use axum::extract::{Request, State as Extract};
use axum::response::Response;

use baton_core::handoff::context;
use baton_core::history::{Durability, Event, Kind, WITNESS_SEQ};
use baton_core::twilio::twiml;
use baton_core::vocab::HandoffKey;

use super::counters::count;
use super::webhook::{self, Webhook};
use super::{State, clock};

/// The store may take this long; the caller is on the line, and the redirect does not depend on it.
const WITNESS_WITHIN: Duration = Duration::from_secs(2);

/// `GET/POST /twilio/refer-handler`
pub(super) async fn handle(Extract(state): Extract<State>, request: Request) -> Response {
    let webhook = match Webhook::open(&state, request).await {
        Ok(webhook) => webhook,
        Err(refused) => return refused,
    };
    let target = webhook.parameter("ReferTransferTarget");
    let key = target.and_then(|target| read_key(&state.config.history_key_headers, target));
    match (target, &key) {
        (None, _) => {
            count(&state.counters.refer_without_target);
            tracing::warn!(
                "a refer webhook has no ReferTransferTarget: the caller arrives without context"
            );
        }
        (Some(_), None) => {
            count(&state.counters.refer_without_key);
            tracing::warn!(
                "a ReferTransferTarget holds no key: the caller arrives without context"
            );
        }
        (Some(_), Some(key)) => witness(&state, key, webhook.parameter("CallSid")).await,
    }
    count(&state.counters.refer_redirected);
    webhook::twiml(match &state.config.twilio.studio_webhook_url {
        Some(url) => twiml::redirect(&studio_url(url, key.as_deref())),
        None => dial(target),
    })
}

/// The key under the first of our header names that has one, else under the platforms' own.
fn read_key(headers: &[String], target: &str) -> Option<String> {
    context::read_key_of(target, headers.iter().map(String::as_str))
}

/// Tells the call that its key was asked for, and writes it down. A key that is not one of ours is none of our
/// business: other platforms' keys pass through.
async fn witness(state: &State, key: &str, call_sid: Option<&str>) {
    let Ok(key) = key.parse::<HandoffKey>() else {
        return;
    };
    if let Some(call) = state.registry.find_by_key(&key)
        && let Err(error) = call.key_read(key)
    {
        tracing::warn!(call = %call.id(), %error, "a call cannot be told that its key was read");
    }
    match tokio::time::timeout(WITNESS_WITHIN, write_down(state, key, call_sid)).await {
        Ok(Ok(true)) => tracing::info!(session = ?key, "a session's key was asked for"),
        Ok(Ok(false)) => {
            count(&state.counters.refer_unknown_key);
            tracing::warn!(session = ?key, "a key was asked for that names no session here");
        }
        Ok(Err(error)) => {
            tracing::warn!(session = ?key, %error, "that a key was asked for cannot be written down");
        }
        Err(_) => {
            tracing::warn!(session = ?key, "the store is too slow to write down that a key was asked for");
        }
    }
}

/// `false`: there is no such session, and none is made.
async fn write_down(
    state: &State,
    key: HandoffKey,
    call_sid: Option<&str>,
) -> Result<bool, baton_core::history::BackendError> {
    if state.history.read(key).await?.is_none() {
        return Ok(false);
    }
    let now = clock::unix_millis();
    let call_sid = call_sid.map(|sid| sid.chars().take(64).collect());
    let event = Event::new(now, Kind::RedirectedByHandler { call_sid });
    state
        .history
        .append(key, WITNESS_SEQ + now.0, vec![event], Durability::Durable)
        .await?;
    Ok(true)
}

/// The flow's webhook with what it needs to go on: `FlowEvent=return`, and the key when there is one.
fn studio_url(base: &str, key: Option<&str>) -> String {
    let base = base.split('#').next().unwrap_or_default();
    let joint = match base.split_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    let mut url = format!("{base}{joint}FlowEvent=return");
    if let Some(key) = key {
        url.push_str("&SessionHistoryKey=");
        for octet in key.bytes() {
            if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
                url.push(char::from(octet));
            } else {
                // Writing to a String cannot fail.
                let _ = write!(url, "%{octet:02X}");
            }
        }
    }
    url
}

/// Without a flow to return to, the target itself is called, with the key still in its headers.
fn dial(target: Option<&str>) -> String {
    target
        .and_then(|target| context::parse_target(bare(target)).ok())
        .map_or_else(twiml::hangup, |uri| twiml::dial(&uri.to_string()))
}

/// The URI of a name-addr.
fn bare(target: &str) -> &str {
    match target.rsplit_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or_default(),
        None => target.split([' ', '\t']).next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: &str = "https://webhooks.twilio.com/v1/Accounts/ACx/Flows/FWx";

    #[test]
    fn every_documented_target_gives_its_key() {
        const NAME: &str = "X-Watson-Assistant-Session-History-Key";
        let headers = ["X-Session-History-Key".to_owned(), "X-Other-Key".to_owned()];
        let watson = |value: &str| format!("<sip:q@h?{NAME}={value}>");
        for (target, key) in [
            (
                format!("<sip:queue@flex.example.com?{NAME}=dev::latest::1>"),
                Some("dev::latest::1"),
            ),
            (
                format!(
                    "sip:queue@flex.example.com?{}=a%3A%3Ab",
                    NAME.to_lowercase()
                ),
                Some("a::b"),
            ),
            (
                "<sip:q@h?User-to-User=k1%3Bencoding%3Dascii&X-Reason=b>".into(),
                Some("k1"),
            ),
            (
                "<sip:q@h?User-to-User=6b31%3Bencoding%3Dhex>".into(),
                Some("k1"),
            ),
            (
                format!("<sip:q@h?User-to-User=abc&{NAME}=def>"),
                Some("def"),
            ),
            (watson("YWI="), Some("YWI=")),
            (watson("a?b"), Some("a?b")),
            (format!("<sip:q@h?{NAME}>;q=1"), None),
            (watson("100%zz"), Some("100%zz")),
            ("<tel:+15551230000>".into(), None),
            (
                format!("\"Agents, A\" <sip:q@h;transport=tls?{NAME}=k+v%20w>;x=y"),
                Some("k+v w"),
            ),
            (
                format!("<sip:q@h?X-Session-History-Key=own&{NAME}=watson>"),
                Some("own"),
            ),
            ("<sip:q@h?x-other-key=second>".into(), Some("second")),
            (
                format!("<sip:q@h?User-to-User=u&{NAME}=watson&X-Other-Key=second>"),
                Some("second"),
            ),
            (watson(""), None),
            (
                format!("<sip:q@h?&&{NAME}=first&{NAME}=second>"),
                Some("first"),
            ),
            (format!("<sip:q@h?X-A=b&amp;{NAME}=k>"), Some("k")),
            (String::new(), None),
            ("<<<>>>???&&&===%%%".into(), None),
        ] {
            assert_eq!(read_key(&headers, &target).as_deref(), key, "{target}");
        }
        assert_eq!(read_key(&[], &watson("k")).as_deref(), Some("k"));
    }

    #[test]
    fn the_flows_url_is_joined_and_the_key_cannot_leave_its_place() {
        for (base, key, url) in [
            (FLOW, None, format!("{FLOW}?FlowEvent=return")),
            (
                FLOW,
                Some("abc"),
                format!("{FLOW}?FlowEvent=return&SessionHistoryKey=abc"),
            ),
            (
                FLOW,
                Some("a::b&x=1#%+ é"),
                format!(
                    "{FLOW}?FlowEvent=return&SessionHistoryKey=a%3A%3Ab%26x%3D1%23%25%2B%20%C3%A9"
                ),
            ),
            (
                "https://f/?a=b",
                None,
                "https://f/?a=b&FlowEvent=return".into(),
            ),
            ("https://f/?", None, "https://f/?FlowEvent=return".into()),
            (
                "https://f/?a=b&#x",
                None,
                "https://f/?a=b&FlowEvent=return".into(),
            ),
        ] {
            assert_eq!(studio_url(base, key), url);
        }
    }

    #[test]
    fn without_a_flow_the_target_is_called_or_the_call_ends() {
        let dialled = dial(Some("\"Q\" <sip:q@h?X-Session-History-Key=k>;x=y"));
        assert!(
            dialled.contains("<Sip>sip:q@h?X-Session-History-Key=k</Sip>"),
            "{dialled}"
        );
        assert!(dial(Some("<tel:+15551230000>")).contains("<Number>+15551230000</Number>"));
        for nothing in [
            None,
            Some("https://evil.example"),
            Some("javascript:x"),
            Some(""),
        ] {
            assert!(dial(nothing).contains("<Hangup/>"), "{nothing:?}");
        }
    }
}
