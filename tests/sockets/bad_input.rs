//! Whatever comes to our ports: no crash, no growth, and the calls that run go on.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use baton::softphone::{CallPlan, Outcome};
use baton_core::media::g711::{self, Codec};
use baton_core::vocab::Entropy;
use serde_json::Value;

use crate::support::baton::text;
use crate::support::phone::{answered, calls, ended, plan, saying};
use crate::support::raw::{header, is_untouched, loopback, pcmu};
use crate::support::sound::{likeness, sweep};
use crate::support::{AgentServer, Baton, RawCaller, Setup, http};

const ECHO: &str = "[[agent]]\nname = \"echo\"\nkind = \"echo\"\n";
/// Datagrams between two questions whether the node still answers.
const VOLLEY: usize = 200;
/// What a flood may cost while it lasts, KiB: transactions live for 32 s (RFC 3261 timer J), and are bounded.
const GROWTH_KIB: u64 = 32 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_on_the_sip_port_ends_no_call_and_nothing_grows_without_bound() {
    let mut baton = Baton::with(ECHO, "max_calls = 8");
    let said = sweep(8000, 3000);
    let mut call = calls(CallPlan {
        duration: Some(Duration::from_secs(4)),
        ..saying(&baton, said.clone())
    })
    .await;
    answered(&mut call).await;
    let key = text(&baton.calls()[0]["session_history_key"]).to_owned();
    let before = baton.resident_kib();
    let flood = Flood::new(&baton);
    let running = tokio::spawn(ended(call));
    let flooding = tokio::task::spawn_blocking(move || {
        let sent = flood.until(|| running.is_finished());
        (running, sent)
    });
    let (running, sent) = flooding.await.expect("the flood");
    let report = running.await.expect("the call");
    assert!(sent > 5_000, "a flood: {sent}");
    let after = baton.resident_kib();
    println!("{sent} datagrams, {before} KiB before, {after} KiB after");
    assert!(
        after < before + GROWTH_KIB,
        "{before} KiB grew to {after} KiB by {sent} datagrams"
    );
    assert!(
        matches!(report.outcome, Outcome::Completed { by_us: true, .. }),
        "{:?}",
        report.outcome
    );
    let talk_ms = report.talk_ms.expect("answered");
    let received = f64::from(u32::try_from(report.rtp.received).expect("few"));
    assert!(
        received * 20.0 > talk_ms * 0.95,
        "a packet every 20 ms: {received} in {talk_ms} ms"
    );
    assert!(report.rtp.worst_gap.own_ms() < 250.0, "{:?}", report.rtp);
    assert!(
        likeness(&report.recording, &said) > 0.9,
        "{}",
        likeness(&report.recording, &said)
    );
    let is_fine = RawCaller::new(&baton, "after").pings();
    // It answers at once; 503 while the flood's own calls still fill its eight lines.
    let answers = ["SIP/2.0 200", "SIP/2.0 503"];
    assert!(
        answers.iter().any(|answer| is_fine.starts_with(answer)),
        "{is_fine}"
    );
    // A flood of refused calls may push it off the list of recent ones; its history stays.
    baton.wait_until("the good call has ended", |baton| {
        baton.session(&key)["end"]["kind"] == "caller_hung_up"
    });
}

/// Datagrams near and far from SIP, from a seed.
struct Flood {
    entropy: Entropy,
    caller: RawCaller,
    /// Asks behind each volley, so that the flood is as fast as the bridge reads and none of it is lost on the way.
    asker: RawCaller,
    seeds: Vec<Vec<u8>>,
}

impl Flood {
    fn new(baton: &Baton) -> Self {
        let caller = RawCaller::new(baton, "flood");
        let asker = RawCaller::new(baton, "asker");
        let torture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rfc4475");
        let files = std::fs::read_dir(torture).expect("the torture messages");
        let mut paths: Vec<_> = files.map(|file| file.expect("readable").path()).collect();
        paths.sort();
        let messages = paths
            .iter()
            .filter(|path| path.extension().is_some_and(|e| e == "dat"));
        let mut seeds: Vec<_> = messages
            .map(|path| std::fs::read(path).expect("readable"))
            .collect();
        for method in [
            "INVITE", "OPTIONS", "BYE", "CANCEL", "ACK", "NOTIFY", "REFER", "INFO", "UPDATE",
        ] {
            seeds.push(caller.request(method, 1, &caller.offer("0 8 101")));
        }
        Self {
            entropy: Entropy::from_number(4475),
            caller,
            asker,
            seeds,
        }
    }

