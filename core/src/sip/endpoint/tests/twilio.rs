//! The shape of a Twilio call, octet by octet: a private Contact, two Record-Routes, TLS.

use bytes::Bytes;

use super::raw::{Raw, header};
use crate::sip::endpoint::{Advertised, Command, Config, Flow, Transport};
use crate::sip::trunk::{Trunk, Trunks};

const INVITE: &str = r#"INVITE sip:bot@voice.example.com:5061;transport=tls SIP/2.0
Record-Route: <sip:192.0.2.60:5061;transport=tls;r2=on;lr>
Record-Route: <sip:192.0.2.60;r2=on;lr>
CSeq: 29044 INVITE
From: "+15559870000" <sip:+15559870000@sip.twilio.com>;tag=08601002_c3356d0b_6b0f
To: <sip:bot@voice.example.com;transport=tls>
Max-Forwards: 60
Call-ID: 7f0c1d2e3a4b5c6d7e8f90a1b2c3d4e5@0.0.0.0
Via: SIP/2.0/TLS 192.0.2.60:5061;branch=z9hG4bK1dc3.f822.0
Via: SIP/2.0/UDP 172.25.75.240:5060;rport=5060;branch=z9hG4bK6b0f_c3356d0b_588
Contact: <sip:+15559870000@172.25.75.240:5060;transport=udp>
Allow: ACK,BYE,CANCEL,INVITE,OPTIONS,REFER,NOTIFY
User-Agent: Twilio Gateway
X-Twilio-CallSid: CA00000000000000000000000000000002
Content-Type: application/sdp
Content-Length: 3

v=0"#;

fn twilio() -> Raw {
    let mut raw = Raw::with(Config {
        advertised: Advertised {
            tls: Some("192.0.2.10:5061".into()),
            ..Advertised::default()
        },
        user_agent: "Baton".into(),
        trunks: Trunks::new(vec![Trunk {
            name: "twilio".into(),
            networks: vec!["192.0.2.60/30".parse().unwrap()],
            ..Trunk::default()
        }]),
        ..Config::default()
    });
    raw.flow = Flow {
        transport: Transport::Tls,
        local: "10.0.0.2:5061".parse().unwrap(),
        remote: "192.0.2.60:58540".parse().unwrap(),
    };
    let flow = raw.flow;
    raw.endpoint.handle_connected(&flow, Vec::new());
    raw
}

/// The answered call: its dialog, its 200.
fn answered(raw: &mut Raw) -> (crate::sip::endpoint::DialogId, String) {
    raw.send(INVITE);
    let invited = raw.invited().unwrap();
    assert_eq!(invited.trunk, "twilio");
    assert_eq!(invited.caller, "+15559870000");
    assert_eq!(
        invited.header("X-Twilio-CallSid"),
        Some("CA00000000000000000000000000000002")
    );
    let answer = Command::Answer {
        body: Bytes::from_static(b"v=0"),
        headers: Vec::new(),
    };
    let sent = raw.command(invited.dialog, answer).remove(0);
    (invited.dialog, sent)
}

/// Random tokens replaced by their names, so that the rest can be compared whole.
fn known(message: &str, tag: &str) -> String {
    let message = message.replace(tag, "TAG");
    match message.find("Via: SIP/2.0/TLS 192.0.2.10:5061;rport;branch=z9hG4bK") {
        Some(at) => {
            let start = message[at..].find("z9hG4bK").unwrap() + at + 7;
            let end = message[start..].find("\r\n").unwrap() + start;
            format!("{}BRANCH{}", &message[..start], &message[end..])
        }
        None => message,
    }
}

#[test]
fn the_answer_carries_the_route_back_and_our_public_address() {
    let mut raw = twilio();
    let (_, sent) = answered(&mut raw);
    let tag = super::raw::tag_of(&sent);
    let expected = "SIP/2.0 200 OK\r
Via: SIP/2.0/TLS 192.0.2.60:5061;branch=z9hG4bK1dc3.f822.0\r
Via: SIP/2.0/UDP 172.25.75.240:5060;rport=5060;branch=z9hG4bK6b0f_c3356d0b_588\r
From: \"+15559870000\" <sip:+15559870000@sip.twilio.com>;tag=08601002_c3356d0b_6b0f\r
To: <sip:bot@voice.example.com;transport=tls>;tag=TAG\r
Call-ID: 7f0c1d2e3a4b5c6d7e8f90a1b2c3d4e5@0.0.0.0\r
CSeq: 29044 INVITE\r
Server: Baton\r
Record-Route: <sip:192.0.2.60:5061;transport=tls;r2=on;lr>\r
Record-Route: <sip:192.0.2.60;r2=on;lr>\r
Contact: <sip:bot@192.0.2.10:5061;transport=tls>\r
Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, NOTIFY, REFER, UPDATE, PRACK\r
Supported: timer, 100rel, norefersub\r
Content-Type: application/sdp\r
Content-Length: 3\r
\r
v=0";
    assert_eq!(known(&sent, &tag), expected);
}

