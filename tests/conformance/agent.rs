//! Every dialect through one suite: what a call may rely on, whatever language its agent speaks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use baton_core::agent::{
    self, Audio, AudioFormat, CallInfo, Command, Dialect, Event, HandoffUpdate, Kind, Message,
    MessageKind, Outbox, Start,
};
use baton_core::vocab::{CallId, Entropy, HandoffId, HandoffKey, PTIME, SampleRate};
use serde_json::{Value, json};

const KINDS: [Kind; 4] = [
    Kind::Scripted,
    Kind::Echo,
    Kind::Websocket,
    Kind::TwilioStreams,
];
/// Those with a socket.
const LINKED: [Kind; 2] = [Kind::Websocket, Kind::TwilioStreams];

#[test]
fn an_agent_with_a_socket_hears_of_the_call_before_it_hears_the_caller() {
    for kind in LINKED {
        let mut agent = Agent::begun(kind);
        agent.hears(20);
        let sent = agent.out.sent;
        let start = sent
            .iter()
            .position(|m| m.kind() == "start")
            .expect("a start");
        assert!(start <= 1, "{kind:?}: {sent:?}");
        assert!(sent[..=start].iter().all(|m| !m.is_audio), "{kind:?}");
        assert_eq!(
            sent.iter().filter(|m| m.kind() == "start").count(),
            1,
            "{kind:?}"
        );
        assert!(
            sent[start].text.contains("0123456789ABCDEFGHIJKL"),
            "{kind:?}: the key of the history"
        );
        assert!(sent[start + 1..].iter().all(|m| m.is_audio), "{kind:?}");
    }
}

#[test]
fn every_frame_of_the_caller_reaches_the_agent_in_order_and_unchanged() {
    for kind in LINKED {
        let mut agent = Agent::begun(kind);
        agent.out.sent.clear();
        let said = agent.hears(50);
        let heard: Vec<u8> = agent.out.sent.iter().flat_map(Sent::audio).collect();
        assert_eq!(heard, said, "{kind:?}");
        assert_eq!(agent.out.sent.len(), 50, "{kind:?}: 20 ms a message");
    }
    let mut echo = Agent::begun(Kind::Echo);
    let said = echo.hears(50);
    assert_eq!(echo.out.played, said, "an echo");
}

#[test]
fn what_the_agent_says_is_played_in_order_however_it_is_cut() {
    for kind in LINKED {
        for cut in [1, 7, 160, 640, 5000] {
            let mut agent = Agent::begun(kind);
            let octets: Vec<u8> = (0..8000_u32)
                .map(|n| (n * 7 % 251).to_le_bytes()[0])
                .collect();
            for chunk in octets.chunks(cut) {
                agent.speaks(chunk);
            }
            assert_eq!(agent.out.played, octets, "{kind:?} in pieces of {cut}");
        }
    }
}

#[test]
fn marks_go_in_and_come_back_in_order_and_clear_is_told_at_once() {
    for kind in LINKED {
        let mut agent = Agent::begun(kind);
        agent.out.events.clear();
        let names = ["one", "two", "two", "three \"quoted\""];
        for name in names {
            agent.says(&mark(kind, name));
        }
        agent.says(&clear(kind));
        let marked: Vec<_> = names
            .iter()
            .map(|name| Event::Mark {
                name: (*name).into(),
            })
            .collect();
        assert_eq!(agent.out.events[..names.len()], marked, "{kind:?}");
        assert_eq!(agent.out.events[names.len()..], [Event::Clear], "{kind:?}");

        agent.out.sent.clear();
        for name in names {
            agent.tell(Command::Mark {
                name: name.into(),
                heard: true,
                at: PTIME,
            });
        }
        let told: Vec<_> = agent.out.sent.iter().map(|m| name_of(&m.json())).collect();
        assert_eq!(told, names, "{kind:?}");
        assert!(
            agent.out.sent.iter().all(|m| !m.is_audio),
            "{kind:?}: a mark may not be dropped"
        );
    }
}

