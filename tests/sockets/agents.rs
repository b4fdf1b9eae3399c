//! The two real agents, each played by a small server, in real calls through the real binary.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use baton::softphone::{CallPlan, LiveCall, OnRefer, Outcome, PhoneEvent};
use baton_core::media::g711::{self, Codec};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::baton::text;
use crate::support::phone::{
    answered, calls, count_of, ended, hung_up, key_in, plan, referred, saying, sees,
};
use crate::support::sound::{likeness, louder_by_db, sweep, voiced_ms};
use crate::support::{Agent, AgentServer, Baton, Setup, http};

/// A call that a websocket agent has answered.
struct Talk {
    baton: Baton,
    agent: Agent,
    call: LiveCall,
    start: Value,
}

impl Talk {
    async fn begins() -> Self {
        Self::with("", |plan| plan).await
    }

    async fn with(lines: &str, change: impl FnOnce(CallPlan) -> CallPlan) -> Self {
        let server = AgentServer::bind().await;
        let baton = Setup::new()
            .agents(&server.section("websocket", lines))
            .start();
        let call = calls(change(plan(&baton))).await;
        let mut agent = server.answers().await;
        let start = agent.hears("start").await;
        let mut talk = Self {
            baton,
            agent,
            call,
            start,
        };
        answered(&mut talk.call).await;
        talk
    }

    fn key(&self) -> String {
        text(&self.start["session_history_key"]).to_owned()
    }
}

