//! The API: who may, what is answered, how calls are steered.

use baton_core::history::UnixMillis;
use baton_core::vocab::{CallId, HandoffId};
use tokio::sync::mpsc;

use super::*;
use crate::bridge::registry::{CallState, CallView, Operator, Refusal, Registration};

const FAR: &str = "203.0.113.9:50000";

fn live_call(server: &Server) -> (Registration, mpsc::Receiver<Operator>) {
    let mut view = CallView::new(
        CallId::from("call-1"),
        KEY.parse().unwrap(),
        UnixMillis(7_000),
    );
    view.from = "+15559870000".into();
    view.twilio_call_sid = Some("CA01".into());
    view.state = CallState::Talking;
    server.registry.register(view)
}

#[tokio::test]
async fn without_keys_only_this_machine_is_served() {
    let server = Server::plain();
    let fine = [
        get("/v1/calls"),
        get("/v1/calls")
            .from("[::1]:4000")
            .header("host", "[::1]:8080"),
        get("/v1/calls").from("[::ffff:127.0.0.1]:4000"),
        get("/v1/calls").header("host", "localhost"),
        get("/v1/calls").header("origin", "http://localhost:8080"),
    ];
    for (number, request) in fine.into_iter().enumerate() {
        assert_eq!(server.ask(request).await.status, 200, "request {number}");
    }
    let refused = [
        get("/v1/calls").from(FAR),
        get("/v1/calls").from("10.0.0.1:5"),
        get("/v1/calls").header("host", "rebound.evil.example:8080"),
        get("/v1/calls").without("host"),
        get("http://evil.example/v1/calls"),
        get("/v1/calls").header("origin", "https://evil.example"),
        get("/v1/calls").header("origin", "null"),
        get("/v1/calls").header("x-forwarded-for", "203.0.113.9"),
        get("/v1/calls").header("forwarded", "for=203.0.113.9"),
        get("/v1/calls").header("x-real-ip", "127.0.0.1"),
        get("/v1/calls").header("via", "1.1 proxy"),
    ];
    for (number, request) in refused.into_iter().enumerate() {
        let answer = server.ask(request).await;
        assert_eq!(answer.status, 401, "request {number}");
        assert_eq!(answer.code(), "unauthorized");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
}

#[tokio::test]
async fn with_keys_each_spelling_opens_and_loopback_alone_does_not() {
    let server = Server::with(keys(&["desk:read:k-read", "k-all"]));
    let spellings = [
        get("/v1/calls").header("authorization", "Bearer k-read"),
        get("/v1/calls").header("authorization", "bearer k-all"),
        get("/v1/calls").header("x-api-key", "k-read"),
        get("/v1/calls")
            .header("asapp-api-id", "anything")
            .header("asapp-api-secret", "k-read"),
        get("/v1/calls")
            .from(FAR)
            .header("x-api-key", "k-all")
            .header("host", "b.example"),
    ];
    for (number, request) in spellings.into_iter().enumerate() {
        assert_eq!(server.ask(request).await.status, 200, "request {number}");
    }
    let refused = [
        get("/v1/calls"),
        get("/v1/calls").header("authorization", "Bearer wrong"),
        get("/v1/calls").header("authorization", "Bearer "),
        get("/v1/calls").header("authorization", "Basic k-all"),
        get("/v1/calls").header("authorization", "k-all"),
        get("/v1/calls").header("x-api-key", "k-rea"),
        get("/v1/calls").header("x-api-key", ""),
        get("/v1/calls").header("x-api-key", "desk:read:k-read"),
        get("/v1/calls").header("asapp-api-secret", "k-read"),
        get("/v1/calls").header("cookie", "baton_console=k-all"),
        get("/v1/calls?api_key=k-all"),
    ];
    for (number, request) in refused.into_iter().enumerate() {
        assert_eq!(server.ask(request).await.status, 401, "request {number}");
    }
}

#[tokio::test]
async fn a_key_may_do_what_its_scope_says_and_nothing_else() {
    let server = Server::with(keys(&[
        "r:read:kr",
        "c:control:kc",
        "t:transfer:kt",
        "a:all:ka",
    ]));
    let (_call, mut commands) = live_call(&server);
    let mut calls = tokio::task::JoinSet::new();
    calls.spawn(async move {
        while let Some(wish) = commands.recv().await {
            match wish {
                Operator::Handoff { reply, .. } => drop(reply.send(Ok(HandoffId::from("ho-1")))),
                Operator::Hangup { reply, .. } | Operator::Dtmf { reply, .. } => {
                    drop(reply.send(Ok(())));
                }
                Operator::KeyRead { .. } => {}
            }
        }
    });
    let paths = [
        ("GET", "/v1/calls", "ra"),
        ("GET", "/v1/calls/call-1", "ra"),
        ("GET", "/v1/events", "ra"),
        ("GET", "/console/calls", "ra"),
        ("POST", "/v1/calls/call-1/handoff", "cta"),
        ("POST", "/v1/calls/call-1/hangup", "ca"),
        ("POST", "/v1/calls/call-1/dtmf", "ca"),
    ];
    for (method, path, allowed) in paths {
        for who in ["r", "c", "t", "a"] {
            let mut request =
                post(path, r#"{"digits":"1"}"#).header("x-api-key", &format!("k{who}"));
            request.method = method;
            let request = request.build();
            // The status alone: an event stream has no end.
            let status = server
                .router
                .clone()
                .oneshot(request)
                .await
                .unwrap()
                .status();
            let expected = if allowed.contains(who) {
                status.is_success()
            } else {
                status == 403
            };
            assert!(expected, "{method} {path} with k{who}: {status}");
        }
    }
}

#[tokio::test]
async fn health_metrics_and_readiness_need_no_key() {
    let server = Server::with(keys(&["k"]));
    assert_eq!(server.ask(get("/healthz").from(FAR)).await.status, 200);
    assert_eq!(server.ask(get("/readyz").from(FAR)).await.status, 200);
    server.ready.store(false, Ordering::SeqCst);
    let draining = server.ask(get("/readyz").from(FAR)).await;
    assert_eq!(
        (draining.status.as_u16(), &draining.json()["reason"]),
        (503, &"draining".into())
    );
    let metrics = server.ask(get("/metrics").from(FAR)).await;
    assert!(metrics.body.contains("baton_calls 3"), "{}", metrics.body);
    assert!(metrics.body.contains("baton_http_refer_redirected_total 0"));
    assert_eq!(metrics.body.matches("# EOF").count(), 1);
    assert!(
        metrics
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
}

#[tokio::test]
async fn errors_have_one_shape_and_a_request_id() {
    let server = Server::plain();
    let unknown = server
        .ask(get("/nothing/here").header("x-request-id", "abc-1"))
        .await;
    assert_eq!(
        (unknown.status.as_u16(), unknown.code().as_str()),
        (404, "not_found")
    );
    assert_eq!(unknown.json()["error"]["requestId"], "abc-1");
    assert_eq!(unknown.header("x-request-id"), "abc-1");
    assert_eq!(unknown.header("content-type"), "application/json");
    let method = server.ask(post("/v1/calls/call-1", "")).await;
    assert_eq!(
        (method.status.as_u16(), method.code().as_str()),
        (405, "method_not_allowed")
    );
    assert!(method.header("allow").contains("GET"));
    let odd = server
        .ask(get("/nothing").header("x-request-id", "a b\"c"))
        .await;
    assert_eq!(odd.header("x-request-id").len(), 16);
    assert_eq!(odd.header("cache-control"), "no-store");
    assert_eq!(odd.header("referrer-policy"), "no-referrer");
}

#[tokio::test]
async fn a_huge_body_is_refused_as_such() {
    let server = Server::plain();
    let (_call, _commands) = live_call(&server);
    let huge = vec![b' '; 1024 * 1024 + 1];
    for path in [
        "/v1/calls/call-1/handoff",
        "/v1/calls/call-1/hangup",
        "/twilio/refer-handler",
    ] {
        let answer = server.ask(post(path, huge.clone()).form()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (413, "body_too_large"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn calls_are_listed_and_found_by_their_other_names() {
    let server = Server::plain();
    let (_call, _commands) = live_call(&server);
    let all = server.ask(get("/v1/calls")).await.json();
    assert_eq!(all["calls"][0]["id"], "call-1");
    let one = server.ask(get("/v1/calls/CA01")).await.json();
    assert_eq!(one["from"], "+15559870000");
    assert_eq!(one["session_history_key"], KEY);
    assert_eq!(one["started"], "1970-01-01T00:00:07.000Z");
    let none = server.ask(get("/v1/calls/call-2")).await;
    assert_eq!(
        (none.status.as_u16(), none.code().as_str()),
        (404, "call_not_found")
    );
}

#[tokio::test]
async fn a_handoff_is_asked_of_the_call_once_however_often_it_is_sent() {
    let server = Server::plain();
    let (_call, mut commands) = live_call(&server);
    let body = r#"{"target":"sip:q@h","reason":"operator"}"#;
    let request = || post("/v1/calls/call-1/handoff", body).header("idempotency-key", "once");
    let (first, target) = tokio::join!(server.ask(request()), async {
        match commands.recv().await {
            Some(Operator::Handoff { request, reply }) => {
                reply.send(Ok(HandoffId::from("ho-7"))).unwrap();
                request.target
            }
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(target.as_deref(), Some("sip:q@h"));
    assert_eq!(
        (first.status.as_u16(), &first.json()["handoff_id"]),
        (202, &"ho-7".into())
    );
    let again = server.ask(request()).await;
    assert_eq!(again.body, first.body);
    assert!(commands.try_recv().is_err(), "asked twice");
    let other = post("/v1/calls/call-1/handoff", "{}").header("idempotency-key", "once");
    assert_eq!(server.ask(other).await.code(), "idempotency_key_reused");
    let bad = post("/v1/calls/call-1/handoff", body).header("idempotency-key", "");
    assert_eq!(server.ask(bad).await.code(), "bad_idempotency_key");
}

#[tokio::test]
async fn what_a_call_refuses_or_cannot_hear_is_told() {
    let server = Server::plain();
    let (call, mut commands) = live_call(&server);
    let (refused, ()) = tokio::join!(server.ask(post("/v1/calls/call-1/hangup", "")), async {
        match commands.recv().await {
            Some(Operator::Hangup { reply, .. }) => {
                reply
                    .send(Err(Refusal("it is ending already".into())))
                    .unwrap();
            }
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(
        (refused.status.as_u16(), refused.code().as_str()),
        (409, "refused")
    );
    assert_eq!(refused.json()["error"]["message"], "it is ending already");
    for _ in 0..16 {
        let handle = server.registry.live(call.id()).unwrap();
        handle.key_read(KEY.parse().unwrap()).unwrap();
    }
    let busy = server
        .ask(post("/v1/calls/call-1/dtmf", r#"{"digits":"1"}"#))
        .await;
    assert_eq!(
        (busy.status.as_u16(), busy.code().as_str()),
        (429, "call_busy")
    );
    drop((call, commands));
    let over = server.ask(post("/v1/calls/call-1/hangup", "{}")).await;
    assert_eq!(
        (over.status.as_u16(), over.code().as_str()),
        (409, "call_over")
    );
    let unknown = server.ask(post("/v1/calls/call-9/hangup", "{}")).await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_told_on_within_seconds() {
    let server = Server::plain();
    let (_call, _commands) = live_call(&server);
    let answer = server.ask(post("/v1/calls/call-1/hangup", "")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (504, "call_does_not_answer")
    );
}

#[tokio::test]
async fn a_wrong_type_is_answered_with_the_fields_name() {
    let server = Server::plain();
    let (_call, _commands) = live_call(&server);
    for (path, body, status, named) in [
        ("handoff", "{not json", 400, "not JSON"),
        ("handoff", "[1]", 400, "object"),
        ("handoff", r#"{"target":7}"#, 422, "target"),
        ("hangup", r#"{"reason":{}}"#, 422, "reason"),
        ("dtmf", "{}", 422, "digits"),
        ("dtmf", r#"{"digits":"x"}"#, 422, "digits"),
    ] {
        let answer = server
            .ask(post(&format!("/v1/calls/call-1/{path}"), body))
            .await;
        assert_eq!(answer.status, status, "{body}");
        let message = answer.json()["error"]["message"].to_string();
        assert!(message.contains(named), "{message}");
    }
}

#[tokio::test]
async fn changes_arrive_as_server_sent_events() {
    let server = Server::plain();
    let response = server
        .router
        .clone()
        .oneshot(get("/v1/events").build())
        .await
        .unwrap();
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "text/event-stream"
    );
    let (call, _commands) = live_call(&server);
    call.state(CallState::HandingOff);
    let mut body = response.into_body().into_data_stream();
    let mut text = String::new();
    while !text.contains("handing_off") {
        let chunk = futures_util::StreamExt::next(&mut body)
            .await
            .unwrap()
            .unwrap();
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(
        text.contains(
            "event: call\ndata: {\"type\":\"call\",\"call\":\"call-1\",\"state\":\"talking\"}"
        ),
        "{text}"
    );
}
