//! Two endpoints on loopback sockets, each in its own task.

use baton_core::sip::endpoint::NotifyState;
use tokio::time::timeout;

use super::*;

const SOON: Duration = Duration::from_secs(5);

fn node(seed: u64) -> Signalling {
    node_over(Transport::Udp, seed, streams::Config::default())
}

fn node_over(transport: Transport, seed: u64, streams: streams::Config) -> Signalling {
    let wanted = Listening {
        transport,
        address: "127.0.0.1:0".parse().unwrap(),
    };
    let socket = super::super::listen::listen(wanted, "[sip] listen").unwrap();
    let entropy = Entropy::from_number(seed);
    let dns = Dns::new(
        &["127.0.0.1:1".parse().unwrap()],
        Entropy::from_number(seed),
    );
    start(Config::default(), entropy, vec![socket], streams, dns, None).unwrap()
}

fn to(node: &Signalling, from: &Signalling) -> OutgoingInvite {
    let Listening {
        transport,
        address: remote,
    } = node.handle.addresses()[0];
    let local = from.handle.addresses()[0].address;
    OutgoingInvite {
        ways: Flow {
            transport,
            local,
            remote,
        }
        .into(),
        target: format!("sip:bot@{remote}"),
        from: format!("<sip:alice@{local}>"),
        to: String::new(),
        call_id: String::new(),
        account: None,
        headers: vec![("X-A".into(), "b".into())],
        body: Bytes::from_static(b"v=0\r\n"),
    }
}

async fn next(events: &mut mpsc::Receiver<DialogEvent>) -> DialogEvent {
    timeout(SOON, events.recv())
        .await
        .expect("in time")
        .expect("an event")
}

async fn arrival(node: &mut Signalling) -> Arrived {
    timeout(SOON, node.arrivals.recv())
        .await
        .expect("in time")
        .expect("a call")
}

fn answer() -> Command {
    Command::Answer {
        body: Bytes::from_static(b"v=0\r\nanswer"),
        headers: Vec::new(),
    }
}

fn bye() -> Command {
    Command::Bye {
        headers: Vec::new(),
    }
}

#[tokio::test]
async fn a_call_is_placed_answered_referred_and_ended() {
    let (alice, mut bot) = (node(1), node(2));
    let mut wire = alice.handle.subscribe();
    let mut placed = alice.handle.invite(to(&bot, &alice)).await.unwrap();
    let Arrived {
        invited,
        mut events,
        place: _,
    } = arrival(&mut bot).await;
    assert_eq!(
        (invited.called.as_str(), invited.caller.as_str()),
        ("bot", "alice")
    );
    assert_eq!(invited.header("x-a"), Some("b"));
    bot.handle.command(invited.dialog, answer()).await.unwrap();
    let DialogEvent::Answered { body, .. } = next(&mut placed.events).await else {
        panic!("not answered");
    };
    assert_eq!(body, "v=0\r\nanswer");
    assert!(matches!(
        next(&mut events).await,
        DialogEvent::Acknowledged { .. }
    ));

    let refer = Command::Refer {
        refer_to: "<sip:human@example.com?X-Key=k>".into(),
        headers: Vec::new(),
    };
    bot.handle.command(invited.dialog, refer).await.unwrap();
    let DialogEvent::Referred { refer_to, .. } = next(&mut placed.events).await else {
        panic!("not referred");
    };
    assert_eq!(refer_to, "<sip:human@example.com?X-Key=k>");
    for command in [
        Command::AnswerRefer { status: 202 },
        Command::Notify {
            status: 200,
            state: NotifyState::Terminated,
        },
    ] {
        alice.handle.command(placed.dialog, command).await.unwrap();
    }
    let mut seen = [next(&mut events).await, next(&mut events).await];
    // Over UDP the NOTIFY may overtake the 202.
    seen.sort_by_key(|event| matches!(event, DialogEvent::Notified { .. }));
    assert!(matches!(
        seen[0],
        DialogEvent::ReferAnswered { status: 202, .. }
    ));
    assert!(matches!(
        &seen[1],
        DialogEvent::Notified {
            sipfrag: Some((200, _)),
            state: NotifyState::Terminated
        }
    ));
    bot.handle.command(invited.dialog, bye()).await.unwrap();
    loop {
        let event = next(&mut placed.events).await;
        if let DialogEvent::Bye { .. } = event {
            break;
        }
        assert_eq!(event, DialogEvent::NotifyAnswered { status: 200 });
    }
    let mut ladder = Vec::new();
    while let Ok(line) = wire.try_recv() {
        ladder.push((line.direction, line.label()));
    }
    for expected in [
        (Direction::Sent, "INVITE"),
        (Direction::Received, "200 OK (INVITE)"),
        (Direction::Sent, "ACK"),
        (Direction::Received, "REFER"),
        (Direction::Sent, "NOTIFY 200 OK"),
        (Direction::Received, "BYE"),
    ] {
        let found = ladder.iter().any(|(d, l)| (*d, l.as_str()) == expected);
        assert!(found, "{expected:?} in {ladder:?}");
    }
}

