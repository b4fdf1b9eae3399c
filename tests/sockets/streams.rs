//! SIP over TCP, octet by octet: framing, keep-alives, limits, deadlines, reuse.

use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use baton::net::sip_task::{Direction, Signalling};
use baton::net::streams::{Config, Limits};
use baton_core::sip::endpoint::{Command, DialogEvent, Transport};
use bytes::Bytes;

use crate::support::node::{Peer, address, arrival, invite, next, node, options};

fn tcp(seed: u64) -> Signalling {
    node(seed, &[Transport::Tcp], Config::default())
}

fn limited(seed: u64, limits: Limits) -> Signalling {
    let config = Config {
        limits,
        ..Config::default()
    };
    node(seed, &[Transport::Tcp], config)
}

/// Blocking far ends run beside the node, not in its threads.
async fn aside<T: Send + 'static>(far_end: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(far_end)
        .await
        .expect("the far end did its part")
}

fn answer() -> Command {
    Command::Answer {
        body: Bytes::from_static(b"v=0\r\n"),
        headers: Vec::new(),
    }
}

fn bye() -> Command {
    Command::Bye {
        headers: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_found_however_the_stream_is_cut() {
    let node = tcp(1);
    let to = address(&node, Transport::Tcp);
    aside(move || {
        let stream = ["\r\n", &options("a"), &options("b"), "\r\n", &options("c")].concat();
        for step in [1, 7, 97, stream.len()] {
            let mut peer = Peer::connect(to);
            for piece in stream.as_bytes().chunks(step) {
                peer.say(std::str::from_utf8(piece).expect("ASCII"));
            }
            for branch in ["a", "b", "c"] {
                let answer = peer.hear();
                assert!(answer.starts_with("SIP/2.0 200 OK"), "{step}: {answer}");
                assert!(answer.contains(&format!("z9hG4bK{branch};")), "{answer}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_double_line_end_is_answered_with_one() {
    let node = tcp(2);
    let to = address(&node, Transport::Tcp);
    aside(move || {
        let mut peer = Peer::connect(to);
        for _ in 0..3 {
            peer.say("\r\n\r\n");
            assert_eq!(peer.hear_octets(2), b"\r\n");
        }
        assert!(peer.is_served("after"), "and the stream goes on");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_cannot_go_on_is_answered_where_it_can_be_and_closed() {
    let node = tcp(3);
    let to = address(&node, Transport::Tcp);
    let endless = format!("OPTIONS sip:h SIP/2.0\r\nX: {}", "y".repeat(70_000));
    aside(move || {
        for (sent, answer) in [
            (
                options("n").replace("Content-Length: 0\r\n", ""),
                "SIP/2.0 400 ",
            ),
            (
                options("x").replace("Length: 0", "Length: x"),
                "SIP/2.0 400 ",
            ),
            (
                options("l").replace("Length: 0", "Length: 70000"),
                "SIP/2.0 513 ",
            ),
            ("GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), ""),
            ("\x16\x03\x01 a handshake\r\n\r\n".to_owned(), ""),
            (endless, ""),
        ] {
            let mut peer = Peer::connect(to);
            peer.say(&sent);
            // What follows must not be taken for a message.
            let _ = std::io::Write::write_all(&mut peer.stream, options("smuggled").as_bytes());
            let heard = peer.hear_out();
            let what = &sent[..sent.len().min(40)];
            assert!(heard.starts_with(answer), "{what:?}: {heard}");
            assert!(!heard.contains(" 200 "), "{what:?}: {heard}");
            assert_eq!(heard.is_empty(), answer.is_empty(), "{what:?}: {heard}");
        }
    })
    .await;
    let counters = node.handle.stream_counters().await.expect("it runs");
    assert_eq!((counters.accepted, counters.closed_for_framing), (6, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_silent_connections_close_each_other_and_nobody_who_speaks() {
    let limits = Limits {
        connections: 60,
        per_source: 40,
        ..Limits::default()
    };
    let node = limited(4, limits);
    let to = address(&node, Transport::Tcp);
    aside(move || {
        let mut early = Peer::connect(to);
        assert!(early.is_served("early"));
        let silent: Vec<_> = (0..1_000).map(|_| Peer::connect(to)).collect();
        let mut newest = Peer::connect(to);
        assert!(newest.is_served("newest"), "the newest is never refused");
        assert!(
            early.is_served("early2"),
            "who speaks is never closed for who does not"
        );
        drop(silent);
    })
    .await;
    let counters = node.handle.stream_counters().await.expect("it runs");
    assert_eq!(counters.accepted, 1_002);
    assert!(counters.closed_by_limit >= 950, "{counters:?}");
    assert!(counters.open <= 40, "{counters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_dripping_end_at_their_deadlines() {
    let limits = Limits {
        first_message: Duration::from_millis(400),
        message: Duration::from_millis(400),
        ..Limits::default()
    };
    let node = limited(5, limits);
    let to = address(&node, Transport::Tcp);
    aside(move || {
        let mut silent = Peer::connect(to);
        let t0 = Instant::now();
        assert_eq!(silent.hear_out(), "");
        assert!(t0.elapsed() >= Duration::from_millis(300));

        let mut dripping = Peer::connect(to);
        assert!(dripping.is_served("whole"));
        let t0 = Instant::now();
        for octet in options("dripped").bytes() {
            if std::io::Write::write_all(&mut dripping.stream, &[octet]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(dripping.hear_out(), "", "never whole, never answered");
        assert!(t0.elapsed() >= Duration::from_millis(300));
    })
    .await;
    let counters = node.handle.stream_counters().await.expect("it runs");
    assert_eq!(counters.closed_by_deadline, 2, "{counters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_and_one_with_a_dialog_is_kept() {
    let limits = Limits {
        idle: Duration::from_secs(1),
        ..Limits::default()
    };
    let mut bot = limited(6, limits);
    let alice = tcp(7);
    let to = address(&bot, Transport::Tcp);
    let mut placed = (alice.handle)
        .invite(invite(&alice, Transport::Tcp, to))
        .await
        .expect("it can be placed");
    let call = arrival(&mut bot).await;
    (bot.handle)
        .command(call.invited.dialog, answer())
        .await
        .expect("it rings");
    assert!(matches!(
        next(&mut placed.events).await,
        DialogEvent::Answered { .. }
    ));
    aside(move || {
        let mut idle = Peer::connect(to);
        assert!(idle.is_served("once"));
        assert_eq!(idle.hear_out(), "");
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let counters = bot.handle.stream_counters().await.expect("it runs");
    assert_eq!((counters.open, counters.closed_by_deadline), (1, 1));
    bot.handle
        .command(call.invited.dialog, bye())
        .await
        .expect("it is up");
    assert!(matches!(
        next(&mut placed.events).await,
        DialogEvent::Bye { .. }
    ));
    let counters = alice.handle.stream_counters().await.expect("it runs");
    assert_eq!(
        (counters.connected, counters.accepted),
        (1, 0),
        "one connection for all of it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_read_is_closed_and_nobody_waits_for_it() {
    let node = tcp(8);
    let to = address(&node, Transport::Tcp);
    aside(move || {
        let mut deaf = Peer::connect(to);
        deaf.stream
            .set_write_timeout(Some(Duration::from_millis(500)))
            .expect("a TCP socket");
        let mut other = Peer::connect(to);
        let burst = options("deaf").repeat(200);
        let t0 = Instant::now();
        let mut slowest = Duration::ZERO;
        while std::io::Write::write_all(&mut deaf.stream, burst.as_bytes()).is_ok() {
            let asked = Instant::now();
            assert!(other.is_served("other"));
            slowest = slowest.max(asked.elapsed());
            assert!(t0.elapsed() < Duration::from_mins(1), "it is never closed");
        }
        assert!(slowest < Duration::from_secs(2), "{slowest:?}");
        assert!(other.is_served("after"));
    })
    .await;
    let counters = node.handle.stream_counters().await.expect("it runs");
    assert_eq!(counters.closed_unread, 1, "{counters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_connection_is_gone_comes_by_a_new_one_to_the_via() {
    let mut bot = tcp(9);
    let to = address(&bot, Transport::Tcp);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let sent_by = listener.local_addr().expect("bound");
    aside(move || {
        let mut peer = Peer::connect(to);
        peer.say(&format!(
            "INVITE sip:bot@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP {sent_by};branch=z9hG4bKi\r\n\
             From: <sip:peer@127.0.0.1>;tag=p\r\nTo: <sip:bot@127.0.0.1>\r\nCall-ID: gone@peer\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:peer@{sent_by};transport=tcp>\r\nContent-Length: 0\r\n\r\n"
        ));
        assert!(peer.hear().starts_with("SIP/2.0 100 "));
        peer.finish();
        assert_eq!(peer.hear_out(), "");
    })
    .await;
    let call = arrival(&mut bot).await;
    let reject = Command::Reject {
        status: 486,
        headers: Vec::new(),
    };
    bot.handle
        .command(call.invited.dialog, reject)
        .await
        .expect("it waits");
    aside(move || {
        let (stream, _) = listener.accept().expect("the answer's connection");
        let mut peer = Peer::over(stream);
        assert!(peer.hear().starts_with("SIP/2.0 486 "));
        peer.say(&format!(
            "ACK sip:bot@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP {sent_by};branch=z9hG4bKi\r\n\
             From: <sip:peer@127.0.0.1>;tag=p\r\nTo: <sip:bot@127.0.0.1>;tag=x\r\nCall-ID: gone@peer\r\n\
             CSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"
        ));
        assert!(peer.is_served("more"), "and it is as good as any other");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_to_one_peer_share_a_connection_and_a_new_one_follows_a_broken_one() {
    let (alice, mut bot) = (tcp(10), tcp(11));
    let to = address(&bot, Transport::Tcp);
    let mut wire = alice.handle.subscribe();
    for _ in 0..3 {
        let mut placed = (alice.handle)
            .invite(invite(&alice, Transport::Tcp, to))
            .await
            .expect("it can be placed");
        let mut call = arrival(&mut bot).await;
        assert_eq!(call.invited.flow.transport, Transport::Tcp);
        bot.handle
            .command(call.invited.dialog, answer())
            .await
            .expect("it rings");
        assert!(matches!(
            next(&mut placed.events).await,
            DialogEvent::Answered { .. }
        ));
        assert!(matches!(
            next(&mut call.events).await,
            DialogEvent::Acknowledged { .. }
        ));
        alice
            .handle
            .command(placed.dialog, bye())
            .await
            .expect("it is up");
        assert!(matches!(
            next(&mut call.events).await,
            DialogEvent::Bye { .. }
        ));
        assert!(matches!(
            next(&mut placed.events).await,
            DialogEvent::ByeAnswered { status: 200 }
        ));
    }
    let counters = alice.handle.stream_counters().await.expect("it runs");
    assert_eq!((counters.connected, counters.open), (1, 1));
    let mut lines = Vec::new();
    while let Ok(line) = wire.try_recv() {
        assert_eq!(line.flow.transport, Transport::Tcp);
        lines.push((line.direction, line.label()));
    }
    assert!(lines.contains(&(Direction::Sent, "INVITE".to_owned())));
    assert!(lines.contains(&(Direction::Received, "200 OK (INVITE)".to_owned())));

    // The peer's process ends; the next call finds out and connects anew.
    let task = bot.task;
    drop((bot.handle, bot.arrivals));
    task.await.expect("it stops");
    let mut refused = (alice.handle)
        .invite(invite(&alice, Transport::Tcp, to))
        .await
        .expect("it can be placed");
    assert!(matches!(
        next(&mut refused.events).await,
        DialogEvent::Refused { status: 503, .. }
    ));
    let counters = alice.handle.stream_counters().await.expect("it runs");
    assert_eq!(counters.unreachable, 1, "{counters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_invite_goes_by_tcp_and_by_udp_where_tcp_is_refused() {
    let both = [Transport::Udp, Transport::Tcp];
    let alice = node(12, &both, Config::default());
    let large = |remote| {
        let mut invite = invite(&alice, Transport::Udp, remote);
        invite.headers = vec![("X-Context".into(), "c".repeat(1_300))];
        invite
    };
    // A peer with both at one port.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("bound");
    let datagrams = UdpSocket::bind(at).expect("the same port is free for UDP");
    alice
        .handle
        .invite(large(at))
        .await
        .expect("it can be placed");
    aside(move || {
        let (stream, _) = listener.accept().expect("it comes by TCP");
        let head = Peer::over(stream).hear();
        assert!(head.contains("\r\nVia: SIP/2.0/TCP 127.0.0.1:"), "{head}");
        assert!(head.contains(";transport=tcp>\r\n"), "{head}");
        datagrams.set_nonblocking(true).expect("a socket");
        assert!(datagrams.recv(&mut [0; 9]).is_err(), "and not by UDP");
    })
    .await;
    // One with UDP only.
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let at = datagrams.local_addr().expect("bound");
    alice
        .handle
        .invite(large(at))
        .await
        .expect("it can be placed");
    aside(move || {
        datagrams
            .set_read_timeout(Some(crate::support::node::PATIENCE))
            .expect("a socket");
        let mut octets = [0; 4096];
        let length = datagrams.recv(&mut octets).expect("it comes by UDP");
        let head = String::from_utf8_lossy(&octets[..length]).into_owned();
        assert!(head.contains("\r\nVia: SIP/2.0/UDP 127.0.0.1:"), "{head}");
        assert!(!head.contains("transport=tcp"), "{head}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_200_is_repeated_until_its_ack_on_a_stream_too() {
    let mut bot = tcp(13);
    let to = address(&bot, Transport::Tcp);
    let heard = tokio::task::spawn_blocking(move || {
        let mut peer = Peer::connect(to);
        peer.say(
            "INVITE sip:bot@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bKi\r\n\
             From: <sip:peer@127.0.0.1>;tag=p\r\nTo: <sip:bot@127.0.0.1>\r\nCall-ID: ack@peer\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:peer@127.0.0.1:9;transport=tcp>\r\nContent-Length: 0\r\n\r\n",
        );
        assert!(peer.hear().starts_with("SIP/2.0 100 "));
        for _ in 0..3 {
            assert!(peer.hear().starts_with("SIP/2.0 200 "));
            peer.hear_octets(5);
        }
    });
    let call = arrival(&mut bot).await;
    bot.handle
        .command(call.invited.dialog, answer())
        .await
        .expect("it rings");
    heard.await.expect("it came again and again");
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_is_served_too() {
    use baton::net::listen::{Listening, listen};
    let wanted = Listening {
        transport: Transport::Tcp,
        address: "[::1]:0".parse().expect("an address"),
    };
    let Ok(listener) = listen(wanted, "test") else {
        // A machine without IPv6 refuses the address for every program.
        assert!(TcpListener::bind("[::1]:0").is_err());
        return;
    };
    let node = baton::net::sip_task::start(
        baton_core::sip::endpoint::Config::default(),
        baton_core::vocab::Entropy::from_number(14),
        vec![listener],
        Config::default(),
        baton::net::dns::Dns::new(&[], baton_core::vocab::Entropy::from_number(15)),
        None,
    )
    .expect("it starts");
    let to = address(&node, Transport::Tcp);
    assert!(aside(move || Peer::connect(to).is_served("six")).await);
}
