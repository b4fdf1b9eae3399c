//! SIP over TLS: who is believed, what a reload changes, and handshakes that never end.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use baton::net::sip_task::Signalling;
use baton::net::streams::{Config, Limits};
use baton::net::tls::{Files, Tls, names};
use baton_core::sip::endpoint::{Command, DialogEvent, Transport};
use bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::authority::{Authority, Issued};
use crate::support::node::{Peer, address, arrival, invite, next, node};

pub(crate) type TlsPeer = Peer<StreamOwned<ClientConnection, TcpStream>>;

fn tls(files: &Files) -> Config {
    Config {
        tls: Some(Tls::load(files).expect("good files")),
        ..Config::default()
    }
}

fn secure(seed: u64, files: &Files) -> Signalling {
    node(seed, &[Transport::Tls], tls(files))
}

/// A client that believes this authority, and shows this certificate if it has one.
pub(crate) fn client(authority: &Path, ours: Option<&Issued>) -> Arc<ClientConfig> {
    baton::net::tls::install_provider();
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(authority).expect("PEM");
    roots.add(ca).expect("an authority");
    let config = ClientConfig::builder().with_root_certificates(roots);
    Arc::new(match ours {
        Some(ours) => config
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_file(&ours.certificate).expect("PEM")],
                PrivateKeyDer::from_pem_file(&ours.key).expect("PEM"),
            )
            .expect("a certificate and its key"),
        None => config.with_no_client_auth(),
    })
}

pub(crate) fn connect(to: SocketAddr, config: &Arc<ClientConfig>) -> TlsPeer {
    let stream = Peer::connect(to).stream;
    let name = ServerName::try_from("localhost").expect("a name");
    let session = ClientConnection::new(config.clone(), name).expect("a session");
    Peer::over(StreamOwned::new(session, stream))
}

/// The names in the certificate it showed.
pub(crate) fn shown(peer: &TlsPeer) -> Vec<String> {
    let chain = peer.stream.conn.peer_certificates().expect("it showed one");
    names::of(&chain[0])
}

