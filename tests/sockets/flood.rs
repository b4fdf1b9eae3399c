//! More calls than the node takes: what is refused costs next to nothing, and who has a call does not notice.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use baton::softphone::{CallPlan, OnRefer, Outcome};
use serde_json::json;

use crate::support::baton::{PATIENCE, text};
use crate::support::phone::{answered, calls, ended, hung_up, plan};
use crate::support::raw::{header, loopback};
use crate::support::{AgentServer, Baton, RawCaller, Setup, http};

const ECHO: &str = "[[agent]]\nname = \"echo\"\nkind = \"echo\"\n";
/// What a refused INVITE may cost until timer H, 32 s later.
const MOST: u64 = 8 * 1024;

/// Strangers with an address each, who call and never acknowledge.
struct Strangers {
    sockets: Vec<UdpSocket>,
    bridge: SocketAddr,
    sdp: &'static str,
    next: usize,
}

const GOOD: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
/// Only a codec that we do not have.
const UNFIT: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 18\r\n";

impl Strangers {
    fn new(baton: &Baton, sdp: &'static str) -> Self {
        let socket = |last: u8| {
            let socket =
                UdpSocket::bind((Ipv4Addr::new(127, 0, 9, last), 0)).expect("all of 127/8 is here");
            let patience = Some(Duration::from_millis(200));
            socket.set_read_timeout(patience).expect("a timeout");
            socket
        };
        Self {
            sockets: (1..=50).map(socket).collect(),
            bridge: (Ipv4Addr::LOCALHOST, baton.ports().sip()).into(),
            sdp,
            next: 0,
        }
    }