#[test]
fn stop_is_the_last_word() {
    for kind in LINKED {
        let mut agent = Agent::begun(kind);
        agent.hears(3);
        agent.tell(Command::Stop {
            reason: "over".into(),
        });
        assert_eq!(
            agent.out.sent.last().map(Sent::kind).as_deref(),
            Some("stop"),
            "{kind:?}"
        );
        let stops = agent.out.sent.iter().filter(|m| m.kind() == "stop").count();
        assert_eq!(stops, 1, "{kind:?}");
    }
}

#[test]
fn agents_inside_baton_want_no_socket_and_say_nothing_to_one() {
    for kind in [Kind::Scripted, Kind::Echo] {
        let mut agent = Agent::begun(kind);
        assert_eq!(agent.dialect.link(), None);
        agent.hears(200);
        every_command(&mut agent);
        assert!(agent.out.sent.is_empty(), "{kind:?}: {:?}", agent.out.sent);
    }
    for kind in LINKED {
        let request = Agent::begun(kind).dialect.link().expect("a socket");
        assert_eq!(request.url, "wss://bot.example.com/call");
        let bearer = ("Authorization".to_owned(), "Bearer s3cret".to_owned());
        assert_eq!(request.headers, [bearer], "{kind:?}");
    }
}

#[test]
fn no_command_in_any_order_breaks_a_dialect() {
    for kind in KINDS {
        // Before its start, after its stop, twice: a call does none of it, and nothing may come of it.
        let mut agent = Agent::new(kind);
        every_command(&mut agent);
        agent.dialect.handle_open(agent.now, &mut agent.out);
        every_command(&mut agent);
        agent.tell(start());
        agent.tell(start());
        every_command(&mut agent);
        every_command(&mut agent);
        agent.hears(3);
        agent.passes(Duration::from_mins(2));
        assert!(
            agent
                .out
                .events
                .iter()
                .filter(|event| **event == Event::Ready)
                .count()
                <= 1,
            "{kind:?}"
        );
    }
}

#[test]
fn garbage_from_the_socket_never_panics_and_never_becomes_a_handoff() {
    for kind in KINDS {
        let mut entropy = Entropy::from_number(6455);
        let mut agent = Agent::begun(kind);
        for round in 0..4_000_u32 {
            let mut octets = seed(kind, &mut entropy).into_bytes();
            for _ in 0..=entropy.below(4) {
                mutate(&mut entropy, &mut octets);
            }
            agent.out.sent.clear();
            agent.out.events.clear();
            let before = agent.out.played.len();
            match String::from_utf8(octets) {
                Ok(text) => agent.says(&text),
                Err(error) => agent.dialect.handle_message(
                    agent.now,
                    Message::Binary(error.as_bytes()),
                    &mut agent.out,
                ),
            }
            assert!(
                agent.out.sent.len() <= 1,
                "{kind:?}: one answer to one frame"
            );
            assert!(
                agent.out.events.len() <= 1,
                "{kind:?}: one event of one frame"
            );
            assert!(
                agent.out.played.len() - before < 16_384,
                "{kind:?}: no more sound than octets"
            );
            assert!(
                !agent
                    .out
                    .events
                    .iter()
                    .any(|e| matches!(e, Event::Handoff(_))),
                "{kind:?}"
            );
            if round % 100 == 0 {
                // One that was closed for its faults takes no more; the next one begins afresh.
                agent = Agent::begun(kind);
                agent.passes(Duration::from_secs(6));
            }
        }
    }
}

#[test]
fn a_frame_that_is_too_large_closes_the_socket_with_1009() {
    for kind in LINKED {
        let mut agent = Agent::begun(kind);
        agent.out.events.clear();
        agent.says(&format!(
            "{{\"type\":\"mark\",\"name\":\"{}\"}}",
            "x".repeat(1 << 20)
        ));
        let close = agent.out.events.iter().find_map(|event| {
            if let Event::Fault { close, .. } = event {
                *close
            } else {
                None
            }
        });
        assert_eq!(close, Some(1009), "{kind:?}");
        // And from then on nothing it says counts.
        agent.out.events.clear();
        agent.says(&mark(kind, "late"));
        assert_eq!(agent.out.events, [], "{kind:?}");
    }
}

