//! Twilio's webhooks, signed and not.

use std::fmt::Write;

use baton_core::history::{BackendError, Kind, UnixMillis, WITNESS_SEQ};
use baton_core::twilio::webhook_signature::{parse_form, sign};
use baton_core::vocab::CallId;

use super::*;
use crate::bridge::registry::{CallView, Operator};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const FAR: &str = "54.172.60.1:40000";
const REFER: &str = "/twilio/refer-handler";

fn signing() -> Config {
    Config {
        public_url: Some("https://bridge.example.com/".into()),
        sip_address: Some("voice.example.com:5061;transport=tls".into()),
        twilio: Twilio {
            auth_token: Some(TOKEN.into()),
            studio_webhook_url: Some("https://webhooks.twilio.com/v1/F".into()),
        },
        ..Config::default()
    }
}

fn flow() -> Config {
    let mut config = signing();
    config.twilio.auth_token = None;
    config
}

/// A form as Twilio posts it, signed for the public URL.
fn signed_post(path: &str, form: &str) -> Asked {
    let url = format!("https://bridge.example.com{path}");
    post(path, form)
        .form()
        .from(FAR)
        .header("host", "10.0.0.5:8080")
        .header("x-forwarded-for", "54.172.60.1")
        .header("x-twilio-signature", &sign(TOKEN, &url, &parse_form(form)))
}

fn refer_form(target: &str) -> String {
    let mut form = String::from("CallSid=CA02&ReferTransferTarget=");
    for octet in target.bytes() {
        write!(form, "%{octet:02X}").unwrap();
    }
    form
}