#[tokio::test]
async fn a_call_that_goes_away_without_a_word_hangs_up() {
    let (alice, mut bot) = (node(3), node(4));
    let mut placed = alice.handle.invite(to(&bot, &alice)).await.unwrap();
    let arrived = arrival(&mut bot).await;
    let dialog = arrived.invited.dialog;
    bot.handle.command(dialog, answer()).await.unwrap();
    assert!(matches!(
        next(&mut placed.events).await,
        DialogEvent::Answered { .. }
    ));
    drop(arrived);
    assert!(matches!(
        next(&mut placed.events).await,
        DialogEvent::Bye { .. }
    ));
}

#[tokio::test]
async fn a_call_that_nobody_takes_in_is_refused_with_503() {
    let (alice, mut bot) = (node(5), node(6));
    bot.arrivals.close();
    let mut placed = alice.handle.invite(to(&bot, &alice)).await.unwrap();
    let DialogEvent::Refused {
        status, headers, ..
    } = next(&mut placed.events).await
    else {
        panic!("not refused");
    };
    assert_eq!(status, 503);
    assert!(headers.iter().any(|(name, _)| name == "Retry-After"));
}

#[tokio::test]
async fn a_node_that_drains_takes_no_new_calls() {
    let (alice, bot) = (node(7), node(8));
    bot.handle.set_readiness(Readiness::Draining).await.unwrap();
    let mut placed = alice.handle.invite(to(&bot, &alice)).await.unwrap();
    assert!(matches!(
        next(&mut placed.events).await,
        DialogEvent::Refused { status: 503, .. }
    ));
    assert_eq!(bot.handle.counters().await.unwrap().overloaded, 1);
}

#[tokio::test]
async fn commands_that_make_no_sense_are_refused_and_noise_is_survived() {
    let (alice, mut bot) = (node(9), node(10));
    let nonsense = bot.handle.command(DialogId(99), bye()).await;
    assert!(matches!(nonsense, Err(SipError::Command(_))));

    let noise = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let bot_address = bot.handle.addresses()[0].address;
    for datagram in [
        &b""[..],
        b"\r\n\r\n",
        &[0xff; 1400],
        b"INVITE sip:x SIP/2.0\r\n\r\n",
    ] {
        noise.send_to(datagram, bot_address).unwrap();
    }
    alice.handle.invite(to(&bot, &alice)).await.unwrap();
    assert_eq!(arrival(&mut bot).await.invited.called, "bot");
}

#[tokio::test]
async fn a_peer_that_cannot_be_reached_refuses_the_call() {
    let alice = node(11);
    let mut invite = to(&alice, &alice);
    // An address family that no socket of ours can send to.
    invite.ways = Flow {
        remote: "[2001:db8::1]:5060".parse().unwrap(),
        ..invite.ways.flow()
    }
    .into();
    let mut placed = alice.handle.invite(invite).await.unwrap();
    assert!(matches!(
        next(&mut placed.events).await,
        DialogEvent::Refused { status: 503, .. }
    ));
}

#[tokio::test]
async fn signalling_stops_with_its_last_handle() {
    let Signalling { handle, task, .. } = node(12);
    let last = handle.clone();
    drop(handle);
    assert!(last.counters().await.is_ok());
    drop(last);
    timeout(SOON, task).await.expect("in time").unwrap();
}
