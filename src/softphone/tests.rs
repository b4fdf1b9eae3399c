#![expect(clippy::disallowed_methods, reason = "tests: the far ends are tasks")]
//! Whole calls over loopback, against a far end made of the same cores.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use baton_core::sdp::{self, Local, Offer};
use baton_core::sip::endpoint::{Command, Config, DialogEvent, DialogId, NotifyState};
use baton_core::vocab::Entropy;
use bytes::Bytes;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::net::sip_task::{self, SipHandle, WireLine};

const SOON: Duration = Duration::from_secs(5);

/// A far end that takes one call and leaves the rest to the test.
struct Bot {
    sip: SipHandle,
    uri: String,
    arrivals: mpsc::Receiver<sip_task::Arrived>,
}

/// The bot's side of an answered call.
struct Taken {
    sip: SipHandle,
    dialog: DialogId,
    events: mpsc::Receiver<DialogEvent>,
    invited: Box<baton_core::sip::endpoint::Invited>,
}

impl Bot {
    fn start(seed: u64) -> Self {
        let wanted = crate::net::listen::Listening {
            transport: baton_core::sip::endpoint::Transport::Udp,
            address: "127.0.0.1:0".parse().unwrap(),
        };
        let socket = crate::net::listen::listen(wanted, "test").unwrap();
        let streams = crate::net::streams::Config::default();
        let signalling = sip_task::start(
            Config::default(),
            Entropy::from_number(seed),
            vec![socket],
            streams,
            crate::net::dns::Dns::new(&[], Entropy::from_number(seed)),
            None,
        )
        .unwrap();
        let address = signalling.handle.addresses()[0].address;
        Self {
            sip: signalling.handle,
            uri: format!("sip:bot@{address}"),
            arrivals: signalling.arrivals,
        }
    }

    async fn invited(&mut self) -> Taken {
        let arrived = timeout(SOON, self.arrivals.recv()).await.unwrap().unwrap();
        Taken {
            sip: self.sip.clone(),
            dialog: arrived.invited.dialog,
            events: arrived.events,
            invited: arrived.invited,
        }
    }

    /// Answers; audio comes back as it goes in, if `echo`.
    async fn answered(&mut self, echo: bool) -> Taken {
        let mut taken = self.invited().await;
        let rtp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = rtp.local_addr().unwrap();
        let offer = Offer::parse(&taken.invited.offer).unwrap();
        let local = Local::new(address.ip(), address.port(), 7);
        let agreed = sdp::answer(&offer, &local).unwrap();
        if echo {
            tokio::spawn(async move {
                let mut buffer = [0; 2048];
                while let Ok((len, from)) = rtp.recv_from(&mut buffer).await {
                    let _ = rtp.send_to(&buffer[..len], from).await;
                }
            });
        }
        taken
            .say(Command::Answer {
                body: Bytes::from(agreed.body),
                headers: vec![("X-Bridge-Session".into(), "k-42".into())],
            })
            .await;
        taken
            .until(|event| matches!(event, DialogEvent::Acknowledged { .. }))
            .await;
        taken
    }
}

impl Taken {
    async fn say(&self, command: Command) {
        self.sip.command(self.dialog, command).await.unwrap();
    }

    async fn bye(&self) {
        self.say(Command::Bye {
            headers: Vec::new(),
        })
        .await;
    }

    async fn refer(&self, to: &str) {
        self.say(Command::Refer {
            refer_to: to.into(),
            headers: vec![("X-Reason".into(), "billing".into())],
        })
        .await;
    }

    async fn until(&mut self, wanted: impl Fn(&DialogEvent) -> bool) -> DialogEvent {
        loop {
            let event = timeout(SOON, self.events.recv())
                .await
                .expect("in time")
                .expect("an event");
            if wanted(&event) {
                return event;
            }
        }
    }

    async fn notified(&mut self) -> (u16, NotifyState) {
        let event = self
            .until(|event| matches!(event, DialogEvent::Notified { .. }))
            .await;
        let DialogEvent::Notified { sipfrag, state } = event else {
            unreachable!("only NOTIFYs were waited for");
        };
        (sipfrag.unwrap().0, state)
    }
}