#[tokio::test]
async fn a_call_is_dialled_to_our_public_address_with_the_way_back() {
    let server = Server::with(signing());
    let form =
        "CallSid=CA00000000000000000000000000000002&Called=%2B15551230000&From=%2B15559870000";
    let answer = server.ask(signed_post("/twilio/receive-call", form)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (200, "text/xml; charset=utf-8")
    );
    assert!(
        answer.body.contains(
            "<Dial answerOnBridge=\"true\" referUrl=\"https://bridge.example.com/twilio/refer-handler\">\
             <Sip>sip:+15551230000@voice.example.com:5061;transport=tls\
             ?x-parent-callsid=CA00000000000000000000000000000002</Sip></Dial>"
        ),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn what_is_odd_about_a_call_does_not_leave_the_caller_in_silence() {
    let server = Server::with(Config {
        public_url: Some("https://bridge.example.com".into()),
        ..Config::default()
    });
    for (query, user) in [
        ("", "baton"),
        ("?To=%2B1555", "+1555"),
        ("?Called=sip%3Abob%40d.sip.twilio.com", "bob"),
        ("?Called=%3C%2FSip%3E", "%3C%2FSip%3E"),
        (&format!("?Called={}", "9".repeat(5000)), "baton"),
        ("?Called=&To=%2B1555&CallSid=%3Fx%3D1", "+1555"),
    ] {
        let answer = server
            .ask(get(&format!("/twilio/receive-call{query}")))
            .await;
        assert_eq!(answer.status, 200, "{query}");
        let sip = format!("<Sip>sip:{user}@bridge.example.com</Sip>");
        assert!(answer.body.contains(&sip), "{query}: {}", answer.body);
    }
}

#[tokio::test]
async fn without_a_public_url_the_requests_own_host_is_used() {
    let server = Server::plain();
    let answer = server.ask(get("/twilio/receive-call?Called=7")).await;
    assert!(
        answer
            .body
            .contains("referUrl=\"http://127.0.0.1:8080/twilio/refer-handler\""),
        "{}",
        answer.body
    );
    assert!(answer.body.contains("sip:7@127.0.0.1<"));
}

#[tokio::test]
async fn a_webhook_that_is_not_signed_is_refused_and_counted() {
    let server = Server::with(signing());
    let form = refer_form("<sip:q@h?X-Session-History-Key=k>");
    let good = server.ask(signed_post(REFER, &form)).await;
    assert_eq!(good.status, 200);
    let forged = [
        signed_post(REFER, &form).without("x-twilio-signature"),
        signed_post(REFER, &form).header("x-twilio-signature", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        signed_post(REFER, &form).header("x-twilio-signature", "nonsense"),
        Asked {
            path: "/twilio/refer-handler?x=1".into(),
            ..signed_post(REFER, &form)
        },
        Asked {
            body: refer_form("<sip:evil@h>").into_bytes(),
            ..signed_post(REFER, &form)
        },
        // Not even from this machine: a token is set, so somebody may be forwarding.
        post(REFER, form.clone()).form(),
        get(&format!("{REFER}?{form}")),
        signed_post(REFER, &form).header("content-type", "application/json"),
    ];
    let count = forged.len();
    for (number, request) in forged.into_iter().enumerate() {
        let answer = server.ask(request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (403, "webhook_refused"),
            "request {number}"
        );
    }
    let metrics = server.ask(get("/metrics")).await.body;
    assert!(
        metrics.contains(&format!("baton_http_webhook_refused_total {count}\n")),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_signed_get_is_taken() {
    let server = Server::with(signing());
    let path = format!("{REFER}?ReferTransferTarget=sip%3Aq%40h%3FX-Session-History-Key%3Dk7");
    let signature = sign(TOKEN, &format!("https://bridge.example.com{path}"), &[]);
    let answer = server
        .ask(
            get(&path)
                .from(FAR)
                .header("x-twilio-signature", &signature),
        )
        .await;
    assert!(
        answer
            .body
            .contains("FlowEvent=return&amp;SessionHistoryKey=k7</Redirect>"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn behind_a_tunnel_without_a_public_url_signatures_still_count() {
    let mut config = signing();
    config.public_url = None;
    let server = Server::with(config);
    let form = refer_form("<sip:q@h?X-Session-History-Key=k>");
    let request = signed_post(REFER, &form).header("host", "bridge.example.com");
    assert_eq!(server.ask(request).await.status, 200);
    let elsewhere = signed_post(REFER, &form).header("host", "other.example.com");
    assert_eq!(server.ask(elsewhere).await.status, 403);
}

#[tokio::test]
async fn without_a_token_only_this_machine_is_believed() {
    let server = Server::with(flow());
    let form = refer_form("<sip:q@h?X-Session-History-Key=k>");
    let here = server.ask(post(REFER, form.clone()).form()).await;
    assert!(
        here.body.contains("SessionHistoryKey=k</Redirect>"),
        "{}",
        here.body
    );
    for request in [
        post(REFER, form.clone()).form().from(FAR),
        post(REFER, form.clone())
            .form()
            .header("x-forwarded-for", "54.172.60.1"),
        post(REFER, form.clone())
            .form()
            .header("host", "bridge.example.com"),
    ] {
        assert_eq!(server.ask(request).await.status, 403);
    }
}

#[tokio::test]
async fn a_webhook_without_a_target_is_redirected_without_a_key_and_counted() {
    let server = Server::with(flow());
    for request in [
        post(REFER, ""),
        get(REFER),
        post(REFER, "ReferTransferTarget=").form(),
    ] {
        let answer = server.ask(request).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains("<Redirect method=\"POST\">https://webhooks.twilio.com/v1/F?FlowEvent=return</Redirect>"), "{}", answer.body);
    }
    let metrics = server.ask(get("/metrics")).await.body;
    assert!(metrics.contains("baton_http_refer_without_target_total 3\n"));
    assert!(metrics.contains("baton_http_refer_redirected_total 3\n"));
}

#[tokio::test]
async fn that_a_key_was_read_is_told_to_the_call_and_written_down() {
    let server = Server::with(flow());
    let key: HandoffKey = KEY.parse().unwrap();
    server
        .record(key, vec![Event::new(UnixMillis(1), Kind::Answered)])
        .await;
    let view = CallView::new(CallId::from("call-1"), key, UnixMillis(0));
    let (_call, mut commands) = server.registry.register(view);
    let form = refer_form(&format!("<sip:q@h?X-Session-History-Key={KEY}>"));
    let answer = server.ask(post(REFER, form).form()).await;
    assert!(
        answer
            .body
            .contains(&format!("SessionHistoryKey={KEY}</Redirect>"))
    );
    assert!(matches!(commands.try_recv(), Ok(Operator::KeyRead { key: read }) if read == key));
    let events = server.history.read(key).await.unwrap().unwrap();
    let call_sid = Some("CA02".to_owned());
    assert_eq!(events[1].kind, Kind::RedirectedByHandler { call_sid });
    assert!(events[1].at.0 > 1_000_000_000_000 && events[1].at.0 < WITNESS_SEQ);
}

#[tokio::test]
async fn a_key_of_nobody_makes_no_session() {
    let server = Server::with(flow());
    let form = refer_form(&format!("<sip:q@h?X-Session-History-Key={KEY}>"));
    let answer = server.ask(post(REFER, form).form()).await;
    assert!(
        answer.body.contains(KEY),
        "the redirect carries it all the same"
    );
    assert_eq!(server.history.read(KEY.parse().unwrap()).await, Ok(None));
    let metrics = server.ask(get("/metrics")).await.body;
    assert!(metrics.contains("baton_http_refer_unknown_key_total 1\n"));
}

#[tokio::test]
async fn a_store_that_is_down_does_not_stop_the_transfer() {
    let fault = BackendError::Unavailable { why: "down".into() };
    let server = Server::on(flow(), Arc::new(Memory::failing(fault)));
    let form = refer_form(&format!("<sip:q@h?X-Session-History-Key={KEY}>"));
    let answer = server.ask(post(REFER, form).form()).await;
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .body
            .contains(&format!("SessionHistoryKey={KEY}</Redirect>"))
    );
}

#[tokio::test]
async fn hostile_targets_stay_inside_their_element() {
    let server = Server::with(flow());
    for target in [
        "<sip:q@h?X-Session-History-Key=</Redirect><Hangup/>",
        "<sip:q@h?X-Session-History-Key=%3C/Redirect%3E%3CHangup/%3E>",
        "<sip:q@h?X-Session-History-Key=a%26FlowEvent=trigger%23>",
    ] {
        let answer = server.ask(post(REFER, refer_form(target)).form()).await;
        assert_eq!(answer.status, 200, "{target}");
        assert!(!answer.body.contains("<Hangup"), "{}", answer.body);
        assert_eq!(
            answer.body.matches("FlowEvent=").count(),
            1,
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn twilio_requests_with_other_methods_are_not_taken() {
    let server = Server::with(flow());
    let put = Asked {
        method: "PUT",
        ..post(REFER, "")
    };
    assert_eq!(server.ask(put).await.status, 405);
}
