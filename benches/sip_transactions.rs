//! What a call and a ping cost in the SIP core: octets in, octets and events out, no sockets.
//!
//! The aim: INVITE, ACK and BYE of one answered call well under 50 µs together, an OPTIONS ping under 5 µs, while
//! transactions of the calls before are still lingering.

use std::time::{Duration, Instant};

use baton_core::sip::endpoint::{Command, Config, Endpoint, Event, Flow, Limits, Transport};
use baton_core::vocab::Entropy;
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
    m=audio 12692 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n";

struct Line {
    endpoint: Endpoint,
    now: Instant,
    calls: u64,
}

fn flow() -> Flow {
    Flow {
        transport: Transport::Udp,
        local: ([10, 0, 0, 2], 5060).into(),
        remote: ([10, 0, 0, 1], 5060).into(),
    }
}

fn request(method: &str, call: u64, cseq: u32, to: &str, body: &str) -> Bytes {
    format!(
        "{method} sip:bot@10.0.0.2 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK{call}.{cseq}.{method};rport\r\n\
         Max-Forwards: 70\r\n\
         From: \"+15559870000\" <sip:+15559870000@10.0.0.1>;tag=far{call}\r\n\
         To: {to}\r\n\
         Call-ID: {call}@10.0.0.1\r\n\
         CSeq: {cseq} {method}\r\n\
         Contact: <sip:+15559870000@10.0.0.1:5060>\r\n\
         Allow: ACK,BYE,CANCEL,INVITE,OPTIONS,REFER,NOTIFY\r\n\
         User-Agent: Twilio Gateway\r\n\
         X-Twilio-CallSid: CA00000000000000000000000000000002\r\n\
         Content-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into()
}

impl Line {
    #[expect(clippy::disallowed_methods, reason = "a bench needs an epoch")]
    fn new() -> Self {
        let limits = Limits {
            transactions: 100_000,
            ..Limits::default()
        };
        let config = Config {
            limits,
            ..Config::default()
        };
        Self {
            endpoint: Endpoint::new(config, Entropy::from_number(1)),
            now: Instant::now(),
            calls: 0,
        }
    }

    /// 200 calls a second: 6400 of them linger.
    fn pass(&mut self) {
        self.now += Duration::from_millis(5);
        self.endpoint.handle_timeout(self.now);
    }

    fn receive(&mut self, datagram: &Bytes) {
        self.endpoint.handle_datagram(self.now, flow(), datagram);
    }

    fn sent(&mut self) -> Option<Bytes> {
        self.endpoint
            .poll_transmit()
            .map(|transmit| transmit.payload)
    }

    fn call(&mut self, with_peer: &mut Duration) {
        self.calls += 1;
        let call = self.calls;
        let (to, outside) = ("<sip:bot@10.0.0.2>", clock());
        let invite = request("INVITE", call, 1, to, SDP);
        *with_peer += outside.elapsed();
        self.receive(&invite);
        assert!(self.sent().is_some());
        let Some(Event::Invited(invited)) = self.endpoint.poll_event() else {
            panic!("not invited");
        };
        let answer = Command::Answer {
            body: Bytes::from_static(SDP.as_bytes()),
            headers: Vec::new(),
        };
        self.endpoint
            .command(self.now, invited.dialog, answer)
            .expect("answered");
        let ok = self.sent().expect("a 200");
        let outside = clock();
        let text = std::str::from_utf8(&ok).expect("text");
        let at = text.find("To: ").expect("To") + 4;
        let to = text[at..].split("\r\n").next().expect("a line");
        let (ack, bye) = (
            request("ACK", call, 1, to, ""),
            request("BYE", call, 2, to, ""),
        );
        *with_peer += outside.elapsed();
        self.receive(&ack);
        self.receive(&bye);
        assert!(self.sent().is_some());
        while self.endpoint.poll_event().is_some() {}
        self.pass();
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench measures")]
fn clock() -> Instant {
    Instant::now()
}

fn calls(c: &mut Criterion) {
    let mut line = Line::new();
    // The peer's own work, writing requests, is taken out.
    c.bench_function("answered call: INVITE, ACK, BYE", |bench| {
        bench.iter_custom(|rounds| {
            let mut peer = Duration::ZERO;
            let start = clock();
            for _ in 0..rounds {
                line.call(&mut peer);
            }
            start.elapsed().saturating_sub(peer)
        });
    });
}

fn pings(c: &mut Criterion) {
    let mut line = Line::new();
    let options = request("OPTIONS", 1, 1, "<sip:bot@10.0.0.2>", "");
    c.bench_function("OPTIONS ping", |bench| {
        bench.iter(|| {
            line.receive(&options);
            line.sent().expect("a 200")
        });
    });
}

fn strangers(c: &mut Criterion) {
    let mut line = Line::new();
    let invite = request("INVITE", 1, 1, "<sip:bot@10.0.0.2>", SDP);
    let mut from = flow();
    from.remote = ([203, 0, 113, 1], 5060).into();
    c.bench_function("INVITE of a stranger", |bench| {
        bench.iter(|| {
            line.endpoint.handle_datagram(line.now, from, &invite);
            line.sent().expect("a 403")
        });
    });
}

criterion_group!(benches, calls, pings, strangers);
criterion_main!(benches);