async fn aside<T: Send + 'static>(far_end: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(far_end)
        .await
        .expect("the far end did its part")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_over_tls_is_served_and_a_reload_is_seen_by_the_next_one() {
    let authority = Authority::new();
    let old = authority.issue("old", &["localhost", "old.example.com"]);
    let new = authority.issue("new", &["localhost", "new.example.com"]);
    let node = secure(1, &authority.files(&old));
    let (to, config) = (
        address(&node, Transport::Tls),
        client(&authority.file(), None),
    );
    let first = {
        let config = config.clone();
        aside(move || {
            let mut peer = connect(to, &config);
            assert!(peer.is_served("one"));
            assert_eq!(shown(&peer), ["localhost", "old.example.com"]);
            peer
        })
        .await
    };
    let reloaded = Tls::load(&authority.files(&new)).expect("good files");
    node.handle.set_tls(reloaded).await.expect("it runs");
    aside(move || {
        let mut first = first;
        assert!(first.is_served("two"), "who was here stays");
        let mut second = connect(to, &config);
        assert!(second.is_served("three"));
        assert_eq!(shown(&second), ["localhost", "new.example.com"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_client_certificates_are_asked_for_only_the_right_ones_come_in() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let ours = authority.issue("node", &["localhost"]);
    let files = Files {
        client_ca: Some(authority.file()),
        ..authority.files(&ours)
    };
    let node = secure(2, &files);
    let to = address(&node, Transport::Tls);
    let trunk = authority.issue("trunk", &["Trunk.example.com"]);
    let forged = stranger.issue("forged", &["trunk.example.com"]);
    aside(move || {
        let believed = client(&authority.file(), Some(&trunk));
        assert!(connect(to, &believed).is_served("trunk"));
        for bad in [Some(&forged), None] {
            let config = client(&authority.file(), bad);
            let mut peer = connect(to, &config);
            // With TLS 1.3 the refusal may come after our first octets.
            let said = std::io::Write::write_all(
                &mut peer.stream,
                crate::support::node::options("bad").as_bytes(),
            );
            assert!(said.is_err() || peer.hear_out().is_empty());
        }
    })
    .await;
    let counters = node.handle.stream_counters().await.expect("it runs");
    assert_eq!(counters.failed_handshakes, 2, "{counters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_never_end_are_closed_for_others_and_at_their_deadline() {
    let authority = Authority::new();
    let ours = authority.issue("node", &["localhost"]);
    let config = Config {
        limits: Limits {
            per_source: 20,
            first_message: Duration::from_millis(600),
            ..Limits::default()
        },
        ..tls(&authority.files(&ours))
    };
    let node = node(3, &[Transport::Tls], config);
    let to = address(&node, Transport::Tls);
    aside(move || {
        let half: Vec<_> = (0..200)
            .map(|_| {
                let mut peer = Peer::connect(to);
                peer.say("\x16\x03\x01");
                peer
            })
            .collect();
        let config = client(&authority.file(), None);
        assert!(connect(to, &config).is_served("newest"));
        for mut peer in half {
            assert_eq!(peer.hear_out(), "");
        }
    })
    .await;
    let counters = node.handle.stream_counters().await.expect("it runs");
    assert!(counters.closed_by_limit >= 150, "{counters:?}");
    assert!(counters.closed_by_deadline >= 10, "{counters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_we_call_must_prove_its_name_or_its_address() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let named = authority.issue("named", &["sip.example.com"]);
    let numbered = authority.issue("numbered", &["127.0.0.1"]);
    let alice = secure(4, &authority.files(&named));
    let calls = async |seed, files: &Files, name: Option<&str>| {
        let mut bot = secure(seed, files);
        let to = address(&bot, Transport::Tls);
        if let Some(name) = name {
            alice.handle.name_peer(to, name).await.expect("it runs");
        }
        let mut placed = (alice.handle)
            .invite(invite(&alice, Transport::Tls, to))
            .await
            .expect("it can be placed");
        tokio::select! {
            call = arrival(&mut bot) => {
                let answer = Command::Answer {
                    body: Bytes::from_static(b"v=0\r\n"),
                    headers: Vec::new(),
                };
                bot.handle.command(call.invited.dialog, answer).await.expect("it rings");
                assert_eq!(call.invited.flow.transport, Transport::Tls);
                next(&mut placed.events).await
            }
            event = next(&mut placed.events) => event,
        }
    };
    let answered = |event: &DialogEvent| matches!(event, DialogEvent::Answered { .. });
    let refused = |event: &DialogEvent| matches!(event, DialogEvent::Refused { status: 503, .. });
    let files = authority.files(&named);
    assert!(answered(&calls(5, &files, Some("sip.example.com")).await));
    assert!(refused(&calls(6, &files, Some("other.example.com")).await));
    assert!(refused(&calls(7, &files, None).await), "no address in it");
    let files = authority.files(&numbered);
    assert!(answered(&calls(8, &files, None).await));
    let forged = stranger.issue("forged", &["sip.example.com"]);
    let files = stranger.files(&forged);
    assert!(refused(&calls(9, &files, Some("sip.example.com")).await));
}

#[test]
fn files_that_tls_cannot_be_made_of_are_named_with_what_is_wrong() {
    let authority = Authority::new();
    let (one, two) = (
        authority.issue("one", &["one.example.com"]),
        authority.issue("two", &["two.example.com"]),
    );
    let load = |certificate: &Path, key: &Path, client_ca: Option<&Path>| {
        let files = Files {
            identity: Some((certificate.to_owned(), key.to_owned())),
            client_ca: client_ca.map(Path::to_owned),
            ca: None,
        };
        Tls::load(&files)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    assert_eq!(load(&one.certificate, &one.key, None), Ok(()));
    assert_eq!(
        load(&one.certificate, &one.key, Some(&authority.file())),
        Ok(())
    );
    let missing = Path::new("/nonexistent.pem");
    for (result, file, says) in [
        (
            load(missing, &one.key, None),
            "/nonexistent.pem",
            "correct the path",
        ),
        (
            load(&one.certificate, missing, None),
            "/nonexistent.pem",
            "correct the path",
        ),
        (
            load(&one.key, &one.key, None),
            "one.key",
            "holds no certificate",
        ),
        (
            load(&one.certificate, &one.certificate, None),
            "one.pem",
            "holds no private key",
        ),
        (
            load(&one.certificate, &two.key, None),
            "two.key",
            "is not the key of",
        ),
        (
            load(&one.certificate, &one.key, Some(&one.key)),
            "one.key",
            "holds no certificate",
        ),
    ] {
        let error = result.expect_err(says);
        assert!(error.contains(file) && error.contains(says), "{error}");
    }
}

#[test]
fn the_names_of_a_certificate_are_read_in_lower_case() {
    let authority = Authority::new();
    let issued = authority.issue("n", &["Voice.Example.COM", "192.0.2.7", "2001:db8::7"]);
    let certificate = CertificateDer::from_pem_file(&issued.certificate).expect("PEM");
    assert_eq!(
        names::of(&certificate),
        ["voice.example.com", "192.0.2.7", "2001:db8::7"]
    );
    assert_eq!(
        names::of(&CertificateDer::from(vec![0x30, 0x01])),
        Vec::<String>::new()
    );
    let facts = names::facts(&issued.certificate).expect("it can be read");
    assert!(facts.not_before < facts.not_after);
}
