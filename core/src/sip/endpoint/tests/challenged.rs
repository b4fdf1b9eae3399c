//! Our requests challenged, as UAC (RFC 3261 §22.2, §22.3): answered for a trunk that has an account, and for no other.

use std::sync::Arc;

use bytes::Bytes;

use super::raw::{Raw, header, invite, response, statuses};
use crate::sip::auth::{Account, Credentials};
use crate::sip::endpoint::{
    Command, Config, DialogEvent, DialogId, Event, NotifyState, OutgoingInvite,
};
use crate::sip::registration::Register;
use crate::sip::trunk::{Trunk, Trunks};

const WWW: &str = "WWW-Authenticate: Digest realm=\"pbx\", nonce=\"n1\", qop=\"auth\"";
const OTHER: &str = "WWW-Authenticate: Digest realm=\"pbx\", nonce=\"n2\", qop=\"auth\"";
const STALE: &str =
    "WWW-Authenticate: Digest realm=\"pbx\", nonce=\"n3\", qop=\"auth\", stale=true";
const PROXY: &str =
    "Proxy-Authenticate: Digest realm=\"proxy\", nonce=\"p1\", qop=\"auth\", algorithm=SHA-256";

/// Calls from 10.0.0.1 belong to a trunk with, or without, an account for its challenges.
fn raw(account: bool) -> Raw {
    let register = Register {
        registrar: "sip:10.0.0.1".into(),
        account: Arc::new(Account::new("bot", "s3cret")),
        expires: std::time::Duration::from_secs(300),
    };
    let trunk = Trunk {
        name: "pbx".into(),
        networks: vec!["10.0.0.0/8".parse().unwrap()],
        register: account.then(|| Arc::new(register)),
        ..Trunk::default()
    };
    Raw::with(Config {
        trunks: Trunks::new(vec![trunk]),
        ..Config::default()
    })
}

fn bye() -> Command {
    Command::Bye {
        headers: Vec::new(),
    }
}

fn refer() -> Command {
    Command::Refer {
        refer_to: "<sip:human@10.0.0.1>".into(),
        headers: Vec::new(),
    }
}

fn cseq(request: &str) -> u32 {
    let value = header(request, "CSeq").unwrap();
    value.split(' ').next().unwrap().parse().unwrap()
}

fn credentials(request: &str, name: &str) -> Credentials {
    Credentials::parse(header(request, name).unwrap()).unwrap()
}

/// Says this to a request of ours; what it sends then other than an ACK.
fn says(raw: &mut Raw, request: &str, status: &str, more: &str) -> Vec<String> {
    let sent = raw.send(&response(request, status, more));
    let is_ack = |text: &String| text.starts_with("ACK ");
    sent.into_iter().filter(|text| !is_ack(text)).collect()
}

#[test]
fn a_challenged_bye_is_said_again_with_the_next_number_and_an_answer() {
    let mut raw = raw(true);
    let (dialog, _) = raw.talking();
    let first = raw.command(dialog, bye()).remove(0);
    assert!(header(&first, "Authorization").is_none());
    let again = says(&mut raw, &first, "401 Unauthorized", WWW).remove(0);
    assert_eq!(cseq(&again), cseq(&first) + 1);
    assert_ne!(header(&again, "Via"), header(&first, "Via"));
    assert_eq!(header(&again, "Call-ID"), header(&first, "Call-ID"));
    let answer = credentials(&again, "Authorization");
    assert_eq!(
        (answer.username.as_str(), answer.realm.as_str()),
        ("bot", "pbx")
    );
    assert!(again.starts_with(&format!("BYE {} SIP", answer.uri)));
    assert!(says(&mut raw, &again, "200 OK", "").is_empty());
    assert_eq!(raw.events(), [DialogEvent::ByeAnswered { status: 200 }]);
    assert_eq!(raw.endpoint.counters().challenges_answered, 1);
}

#[test]
fn a_caller_whose_trunk_has_no_account_gets_no_answer_to_its_challenge() {
    let mut raw = raw(false);
    let (dialog, _) = raw.talking();
    let first = raw.command(dialog, bye()).remove(0);
    assert!(says(&mut raw, &first, "401 Unauthorized", WWW).is_empty());
    assert_eq!(raw.events(), [DialogEvent::ByeAnswered { status: 401 }]);
    assert_eq!(raw.endpoint.counters().challenges_answered, 0);
}

