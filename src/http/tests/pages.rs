//! The human's page, its audio, the JSON behind it, and the console.

use baton_core::history::{BackendError, Kind, UnixMillis};

use super::*;

const FAR: &str = "203.0.113.9:50000";

async fn with_session(config: Config, file: Option<&str>) -> Server {
    let server = Server::with(config);
    let mut events = vec![Event::new(UnixMillis(1_000), Kind::Answered)];
    if let Some(file) = file {
        events.push(Event::new(
            UnixMillis(2_000),
            Kind::Recording {
                on: true,
                file: Some(file.into()),
            },
        ));
    }
    server.record(KEY.parse().unwrap(), events).await;
    server
}

#[tokio::test]
async fn the_key_alone_opens_the_page_and_not_the_json() {
    let server = with_session(keys(&["k"]), None).await;
    let page = server.ask(get(&format!("/sessions/{KEY}")).from(FAR)).await;
    assert_eq!(page.status, 200);
    assert!(page.body.starts_with("<!DOCTYPE html>"));
    let json = format!("/v1/sessions/{KEY}");
    assert_eq!(server.ask(get(&json)).await.status, 401);
    let json = server.ask(get(&json).header("x-api-key", "k")).await.json();
    assert_eq!(json["answered_at"], "1970-01-01T00:00:01.000Z");
}

#[tokio::test]
async fn nobody_caches_indexes_or_frames_the_page() {
    let server = with_session(Config::default(), None).await;
    let page = server.ask(get(&format!("/sessions/{KEY}"))).await;
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("x-robots-tag"), "noindex, nofollow");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("x-frame-options"), "DENY");
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"),
        "{policy}"
    );
}

#[tokio::test]
async fn who_is_named_may_frame_the_page() {
    let config = Config {
        frame_ancestors: vec![
            "https://flex.twilio.com".into(),
            "https://*.example.com".into(),
        ],
        ..Config::default()
    };
    let server = with_session(config, None).await;
    let page = server.ask(get(&format!("/sessions/{KEY}"))).await;
    let policy = page.header("content-security-policy");
    assert!(
        policy.ends_with("frame-ancestors https://flex.twilio.com https://*.example.com"),
        "{policy}"
    );
    assert_eq!(page.header("x-frame-options"), "");
}

#[tokio::test]
async fn a_key_that_names_nothing_gets_a_kind_page_and_an_error_for_programs() {
    let server = Server::plain();
    let unknown = "ZZZZZZZZZZZZZZZZZZZZZZ";
    for key in [
        unknown,
        "short",
        "undefined",
        "a%2Fb",
        "%00",
        &"x".repeat(5000),
    ] {
        let page = server.ask(get(&format!("/sessions/{key}"))).await;
        assert_eq!(page.status, 404, "{key}");
        assert!(
            page.body.contains("This conversation is not available"),
            "{key}"
        );
    }
    let json = server.ask(get(&format!("/v1/sessions/{unknown}"))).await;
    assert_eq!(
        (json.status.as_u16(), json.code().as_str()),
        (404, "session_not_found")
    );
    let audio = server
        .ask(get(&format!("/sessions/{unknown}/audio.wav")))
        .await;
    assert_eq!(audio.status, 404);
}

#[tokio::test]
async fn a_store_that_is_down_is_said_to_be_so_and_counted() {
    let fault = BackendError::Unavailable { why: "down".into() };
    let server = Server::on(Config::default(), Arc::new(Memory::failing(fault)));
    let page = server.ask(get(&format!("/sessions/{KEY}"))).await;
    assert_eq!(page.status, 503);
    assert!(page.body.contains("It is not lost"));
    let json = server.ask(get(&format!("/v1/sessions/{KEY}"))).await;
    assert_eq!(
        (json.status.as_u16(), json.code().as_str()),
        (503, "history_unavailable")
    );
    let metrics = server.ask(get("/metrics")).await.body;
    assert!(metrics.contains("baton_http_history_unavailable_total 2"));
}