    /// Goes on until told; returns how many datagrams that were.
    fn until(mut self, is_over: impl Fn() -> bool) -> usize {
        let mut sent = 0;
        let mut pings = 0;
        while !is_over() {
            for _ in 0..VOLLEY {
                let datagram = self.datagram();
                self.caller.sends(&datagram);
            }
            sent += VOLLEY;
            pings += 1;
            let answer = self.asker.asks(&self.asker.request("OPTIONS", pings, ""));
            // 503 while the flood's own calls fill the node.
            let is_told = ["SIP/2.0 200", "SIP/2.0 503"].map(|line| answer.starts_with(line));
            assert!(is_told.contains(&true), "{answer}");
        }
        sent
    }

    fn datagram(&mut self) -> Vec<u8> {
        let seeds = self.seeds.len() as u64;
        let mut octets = match self.entropy.below(8) {
            0 => return noise(&mut self.entropy, 1400),
            _ => self.seeds[pick(&mut self.entropy, seeds)].clone(),
        };
        if self.entropy.below(2) == 0 {
            octets = as_another(&mut self.entropy, &octets);
        }
        for _ in 0..self.entropy.below(6) {
            mutate(&mut self.entropy, &mut octets);
        }
        octets
    }
}

/// The same request as another transaction in another dialog: what no retransmission is, has to be remembered.
fn as_another(entropy: &mut Entropy, octets: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(octets);
    text.replace("flood", &entropy.hex(4)).into_bytes()
}