#[test]
fn a_refused_account_is_not_said_again_whatever_the_nonce() {
    for more in [WWW, OTHER] {
        let mut raw = raw(true);
        let (dialog, _) = raw.talking();
        let first = raw.command(dialog, refer()).remove(0);
        let again = says(&mut raw, &first, "401 Unauthorized", WWW).remove(0);
        assert!(says(&mut raw, &again, "401 Unauthorized", more).is_empty());
        let events = raw.events();
        let answered =
            |e: &DialogEvent| matches!(e, DialogEvent::ReferAnswered { status: 401, .. });
        assert_eq!(
            events.iter().filter(|e| answered(e)).count(),
            1,
            "{events:?}"
        );
    }
}

#[test]
fn a_stale_nonce_is_answered_again_and_a_loop_of_them_ends() {
    let mut raw = raw(true);
    let (dialog, _) = raw.talking();
    let mut request = raw.command(dialog, bye()).remove(0);
    let mut said = 0;
    loop {
        let sent = says(&mut raw, &request, "401 Unauthorized", STALE);
        let Some(next) = sent.into_iter().next() else {
            break;
        };
        request = next;
        said += 1;
        assert!(said < 10, "it goes on and on");
    }
    assert_eq!(said, 4);
    assert_eq!(raw.events(), [DialogEvent::ByeAnswered { status: 401 }]);
}

#[test]
fn a_proxy_and_the_far_end_may_both_ask() {
    let mut raw = raw(true);
    let (dialog, _) = raw.talking();
    let first = raw.command(dialog, refer()).remove(0);
    let second = says(&mut raw, &first, "407 Proxy Authentication Required", PROXY).remove(0);
    assert_eq!(credentials(&second, "Proxy-Authorization").realm, "proxy");
    let third = says(&mut raw, &second, "401 Unauthorized", WWW).remove(0);
    let (proxy, far) = (
        credentials(&third, "Proxy-Authorization"),
        credentials(&third, "Authorization"),
    );
    assert_eq!((proxy.counted.unwrap().nc, far.counted.unwrap().nc), (2, 1));
    assert_eq!(cseq(&third), cseq(&first) + 2);
    assert!(says(&mut raw, &third, "202 Accepted", "").is_empty());
    // The next request knows what both want.
    let bye = raw.command(dialog, bye()).remove(0);
    assert_eq!(
        credentials(&bye, "Proxy-Authorization").counted.unwrap().nc,
        3
    );
    assert_eq!(credentials(&bye, "Authorization").counted.unwrap().nc, 2);
}

#[test]
fn a_notify_names_the_refer_by_the_number_it_was_said_again_with() {
    let mut raw = raw(true);
    let (dialog, tag) = raw.talking();
    let first = raw.command(dialog, refer()).remove(0);
    let again = says(&mut raw, &first, "401 Unauthorized", WWW).remove(0);
    says(&mut raw, &again, "202 Accepted", "");
    let notify = |branch, cseq, id: u32| {
        let more = format!(
            "Event: refer;id={id}\nSubscription-State: active\nContent-Type: message/sipfrag"
        );
        super::raw::in_dialog("NOTIFY", cseq, &tag, branch, &more, "SIP/2.0 100 Trying")
    };
    let id = cseq(&again);
    assert_eq!(statuses(&raw.send(&notify("z9hG4bKn1", 2, id))), [200]);
    assert_eq!(statuses(&raw.send(&notify("z9hG4bKn2", 3, id - 1))), [481]);
}

#[test]
fn a_challenged_notify_of_ours_is_said_again() {
    let mut raw = raw(true);
    let (dialog, tag) = raw.talking();
    let refer = super::raw::in_dialog(
        "REFER",
        2,
        &tag,
        "z9hG4bKr",
        "Refer-To: <sip:a@10.0.0.1>",
        "",
    );
    raw.send(&refer);
    raw.command(dialog, Command::AnswerRefer { status: 202 });
    let notify = Command::Notify {
        status: 100,
        state: NotifyState::Active,
    };
    let first = raw.command(dialog, notify).remove(0);
    let again = says(&mut raw, &first, "401 Unauthorized", WWW).remove(0);
    assert!(again.starts_with("NOTIFY ") && again.ends_with("SIP/2.0 100 Trying\r\n"));
    credentials(&again, "Authorization");
}

fn place(raw: &mut Raw, account: Option<Account>) -> (DialogId, String) {
    let invite = OutgoingInvite {
        ways: raw.flow.into(),
        target: "sip:human@10.0.0.1".into(),
        from: "<sip:bot@10.0.0.2>".into(),
        to: String::new(),
        call_id: String::new(),
        account: account.map(Arc::new),
        headers: Vec::new(),
        body: Bytes::from_static(b"v=0"),
    };
    let dialog = raw.endpoint.invite(raw.now, invite).unwrap();
    (dialog, raw.sent().remove(0))
}