fn phone(seed: u64) -> Phone {
    Phone::bind(PhoneConfig::loopback(Entropy::from_number(seed))).unwrap()
}

async fn until(live: &mut LiveCall, wanted: impl Fn(&PhoneEvent) -> bool) -> PhoneEvent {
    loop {
        let event = timeout(SOON, live.next())
            .await
            .expect("in time")
            .expect("an event");
        if wanted(&event) {
            return event;
        }
    }
}

async fn report(live: LiveCall) -> CallReport {
    timeout(SOON, live.report()).await.expect("an end in time")
}

/// A refer-handler that answers one request.
async fn webhook(status: &'static str) -> (String, tokio::task::JoinHandle<String>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/refer", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !String::from_utf8_lossy(&request).contains("&To=") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "cut off");
        }
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/xml\r\nContent-Length: 11\r\n\r\n<Response/>"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request).into_owned()
    });
    (url, served)
}

#[tokio::test]
async fn a_call_hears_its_own_echo_and_records_it() {
    let mut bot = Bot::start(1);
    let phone = phone(2);
    let tone: Vec<i16> = (0..8000_i16).map(|n| (n % 80 - 40) * 300).collect();
    let plan = CallPlan {
        play: Arc::from(tone),
        keep: Keep::ALL,
        ..CallPlan::new(&bot.uri)
    };
    let mut live = phone.start(plan).await.unwrap();
    let taken = bot.answered(true).await;
    until(&mut live, |e| matches!(e, PhoneEvent::Answered(_))).await;
    until(&mut live, |e| matches!(e, PhoneEvent::FirstVoice(_))).await;
    until(
        &mut live,
        |e| matches!(e, PhoneEvent::Level { heard, said } if *heard > -30.0 && *said > -30.0),
    )
    .await;
    until(&mut live, |e| *e == PhoneEvent::PlayedOut).await;
    live.press("7").await;
    until(&mut live, |e| *e == PhoneEvent::Digit('7')).await;
    taken.bye().await;
    let report = report(live).await;
    assert_eq!(
        report.outcome,
        Outcome::Completed {
            by_us: false,
            reason: None
        }
    );
    assert_eq!(report.rtp.codec, Some("PCMU"));
    assert_eq!(report.rtp.digits, "7");
    assert!(
        report.rtp.received > 30 && report.rtp.lost == 0,
        "{:?}",
        report.rtp
    );
    assert!(report.rtp.gaps_ms.len() > 30);
    assert!(
        report.recording.iter().any(|s| *s > 8000),
        "the tone was recorded"
    );
    assert!(report.setup_ms.is_some() && report.talk_ms.is_some());
    assert!(
        report
            .answer_headers
            .contains(&("X-Bridge-Session".into(), "k-42".into()))
    );
    let labels: Vec<_> = report.wire.iter().map(WireLine::label).collect();
    assert_eq!(labels.first().map(String::as_str), Some("INVITE"));
    assert!(labels.contains(&"BYE".to_owned()), "{labels:?}");
}

#[tokio::test]
async fn a_refused_call_tells_the_status() {
    let mut bot = Bot::start(3);
    let phone = phone(4);
    let live = phone.start(CallPlan::new(&bot.uri)).await.unwrap();
    let taken = bot.invited().await;
    taken
        .say(Command::Reject {
            status: 486,
            headers: Vec::new(),
        })
        .await;
    let report = report(live).await;
    assert_eq!(
        report.outcome,
        Outcome::Refused {
            status: 486,
            reason: "Busy Here".into()
        }
    );
    assert_eq!((report.setup_ms, report.outcome.exit_code()), (None, 3));
}

