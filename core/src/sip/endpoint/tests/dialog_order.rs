//! Requests in a dialog: in order, out of order, repeated, from the wrong peer.

use bytes::Bytes;

use super::raw::{Raw, header, in_dialog, invite, status, statuses};
use crate::sip::endpoint::{Command, DialogEvent};

#[test]
fn a_repeated_invite_is_absorbed_and_gets_the_last_answer() {
    let mut raw = Raw::new();
    assert_eq!(statuses(&raw.send(&invite("z9hG4bKi", ""))), [100]);
    let dialog = raw.invited().unwrap().dialog;
    assert_eq!(statuses(&raw.send(&invite("z9hG4bKi", ""))), [100]);
    assert!(raw.invited().is_none());
    raw.command(
        dialog,
        Command::Ring {
            status: 180,
            body: Bytes::new(),
        },
    );
    assert_eq!(statuses(&raw.send(&invite("z9hG4bKi", ""))), [180]);
    raw.command(
        dialog,
        Command::Reject {
            status: 486,
            headers: Vec::new(),
        },
    );
    assert_eq!(statuses(&raw.send(&invite("z9hG4bKi", ""))), [486]);
    assert_eq!(raw.endpoint.counters().repeats_received, 3);
}

#[test]
fn a_repeated_bye_gets_the_same_200() {
    let mut raw = Raw::new();
    let (_, tag) = raw.talking();
    let bye = in_dialog("BYE", 2, &tag, "z9hG4bKb", "Reason: Q.850;cause=16", "");
    let first = raw.send(&bye);
    assert_eq!(statuses(&first), [200]);
    assert_eq!(raw.send(&bye), first);
    let reason = Some("Q.850;cause=16".to_owned());
    assert_eq!(raw.events(), [DialogEvent::Bye { reason }]);
}

#[test]
fn a_lower_number_gets_500_and_a_gap_is_fine() {
    let mut raw = Raw::new();
    let (_, tag) = raw.talking();
    assert_eq!(
        statuses(&raw.send(&in_dialog("INFO", 9, &tag, "z9hG4bK1", "", ""))),
        [200]
    );
    let sent = raw.send(&in_dialog("INFO", 8, &tag, "z9hG4bK2", "", ""));
    assert_eq!(statuses(&sent), [500]);
    assert!(
        header(&sent[0], "Retry-After")
            .unwrap()
            .parse::<u32>()
            .unwrap()
            <= 10
    );
    assert_eq!(
        statuses(&raw.send(&in_dialog("INFO", 9, &tag, "z9hG4bK3", "", ""))),
        [500]
    );
    // Ending a call is never wrong.
    assert_eq!(
        statuses(&raw.send(&in_dialog("BYE", 9, &tag, "z9hG4bK4", "", ""))),
        [200]
    );
}

#[test]
fn requests_for_no_dialog_of_ours_get_481_and_acks_nothing() {
    let mut raw = Raw::new();
    let (_, tag) = raw.talking();
    for method in [
        "BYE", "INVITE", "NOTIFY", "REFER", "INFO", "UPDATE", "OPTIONS",
    ] {
        let strange = in_dialog(method, 5, "nosuchtag", "z9hG4bK1", "", "");
        assert_eq!(statuses(&raw.send(&strange)), [481], "{method}");
        let other_peer =
            in_dialog(method, 5, &tag, "z9hG4bK2", "", "").replace("tag=far", "tag=mallory");
        assert_eq!(statuses(&raw.send(&other_peer)), [481], "{method}");
        let other_call = in_dialog(method, 5, &tag, "z9hG4bK3", "", "").replace("c1@far", "c2@far");
        assert_eq!(statuses(&raw.send(&other_call)), [481], "{method}");
    }
    assert!(raw.events().is_empty());
    assert_eq!(raw.endpoint.dialogs(), 1);
}