/// The caller is told that something broke, and handed over to the human with the key of the history.
async fn hands_over(mut baton: Baton, mut call: LiveCall, key: &str) -> Value {
    let refer_to = referred(&mut call).await;
    assert_eq!(key_in(&refer_to), key);
    let report = ended(call).await;
    // "I am sorry, something went wrong on our side. ..."
    assert!(voiced_ms(&report.recording) > 1000, "the caller is told");
    assert!(report.refer.is_some_and(|refer| refer.bye_received));
    let (_, session) = baton.ended_call();
    assert_eq!(session["key"], key);
    assert_eq!(session["end"]["kind"], "transferred");
    assert_eq!(session["handoffs"][0]["reason"], "agent failed");
    session
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_told_who_calls_before_anything_else() {
    let headers = vec![
        ("X-Tenant".into(), "acme".into()),
        ("Subject".into(), "not for agents".into()),
    ];
    let lines = "sample_rate = 24000\napi_key = \"s3cret\"\n[[route]]\nname = \"support\"\nvariables = { language = \"en-GB\" }";
    let mut talk = Talk::with(lines, |plan| CallPlan { headers, ..plan }).await;
    let start = talk.start.clone();
    assert_eq!(talk.agent.frames.first(), Some(&start), "nothing before it");
    assert_eq!(talk.agent.octets, Vec::<u8>::new(), "no audio before it");
    assert_eq!(talk.agent.authorization.as_deref(), Some("Bearer s3cret"));
    assert_eq!(start["version"], "1");
    assert_eq!(
        start["audio"],
        json!({"encoding": "pcm_s16le", "sample_rate": 24000, "frame_ms": 20})
    );
    assert_eq!(start["input_context"], json!({"language": "en-GB"}));
    let call = &start["call"];
    assert_eq!(
        (&call["from"], &call["to"]),
        (&json!("+15559870042"), &json!("bot"))
    );
    assert_eq!(
        (&call["trunk"], &call["route"]),
        (&json!("default"), &json!("support"))
    );
    assert_eq!(call["headers"], json!({"X-Tenant": "acme"}));
    assert_eq!(call["sip_call_id"], talk.call.call_id());
    assert!(text(&call["id"]).starts_with("call-"));
    hung_up(talk.call).await;
    assert_eq!(
        talk.agent.hears("stop").await["reason"],
        "the caller hung up"
    );
    assert_eq!(talk.agent.closed_with().await, Some(1000));
    let (call, session) = talk.baton.ended_call();
    assert_eq!(call["id"], start["call"]["id"]);
    assert_eq!(session["key"], start["session_history_key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn caller_and_agent_hear_each_other() {
    let said = sweep(8000, 1000);
    let spoken = sweep(16_000, 800);
    let mut talk = Talk::with("", |plan| CallPlan {
        play: Arc::from(said),
        ..plan
    })
    .await;
    talk.agent.speaks(&spoken).await;
    talk.agent
        .says(&json!({"type": "mark", "name": "hello"}))
        .await;
    let mark = talk.agent.hears("mark").await;
    assert_eq!(
        (&mark["name"], &mark["heard"]),
        (&json!("hello"), &json!(true))
    );
    assert!(mark["at_ms"].as_u64().is_some_and(|at| at >= 800), "{mark}");
    talk.agent.hears_octets(64_000).await; // two seconds
    let report = hung_up(talk.call).await;
    talk.agent.hears("stop").await;

    let heard = talk.agent.pcm();
    assert!(
        likeness(&heard, &sweep(16_000, 1000)) > 0.97,
        "{}",
        likeness(&heard, &sweep(16_000, 1000))
    );
    assert!(louder_by_db(&heard, &sweep(16_000, 1000)).abs() < 1.0);
    let played = sweep(8000, 800);
    assert!(
        likeness(&report.recording, &played) > 0.97,
        "{}",
        likeness(&report.recording, &played)
    );
    assert!(louder_by_db(&report.recording, &played).abs() < 1.0);
    assert_eq!(report.rtp.lost, 0);
    assert_eq!(report.rtp.codec, Some("PCMU"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_go_both_ways() {
    let mut talk = Talk::begins().await;
    talk.call.press("5#").await;
    let first = talk.agent.hears("dtmf").await;
    assert_eq!(first["digit"], "5");
    assert!(
        first["duration_ms"]
            .as_u64()
            .is_some_and(|ms| (100..=240).contains(&ms)),
        "{first}"
    );
    assert_eq!(talk.agent.hears("dtmf").await["digit"], "#");
    talk.agent
        .says(&json!({"type": "dtmf", "digits": "19A"}))
        .await;
    for digit in ['1', '9', 'A'] {
        let is_it = |event: &PhoneEvent| *event == PhoneEvent::Digit(digit);
        sees(&mut talk.call, "our digits", is_it).await;
    }
    let report = hung_up(talk.call).await;
    assert_eq!(report.rtp.digits, "19A");
    let (_, session) = talk.baton.ended_call();
    assert_eq!(session["dtmf"][0]["digit"], "5");
    assert_eq!(session["dtmf"][1]["digit"], "#");
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_silences_the_callers_ear_at_once() {
    let mut talk = Talk::begins().await;
    talk.agent.speaks(&sweep(16_000, 5000)).await;
    talk.agent
        .says(&json!({"type": "mark", "name": "the end of it"}))
        .await;
    let is_it = |event: &PhoneEvent| matches!(event, PhoneEvent::FirstVoice(_));
    sees(&mut talk.call, "the agent's voice", is_it).await;
    talk.agent.hears_octets(16_000).await; // half a second of the caller's silence
    talk.agent.says(&json!({"type": "clear"})).await;
    let mark = talk.agent.hears("mark").await;
    assert_eq!(
        (&mark["name"], &mark["heard"]),
        (&json!("the end of it"), &json!(false))
    );
    let cleared = talk.agent.hears("cleared").await;
    let heard_ms = cleared["heard_ms"].as_u64().expect("a number");
    let had = talk.agent.octets.len();
    talk.agent.hears_octets(had + 32_000).await; // and a second in which nothing may be heard
    let report = hung_up(talk.call).await;
    let voiced = voiced_ms(&report.recording);
    assert!((200..3000).contains(&heard_ms), "{heard_ms}");
    assert!(
        voiced.abs_diff(heard_ms) <= 40,
        "heard {voiced} ms, and it said {heard_ms} ms"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_agent_knows_is_there_for_the_human() {
    let mut talk = Talk::begins().await;
    for frame in [
        json!({"type": "transcript", "role": "caller", "text": "I moved.", "final": true}),
        json!({"type": "transcript", "role": "caller", "text": "I mo", "final": false}),
        json!({"type": "transcript", "role": "agent", "text": "Where to?"}),
        json!({"type": "context", "set": {"order": 4711}, "current_task": "address", "transfer": {"queue": "billing"}}),
        json!({"type": "sensitive", "on": true}),
        json!({"type": "transcript", "role": "caller", "text": "My card is 4111."}),
        json!({"type": "handoff", "reason": "needs a person", "summary": "Moved to Leeds.", "headers": {"X-Reason": "moved"}}),
    ] {
        talk.agent.says(&frame).await;
    }
    let refer_to = referred(&mut talk.call).await;
    assert!(refer_to.starts_with("<sip:humans@127.0.0.1?"), "{refer_to}");
    assert_eq!(key_in(&refer_to), talk.key());
    let done = talk
        .agent
        .hears_such("handoff", |frame| frame["state"] == "transferred")
        .await;
    assert_eq!(done["sip_status"], 200);
    talk.agent.hears("stop").await;
    let states: Vec<_> = talk
        .agent
        .frames
        .iter()
        .filter(|f| f["type"] == "handoff")
        .map(|f| text(&f["state"]))
        .collect();
    assert_eq!(
        states,
        ["requested", "committed", "trying", "trying", "transferred"]
    );
    let report = ended(talk.call).await;
    assert_eq!(count_of(&report, "REFER"), 1);
    assert_eq!(count_of(&report, "BYE"), 1);
    let refer = report.refer.expect("a transfer");
    assert!(
        refer.refer_to.contains("X-Reason=moved"),
        "{}",
        refer.refer_to
    );
    assert!(refer.referred_by.is_some() && refer.bye_received);

    let (_, session) = talk.baton.ended_call();
    let turns: Vec<_> = session["turns"].as_array().expect("turns").iter().collect();
    assert_eq!(
        (&turns[0]["role"], &turns[0]["text"]),
        (&json!("caller"), &json!("I moved."))
    );
    assert!(turns.iter().any(|turn| turn["text"] == "Where to?"));
    assert!(!session.to_string().contains("4111"), "masked: {session}");
    assert!(
        !session.to_string().contains("I mo\""),
        "only final words: {session}"
    );
    assert_eq!(
        session["context"]["referenceVariables"],
        json!({"order": 4711})
    );
    assert_eq!(session["context"]["currentTaskName"], "address");
    assert_eq!(
        session["context"]["transferVariables"],
        json!({"queue": "billing"})
    );
    let handoff = &session["handoffs"][0];
    assert_eq!(
        (&handoff["reason"], &handoff["summary"]),
        (&json!("needs a person"), &json!("Moved to Leeds."))
    );
    let page = http::get(
        talk.baton.ports().http(),
        &format!("/sessions/{}", text(&session["key"])),
    );
    let page = page.expect("the human's page").body;
    assert!(
        page.contains("Where to?") && page.contains("Moved to Leeds."),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handoff_waits_for_the_words_before_it() {
    let mut talk = Talk::begins().await;
    talk.agent.speaks(&sweep(16_000, 1500)).await;
    talk.agent
        .says(&json!({"type": "mark", "name": "bye"}))
        .await;
    talk.agent
        .says(&json!({"type": "handoff", "say_first": "bye"}))
        .await;
    talk.agent
        .hears_such("handoff", |frame| frame["state"] == "committed")
        .await;
    let order: Vec<_> = talk
        .agent
        .said()
        .iter()
        .map(|frame| frame["type"].clone())
        .collect();
    let at = |kind: &str| order.iter().position(|k| k == kind).expect("it was said");
    assert!(
        at("mark") > at("handoff"),
        "asked for, then said: {order:?}"
    );
    referred(&mut talk.call).await;
    let report = ended(talk.call).await;
    assert!(voiced_ms(&report.recording) >= 1400, "all of it was heard");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_handoff_comes_back_to_the_agent() {
    let mut talk = Talk::with("", |plan| CallPlan {
        on_refer: OnRefer::Reject,
        ..plan
    })
    .await;
    talk.agent.says(&json!({"type": "handoff"})).await;
    let failed = talk
        .agent
        .hears_such("handoff", |frame| frame["state"] == "failed")
        .await;
    assert_eq!(failed["sip_status"], 603);
    talk.agent
        .hears_such("handoff", |frame| frame["state"] == "resumed")
        .await;
    // The agent has the caller again: both are heard as before.
    talk.agent.speaks(&sweep(16_000, 300)).await;
    talk.agent
        .says(&json!({"type": "mark", "name": "on"}))
        .await;
    assert_eq!(talk.agent.hears("mark").await["heard"], true);
    let report = hung_up(talk.call).await;
    assert!(voiced_ms(&report.recording) >= 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agents_hangup_is_a_bye() {
    let mut talk = Talk::begins().await;
    let hangup =
        json!({"type": "hangup", "reason": "all done", "headers": {"X-Outcome": "solved"}});
    talk.agent.says(&hangup).await;
    talk.agent.hears("stop").await;
    assert_eq!(talk.agent.closed_with().await, Some(1000));
    let report = ended(talk.call).await;
    assert!(
        matches!(report.outcome, Outcome::Completed { by_us: false, .. }),
        "{:?}",
        report.outcome
    );
    let (call, session) = talk.baton.ended_call();
    assert_eq!(call["end"]["kind"], "agent_hung_up");
    assert_eq!(
        (&session["end"]["by"], &session["end"]["reason"]),
        (&json!("agent"), &json!("all done"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_cannot_be_reached_leaves_nobody_in_silence() {
    let setup = Setup::new();
    // A port of this test's own block on which nobody listens.
    let dead = setup.ports.sipp();
    let agents = format!(
        "[[agent]]\nname = \"bot\"\nkind = \"websocket\"\nurl = \"ws://127.0.0.1:{dead}/\"\n"
    );
    let baton = setup.agents(&agents).start();
    let mut call = calls(plan(&baton)).await;
    answered(&mut call).await;
    let key = text(&baton.calls()[0]["session_history_key"]).to_owned();
    hands_over(baton, call, &key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_never_says_a_word_is_given_up() {
    // It takes the connection and leaves the upgrade unanswered.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("bound");
    let agents = format!(
        "[[agent]]\nname = \"bot\"\nkind = \"websocket\"\nurl = \"ws://{address}/\"\nconnect_timeout = \"300ms\"\n"
    );
    let mut baton = Baton::with(&agents, "");
    let mut call = calls(plan(&baton)).await;
    let after = answered(&mut call).await;
    assert!(
        after >= Duration::from_millis(290),
        "it rang meanwhile: {after:?}"
    );
    referred(&mut call).await;
    ended(call).await;
    let (_, session) = baton.ended_call();
    assert_eq!(session["handoffs"][0]["reason"], "agent failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_dies_in_mid_call_leaves_nobody_in_silence() {
    let mut talk = Talk::begins().await;
    talk.agent
        .says(&json!({"type": "transcript", "role": "caller", "text": "Before it died."}))
        .await;
    talk.agent.speaks(&sweep(16_000, 200)).await;
    talk.agent
        .says(&json!({"type": "mark", "name": "heard"}))
        .await;
    talk.agent.hears("mark").await;
    let key = talk.key();
    talk.agent.dies();
    let session = hands_over(talk.baton, talk.call, &key).await;
    assert!(session.to_string().contains("Before it died."), "{session}");
}

#[tokio::test(flavor = "multi_thread")]
async fn five_malformed_frames_close_with_1008_and_the_caller_goes_to_a_human() {
    let mut talk = Talk::begins().await;
    for garbage in ["no json", "[]", "{\"type\":\"mark\"}", "{}"] {
        talk.agent.sends(Message::text(garbage)).await;
        let error = talk.agent.hears("error").await;
        assert!(!text(&error["message"]).is_empty());
    }
    // What is merely unknown is no fault.
    talk.agent.says(&json!({"type": "of tomorrow"})).await;
    talk.agent
        .says(&json!({"type": "mark", "name": "still here", "of": "tomorrow"}))
        .await;
    assert_eq!(talk.agent.hears("mark").await["heard"], true);
    talk.agent
        .sends(Message::text(
            "{\"type\":\"transcript\",\"role\":\"dog\",\"text\":\"woof\"}",
        ))
        .await;
    assert_eq!(talk.agent.closed_with().await, Some(1008));
    let key = talk.key();
    hands_over(talk.baton, talk.call, &key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_over_a_mebibyte_closes_with_1009_and_the_caller_goes_to_a_human() {
    let mut talk = Talk::begins().await;
    // As long as it may be: no fault. Half a minute of audio.
    talk.agent.sends(Message::binary(vec![0; 1 << 20])).await;
    talk.agent.says(&json!({"type": "clear"})).await;
    talk.agent.hears("cleared").await;
    talk.agent
        .sends(Message::binary(vec![0; (1 << 20) + 2]))
        .await;
    assert_eq!(talk.agent.closed_with().await, Some(1009));
    let key = talk.key();
    hands_over(talk.baton, talk.call, &key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_media_streams_bot_is_called_as_twilio_calls_it() {
    let server = AgentServer::bind().await;
    let mut baton = Setup::new()
        .agents(&server.section("twilio-streams", ""))
        .start();
    let said = sweep(8000, 600);
    let mut call = calls(saying(&baton, said.clone())).await;
    let mut bot = server.answers().await;
    let connected = bot.hears("connected").await;
    assert_eq!(bot.frames.first(), Some(&connected));
    assert_eq!(
        (&connected["protocol"], &connected["version"]),
        (&json!("Call"), &json!("1.0.0"))
    );
    let start = bot.hears("start").await;
    let stream = text(&start["streamSid"]).to_owned();
    assert!(stream.starts_with("MZ") && text(&start["start"]["callSid"]).starts_with("CA"));
    assert_eq!(
        start["start"]["mediaFormat"],
        json!({"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1})
    );
    let key = text(&start["start"]["customParameters"]["SessionHistoryKey"]).to_owned();
    answered(&mut call).await;

    // The bot's own octets reach the caller, and the mark behind them comes back.
    let spoken = ulaw(&sweep(8000, 500));
    bot.says(&media(&stream, &spoken)).await;
    bot.says(&json!({"event": "mark", "streamSid": stream, "mark": {"name": "said"}}))
        .await;
    assert_eq!(bot.hears("mark").await["mark"]["name"], "said");
    // Five seconds are cut after half a second or so; the mark behind them comes back all the same.
    bot.says(&media(&stream, &ulaw(&sweep(8000, 5000)))).await;
    bot.says(&json!({"event": "mark", "streamSid": stream, "mark": {"name": "cut"}}))
        .await;
    for _ in 0..25 {
        bot.hears("media").await;
    }
    bot.says(&json!({"event": "clear", "streamSid": stream}))
        .await;
    assert_eq!(bot.hears("mark").await["mark"]["name"], "cut");
    for _ in 0..25 {
        bot.hears("media").await;
    }
    call.press("7").await;
    assert_eq!(bot.hears("dtmf").await["dtmf"]["digit"], "7");
    let report = hung_up(call).await;
    let stop = bot.hears("stop").await;
    assert_eq!(stop["streamSid"], stream);

    let heard: Vec<u8> = bot
        .frames
        .iter()
        .filter(|f| f["event"] == "media")
        .flat_map(payload)
        .collect();
    assert!(
        contains(&heard, &ulaw(&said)),
        "the caller's octets, unchanged"
    );
    assert!(
        contains(&ulaw(&report.recording), &spoken),
        "the bot's octets, unchanged"
    );
    assert!(
        voiced_ms(&report.recording) < 2500,
        "cleared: {}",
        voiced_ms(&report.recording)
    );
    let numbers: Vec<u64> = bot
        .frames
        .iter()
        .filter_map(|f| text_number(&f["sequenceNumber"]))
        .collect();
    assert!(
        numbers.iter().zip(1..).all(|(n, expected)| *n == expected),
        "{numbers:?}"
    );
    let (_, session) = baton.ended_call();
    assert_eq!(text(&session["key"]), key);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_media_streams_bot_asks_for_a_human_by_closing() {
    let server = AgentServer::bind().await;
    let mut baton = Setup::new()
        .agents(&server.section("twilio-streams", ""))
        .start();
    let mut call = calls(plan(&baton)).await;
    let mut bot = server.answers().await;
    let start = bot.hears("start").await;
    answered(&mut call).await;
    bot.closes().await;
    let refer_to = referred(&mut call).await;
    let report = ended(call).await;
    assert!(report.refer.is_some_and(|refer| refer.bye_received));
    let (_, session) = baton.ended_call();
    assert_eq!(key_in(&refer_to), text(&session["key"]));
    assert_eq!(
        start["start"]["customParameters"]["SessionHistoryKey"],
        session["key"]
    );
    assert_eq!(session["handoffs"][0]["reason"], "agent closed");
}

fn media(stream: &str, octets: &[u8]) -> Value {
    json!({"event": "media", "streamSid": stream, "media": {"payload": BASE64_STANDARD.encode(octets)}})
}

fn payload(frame: &Value) -> Vec<u8> {
    BASE64_STANDARD
        .decode(text(&frame["media"]["payload"]))
        .expect("base64")
}

fn ulaw(samples: &[i16]) -> Vec<u8> {
    samples
        .iter()
        .map(|sample| g711::encode(Codec::Pcmu, *sample))
        .collect()
}

/// Whether all of `part` is in `whole`, without a hole. The two zeros of μ-law are one.
fn contains(whole: &[u8], part: &[u8]) -> bool {
    let level = |octets: &[u8]| -> Vec<u8> {
        octets
            .iter()
            .map(|o| if *o == 0x7f { 0xff } else { *o })
            .collect()
    };
    let (whole, part) = (level(whole), level(part));
    whole.windows(part.len()).any(|window| window == part)
}

fn text_number(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}
