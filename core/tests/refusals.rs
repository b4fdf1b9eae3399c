//! What a refused INVITE costs until timer H fires, counted in octets of heap (RFC 3261 §17.2.1).
#![expect(
    clippy::disallowed_methods,
    reason = "an epoch for virtual time has to come from somewhere"
)]

use std::time::{Duration, Instant};

use allocation_counter::measure;
use baton_core::sip::endpoint::{Command, Config, Endpoint, Event, Flow, Transport};
use baton_core::vocab::Entropy;
use bytes::Bytes;

/// The bound.
const MOST: i64 = 8 * 1024;
/// Enough that tables which double their size are judged fairly.
const INVITES: usize = 5_000;

fn flow() -> Flow {
    Flow {
        transport: Transport::Udp,
        local: "10.0.0.2:5060".parse().expect("an address"),
        remote: "10.0.0.1:5060".parse().expect("an address"),
    }
}

/// As Twilio writes them: about a kilobyte, two Record-Routes, an offer.
fn invite(n: usize) -> Bytes {
    let body = "v=0\r\no=root 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
                m=audio 10000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n";
    let call_sid = format!("CA{n:032x}");
    format!(
        "INVITE sip:+15550100@203.0.113.9;transport=udp SIP/2.0\r\n\
         Record-Route: <sip:54.172.60.2;lr;ftag=a{n}>\r\nRecord-Route: <sip:10.7.0.1;lr;r2=on>\r\n\
         Via: SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bK{n:032x}\r\n\
         Via: SIP/2.0/UDP 172.18.0.2:5060;received=172.18.0.2;branch=z9hG4bKpj{n}\r\n\
         Max-Forwards: 69\r\nFrom: \"+15550199\" <sip:+15550199@example.pstn.twilio.com>;tag={n}_x\r\n\
         To: <sip:+15550100@203.0.113.9>\r\nCall-ID: {n:032x}@0.0.0.0\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:+15550199@172.18.0.2:5060;transport=udp>\r\nAllow: INVITE,ACK,CANCEL,OPTIONS,BYE,REFER,NOTIFY\r\n\
         X-Twilio-AccountSid: AC0123456789abcdef0123456789abcdef\r\nX-Twilio-CallSid: {call_sid}\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into()
}

/// Offers `INVITES` calls, refuses each as its call would, and returns what each leaves behind.
fn cost(endpoint: &mut Endpoint, now: Instant, status: u16) -> i64 {
    let used = measure(|| {
        for n in 0..INVITES {
            endpoint.handle_datagram(now, flow(), &invite(n));
            while let Some(event) = endpoint.poll_event() {
                if let Event::Invited(invited) = event {
                    let reject = Command::Reject {
                        status,
                        headers: Vec::new(),
                    };
                    endpoint
                        .command(now, invited.dialog, reject)
                        .expect("it is offered");
                }
            }
            while endpoint.poll_transmit().is_some() {}
        }
    });
    used.bytes_current / i64::try_from(INVITES).expect("it fits")
}

#[test]
fn an_invite_that_its_call_refuses_costs_little_until_timer_h_and_nothing_after() {
    let now = Instant::now();
    let mut endpoint = Endpoint::new(Config::default(), Entropy::from_number(1));
    let each = cost(&mut endpoint, now, 486);
    assert_eq!(endpoint.transactions(), INVITES, "each waits for its ACK");
    println!("a refused INVITE: {each} octets until timer H");
    assert!(each <= MOST, "{each} octets");
    assert!(each > 500, "{each} octets: nothing was measured");
    while let Some(at) = endpoint.poll_timeout() {
        assert!(at <= now + Duration::from_secs(33), "timer H is 32 s");
        endpoint.handle_timeout(at);
        while endpoint.poll_transmit().is_some() {}
    }
    assert_eq!(endpoint.transactions() + endpoint.dialogs(), 0);
}

#[test]
fn an_invite_that_is_refused_before_it_is_a_call_leaves_nothing_behind() {
    let now = Instant::now();
    let mut endpoint = Endpoint::new(Config::default(), Entropy::from_number(1));
    endpoint.set_readiness(baton_core::sip::endpoint::Readiness::Draining);
    let each = cost(&mut endpoint, now, 503);
    assert_eq!(endpoint.counters().overloaded, INVITES as u64);
    assert!(each <= 1, "{each} octets");
}
