//! Bodies of several parts, and INFO.

use bytes::Bytes;

use super::raw::{Raw, header, in_dialog, invite, request, statuses};
use crate::sip::endpoint::{Command, DialogEvent};

const MIXED: &str = "Content-Type: multipart/mixed;boundary=b";

fn mixed(sdp: &str, disposition: &str) -> String {
    format!(
        "--b\r\nContent-Type: application/isup;version=ansi00\r\nContent-Disposition: {disposition}\r\n\r\n\u{1}\u{2}\r\n\
         --b\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b--\r\n"
    )
}

fn call(body: &str) -> String {
    let plain = invite("z9hG4bKi", "");
    let head = plain.split("Content-Type").next().unwrap().to_owned();
    let (line, headers) = head.split_once(" SIP/2.0\n").unwrap();
    request(line, &format!("{headers}{MIXED}"), body)
}

/// Line ends of a body are as written, those of a header are made right.
fn send(raw: &mut Raw, text: &str) -> Vec<String> {
    let (head, body) = text.split_once("\n\n").unwrap();
    let octets = format!("{}\r\n\r\n{body}", head.replace('\n', "\r\n"));
    raw.send_octets(octets.as_bytes())
}

#[test]
fn the_offer_of_a_sip_i_gateway_is_found_beside_its_isup() {
    let mut raw = Raw::new();
    let sent = send(
        &mut raw,
        &call(&mixed("v=0 gateway", "signal;handling=optional")),
    );
    assert_eq!(statuses(&sent), [100]);
    assert_eq!(raw.invited().unwrap().offer, "v=0 gateway");
}

#[test]
fn isup_that_must_be_understood_gets_415_and_a_torn_multipart_400() {
    let mut raw = Raw::new();
    let sent = send(&mut raw, &call(&mixed("v=0", "signal;handling=required")));
    assert_eq!(statuses(&sent), [415]);
    assert!(
        header(&sent[0], "Accept")
            .unwrap()
            .contains("multipart/mixed")
    );
    assert_eq!(statuses(&send(&mut raw, &call("no parts at all"))), [400]);
    assert!(raw.invited().is_none());
    assert_eq!(raw.endpoint.dialogs() + raw.endpoint.transactions(), 0);
}

#[test]
fn reinvites_and_updates_may_bring_several_parts_too() {
    let mut raw = Raw::new();
    let (dialog, tag) = raw.talking();
    for (cseq, method) in [(2, "INVITE"), (4, "UPDATE")] {
        let offer = format!("v=0 {method}");
        let body = mixed(&offer, "signal;handling=optional");
        let branch = format!("z9hG4bK{method}");
        send(
            &mut raw,
            &in_dialog(method, cseq, &tag, &branch, MIXED, &body),
        );
        let offer = Bytes::from(offer);
        assert_eq!(raw.events(), [DialogEvent::Reinvited { offer }]);
        let command = Command::AnswerReinvite {
            status: 200,
            body: Bytes::from_static(b"v=0 again"),
            headers: Vec::new(),
        };
        assert_eq!(statuses(&raw.command(dialog, command)), [200]);
        raw.send(&in_dialog("ACK", cseq, &tag, "z9hG4bKack", "", ""));
    }
    let optional_only = "--b\r\nContent-Type: application/isup\r\n\
         Content-Disposition: signal;handling=optional\r\n\r\nx\r\n--b--";
    let sent = send(
        &mut raw,
        &in_dialog("UPDATE", 6, &tag, "z9hG4bKo", MIXED, optional_only),
    );
    assert_eq!(statuses(&sent), [200], "no offer in it: a sign of life");
    assert!(raw.events().is_empty());
}

#[test]
fn keys_by_info_are_told_once() {
    let mut raw = Raw::new();
    let (_, tag) = raw.talking();
    for (cseq, kind, body) in [
        (2, "application/dtmf-relay", "Signal=5\r\nDuration=160\r\n"),
        (3, "Application/DTMF", "5"),
        (4, "application/dtmf-relay", "Signal=16\r\n"),
    ] {
        let kind_line = format!("Content-Type: {kind}");
        let info = in_dialog(
            "INFO",
            cseq,
            &tag,
            &format!("z9hG4bK{cseq}"),
            &kind_line,
            body,
        );
        for _ in 0..3 {
            assert_eq!(statuses(&send(&mut raw, &info)), [200], "{kind}");
        }
        let event = DialogEvent::Info {
            content_type: kind.to_ascii_lowercase(),
            body: Bytes::from(body),
        };
        assert_eq!(raw.events(), [event]);
    }
}

#[test]
fn an_info_that_is_no_key_is_answered_for_what_it_is() {
    let mut raw = Raw::new();
    let (_, tag) = raw.talking();
    for (cseq, more, body, status) in [
        (2, "", "", 200),
        (
            3,
            "Content-Type: application/dtmf-relay",
            "Signal=banana",
            400,
        ),
        (4, "Content-Type: application/dtmf", "12345", 400),
        (
            5,
            "Content-Type: application/media_control+xml",
            "<x/>",
            415,
        ),
        (6, "", "what is this", 415),
        (
            7,
            "Info-Package: nosuch\nContent-Type: application/dtmf",
            "5",
            469,
        ),
        (8, "Info-Package: dtmf", "", 469),
    ] {
        let info = in_dialog("INFO", cseq, &tag, &format!("z9hG4bK{cseq}"), more, body);
        let sent = raw.send(&info);
        assert_eq!(statuses(&sent), [status], "{more}");
        assert_eq!(header(&sent[0], "Recv-Info").is_some(), status == 469);
        assert_eq!(header(&sent[0], "Accept").is_some(), status == 415);
    }
    assert!(raw.events().is_empty());
}
