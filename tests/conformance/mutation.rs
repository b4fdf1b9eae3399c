//! Seeded damage to valid messages: nothing panics, and whatever is taken for fit means the same when written again.

use crate::torture::valid_messages;
use crate::torture_endpoint::{Node, say};
use baton_core::sip::endpoint::Transport;
use baton_core::sip::message::{Fault, Framer, Message, Name, Request, Response, Uri, Via};
use bytes::Bytes;
use std::time::Duration;

/// Mutations in all: a few seconds of either build, because the costly comparisons take turns.
const MUTATIONS: usize = if cfg!(debug_assertions) {
    40_000
} else {
    1_000_000
};

/// The `SplitMix64` generator: small, seeded, the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(1);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }
}

/// What breaks parsers: structure in the wrong place, line ends, octets that are no text, huge numbers.
const PIECES: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n ",
    b"\r\n\r\n",
    b"\0",
    b"\"",
    b"\\",
    b"<",
    b">",
    b";",
    b",",
    b":",
    b"@",
    b"?",
    b"%",
    b"[",
    b"]",
    b"\xff",
    b"\xc3",
    b"99999999999999999999",
    b"SIP/2.0",
    b";tag=x",
    b"l: 7\r\n",
];

fn mutate(octets: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..=dice.below(4) {
        let at = dice.below(octets.len());
        match dice.below(6) {
            0 => octets.truncate(at),
            1 => {
                let end = (at + dice.below(16)).min(octets.len());
                octets.drain(at..end);
            }
            2 => {
                if let Some(octet) = octets.get_mut(at) {
                    *octet = dice.next().to_le_bytes()[0];
                }
            }
            3 => {
                let end = (at + dice.below(200)).min(octets.len());
                let copy = octets[at..end].to_vec();
                let to = dice.below(octets.len());
                octets.splice(to..to, copy);
            }
            _ => {
                let piece = PIECES[dice.below(PIECES.len())];
                octets.splice(at..at, piece.iter().copied());
            }
        }
    }
}

#[test]
fn no_damage_panics_and_what_is_fit_stays_the_same() {
    let corpus = valid_messages();
    let mut dice = Dice(0xba70_0000_0000_0001);
    let (mut fit, mut faulty, mut unreadable) = (0, 0, 0);
    for round in 0..MUTATIONS {
        let turn = round / corpus.len() % 4;
        let mut octets = corpus[round % corpus.len()].to_vec();
        mutate(&mut octets, &mut dice);
        match Message::parse(&Bytes::from(octets)) {
            Ok(message) => {
                read_everything(&message);
                if message.validate().is_ok() {
                    fit += 1;
                    match turn {
                        0 => same_when_read_again(&message),
                        1 => same_when_built_again(&message),
                        _ => {}
                    }
                } else {
                    faulty += 1;
                }
                if let (2, Message::Request(request)) = (turn, &message) {
                    can_be_answered(request);
                }
            }
            Err(_) => unreadable += 1,
        }
    }
    // Damage that never hits, or hits always, would test nothing.
    let few = MUTATIONS / 50;
    assert!(
        fit > few && faulty > few && unreadable > few,
        "{fit} fit, {faulty} faulty, {unreadable} unreadable"
    );
}

#[test]
fn no_damage_panics_the_framer_or_makes_it_disagree_with_the_parser() {
    let corpus = valid_messages();
    let mut dice = Dice(0xba70_0000_0000_0002);
    let mut count = 0;
    for round in 0..10_000 {
        let mut octets = corpus[round % corpus.len()].to_vec();
        mutate(&mut octets, &mut dice);
        octets.extend_from_slice(&corpus[dice.below(corpus.len())]);
        let mut framer = Framer::new();
        for piece in octets.chunks(1 + dice.below(700)) {
            framer.push(piece);
            while let Some(message) = framer.poll_message() {
                let Ok(message) = message else { break };
                count += 1;
                let read = Message::parse(&message).expect("a framed message can be read");
                assert_eq!(read.to_bytes().len(), message.len(), "round {round}");
            }
        }
    }
    assert!(count > 1_000, "{count} messages framed");
}

/// The same number through a whole endpoint: in a dialog, outside of it, out of order, out of time.
const DELIVERIES: usize = if cfg!(debug_assertions) {
    10_000
} else {
    1_000_000
};