    fn invite(&self, n: usize, from: SocketAddr) -> Vec<u8> {
        let (bridge, sdp) = (self.bridge, self.sdp);
        format!(
            "INVITE sip:bot@{bridge} SIP/2.0\r\nVia: SIP/2.0/UDP {from};rport;branch=z9hG4bKflood{n}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:flood@{from}>;tag=f{n}\r\nTo: <sip:bot@{bridge}>\r\n\
             Call-ID: flood-{n}@{from}\r\nCSeq: 1 INVITE\r\nContact: <sip:flood@{from}>\r\n\
             X-Tenant: somebody\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        )
        .into_bytes()
    }

    /// So many calls, each until it has its final answer, and no ACK. Returns how often which status came.
    fn call(&mut self, count: usize) -> std::collections::BTreeMap<u16, usize> {
        let mut statuses = std::collections::BTreeMap::new();
        for n in self.next..self.next + count {
            let socket = &self.sockets[n % self.sockets.len()];
            let from = socket.local_addr().expect("bound");
            let invite = self.invite(n, from);
            let status = final_status(socket, self.bridge, &invite, &format!("flood-{n}@"));
            *statuses.entry(status).or_default() += 1;
        }
        self.next += count;
        statuses
    }
}

fn final_status(socket: &UdpSocket, bridge: SocketAddr, invite: &[u8], call_id: &str) -> u16 {
    let end = Instant::now() + PATIENCE;
    let mut buffer = [0; 4096];
    socket.send_to(invite, bridge).expect("loopback takes it");
    while Instant::now() < end {
        let Ok((len, _)) = socket.recv_from(&mut buffer) else {
            socket.send_to(invite, bridge).expect("loopback takes it");
            continue;
        };
        let answer = String::from_utf8_lossy(&buffer[..len]);
        let status = answer.get(8..11).and_then(|status| status.parse().ok());
        // Others' answers are repeated until timer H, because nobody acknowledges them.
        if let Some(status @ 200..) = status
            && answer.contains(call_id)
        {
            return status;
        }
    }
    panic!("no final answer to {call_id}");
}

/// Resident octets that each of so many refused calls leaves behind.
fn cost(baton: &Baton, strangers: &mut Strangers, count: usize, status: u16) -> u64 {
    // Tables and pools have their first size by then.
    strangers.call(1_000);
    let before = baton.resident_kib();
    assert_eq!(strangers.call(count), [(status, count)].into());
    let grown = baton.resident_kib().saturating_sub(before);
    let each = grown * 1024 / u64::try_from(count).expect("it fits");
    println!("{count} calls refused with {status}: {grown} KiB, {each} octets each");
    each
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_beyond_the_limit_costs_nothing_although_it_never_acknowledges() {
    let baton = Baton::with(ECHO, "max_calls = 1");
    let mut call = calls(plan(&baton)).await;
    answered(&mut call).await;
    let mut strangers = Strangers::new(&baton, GOOD);
    let each = cost(&baton, &mut strangers, 8_000, 503);
    assert!(
        each <= 512,
        "{each} octets of memory for what is not remembered"
    );
    hung_up(call).await;
}

#[test]
fn a_call_that_no_route_takes_costs_at_most_8_kib_until_timer_h() {
    let more = "[[route]]\nname = \"r\"\nto = \"nobody-calls-this\"\nagent = \"echo\"\n";
    let setup = Setup::new().agents(ECHO).more(more);
    let baton = setup.sip("max_calls_per_second = 100000").start();
    let mut strangers = Strangers::new(&baton, GOOD);
    let each = cost(&baton, &mut strangers, 8_000, 404);
    assert!(each <= MOST, "{each} octets");
}

#[test]
fn a_call_that_is_refused_for_its_offer_costs_at_most_8_kib_until_timer_h() {
    let baton = Baton::with(ECHO, "max_calls_per_second = 100000");
    let mut strangers = Strangers::new(&baton, UNFIT);
    let each = cost(&baton, &mut strangers, 6_000, 488);
    assert!(each <= MOST, "{each} octets");
    assert!(baton.calls().len() <= 200, "what is shown is bounded");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_call_ends_it_in_the_middle_of_a_flood() {
    let mut baton = Baton::with(ECHO, "max_calls = 2");
    let mut raw = RawCaller::new(&baton, "inside");
    raw.calls();
    let mut call = calls(plan(&baton)).await;
    answered(&mut call).await;
    let over = Arc::new(AtomicBool::new(false));
    let flood = {
        let (over, strangers) = (Arc::clone(&over), Strangers::new(&baton, GOOD));
        std::thread::spawn(move || {
            let mut sent = 0_usize;
            while !over.load(Ordering::Relaxed) {
                let socket = &strangers.sockets[sent % 50];
                let from = socket.local_addr().expect("bound");
                let invite = strangers.invite(sent, from);
                // A full buffer is what a flood is for.
                let _ = socket.send_to(&invite, strangers.bridge);
                sent += 1;
            }
            sent
        })
    };
    baton.wait_until("the flood is noticed", |baton| {
        let metrics = http::get(baton.ports().http(), "/metrics").map(|answer| answer.body);
        let over = |line: &str| {
            line.strip_prefix("baton_admission_over_calls_total ")?
                .parse()
                .ok()
        };
        let count: Option<u64> = metrics.ok().and_then(|text| text.lines().find_map(over));
        count.is_some_and(|count| count > 1_000)
    });
    let began = Instant::now();
    raw.hangs_up();
    let report = hung_up(call).await;
    let took = began.elapsed();
    over.store(true, Ordering::Relaxed);
    let sent = flood.join().expect("it ends");
    println!("two calls ended in {took:?} under {sent} INVITEs");
    assert!(
        matches!(report.outcome, Outcome::Completed { by_us: true, .. }),
        "{:?}",
        report.outcome
    );
    assert!(took < Duration::from_secs(10), "{took:?}");
    baton.wait_until("both calls have ended", |baton| {
        let calls = baton.calls();
        let bot = |call: &&serde_json::Value| call["from"] != "flood";
        calls.iter().filter(bot).all(|call| !call["end"].is_null())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_says_so_hands_its_callers_over_and_takes_calls_again() {
    let server = AgentServer::bind().await;
    let baton = Baton::with(&server.section("websocket", ""), "max_calls = 1");
    let ping = |token: &str| RawCaller::new(&baton, token).pings();
    assert!(ping("empty").starts_with("SIP/2.0 200"));
    let mut call = calls(CallPlan {
        on_refer: OnRefer::Accept,
        ..plan(&baton)
    })
    .await;
    let mut agent = server.answers().await;
    agent.hears("start").await;
    answered(&mut call).await;
    assert!(ping("full").starts_with("SIP/2.0 503"));
    let ready = http::get(baton.ports().http(), "/readyz").expect("HTTP");
    assert_eq!(
        ready.status, 200,
        "a full node is well and stays where it is"
    );
    let raw = RawCaller::new(&baton, "one-too-many");
    let refused = raw.asks(&raw.request("INVITE", 1, &raw.offer("0")));
    assert!(refused.starts_with("SIP/2.0 503"), "{refused}");
    let seconds = header(&refused, "Retry-After").and_then(|seconds| seconds.parse::<u64>().ok());
    assert!(seconds.is_some_and(|s| (5..=30).contains(&s)), "{refused}");
    agent.says(&json!({"type": "handoff"})).await;
    let report = ended(call).await;
    assert!(report.refer.is_some_and(|refer| refer.bye_received));
    let mut baton = baton;
    baton.wait_until("it takes calls", |baton| {
        RawCaller::new(baton, "again")
            .pings()
            .starts_with("SIP/2.0 200")
    });
}

#[test]
fn who_never_acknowledges_is_not_answered_again() {
    let mut baton = Baton::with(ECHO, "max_unacknowledged_per_source = 2");
    let invite = |token: &str| {
        let raw = RawCaller::new(&baton, token);
        let answer = raw.asks(&raw.request("INVITE", 1, &raw.offer("0")));
        answer.lines().next().unwrap_or_default().to_owned()
    };
    let answers: Vec<_> = ["n1", "n2", "n3"].map(invite).into();
    assert!(answers[0].starts_with("SIP/2.0 200"), "{answers:?}");
    assert!(answers[1].starts_with("SIP/2.0 200"), "{answers:?}");
    assert!(answers[2].starts_with("SIP/2.0 503"), "{answers:?}");
    baton.wait_until("two calls are up", |baton| baton.calls().len() == 2);
    for call in baton.calls() {
        assert_ne!(text(&call["state"]), "ended");
    }
    drop(loopback());
}