/// One dialect between a recorded call and a recorded socket.
struct Agent {
    kind: Kind,
    dialect: Box<dyn Dialect>,
    now: Instant,
    at: Duration,
    out: Recorded,
}

#[derive(Default)]
struct Recorded {
    sent: Vec<Sent>,
    played: Vec<u8>,
    events: Vec<Event>,
}

#[derive(Debug)]
struct Sent {
    text: String,
    octets: Vec<u8>,
    is_audio: bool,
}

impl Sent {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    fn kind(&self) -> String {
        let json = self.json();
        let kind = json.get("type").or(json.get("event"));
        kind.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn audio(&self) -> Vec<u8> {
        match self.json()["media"]["payload"].as_str() {
            Some(payload) => {
                base64::Engine::decode(&base64::prelude::BASE64_STANDARD, payload).expect("base64")
            }
            None => self.octets.clone(),
        }
    }
}

impl Outbox for Recorded {
    fn send(&mut self, message: Message<'_>, kind: MessageKind) {
        let (text, octets) = match message {
            Message::Text(text) => (text.to_owned(), Vec::new()),
            Message::Binary(octets) => (String::new(), octets.to_vec()),
        };
        let is_audio = kind == MessageKind::Audio;
        self.sent.push(Sent {
            text,
            octets,
            is_audio,
        });
    }

    fn play(&mut self, audio: Audio<'_>) {
        match audio {
            Audio::Ulaw(octets) | Audio::PcmBytes(octets) => self.played.extend_from_slice(octets),
            Audio::Pcm(samples) => self
                .played
                .extend(samples.iter().flat_map(|s| s.to_le_bytes())),
        }
    }

    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
}

impl Agent {
    #[expect(
        clippy::disallowed_methods,
        reason = "the suite's epoch, read once for each agent"
    )]
    fn new(kind: Kind) -> Self {
        let config = agent::Config {
            name: "bot".into(),
            kind,
            url: "wss://bot.example.com/call".into(),
            api_key: Some("s3cret".to_owned().into()),
            sample_rate: SampleRate::Hz16000,
            ..agent::Config::default()
        };
        Self {
            kind,
            dialect: agent::build(&config, Entropy::from_number(3)),
            now: Instant::now(),
            at: Duration::ZERO,
            out: Recorded::default(),
        }
    }

    /// Open, and told of its call.
    fn begun(kind: Kind) -> Self {
        let mut agent = Self::new(kind);
        agent.dialect.handle_open(agent.now, &mut agent.out);
        agent.tell(start());
        agent
    }

    fn tell(&mut self, command: Command) {
        self.dialect
            .handle_command(self.now, command, &mut self.out);
    }

    fn says(&mut self, text: &str) {
        self.dialect
            .handle_message(self.now, Message::Text(text), &mut self.out);
    }

    /// Audio in the dialect's own clothes.
    fn speaks(&mut self, octets: &[u8]) {
        if self.kind == Kind::TwilioStreams {
            let payload = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, octets);
            self.says(
                &json!({"event": "media", "streamSid": "MZ0", "media": {"payload": payload}})
                    .to_string(),
            );
        } else {
            self.dialect
                .handle_message(self.now, Message::Binary(octets), &mut self.out);
        }
    }

    /// So many frames of the caller, no two alike; returns their octets in the dialect's format.
    fn hears(&mut self, frames: u32) -> Vec<u8> {
        let mut said = Vec::new();
        for n in 0..frames {
            let len = match self.dialect.format() {
                AudioFormat::Ulaw => 160,
                AudioFormat::Pcm16(rate) => rate.frame_len() * 2,
            };
            let frame: Vec<u8> = (0_u32..)
                .take(len)
                .map(|i| ((i * 3 + n * 11) % 253).to_le_bytes()[0])
                .collect();
            let samples: Vec<i16> = frame
                .as_chunks::<2>()
                .0
                .iter()
                .map(|s| i16::from_le_bytes(*s))
                .collect();
            let audio = match self.dialect.format() {
                AudioFormat::Ulaw => Audio::Ulaw(&frame),
                AudioFormat::Pcm16(_) => Audio::Pcm(&samples),
            };
            self.dialect.hear(self.now, self.at, audio, &mut self.out);
            self.at += PTIME;
            self.now += PTIME;
            said.extend(frame);
        }
        said
    }

    /// Virtual time passes; every deadline on the way fires, and there are not endlessly many.
    fn passes(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..10_000 {
            let Some(due) = self.dialect.poll_timeout().filter(|due| *due <= until) else {
                self.now = until;
                return;
            };
            self.now = due.max(self.now);
            self.dialect.handle_timeout(self.now, &mut self.out);
        }
        panic!("{:?}: its deadlines do not end", self.kind);
    }
}