#[test]
fn garbage_on_the_rtp_port_of_a_call_is_refused_and_the_call_goes_on() {
    let mut baton = Baton::with(ECHO, "");
    let mut caller = RawCaller::new(&baton, "rtp-garbage");
    let there = caller.calls();
    let mut entropy = Entropy::from_number(3550);
    let stranger = loopback();
    let before = baton.resident_kib();
    let mut echoed = Vec::new();
    for n in 0..150 {
        let packet = caller.hears_rtp();
        echoed.extend_from_slice(&packet[12..]);
        caller.rtp.send_to(&pcmu(77, n, 0x20), there).expect("sent");
        for _ in 0..20 {
            let mut garbage = if entropy.below(2) == 0 {
                noise(&mut entropy, 1600)
            } else {
                pcmu(77, n, 0x20)
            };
            for _ in 0..=entropy.below(3) {
                mutate(&mut entropy, &mut garbage);
            }
            // Our own address may say what it likes, too; but a mutated twin of a good packet would be heard.
            let from = if is_rtp(&garbage) {
                &stranger
            } else {
                &caller.rtp
            };
            from.send_to(&garbage, there).expect("sent");
        }
    }
    let after = baton.resident_kib();
    assert!(
        after < before + 16 * 1024,
        "{before} KiB grew to {after} KiB"
    );
    caller.hangs_up();
    let (call, _) = baton.ended_call();
    let quality = &call["quality"];
    assert!(number(&quality["packets_received"]) >= 145, "{call}");
    assert!(number(&quality["packets_refused"]) >= 2000, "{call}");
    let right = echoed.chunks(16).filter(|run| run == &[0x20; 16]).count() * 16;
    assert!(
        right > echoed.len() / 2,
        "the caller's own voice came back: {right} of {}",
        echoed.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rtp_from_a_second_address_reaches_neither_caller_nor_agent() {
    let server = AgentServer::bind().await;
    let mut baton = Setup::new()
        .agents(&server.section("websocket", "sample_rate = 8000"))
        .start();
    let mut caller = RawCaller::new(&baton, "second-address");
    let calling = tokio::task::spawn_blocking(move || {
        let there = caller.calls();
        (caller, there)
    });
    let mut agent = server.answers().await;
    agent.hears("start").await;
    let (caller, there) = calling.await.expect("the call");
    let attack = tokio::task::spawn_blocking(move || {
        let attackers = [
            loopback(),
            UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).expect("all of 127/8 is loopback"),
        ];
        let silence = g711::encode(Codec::Pcmu, 0);
        for n in 0..100 {
            caller.hears_rtp();
            caller
                .rtp
                .send_to(&pcmu(1, n, silence), there)
                .expect("sent");
            for (attacker, ssrc) in attackers.iter().zip([2, 1]) {
                // One invents a stream, one has read ours and copies its numbers.
                attacker
                    .send_to(&pcmu(ssrc, n.wrapping_add(1), 0x80), there)
                    .expect("sent");
            }
        }
        assert!(
            attackers.iter().all(is_untouched),
            "nothing is sent to a stranger"
        );
        caller.hangs_up();
    });
    agent.hears("stop").await;
    attack.await.expect("the attack is over");
    let loudest = agent.pcm().iter().map(|sample| sample.unsigned_abs()).max();
    assert!(agent.pcm().len() > 12_000, "the agent heard the caller");
    assert!(loudest < Some(500), "and nobody else: {loudest:?}");
    let (call, _) = baton.ended_call();
    // The BYE overtakes the last of them.
    assert!(number(&call["quality"]["packets_refused"]) >= 190, "{call}");
}

#[test]
fn garbage_on_the_http_port_is_refused_and_the_next_request_is_answered() {
    let baton = Baton::start();
    let before = baton.resident_kib();
    let mut entropy = Entropy::from_number(9110);
    let long = "x".repeat(1 << 20);
    let requests: Vec<Vec<u8>> = [
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
        format!("POST /v1/calls/x/handoff HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n{{{long}", 1u64 << 40),
        "POST /twilio/refer-handler HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(),
        "GET /v1/sessions/..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".to_owned(),
        "GET /sessions/%00%ff HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".to_owned(),
    ]
    .into_iter()
    .map(String::into_bytes)
    .chain((0..200).map(|_| noise(&mut entropy, 4000)))
    .collect();
    for request in &requests {
        let status = first_line(baton.ports().http(), request);
        let fine = status.is_empty() || status.starts_with("HTTP/1.") && status.contains(" 4");
        assert!(
            fine,
            "{status:?} to {:?}",
            String::from_utf8_lossy(&request[..request.len().min(60)])
        );
    }
    let answer = http::get(baton.ports().http(), "/healthz").expect("it is alive");
    assert_eq!(answer.status, 200);
    let after = baton.resident_kib();
    assert!(
        after < before + 16 * 1024,
        "{before} KiB grew to {after} KiB"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_from_an_unknown_source_gets_403_and_leaves_no_trace() {
    let trunk = "[[trunk]]\nname = \"carrier\"\nfrom = [\"192.0.2.0/24\"]\n";
    let baton = Setup::new().more(trunk).start();
    let report = ended(calls(plan(&baton)).await).await;
    assert!(
        matches!(report.outcome, Outcome::Refused { status: 403, .. }),
        "{:?}",
        report.outcome
    );
    assert_eq!(baton.calls(), Vec::<Value>::new());
}

#[test]
fn a_codec_mismatch_is_488_with_a_warning_and_takes_no_port() {
    let setup = Setup::new();
    let first = *setup.ports.rtp().start();
    let mut baton = setup.rtp_ports(first, first + 1).agents(ECHO).start();
    for n in 1..=3 {
        let caller = RawCaller::new(&baton, &format!("g729-{n}"));
        let answer = caller.asks(&caller.request("INVITE", 1, &caller.offer("18")));
        assert!(answer.starts_with("SIP/2.0 488"), "{answer}");
        let warning = header(&answer, "Warning").expect("a Warning");
        assert!(
            warning.starts_with("305 ") || warning.starts_with("304 "),
            "{warning}"
        );
        caller.sends(&caller.request("ACK", 1, ""));
        baton.ended_calls(n);
    }
    // The one port there is has not been used up.
    let mut good = RawCaller::new(&baton, "good");
    good.calls();
    good.hears_rtp();
    good.hangs_up();
}

fn noise(entropy: &mut Entropy, most: u64) -> Vec<u8> {
    (0..entropy.below(most)).map(|_| octet(entropy)).collect()
}

fn octet(entropy: &mut Entropy) -> u8 {
    entropy.next_u32().to_le_bytes()[0]
}

fn pick(entropy: &mut Entropy, below: u64) -> usize {
    usize::try_from(entropy.below(below)).expect("small")
}

/// One fault: an octet changed, doubled, lost, or the rest cut off.
fn mutate(entropy: &mut Entropy, octets: &mut Vec<u8>) {
    if octets.is_empty() {
        return;
    }
    let at = pick(entropy, octets.len() as u64);
    match entropy.below(4) {
        0 => octets[at] = octet(entropy),
        1 => octets.insert(at, octets[at]),
        2 => drop(octets.remove(at)),
        _ => octets.truncate(at),
    }
}

/// What a bridge could take for a packet of a PCMU stream.
fn is_rtp(octets: &[u8]) -> bool {
    octets.len() > 12 && octets[0] >> 6 == 2 && matches!(octets[1], 0 | 0x80)
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("a number, not {value}"))
}

/// What is answered to this; empty when the connection is only closed.
fn first_line(port: u16, request: &[u8]) -> String {
    let there = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut socket = TcpStream::connect(there).expect("it listens");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    // It may have answered and closed before all of it was sent.
    let _ = socket.write_all(request);
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let mut answer = [0; 512];
    let len = socket.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..len])
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}
