//! The page that a human agent reads, with hostile words in it.

use serde_json::json;

use super::*;
use baton_core::history::{CallFacts, EndBy, EndKind, Event, FailureKind, HandoffStep, Kind, Turn};
use baton_core::vocab::{CallId, Entropy, HandoffId, HandoffKey};

fn key() -> HandoffKey {
    HandoffKey::generate(&mut Entropy::from_number(1))
}

fn facts() -> CallFacts {
    CallFacts {
        id: CallId::from("call-0a1b2c3d4e5f6071"),
        sip_call_id: "7f0c1d2e3a4b5c6d@192.0.2.60".into(),
        twilio_call_sid: Some("CA00000000000000000000000000000002".into()),
        from: "+15559870000".into(),
        to: "+15551230000".into(),
        trunk: "twilio".into(),
        route: "support".into(),
        agent: "support-bot".into(),
        node: "bridge-1".into(),
    }
}

fn said(role: Role, from_ms: u64, text: &str) -> Kind {
    Kind::Turn(Turn {
        role,
        text: text.into(),
        from_ms: Some(from_ms),
        to_ms: Some(from_ms + 2_000),
        heard_ms: None,
    })
}

fn step(state: HandoffState) -> HandoffStep {
    HandoffStep {
        id: HandoffId::from("ho-1"),
        state,
        style: "refer".into(),
        target: "sip:queue@flex.example.com?X-A=b".into(),
        sip_status: None,
        reason: None,
        sipfrag: None,
        summary: None,
        failure: None,
    }
}

fn handoff(state: HandoffState) -> Kind {
    Kind::Handoff(Box::new(step(state)))
}

/// A conversation as it happens, second by second.
pub(in super::super) fn sample() -> Session {
    let start = 1_763_647_320_000;
    let object = |value: serde_json::Value| value.as_object().cloned().unwrap();
    let kinds = vec![
        (0, Kind::SessionStarted(Box::new(facts()))),
        (1, Kind::Answered),
        (1, said(Role::Agent, 300, "Hello, this is the assistant of Example Energy. How can I help you today?")),
        (7, said(Role::Caller, 6_000, "Hi, yes. My last bill is far too high. I was away for three weeks and it is double of what I normally pay.")),
        (15, said(Role::Agent, 13_500, "I am sorry to hear that. Let me look at your account. Could you key in your customer number?")),
        (22, Kind::Dtmf { digit: Some('4'), at_ms: 20_100 }),
        (22, Kind::Dtmf { digit: Some('0'), at_ms: 20_700 }),
        (23, Kind::Dtmf { digit: Some('7'), at_ms: 21_200 }),
        (24, Kind::Dtmf { digit: None, at_ms: 21_900 }),
        (25, Kind::Context {
            set: object(json!({"customer_name": "Ada Byron", "customerNumber": "4071", "tariff": "Green 24",
                "meter_reading": 18_204, "verified": true, "open_invoice": {"number": "R-2231", "amount": "184.20 EUR"}})),
            current_task: Some("dispute_invoice".into()),
            transfer: object(json!({"queue": "billing", "priority": 2})),
        }),
        (27, Kind::Turn(Turn {
            role: Role::Agent,
            text: "Thank you, Ada. I see invoice R-2231 over 184 euros 20. The reading was estimated, because nobody could read the meter, so".into(),
            from_ms: Some(25_000),
            to_ms: Some(31_000),
            heard_ms: Some(4_300),
        })),
        (31, said(Role::Caller, 29_500, "Estimated? No, I sent you a photo!")),
        (36, said(Role::Agent, 33_000, "I cannot see a photo from here. For the refund I need your bank details, please say them now.")),
        (46, said(Role::Caller, 41_000, baton_core::history::turn::MASKED)),
        (50, said(Role::Caller, 47_000, "Can I just talk to a person, please?")),
        (53, said(Role::Agent, 50_500, "Of course. I will connect you to a colleague from billing. Please hold.")),
        (54, Kind::Handoff(Box::new(HandoffStep {
            reason: Some("caller asks for a person".into()),
            summary: Some("Ada Byron disputes invoice R-2231 (184.20 EUR). The meter reading was estimated while she was away; she says she sent a photo of the meter.\nShe wants the invoice corrected and was about to give bank details for a refund.".into()),
            ..step(HandoffState::Requested)
        }))),
        (54, handoff(HandoffState::Committed)),
        (55, handoff(HandoffState::Trying)),
        (57, Kind::Handoff(Box::new(HandoffStep {
            sip_status: Some(200),
            sipfrag: Some("SIP/2.0 200 OK".into()),
            ..step(HandoffState::Transferred)
        }))),
        (57, Kind::Recording { on: false, file: Some("call-0a1b2c3d4e5f6071.wav".into()) }),
        (58, Kind::Ended { kind: EndKind::Transferred, by: EndBy::Bridge, reason: String::new() }),
    ];
    fold(start, kinds)
}

fn fold(start: u64, kinds: Vec<(u64, Kind)>) -> Session {
    let events: Vec<_> = kinds
        .into_iter()
        .map(|(second, kind)| Event::new(UnixMillis(start + second * 1000), kind))
        .collect();
    Session::fold(key(), &events)
}

fn page(kinds: Vec<Kind>) -> String {
    let kinds = kinds.into_iter().map(|kind| (0, kind)).collect();
    render(&fold(1000, kinds), false).into_string()
}