#[test]
fn a_challenged_invite_is_acknowledged_and_said_again_and_its_ack_bears_the_answer() {
    let mut raw = Raw::new();
    let (_, first) = place(&mut raw, Some(Account::new("bot", "s3cret")));
    let sent = raw.send(&response(
        &first,
        "407 Proxy Authentication Required",
        PROXY,
    ));
    assert!(sent[0].starts_with("ACK "), "{sent:?}");
    assert_eq!(cseq(&sent[0]), cseq(&first));
    assert!(header(&sent[0], "Proxy-Authorization").is_none());
    let again = &sent[1];
    assert_eq!(cseq(again), cseq(&first) + 1);
    assert_eq!(header(again, "From"), header(&first, "From"));
    assert!(again.ends_with("\r\n\r\nv=0"));
    // The ACK of the refused one was lost: its repeat is still acknowledged.
    let sent = raw.send(&response(
        &first,
        "407 Proxy Authentication Required",
        PROXY,
    ));
    assert_eq!(sent.len(), 1);
    assert!(sent[0].starts_with("ACK "));
    let ok = response(again, "200 OK", "Contact: <sip:human@10.0.0.1>");
    let ok = ok.replace(
        "To: <sip:human@10.0.0.1>",
        "To: <sip:human@10.0.0.1>;tag=far",
    );
    let ack = raw.send(&ok).remove(0);
    assert!(ack.starts_with("ACK "));
    assert_eq!(cseq(&ack), cseq(again));
    assert_eq!(
        header(&ack, "Proxy-Authorization"),
        header(again, "Proxy-Authorization")
    );
    assert!(matches!(raw.events()[..], [DialogEvent::Answered { .. }]));
}

#[test]
fn an_invite_without_an_account_ends_with_its_challenge() {
    let mut raw = Raw::new();
    let (_, first) = place(&mut raw, None);
    let sent = raw.send(&response(&first, "401 Unauthorized", WWW));
    assert_eq!(sent.len(), 1, "the ACK: {sent:?}");
    assert!(matches!(
        raw.events()[..],
        [DialogEvent::Refused { status: 401, .. }]
    ));
    assert_eq!(raw.endpoint.dialogs(), 0);
}

#[test]
fn an_invite_that_was_cancelled_is_not_said_again() {
    let mut raw = Raw::new();
    let (dialog, first) = place(&mut raw, Some(Account::new("bot", "s3cret")));
    raw.send(&response(&first, "100 Trying", ""));
    raw.command(dialog, Command::Cancel);
    let sent = raw.send(&response(&first, "401 Unauthorized", WWW));
    assert!(sent.iter().all(|text| text.starts_with("ACK ")), "{sent:?}");
    assert!(matches!(
        raw.events()[..],
        [DialogEvent::Refused { status: 401, .. }]
    ));
}

#[test]
fn a_hostile_challenge_is_no_header_of_ours() {
    for realm in ["a\\\r\nX: 1", "\\\"", &"r".repeat(5000)] {
        let mut raw = raw(true);
        let (dialog, _) = raw.talking();
        let first = raw.command(dialog, bye()).remove(0);
        let more = format!("WWW-Authenticate: Digest realm=\"{realm}\", nonce=\"n\"");
        for again in says(&mut raw, &first, "401 Unauthorized", &more) {
            assert!(header(&again, "X").is_none(), "{again}");
        }
        assert!(raw.endpoint.transactions() <= 3);
    }
}

#[test]
fn a_reinvite_that_is_challenged_goes_on_with_its_offer() {
    let mut raw = raw(true);
    raw.send(&invite("z9hG4bKi", ""));
    let Some(Event::Invited(invited)) = raw.endpoint.poll_event() else {
        panic!("a call")
    };
    let answer = Command::Answer {
        body: Bytes::from_static(b"v=0"),
        headers: Vec::new(),
    };
    let sent = raw.command(invited.dialog, answer);
    let tag = super::raw::tag_of(&sent[0]);
    raw.send(&super::raw::in_dialog("ACK", 1, &tag, "z9hG4bKa", "", ""));
    raw.events();
    let offer = Command::Reinvite {
        body: Bytes::from_static(b"v=1"),
    };
    let first = raw.command(invited.dialog, offer).remove(0);
    let again = says(&mut raw, &first, "401 Unauthorized", WWW).remove(0);
    assert!(again.ends_with("v=1"));
    let ok = response(&again, "200 OK", "Contact: <sip:+1555@10.0.0.1>");
    let ack = raw.send(&ok).remove(0);
    assert!(ack.starts_with("ACK ") && cseq(&ack) == cseq(&again));
    assert!(matches!(
        raw.events()[..],
        [DialogEvent::ReinviteEnded { status: 200, .. }]
    ));
}