#[test]
fn refer_keeps_the_private_contact_and_goes_to_the_top_route() {
    let mut raw = twilio();
    let (dialog, sent) = answered(&mut raw);
    let tag = super::raw::tag_of(&sent);
    let ack = INVITE
        .replace("INVITE", "ACK")
        .replace(
            "To: <sip:bot@voice.example.com;transport=tls>",
            &format!("To: <sip:bot@voice.example.com;transport=tls>;tag={tag}"),
        )
        .replace("z9hG4bK1dc3.f822.0", "z9hG4bK1dc3.f823.0");
    raw.send(&ack);
    let refer = Command::Refer {
        refer_to:
            "<sip:queue@flex.example.com?X-Watson-Assistant-Session-History-Key=prod::live::42>"
                .into(),
        headers: vec![("Referred-By".into(), "<sip:bot@voice.example.com>".into())],
    };
    raw.endpoint.command(raw.now, dialog, refer).unwrap();
    let transmit = raw.endpoint.poll_transmit().unwrap();
    let expected = "REFER sip:+15559870000@172.25.75.240:5060;transport=udp SIP/2.0\r
Via: SIP/2.0/TLS 192.0.2.10:5061;rport;branch=z9hG4bKBRANCH\r
Route: <sip:192.0.2.60:5061;transport=tls;r2=on;lr>\r
Route: <sip:192.0.2.60;r2=on;lr>\r
Max-Forwards: 70\r
From: <sip:bot@voice.example.com;transport=tls>;tag=TAG\r
To: \"+15559870000\" <sip:+15559870000@sip.twilio.com>;tag=08601002_c3356d0b_6b0f\r
Call-ID: 7f0c1d2e3a4b5c6d7e8f90a1b2c3d4e5@0.0.0.0\r
CSeq: 1 REFER\r
Contact: <sip:bot@192.0.2.10:5061;transport=tls>\r
User-Agent: Baton\r
Refer-To: <sip:queue@flex.example.com?X-Watson-Assistant-Session-History-Key=prod::live::42>\r
Referred-By: <sip:bot@voice.example.com>\r
Content-Length: 0\r
\r
";
    let text = String::from_utf8(transmit.payload.to_vec()).unwrap();
    assert_eq!(known(&text, &tag), expected);
    assert_eq!(
        transmit.flow, raw.flow,
        "the connection that is there is used"
    );
}

#[test]
fn when_the_connection_is_gone_the_top_routes_address_is_tried() {
    let mut raw = twilio();
    let (dialog, sent) = answered(&mut raw);
    let tag = super::raw::tag_of(&sent);
    let ack = INVITE.replace("INVITE", "ACK").replace(
        "transport=tls>\nMax",
        &format!("transport=tls>;tag={tag}\nMax"),
    );
    raw.send(&ack);
    raw.endpoint
        .command(
            raw.now,
            dialog,
            Command::Bye {
                headers: Vec::new(),
            },
        )
        .unwrap();
    let first = raw.endpoint.poll_transmit().unwrap();
    raw.endpoint
        .handle_send_error(raw.now, &first.flow, "connection reset");
    let second = raw.endpoint.poll_transmit().unwrap();
    // The same request, as a transaction of its own (RFC 3263 §4.3).
    let text = |transmit: &crate::sip::endpoint::Transmit| {
        String::from_utf8(transmit.payload.to_vec()).unwrap()
    };
    let (one, two) = (text(&first), text(&second));
    assert_ne!(header(&one, "Via"), header(&two, "Via"));
    let without_via = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with("Via:"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(without_via(&one), without_via(&two));
    assert_eq!(second.flow.remote.to_string(), "192.0.2.60:5061");
    raw.endpoint
        .handle_send_error(raw.now, &second.flow, "refused");
    assert_eq!(
        raw.events().last(),
        Some(&crate::sip::endpoint::DialogEvent::ByeAnswered { status: 503 })
    );
    assert!(header(&sent, "Contact").is_some());
}
