//! Datagrams to a running endpoint, with a call up: whatever they are, what is said can be read, no state outlives its
//! timers, and the endpoint still answers.
//!
//! The input is cut at NUL NUL into datagrams; `@TAG@` stands for our tag of the call.
#![no_main]

use std::time::{Duration, Instant};

use baton_core::sip::endpoint::{Command, Config, DialogEvent, Endpoint, Event, Flow, Transport};
use baton_core::sip::message::Message;
use baton_core::vocab::Entropy;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

struct Node {
    endpoint: Endpoint,
    now: Instant,
    tag: String,
}

impl Node {
    fn hear(&mut self, octets: &[u8]) -> usize {
        let flow = Flow {
            transport: Transport::Udp,
            local: ([10, 0, 0, 2], 5060).into(),
            remote: ([10, 0, 0, 1], 5060).into(),
        };
        self.endpoint
            .handle_datagram(self.now, flow, &Bytes::copy_from_slice(octets));
        self.settle()
    }

    fn settle(&mut self) -> usize {
        while let Some(event) = self.endpoint.poll_event() {
            let body = Bytes::from_static(b"v=0");
            let command = match event {
                Event::Invited(invited) => (
                    invited.dialog,
                    Command::Answer {
                        body,
                        headers: vec![],
                    },
                ),
                Event::Dialog {
                    dialog,
                    event: DialogEvent::Reinvited { .. },
                } => (
                    dialog,
                    Command::AnswerReinvite {
                        status: 200,
                        body,
                        headers: vec![],
                    },
                ),
                Event::Dialog {
                    dialog,
                    event: DialogEvent::Referred { .. },
                } => (dialog, Command::AnswerRefer { status: 202 }),
                _ => continue,
            };
            let _ = self.endpoint.command(self.now, command.0, command.1);
        }
        let mut said = 0;
        while let Some(transmit) = self.endpoint.poll_transmit() {
            let message = Message::parse(&transmit.payload).expect("what we say can be read");
            assert_eq!(message.to_bytes(), transmit.payload);
            if let Message::Response(response) = &message
                && let Some(tag) = response.headers().to().ok().and_then(|to| to.tag())
            {
                tag.clone_into(&mut self.tag);
            }
            said += 1;
        }
        said
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        let mut turns = 0;
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.endpoint.handle_timeout(self.now);
            self.settle();
            turns += 1;
            assert!(turns < 100_000, "time goes on");
        }
        self.now = until;
    }
}

fn say(method: &str, number: u32, to: &str) -> String {
    format!(
        "{method} sip:b@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK{number}{method}\r\n\
         From: <sip:a@10.0.0.1>;tag=f\r\nTo: <sip:b@10.0.0.2>{to}\r\nCall-ID: c\r\nCSeq: {number} {method}\r\n\
         Contact: <sip:a@10.0.0.1>\r\n\r\n"
    )
}

fuzz_target!(|data: &[u8]| {
    let mut node = Node {
        endpoint: Endpoint::new(Config::default(), Entropy::from_number(1)),
        now: Instant::now(),
        tag: String::new(),
    };
    node.hear(say("INVITE", 1, "").as_bytes());
    let tag = node.tag.clone();
    node.hear(say("ACK", 1, &format!(";tag={tag}")).as_bytes());
    let mut rest = Some(data);
    while let Some(octets) = rest {
        let end = octets.windows(2).position(|pair| pair == b"\0\0");
        let datagram = &octets[..end.unwrap_or(octets.len())];
        rest = end.map(|end| &octets[end + 2..]);
        match std::str::from_utf8(datagram) {
            Ok(text) => node.hear(text.replace("@TAG@", &tag).as_bytes()),
            Err(_) => node.hear(datagram),
        };
    }
    node.run(Duration::from_secs(300));
    assert_eq!(node.endpoint.transactions(), 0, "transactions end");
    assert!(
        node.endpoint.dialogs() <= 1,
        "only a call that was acknowledged lives"
    );
    assert_eq!(
        node.hear(
            say("OPTIONS", 9, "")
                .replace("Call-ID: c", "Call-ID: d")
                .as_bytes()
        ),
        1
    );
});