#[tokio::test]
async fn a_recording_is_sent_whole_and_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let octets: Vec<u8> = (0..200_000_u32).map(|n| (n % 251 % 128) as u8).collect();
    std::fs::write(dir.path().join("a.wav"), &octets).unwrap();
    let config = Config {
        recording_dir: dir.path().into(),
        ..Config::default()
    };
    let server = with_session(config, Some("a.wav")).await;
    let page = server.ask(get(&format!("/sessions/{KEY}"))).await;
    assert!(page.body.contains(&format!("src=\"{KEY}/audio.wav\"")));
    let path = format!("/sessions/{KEY}/audio.wav");
    let whole = server.ask(get(&path)).await;
    assert_eq!(
        (whole.status.as_u16(), whole.header("content-length")),
        (200, "200000")
    );
    assert_eq!(whole.body.as_bytes(), octets);
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let part = server
        .ask(get(&path).header("range", "bytes=1000-100999"))
        .await;
    assert_eq!(
        (part.status.as_u16(), part.header("content-range")),
        (206, "bytes 1000-100999/200000")
    );
    assert_eq!(part.body.as_bytes(), &octets[1000..101_000]);
    let beyond = server
        .ask(get(&path).header("range", "bytes=200000-"))
        .await;
    assert_eq!(
        (beyond.status.as_u16(), beyond.header("content-range")),
        (416, "bytes */200000")
    );
    let changed = get(&path)
        .header("range", "bytes=0-1")
        .header("if-range", "\"x\"");
    assert_eq!(server.ask(changed).await.status, 200);
}

#[tokio::test]
async fn a_recording_that_is_missing_or_elsewhere_is_not_found() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["gone.wav", "../../etc/passwd", "/etc/passwd"] {
        let config = Config {
            recording_dir: dir.path().into(),
            ..Config::default()
        };
        let server = with_session(config, Some(file)).await;
        let answer = server.ask(get(&format!("/sessions/{KEY}/audio.wav"))).await;
        assert_eq!(answer.status, 404, "{file}");
        assert!(!answer.body.contains("root:"));
    }
}

#[tokio::test]
async fn the_console_shows_calls_and_escapes_them() {
    use crate::bridge::registry::{CallView, EndView, LadderStep};
    use baton_core::vocab::CallId;
    let server = Server::plain();
    let mut view = CallView::new(CallId::from("call-1"), KEY.parse().unwrap(), UnixMillis(0));
    view.from = "<script>alert(1)</script>".into();
    view.push_step(LadderStep {
        at_ms: 1_234,
        from: "trunk".into(),
        to: "baton".into(),
        what: "INVITE".into(),
    });
    let (call, _commands) = server.registry.register(view);
    let page = server.ask(get("/")).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("1 live call") && page.body.contains("INVITE"));
    assert!(page.body.contains("&lt;script&gt;alert(1)") && !page.body.contains("<script>alert"));
    assert!(
        page.header("content-security-policy")
            .contains("script-src 'self'")
    );
    assert!(!page.body.contains("style=") && !page.body.contains("onclick"));
    call.end(
        UnixMillis(9_000),
        EndView {
            kind: "caller_hung_up".into(),
            by: "caller".into(),
            reason: None,
        },
    );
    let list = server.ask(get("/console/calls")).await.body;
    assert!(
        list.contains("No live call") && list.contains("caller hung up"),
        "{list}"
    );
    for asset in ["theme.css", "console.css", "session.css", "console.js"] {
        let answer = server.ask(get(&format!("/assets/{asset}"))).await;
        assert_eq!(answer.status, 200, "{asset}");
        assert!(answer.header("content-type").starts_with("text/"));
    }
    assert_eq!(server.ask(get("/assets/secret.txt")).await.status, 404);
}

#[tokio::test]
async fn the_console_asks_for_a_key_and_keeps_a_cookie_instead_of_it() {
    let config = Config {
        public_url: Some("https://bridge.example.com".into()),
        ..keys(&["desk:read:s3cret"])
    };
    let server = Server::with(config);
    let door = server.ask(get("/").from(FAR)).await;
    assert_eq!(door.status, 401);
    assert!(door.body.contains("name=\"key\""));
    let wrong = server.ask(post("/login", "key=wrong").form()).await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.body.contains("No such key."));
    let right = server.ask(post("/login", "key=s3cret").form()).await;
    assert_eq!(
        (right.status.as_u16(), right.header("location")),
        (303, "./")
    );
    let cookie = right.header("set-cookie");
    for attribute in ["HttpOnly", "SameSite=Strict", "Secure"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("s3cret"));
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let inside = get("/v1/calls")
        .from(FAR)
        .header("cookie", &format!("a=b; {cookie}"));
    assert_eq!(server.ask(inside).await.status, 200);
    let foreign = get("/v1/calls")
        .header("cookie", &cookie)
        .header("origin", "https://evil.example");
    assert_eq!(server.ask(foreign).await.status, 401);
}

#[tokio::test]
async fn without_keys_a_stranger_is_told_how_to_get_in() {
    let server = Server::plain();
    let page = server.ask(get("/").from(FAR)).await;
    assert_eq!(page.status, 401);
    assert!(page.body.contains("[http] api_keys"));
    assert_eq!(server.ask(post("/login", "key=").form()).await.status, 401);
}