#[test]
fn no_damage_panics_the_endpoint_or_keeps_it_from_serving() {
    let corpus = valid_messages();
    let mut dice = Dice(0xba70_0000_0000_0003);
    let mut node = Node::new(Transport::Udp);
    let mut dialog = node.call();
    let (mut answered, mut number) = (0_usize, 1);
    for round in 0..DELIVERIES {
        let mut octets = match dice.below(3) {
            0 => corpus[dice.below(corpus.len())].to_vec(),
            1 => {
                let methods = [
                    "INFO", "INVITE", "OPTIONS", "UPDATE", "NOTIFY", "REFER", "ACK",
                ];
                let method = methods[dice.below(methods.len())];
                number += 1;
                say(method, number, &dialog.0, &dialog.1, "v=0").to_vec()
            }
            _ => {
                let methods = ["INVITE", "BYE", "CANCEL", "ACK", "OPTIONS"];
                let method = methods[dice.below(methods.len())];
                say(method, 1, &format!("m{}", dice.below(50)), "", "v=0").to_vec()
            }
        };
        mutate(&mut octets, &mut dice);
        answered += node.deliver(&Bytes::from(octets)).len();
        if round % 16 == 15 {
            node.run(Duration::from_millis(500));
        }
        if round % 1_000 == 999 {
            // Damage may have said BYE in the dialog; a new one is to be had whatever came.
            node.run(Duration::from_secs(40));
            let good = node.call();
            node.hang_up(&good);
            dialog = node.call();
            number = 1;
        }
    }
    node.run(Duration::from_secs(300));
    assert!(answered > DELIVERIES / 20, "{answered} answers");
    assert_eq!(
        node.endpoint.transactions(),
        0,
        "all that was begun has ended"
    );
}

/// Every accessor on every field.
fn read_everything(message: &Message) {
    let headers = message.headers();
    for (name, value) in headers.iter() {
        assert!(!value.contains(['\r', '\n']), "{name}: {value:?}");
    }
    if let Some((name, _)) = headers.iter().last() {
        assert!(headers.named(name).is_some(), "{name}");
    }
    for via in headers.values(Name::Via).filter_map(Via::parse) {
        let _ = (via.branch(), via.received_ip(), via.rport(), via.host_ip());
    }
    for name in [
        Name::From,
        Name::To,
        Name::Contact,
        Name::Route,
        Name::ReferTo,
    ] {
        if let Ok(address) = headers.name_addr(name) {
            if let Ok(uri) = Uri::parse(address.uri) {
                assert_eq!(
                    Uri::parse(&uri.to_string()),
                    Ok(uri),
                    "{name}: {}",
                    address.uri
                );
            }
            let _ = (address.display_name(), address.tag());
        }
    }
    let _ = (headers.cseq(), headers.call_id(), headers.content_type());
    let _ = (headers.max_forwards(), headers.content_length());
}

/// All of a message that anyone acts on.
fn meaning(message: &Message) -> (String, Vec<(String, String)>, Bytes) {
    let start = match message {
        Message::Request(request) => format!("{} {}", request.method(), request.uri()),
        Message::Response(response) => format!("{} {}", response.status(), response.reason()),
    };
    let fields = message
        .headers()
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    (start, fields.collect(), message.body().clone())
}

fn same_when_read_again(message: &Message) {
    let again = Message::parse(&message.to_bytes()).expect("what was read can be read again");
    assert_eq!(again.validate(), Ok(()));
    assert_eq!(meaning(&again), meaning(message));
    assert_eq!(again.to_bytes(), message.to_bytes());
}

/// Through the builder: every field by name and value, Content-Length counted anew.
fn same_when_built_again(message: &Message) {
    let Message::Request(request) = message else {
        return;
    };
    let (start, mut fields, body) = meaning(message);
    if fields.iter().any(|(_, value)| value.contains('\0')) {
        return; // the builder refuses NUL, which a quoted string may hold (RFC 4475 §3.1.1.2)
    }
    let builder = Request::builder(request.method().clone(), request.uri()).headers(&fields);
    let built = match builder.clone().build() {
        Ok(built) => built,
        Err(error) => panic!("{start}: {error}"),
    };
    let again = Message::parse(&built.to_bytes()).expect("what was built can be read");
    let is_length = |name: &str| Name::new(name) == Some(Name::ContentLength);
    fields.retain(|(name, _)| !is_length(name));
    let mut seen = meaning(&again).1;
    seen.retain(|(name, _)| !is_length(name));
    assert_eq!(seen, fields);
    assert_eq!(again.validate(), Ok(()));
    let with_body = builder
        .body("a/b", body.clone())
        .build()
        .map(|request| request.body().clone());
    assert_eq!(with_body.as_ref(), Ok(&body));
}

fn can_be_answered(request: &Request) {
    let status = request.validate().map_or_else(Fault::status, |()| 200);
    let response = Response::builder_for(request, status)
        .to_tag("ours")
        .build();
    let response = response.expect("what was read can be answered");
    let again = Message::parse(&response.to_bytes()).expect("our answer can be read");
    for name in [Name::Via, Name::From, Name::CallId, Name::CSeq] {
        let (ours, theirs) = (again.headers().all(name), request.headers().all(name));
        assert!(ours.eq(theirs), "{name}");
    }
}