#[tokio::test]
async fn a_call_that_nobody_answers_is_cancelled() {
    let mut bot = Bot::start(5);
    let phone = phone(6);
    let plan = CallPlan {
        ring_timeout: Duration::from_millis(200),
        ..CallPlan::new(&bot.uri)
    };
    let mut live = phone.start(plan).await.unwrap();
    let mut taken = bot.invited().await;
    let ring = Command::Ring {
        status: 180,
        body: Bytes::new(),
    };
    taken.say(ring).await;
    until(&mut live, |e| *e == PhoneEvent::Ringing(180)).await;
    taken
        .until(|event| matches!(event, DialogEvent::Cancelled { .. }))
        .await;
    let report = report(live).await;
    assert_eq!(report.outcome, Outcome::NoAnswer);
    assert!(report.ringing_ms.is_some());
}

#[tokio::test]
async fn an_answered_call_without_audio_is_a_lost_one() {
    let mut bot = Bot::start(7);
    let phone = phone(8);
    let plan = CallPlan {
        no_rtp_timeout: Duration::from_millis(300),
        ..CallPlan::new(&bot.uri)
    };
    let live = phone.start(plan).await.unwrap();
    let mut taken = bot.answered(false).await;
    taken
        .until(|event| matches!(event, DialogEvent::Bye { .. }))
        .await;
    let report = report(live).await;
    assert_eq!(report.outcome, Outcome::MediaLost);
    assert_eq!((report.rtp.received, report.rtp.first_packet_ms), (0, None));
}

#[tokio::test]
async fn a_transfer_asks_the_refer_url_as_twilio_does_and_expects_a_bye() {
    let mut bot = Bot::start(9);
    let phone = phone(10);
    let (url, served) = webhook("200 OK").await;
    let plan = CallPlan {
        from_user: "+15559870000".into(),
        refer_url: Some(url),
        ..CallPlan::new(&bot.uri)
    };
    let live = phone.start(plan).await.unwrap();
    let mut taken = bot.answered(true).await;
    let sid = taken.invited.header("X-Twilio-CallSid").unwrap().to_owned();
    taken
        .refer("<sip:human@example.com?X-Session-History-Key=k1>")
        .await;
    assert_eq!(taken.notified().await, (100, NotifyState::Active));
    assert_eq!(taken.notified().await, (200, NotifyState::Terminated));
    taken.bye().await;
    let form = timeout(SOON, served).await.unwrap().unwrap();
    assert!(form.contains(
        "ReferTransferTarget=%3Csip%3Ahuman%40example.com%3FX-Session-History-Key%3Dk1%3E"
    ));
    assert!(form.contains(&format!("CallSid={sid}")), "{form}");
    assert!(form.contains("From=%2B15559870000"));
    let report = report(live).await;
    assert_eq!(report.outcome.exit_code(), 0);
    let refer = report.refer.unwrap();
    assert_eq!(
        (refer.answered, refer.notified.as_slice()),
        (Some(202), &[100, 200][..])
    );
    assert!(refer.bye_received);
    assert!(
        refer
            .headers
            .contains(&("X-Reason".into(), "billing".into()))
    );
    let webhook = refer.webhook.unwrap();
    assert_eq!(
        (webhook.status, webhook.body.as_str()),
        (Some(200), "<Response/>")
    );
}

#[tokio::test]
async fn a_refer_url_that_fails_fails_the_transfer_and_the_call_goes_on() {
    let mut bot = Bot::start(11);
    let phone = phone(12);
    let (url, _served) = webhook("500 Internal Server Error").await;
    let plan = CallPlan {
        refer_url: Some(url),
        ..CallPlan::new(&bot.uri)
    };
    let live = phone.start(plan).await.unwrap();
    let mut taken = bot.answered(true).await;
    taken.refer("<sip:human@example.com>").await;
    assert_eq!(taken.notified().await, (100, NotifyState::Active));
    assert_eq!(taken.notified().await, (503, NotifyState::Terminated));
    live.hang_up().await;
    let report = report(live).await;
    assert!(matches!(report.outcome, Outcome::TransferFailed { .. }));
    assert_eq!(report.outcome.exit_code(), 6);
}