#[test]
fn a_human_reads_why_what_and_who_in_that_order() {
    let html = render(&sample(), true).into_string();
    let place = |text: &str| {
        html.find(text)
            .unwrap_or_else(|| panic!("{text} is not on the page"))
    };
    let order = [
        "+15559870000",
        "57 s",
        "Handed over",
        "caller asks for a person",
        "Ada Byron disputes",
        "Dispute invoice",
        "<audio controls",
        "Customer name",
        "How can I help you today?",
        "<kbd>4</kbd>",
        "the caller heard 4.3 s",
        "Not written down",
        "SIP/2.0 200 OK",
    ];
    for pair in order.windows(2) {
        assert!(place(pair[0]) < place(pair[1]), "{pair:?}");
    }
    assert!(html.contains("20 November 2025, 14:02 UTC"));
    assert!(html.contains(r#"title="hidden">•"#));
    assert!(!html.contains("<script") && !html.contains("style="));
}

#[test]
fn what_a_caller_says_stays_text() {
    let attack = r#"<script>alert(1)</script><img src=x onerror="x">"#;
    let mut call = facts();
    call.from = attack.into();
    call.agent = attack.into();
    let mut set = Map::new();
    set.insert(attack.into(), json!({"nested": attack}));
    let html = page(vec![
        Kind::SessionStarted(Box::new(call)),
        said(Role::Caller, 0, attack),
        Kind::Dtmf {
            digit: Some('<'),
            at_ms: 5,
        },
        Kind::Context {
            set,
            current_task: Some(attack.into()),
            transfer: Map::new(),
        },
        Kind::Handoff(Box::new(HandoffStep {
            reason: Some(attack.into()),
            summary: Some(attack.into()),
            target: attack.into(),
            sipfrag: Some(attack.into()),
            style: attack.into(),
            ..step(HandoffState::Requested)
        })),
        Kind::Ended {
            kind: EndKind::Failed,
            by: EndBy::Agent,
            reason: attack.into(),
        },
    ]);
    assert!(
        !html.contains("<script") && !html.contains("<img"),
        "{html}"
    );
    assert!(html.contains("&lt;script&gt;") && html.contains("<kbd>&lt;</kbd>"));
}

#[test]
fn an_empty_history_is_still_a_page() {
    let html = page(vec![]);
    assert!(html.contains("Unknown caller"));
    assert!(html.contains("Nothing was written down."));
    assert!(html.contains("No reason or summary was left."));
    assert!(html.contains("still going on"));
    assert!(!html.contains("<audio"));
}

#[test]
fn a_failed_handoff_shows_what_the_far_end_said() {
    let html = page(vec![
        handoff(HandoffState::Requested),
        Kind::Handoff(Box::new(HandoffStep {
            sip_status: Some(486),
            failure: Some(FailureKind::TargetFailed),
            sipfrag: Some("SIP/2.0 486 Busy Here".into()),
            ..step(HandoffState::Failed)
        })),
        handoff(HandoffState::Resumed),
    ]);
    assert!(
        html.contains("Handoff failed · queue@flex.example.com"),
        "{html}"
    );
    assert!(html.contains("486 Busy Here"));
    assert!(html.contains("The caller went back to the agent."));
}

#[test]
fn everything_stands_in_the_order_in_which_it_happened() {
    let session = sample();
    let entries = timeline::of(&session);
    let at_digits = entries
        .iter()
        .position(|entry| matches!(entry, Entry::Digits { digits, .. } if digits.len() == 4));
    assert_eq!(at_digits, Some(3), "{entries:?}");
    assert!(matches!(entries.last(), Some(Entry::Note(note)) if note.text == "Handed over"));
}

#[test]
fn a_turn_without_a_time_stays_where_it_was_said() {
    let untimed = Kind::Turn(Turn {
        role: Role::Agent,
        text: "second".into(),
        from_ms: None,
        to_ms: None,
        heard_ms: None,
    });
    let html = page(vec![
        said(Role::Caller, 5_000, "first"),
        untimed,
        said(Role::Caller, 9_000, "third"),
    ]);
    let place = |text: &str| html.find(text).unwrap();
    assert!(place("first") < place("second") && place("second") < place("third"));
}

#[test]
fn names_and_times_read_like_words() {
    assert_eq!(humanise("account_number"), "Account number");
    assert_eq!(humanise("accountNumber"), "Account number");
    assert_eq!(humanise("IBAN"), "IBAN");
    assert_eq!(humanise(""), "");
    assert_eq!(plain_target("<sips:a@h;transport=tls?X=y>"), "a@h");
    assert_eq!(plain_target("tel:+1555"), "+1555");
    assert_eq!(
        (clock(125_900), seconds(4_360)),
        ("2:05".into(), "4.3 s".into())
    );
    assert_eq!(length(3_725_000), "1 h 2 min");
}

#[test]
fn the_page_for_nothing_is_kind_and_says_what_to_do() {
    assert!(gone().into_string().contains("may have expired"));
    assert!(unavailable().into_string().contains("It is not lost"));
}

#[test]
fn nested_context_is_spelled_out_and_what_is_deeper_is_json() {
    let object = json!({"order": {"items": ["a", {"deep": [1]}], "open": false}});
    let html = page(vec![Kind::Context {
        set: object.as_object().cloned().unwrap(),
        current_task: None,
        transfer: Map::new(),
    }]);
    assert!(html.contains("Items: "), "{html}");
    assert!(
        html.contains("<li>a</li>") && html.contains("<pre>{"),
        "{html}"
    );
}