#[test]
fn options_and_info_are_answered_and_info_is_reported() {
    let mut raw = Raw::new();
    let (_, tag) = raw.talking();
    let sent = raw.send(&in_dialog("OPTIONS", 2, &tag, "z9hG4bK1", "", ""));
    assert_eq!(statuses(&sent), [200]);
    assert!(header(&sent[0], "Allow").unwrap().contains("REFER"));
    let info = in_dialog(
        "INFO",
        3,
        &tag,
        "z9hG4bK2",
        "Content-Type: Application/DTMF-Relay; x=y",
        "Signal=5",
    );
    assert_eq!(statuses(&raw.send(&info)), [200]);
    let event = DialogEvent::Info {
        content_type: "application/dtmf-relay".into(),
        body: Bytes::from_static(b"Signal=5"),
    };
    assert_eq!(raw.events(), [event]);
}

#[test]
fn a_bye_from_the_new_contact_address_reaches_the_dialog() {
    let mut raw = Raw::new();
    let (dialog, tag) = raw.talking();
    let update = in_dialog("UPDATE", 2, &tag, "z9hG4bK1", "", "").replace(
        "Contact: <sip:+1555@10.0.0.1:5060>",
        "Contact: <sip:+1555@10.0.0.7:5070>",
    );
    let sent = raw.send(&update);
    assert_eq!(statuses(&sent), [200]);
    assert!(header(&sent[0], "Contact").is_some());
    raw.endpoint
        .command(
            raw.now,
            dialog,
            Command::Bye {
                headers: Vec::new(),
            },
        )
        .unwrap();
    let bye = raw.endpoint.poll_transmit().unwrap();
    assert!(
        bye.payload
            .starts_with(b"BYE sip:+1555@10.0.0.7:5070 SIP/2.0")
    );
    assert_eq!(bye.flow.remote.to_string(), "10.0.0.7:5070");
}

#[test]
fn a_bye_on_an_unanswered_call_ends_it() {
    let mut raw = Raw::new();
    raw.send(&invite("z9hG4bKi", ""));
    let dialog = raw.invited().unwrap().dialog;
    let ringing = raw.command(
        dialog,
        Command::Ring {
            status: 180,
            body: Bytes::new(),
        },
    );
    let tag = super::raw::tag_of(&ringing[0]);
    let sent = raw.send(&in_dialog("BYE", 2, &tag, "z9hG4bKb", "", ""));
    assert_eq!(statuses(&sent), [200, 487]);
    assert_eq!(raw.events(), [DialogEvent::Bye { reason: None }]);
    assert_eq!(raw.endpoint.dialogs(), 0);
}

#[test]
fn a_second_invite_while_the_first_is_open_gets_500() {
    let mut raw = Raw::new();
    raw.send(&invite("z9hG4bKi", ""));
    let dialog = raw.invited().unwrap().dialog;
    let ringing = raw.command(
        dialog,
        Command::Ring {
            status: 180,
            body: Bytes::new(),
        },
    );
    let tag = super::raw::tag_of(&ringing[0]);
    let sdp = "Content-Type: application/sdp";
    let sent = raw.send(&in_dialog("INVITE", 2, &tag, "z9hG4bK2", sdp, "v=0"));
    assert_eq!(statuses(&sent), [100, 500]);
    assert!(header(&sent[1], "Retry-After").is_some());
    assert_eq!(
        status(
            &raw.command(
                dialog,
                Command::Ring {
                    status: 180,
                    body: Bytes::new()
                }
            )[0]
        ),
        180
    );
}

#[test]
fn our_requests_follow_the_peer_to_its_new_port_but_not_to_another_host() {
    let mut raw = Raw::new();
    raw.flow.transport = crate::sip::endpoint::Transport::Tcp;
    raw.flow.remote = "10.0.0.1:40001".parse().unwrap();
    let (dialog, tag) = raw.talking();
    raw.flow.remote = "10.0.0.1:40002".parse().unwrap();
    raw.send(&in_dialog("INFO", 2, &tag, "z9hG4bK2", "", ""));
    let new = raw.flow;
    raw.endpoint.handle_connected(&new, Vec::new());
    raw.flow.remote = "10.0.0.66:40003".parse().unwrap();
    raw.send(&in_dialog("INFO", 3, &tag, "z9hG4bK3", "", ""));
    raw.endpoint
        .command(
            raw.now,
            dialog,
            Command::Bye {
                headers: Vec::new(),
            },
        )
        .unwrap();
    assert_eq!(raw.endpoint.poll_transmit().unwrap().flow, new);
}
