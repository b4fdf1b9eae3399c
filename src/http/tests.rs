//! The router as its clients see it, driven in-process; a few over a real loopback connection.

mod api;
mod pages;
mod webhooks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response, StatusCode, header};
use serde_json::Value;
use tower::ServiceExt;

use baton_core::history::{Backend, Durability, Event, Memory};
use baton_core::vocab::{Entropy, HandoffKey};

use super::*;
use crate::bridge::registry::Registry;

const KEY: &str = "0123456789abcdefABCDEF";

/// A server and everything behind it.
struct Server {
    router: Router,
    state: State,
    history: Arc<dyn Backend>,
    registry: Arc<Registry>,
    ready: Arc<AtomicBool>,
}

impl Server {
    fn with(config: Config) -> Self {
        Self::on(config, Arc::new(Memory::default()))
    }

    fn on(config: Config, history: Arc<dyn Backend>) -> Self {
        config.validate().unwrap();
        let registry = Arc::new(Registry::default());
        let ready = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&ready);
        let state = State::new(
            config,
            Ports {
                history: Arc::clone(&history),
                registry: Arc::clone(&registry),
                readiness: Arc::new(move || {
                    if asked.load(Ordering::SeqCst) {
                        Readiness::Ready
                    } else {
                        Readiness::NotReady("draining".into())
                    }
                }),
                metrics: Arc::new(|| "baton_calls 3\n# EOF\n".into()),
                entropy: Entropy::from_number(5),
            },
        );
        Self {
            router: router(state.clone()),
            state,
            history,
            registry,
            ready,
        }
    }

    fn plain() -> Self {
        Self::with(Config::default())
    }

    async fn record(&self, key: HandoffKey, events: Vec<Event>) {
        let appended = self.history.append(key, 0, events, Durability::Durable);
        appended.await.unwrap();
    }

    async fn ask(&self, request: Asked) -> Answer {
        let response = self.router.clone().oneshot(request.build()).await.unwrap();
        Answer::read(response).await
    }
}

/// A request, from this machine unless said otherwise.
struct Asked {
    method: &'static str,
    path: String,
    peer: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn get(path: &str) -> Asked {
    Asked {
        method: "GET",
        path: path.into(),
        peer: "127.0.0.1:40000",
        headers: vec![("host", "127.0.0.1:8080".into())],
        body: Vec::new(),
    }
}

fn post(path: &str, body: impl Into<Vec<u8>>) -> Asked {
    Asked {
        method: "POST",
        body: body.into(),
        ..get(path)
    }
}

impl Asked {
    fn from(mut self, peer: &'static str) -> Self {
        self.peer = peer;
        self
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.into()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self
    }

    fn form(self) -> Self {
        self.header("content-type", "application/x-www-form-urlencoded")
    }

    fn build(self) -> Request<Body> {
        let mut request = Request::builder().method(self.method).uri(self.path);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let mut request = request.body(Body::from(self.body)).unwrap();
        let peer = Peer(self.peer.parse().unwrap());
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    }
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    body: String,
}

impl Answer {
    async fn read(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 16 * 1024 * 1024).await.unwrap();
        Self {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap().to_owned()
    }
}

fn keys(keys: &[&str]) -> Config {
    Config {
        api_keys: keys.iter().map(|key| key.parse().unwrap()).collect(),
        ..Config::default()
    }
}

#[tokio::test]
async fn a_real_connection_is_served_and_the_shutdown_ends_it() {
    let server = Server::plain();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = serve(listener, server.router.clone(), async {
        let _ = stopped.await;
    });
    let client = async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET /v1/calls HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        stop.send(()).unwrap();
        answer
    };
    let (ended, answer) = tokio::join!(serving, client);
    ended.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with(r#"{"calls":[]}"#), "{answer}");
}

#[tokio::test]
async fn octets_that_are_no_http_are_refused_and_the_server_lives() {
    let server = Server::plain();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = serve(listener, server.router.clone(), async {
        let _ = stopped.await;
    });
    let client = async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut answers = Vec::new();
        for octets in [
            &b"\x16\x03\x01\x02\x00\x01\x00"[..],
            b"INVITE sip:a@b SIP/2.0\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        ] {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(octets).await.unwrap();
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            answers.push(String::from_utf8_lossy(&answer).into_owned());
        }
        stop.send(()).unwrap();
        answers
    };
    let (ended, answers) = tokio::join!(serving, client);
    ended.unwrap();
    for refused in &answers[..3] {
        assert!(
            refused.is_empty() || refused.starts_with("HTTP/1.1 4"),
            "{refused}"
        );
    }
    assert!(answers[3].starts_with("HTTP/1.1 200"), "{}", answers[3]);
}

#[test]
fn the_secrets_of_the_state_are_not_in_its_debug_output() {
    let server = Server::with(keys(&["desk:all:s3cret"]));
    assert!(!format!("{:?}", server.state).contains("s3cret"));
}
