//! Floods: whatever comes, however much of it, memory stays bounded and running calls are served.

use bytes::Bytes;

use super::raw::{Raw, in_dialog, invite, outside, statuses};
use crate::sip::endpoint::{Command, Config, Event, Limits};
use crate::vocab::Entropy;

const FLOOD: usize = 100_000;

fn small() -> Raw {
    let limits = Limits {
        transactions: 400,
        dialogs: 200,
        ..Limits::default()
    };
    Raw::with(Config {
        limits,
        ..Config::default()
    })
}

fn drain(raw: &mut Raw) -> usize {
    while raw.endpoint.poll_event().is_some() {}
    std::iter::from_fn(|| raw.endpoint.poll_transmit()).count()
}

fn receive(raw: &mut Raw, text: &str) -> usize {
    raw.endpoint
        .handle_datagram(raw.now, raw.flow, &Bytes::copy_from_slice(text.as_bytes()));
    drain(raw)
}

#[test]
fn garbage_costs_nothing() {
    let mut raw = small();
    let mut entropy = Entropy::from_number(5);
    for _ in 0..FLOOD {
        let garbage = entropy.hex(40);
        assert_eq!(receive(&mut raw, &garbage), 0);
    }
    assert_eq!(raw.endpoint.counters().malformed, FLOOD as u64);
    assert_eq!(raw.endpoint.transactions() + raw.endpoint.dialogs(), 0);
}

#[test]
fn invites_fill_the_table_and_no_more_and_the_running_call_is_served() {
    let mut raw = small();
    let (dialog, tag) = raw.talking();
    let template = invite("z9hG4bKflood", "").replace('\n', "\r\n");
    for n in 0..FLOOD / 4 {
        let one = template
            .replace("z9hG4bKflood", &format!("z9hG4bK{n}"))
            .replace("c1@far", &format!("c{n}@flood"));
        assert_eq!(receive(&mut raw, &one), 1, "each is answered");
    }
    assert_eq!(
        raw.endpoint.dialogs(),
        150,
        "a quarter is left for transfers"
    );
    assert!(raw.endpoint.transactions() <= 400);
    assert!(raw.endpoint.counters().overloaded > 20_000);
    assert_eq!(
        statuses(&raw.send(&in_dialog("INFO", 2, &tag, "z9hG4bKx", "", ""))),
        [200]
    );
    assert!(
        raw.command(
            dialog,
            Command::Bye {
                headers: Vec::new()
            }
        )[0]
        .starts_with("BYE")
    );
}

#[test]
fn refused_invites_leave_room_for_running_calls() {
    let mut raw = small();
    let (_, tag) = raw.talking();
    let template = invite("z9hG4bKflood", "").replace('\n', "\r\n");
    for n in 0..2000 {
        let one = template
            .replace("z9hG4bKflood", &format!("z9hG4bK{n}"))
            .replace("c1@far", &format!("c{n}@flood"));
        raw.endpoint
            .handle_datagram(raw.now, raw.flow, &Bytes::from(one));
        if let Some(Event::Invited(invited)) = raw.endpoint.poll_event() {
            let reject = Command::Reject {
                status: 486,
                headers: Vec::new(),
            };
            raw.endpoint
                .command(raw.now, invited.dialog, reject)
                .unwrap();
        }
        drain(&mut raw);
    }
    assert_eq!(
        raw.endpoint.transactions(),
        300,
        "three quarters are for new calls"
    );
    assert_eq!(raw.endpoint.dialogs(), 1);
    assert_eq!(
        statuses(&raw.send(&in_dialog("BYE", 2, &tag, "z9hG4bKx", "", ""))),
        [200]
    );
}

#[test]
fn strays_and_strangers_are_not_remembered() {
    let mut raw = small();
    let methods = [
        "ACK",
        "BYE",
        "CANCEL",
        "OPTIONS",
        "NOTIFY",
        "REFER",
        "INFO",
        "SUBSCRIBE",
    ];
    for n in 0..FLOOD / 10 {
        let method = methods[n % methods.len()];
        receive(
            &mut raw,
            &outside(method, &format!("z9hG4bK{n}"), "").replace('\n', "\r\n"),
        );
        let strange = in_dialog(method, 3, "nobody", &format!("z9hG4bKs{n}"), "", "");
        receive(&mut raw, &strange.replace('\n', "\r\n"));
    }
    assert_eq!(raw.endpoint.transactions() + raw.endpoint.dialogs(), 0);
    assert_eq!(raw.endpoint.poll_timeout(), None);
}

#[test]
fn mutated_messages_never_panic() {
    let mut raw = small();
    let (_, tag) = raw.talking();
    let mut entropy = Entropy::from_number(77);
    let seeds = [
        invite(
            "z9hG4bKm",
            "Record-Route: <sip:10.0.0.1;lr>\nAllow: REFER\nRequire: timer",
        ),
        in_dialog(
            "NOTIFY",
            9,
            &tag,
            "z9hG4bKn",
            "Event: refer;id=1",
            "SIP/2.0 200 OK",
        ),
        in_dialog("REFER", 9, &tag, "z9hG4bKr", "Refer-To: <sip:a@h?X=y>", ""),
        in_dialog(
            "INVITE",
            9,
            &tag,
            "z9hG4bKq",
            "Content-Type: application/sdp",
            "v=0",
        ),
        super::raw::response(&invite("z9hG4bKm", ""), "200 OK", "Contact: <sip:x@h>"),
    ];
    for round in 0..20_000 {
        let mut octets = seeds[round % seeds.len()]
            .replace('\n', "\r\n")
            .into_bytes();
        for _ in 0..=entropy.below(6) {
            let at = usize::try_from(entropy.below(octets.len() as u64)).unwrap();
            match entropy.below(4) {
                0 => octets[at] = entropy.next_u32().to_le_bytes()[0],
                1 if octets.len() > 1 => drop(octets.remove(at)),
                2 => octets.truncate(at.max(1)),
                _ => octets.insert(at, b"\r\n;,<>\"@:= "[round % 11]),
            }
        }
        raw.send_octets(&octets);
        drain(&mut raw);
        if round % 100 == 0 {
            raw.run(std::time::Duration::from_secs(5));
        }
    }
    assert!(raw.endpoint.transactions() <= 400 && raw.endpoint.dialogs() <= 200);
}