fn every_command(agent: &mut Agent) {
    let update = HandoffUpdate {
        id: HandoffId::from("ho-0011223344556677"),
        state: "failed",
        style: "refer",
        sip_status: Some(603),
        reason: Some("Decline".into()),
    };
    for command in [
        Command::SpeechStarted { at: PTIME },
        Command::SpeechStopped { at: PTIME },
        Command::Dtmf {
            digit: '5',
            duration: PTIME,
            at: PTIME,
        },
        Command::Mark {
            name: String::new(),
            heard: false,
            at: PTIME,
        },
        Command::Cleared { heard: PTIME },
        Command::Hold,
        Command::Resume,
        Command::Handoff(update),
        Command::Error {
            message: "\"\u{0}".into(),
        },
        Command::Stop {
            reason: "over".into(),
        },
    ] {
        agent.tell(command);
    }
}

fn start() -> Command {
    Command::Start(Box::new(Start {
        call: CallInfo {
            id: CallId::from("call-0123456789abcdef"),
            sip_call_id: "7f0c1d2e@192.0.2.60".into(),
            twilio_call_sid: None,
            from: "+15559870000".into(),
            to: "+15551230000".into(),
            trunk: "twilio".into(),
            route: "support".into(),
            headers: vec![("X-Tenant".into(), "a \"b\"".into())],
        },
        key: "0123456789ABCDEFGHIJKL"
            .parse::<HandoffKey>()
            .expect("a key"),
        input_context: BTreeMap::new(),
    }))
}

fn mark(kind: Kind, name: &str) -> String {
    match kind {
        Kind::TwilioStreams => json!({"event": "mark", "streamSid": "MZ0", "mark": {"name": name}}),
        Kind::Scripted | Kind::Echo | Kind::Websocket => json!({"type": "mark", "name": name}),
    }
    .to_string()
}

fn clear(kind: Kind) -> String {
    match kind {
        Kind::TwilioStreams => json!({"event": "clear", "streamSid": "MZ0"}),
        Kind::Scripted | Kind::Echo | Kind::Websocket => json!({"type": "clear"}),
    }
    .to_string()
}

fn name_of(frame: &Value) -> String {
    let name = frame.get("name").or(frame["mark"].get("name"));
    name.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A good frame to spoil; none that asks for a handoff, so that none may come of it.
fn seed(kind: Kind, entropy: &mut Entropy) -> String {
    match entropy.below(5) {
        0 => mark(kind, "name"),
        1 => clear(kind),
        2 => json!({"type": "transcript", "role": "caller", "text": "Ünïcödé", "final": true})
            .to_string(),
        3 => json!({"type": "context", "set": {"a": [1, {"b": null}]}, "current_task": "t"})
            .to_string(),
        _ => json!({"event": "media", "streamSid": "MZ0", "media": {"payload": "f39/f39/"}})
            .to_string(),
    }
}

fn mutate(entropy: &mut Entropy, octets: &mut Vec<u8>) {
    if octets.is_empty() {
        return;
    }
    let at = usize::try_from(entropy.below(octets.len() as u64)).expect("small");
    match entropy.below(5) {
        0 => octets[at] = entropy.next_u32().to_le_bytes()[0],
        1 => octets.insert(at, octets[at]),
        2 => drop(octets.remove(at)),
        3 => octets.truncate(at),
        _ => {
            let tail = octets.split_off(at);
            octets.splice(0..0, tail);
        }
    }
}