#[tokio::test]
async fn a_transferor_that_does_not_hang_up_is_found_out() {
    let mut bot = Bot::start(13);
    let phone = phone(14);
    let plan = CallPlan {
        bye_timeout: Duration::from_millis(100),
        ..CallPlan::new(&bot.uri)
    };
    let live = phone.start(plan).await.unwrap();
    let mut taken = bot.answered(true).await;
    taken.refer("<sip:human@example.com>").await;
    taken
        .until(|event| matches!(event, DialogEvent::Bye { .. }))
        .await;
    let report = report(live).await;
    assert!(matches!(report.outcome, Outcome::TransferFailed { .. }));
    assert!(!report.refer.unwrap().bye_received);
}

#[tokio::test]
async fn a_refer_can_be_rejected_or_left_without_a_notify() {
    for (on_refer, status) in [(OnRefer::Reject, 603), (OnRefer::Ignore, 202)] {
        let mut bot = Bot::start(15);
        let phone = phone(16);
        let plan = CallPlan {
            on_refer,
            ..CallPlan::new(&bot.uri)
        };
        let live = phone.start(plan).await.unwrap();
        let mut taken = bot.answered(true).await;
        taken.refer("<sip:human@example.com>").await;
        let answered = taken
            .until(|event| matches!(event, DialogEvent::ReferAnswered { .. }))
            .await;
        assert!(matches!(answered, DialogEvent::ReferAnswered { status: s, .. } if s == status));
        taken.bye().await;
        let report = report(live).await;
        assert_eq!(report.outcome.exit_code(), 0);
        let refer = report.refer.unwrap();
        assert_eq!((refer.answered, refer.notified.len()), (Some(status), 0));
    }
}

#[tokio::test]
async fn a_hold_is_answered_and_told() {
    let mut bot = Bot::start(17);
    let phone = phone(18);
    let mut live = phone.start(CallPlan::new(&bot.uri)).await.unwrap();
    let mut taken = bot.answered(true).await;
    let hold = "v=0\r\no=bot 7 2 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
        m=audio 4000 RTP/AVP 0\r\na=sendonly\r\n";
    taken
        .say(Command::Reinvite {
            body: Bytes::from_static(hold.as_bytes()),
        })
        .await;
    until(&mut live, |e| *e == PhoneEvent::Held(true)).await;
    let ended = taken
        .until(|event| matches!(event, DialogEvent::ReinviteEnded { .. }))
        .await;
    let DialogEvent::ReinviteEnded { status, body } = ended else {
        unreachable!("only that was waited for");
    };
    assert_eq!(status, 200);
    assert!(String::from_utf8_lossy(&body).contains("a=recvonly"));
    live.hang_up().await;
    assert_eq!(report(live).await.outcome.exit_code(), 0);
}

#[tokio::test]
async fn many_calls_share_one_phone() {
    let mut bot = Bot::start(19);
    let phone = phone(20);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let (phone, plan) = (phone.clone(), CallPlan::new(&bot.uri));
            tokio::spawn(async move { phone.call(plan).await.unwrap() })
        })
        .collect();
    let mut taken = Vec::new();
    for _ in 0..20 {
        taken.push(bot.answered(true).await);
    }
    for call in &taken {
        call.bye().await;
    }
    for call in calls {
        let report = timeout(SOON, call).await.unwrap().unwrap();
        assert_eq!(report.outcome.exit_code(), 0, "{:?}", report.outcome);
    }
}

#[tokio::test]
async fn nobody_there_is_no_answer_and_not_a_hang() {
    let phone = phone(21);
    // A family that the phone has no socket of.
    let plan = CallPlan::new("sip:a@[2001:db8::1]");
    let unplaced = timeout(SOON, phone.call(plan)).await.expect("an end");
    assert!(matches!(unplaced, Err(PhoneError::Locate(_))));
    let unplaced: Result<CallReport, PhoneError> = phone.call(CallPlan::new("sip:")).await;
    assert!(matches!(unplaced, Err(PhoneError::BadUri { .. })));
    let _: SocketAddr = phone.local();
}
