//! Baton's own agent protocol, `baton.v1`: binary frames are PCM, text frames are JSON objects with a `type`.
//!
//! ```text
//!  hear(pcm) ────────────► binary, 20 ms
//!  command ──► ToAgent ──► text
//!  play(pcm) ◄──────────── binary, any chunking
//!  event ◄── FromAgent ◄── text; malformed: `error` back, five in five seconds close with 1008
//! ```

pub mod wire;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::handoff_frame::{self, HandoffFault};
use super::secret::Secret;
use super::{
    Audio, AudioFormat, Command, Dialect, Event, LinkRequest, MAX_MARK, Message, MessageKind,
    Outbox,
};
use crate::vocab::SampleRate;
use wire::{FromAgent, Malformed, ToAgent};

/// `Sec-WebSocket-Protocol`.
pub const SUBPROTOCOL: &str = "baton.v1";
/// A longer frame closes the socket with 1009.
pub const MAX_FRAME: usize = 1024 * 1024;
/// So many malformed frames ..
const FAULTS: usize = 5;
/// .. within this time close the socket with 1008.
const FAULT_WINDOW: Duration = Duration::from_secs(5);
/// Octets of one transcript.
const MAX_TEXT: usize = 16 * 1024;
/// Octets of one context frame: it travels to a database and a human's screen.
const MAX_CONTEXT: usize = 64 * 1024;
/// Digits of one `dtmf`.
const MAX_DIGITS: usize = 64;

/// Where the agent lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `ws://` or `wss://`.
    pub url: String,
    /// Sent as a bearer token.
    pub api_key: Option<Secret>,
    /// What it hears and speaks.
    pub sample_rate: SampleRate,
}

/// The dialect of `kind = "websocket"`.
#[derive(Debug)]
pub struct Native {
    config: Config,
    /// Little-endian octets of the frame being sent or mended; reused.
    octets: Vec<u8>,
    /// First half of a sample whose second half comes with the next frame.
    half: Option<u8>,
    /// When the last malformed frames came, oldest first; at most [`FAULTS`].
    faults: VecDeque<Instant>,
    /// We asked for the socket's end: what still comes is not read.
    closed: bool,
}

impl Native {
    /// An agent at `config.url`.
    pub fn new(config: Config) -> Self {
        Self {
            octets: Vec::with_capacity(config.sample_rate.frame_len() * 2),
            config,
            half: None,
            faults: VecDeque::with_capacity(FAULTS),
            closed: false,
        }
    }

    /// Plays PCM however it was cut: a chunk may end in the middle of a sample.
    fn play(&mut self, chunk: &[u8], out: &mut dyn Outbox) {
        let chunk = match self.half.take() {
            None => chunk,
            Some(half) => {
                self.octets.clear();
                self.octets.push(half);
                self.octets.extend_from_slice(chunk);
                &self.octets
            }
        };
        let (whole, rest) = chunk.split_at(chunk.len() & !1);
        self.half = rest.first().copied();
        if !whole.is_empty() {
            out.play(Audio::PcmBytes(whole));
        }
    }

    fn handle_text(&mut self, now: Instant, text: &str, out: &mut dyn Outbox) {
        let event = FromAgent::parse(text).and_then(|frame| event_of(frame, text.len()));
        match event {
            Ok(Some(event)) => {
                // Who marks or clears is at the edge of a sample; half of one before it is a slip.
                if matches!(event, Event::Mark { .. } | Event::Clear) {
                    self.half = None;
                }
                out.event(event);
            }
            Ok(None) => {}
            Err(malformed) => self.complain(now, &malformed, out),
        }
    }

    fn complain(&mut self, now: Instant, malformed: &Malformed, out: &mut dyn Outbox) {
        let message = malformed.to_string();
        say(&ToAgent::Error { message: &message }, out);
        if self.faults.len() == FAULTS {
            self.faults.pop_front();
        }
        self.faults.push_back(now);
        let burst = self.faults.len() == FAULTS
            && self
                .faults
                .front()
                .is_some_and(|first| now.duration_since(*first) <= FAULT_WINDOW);
        self.fault(message, burst.then_some(1008), out);
    }

    fn fault(&mut self, what: String, close: Option<u16>, out: &mut dyn Outbox) {
        self.closed |= close.is_some();
        out.event(Event::Fault { what, close });
    }
}

impl Dialect for Native {
    fn format(&self) -> AudioFormat {
        AudioFormat::Pcm16(self.config.sample_rate)
    }

    fn link(&self) -> Option<LinkRequest> {
        Some(LinkRequest {
            url: self.config.url.clone(),
            subprotocol: Some(SUBPROTOCOL),
            headers: self.config.api_key.iter().map(Secret::bearer).collect(),
        })
    }

    fn handle_open(&mut self, _now: Instant, out: &mut dyn Outbox) {
        out.event(Event::Ready);
    }

    fn handle_command(&mut self, _now: Instant, command: Command, out: &mut dyn Outbox) {
        say(
            &ToAgent::from_command(&command, self.config.sample_rate.hz()),
            out,
        );
    }

    fn hear(&mut self, _now: Instant, _at: Duration, audio: Audio<'_>, out: &mut dyn Outbox) {
        match audio {
            Audio::Pcm(samples) => {
                self.octets.clear();
                self.octets
                    .extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
                out.send(Message::Binary(&self.octets), MessageKind::Audio);
            }
            Audio::PcmBytes(octets) => out.send(Message::Binary(octets), MessageKind::Audio),
            // Not this dialect's format; the leg never does it.
            Audio::Ulaw(_) => tracing::trace!("μ-law for an agent that speaks PCM"),
        }
    }

    fn handle_message(&mut self, now: Instant, message: Message<'_>, out: &mut dyn Outbox) {
        let len = match message {
            Message::Text(text) => text.len(),
            Message::Binary(octets) => octets.len(),
        };
        if self.closed {
            return;
        }
        if len > MAX_FRAME {
            let what = format!("a frame of {len} octets, 1048576 are allowed");
            say(&ToAgent::Error { message: &what }, out);
            return self.fault(what, Some(1009), out);
        }
        match message {
            Message::Text(text) => self.handle_text(now, text, out),
            Message::Binary(octets) => self.play(octets, out),
        }
    }
}

fn say(frame: &ToAgent<'_>, out: &mut dyn Outbox) {
    // These types have string keys only, so they always serialize.
    if let Ok(text) = serde_json::to_string(frame) {
        out.send(Message::Text(&text), MessageKind::Control);
    }
}

/// What a frame of `len` octets asks for, checked; `None` for types of tomorrow.
fn event_of(frame: FromAgent, len: usize) -> Result<Option<Event>, Malformed> {
    Ok(Some(match frame {
        FromAgent::Mark { name } if name.len() > MAX_MARK => {
            return Err(Malformed::Value("a mark's name has at most 256 octets"));
        }
        FromAgent::Mark { name } => Event::Mark { name },
        FromAgent::Clear => Event::Clear,
        FromAgent::Transcript { text, .. } if text.len() > MAX_TEXT => {
            return Err(Malformed::Value("a transcript has at most 16384 octets"));
        }
        FromAgent::Transcript {
            role,
            text,
            is_final,
        } => Event::Transcript {
            role,
            text,
            is_final,
        },
        FromAgent::Context { .. } if len > MAX_CONTEXT => {
            return Err(Malformed::Value("a context has at most 65536 octets"));
        }
        FromAgent::Context {
            set,
            current_task,
            transfer,
        } => Event::Context {
            set: set.unwrap_or_default(),
            current_task,
            transfer: transfer.unwrap_or_default(),
        },
        FromAgent::Handoff(frame) => Event::Handoff(frame.check()?),
        FromAgent::Hangup { headers, reason } => {
            let headers = headers.unwrap_or_default();
            let pairs = headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
            handoff_frame::check_headers(pairs)?;
            Event::Hangup {
                headers: headers.into_iter().collect(),
                reason: reason.map(|reason| reason.chars().take(MAX_MARK).collect()),
            }
        }
        FromAgent::Accept => Event::Accept,
        FromAgent::Reject {
            status: status @ (486 | 603),
        } => Event::Reject { status },
        FromAgent::Reject { .. } => return Err(Malformed::Value("status must be 486 or 603")),
        FromAgent::Redirect { target } if handoff_frame::is_target(&target) => {
            Event::Redirect { target }
        }
        FromAgent::Redirect { .. } => return Err(HandoffFault::Target.into()),
        FromAgent::Sensitive { on } => Event::Sensitive(on),
        FromAgent::Recording { on } => Event::Recording(on),
        FromAgent::ResumePlayout => Event::ResumePlayout,
        FromAgent::Dtmf {
            digits,
            duration_ms,
            gap_ms,
        } => digits_event(&digits, duration_ms, gap_ms)?,
        FromAgent::Unknown => return Ok(None),
    }))
}

fn digits_event(digits: &str, duration: Option<u64>, gap: Option<u64>) -> Result<Event, Malformed> {
    let digits = digits.to_ascii_uppercase();
    let known = digits.bytes().all(|d| b"0123456789*#ABCD".contains(&d));
    if digits.is_empty() || digits.len() > MAX_DIGITS || !known {
        return Err(Malformed::Value("digits are 1 to 64 of 0-9 * # A-D"));
    }
    // RFC 4733 §2.3.5: an event's duration ends at 65535 units, 8 s; a gap longer than that is a pause.
    let within = |ms: u64, least: u64| Duration::from_millis(ms.clamp(least, 8_000));
    Ok(Event::SendDtmf {
        digits,
        duration: duration.map(|ms| within(ms, 40)),
        gap: gap.map(|ms| within(ms, 20)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::tests::ladder::{Ladder, start};
    use crate::agent::{HandoffUpdate, Role};
    use crate::vocab::HandoffId;

    const TO_AGENT: &str = include_str!("../../../tests/data/golden/baton.v1.to-agent.jsonl");
    const FROM_AGENT: &str = include_str!("../../../tests/data/golden/baton.v1.from-agent.jsonl");

    fn native() -> Ladder<Native> {
        Ladder::new(Native::new(Config {
            url: "wss://bot.example.com/call".into(),
            api_key: Some("s3cret".to_owned().into()),
            sample_rate: SampleRate::Hz16000,
        }))
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// One of each, in the order of the golden file.
    fn commands() -> Vec<Command> {
        let update = |state, sip_status, reason: Option<&str>| {
            Command::Handoff(HandoffUpdate {
                id: HandoffId::from("ho-0011223344556677"),
                state,
                style: "refer",
                sip_status,
                reason: reason.map(Into::into),
            })
        };
        vec![
            start(),
            Command::SpeechStarted { at: ms(1500) },
            Command::SpeechStopped { at: ms(2740) },
            Command::Dtmf {
                digit: '#',
                duration: ms(160),
                at: ms(3000),
            },
            Command::Mark {
                name: "greeting".into(),
                heard: true,
                at: ms(4020),
            },
            Command::Cleared { heard: ms(640) },
            Command::Hold,
            Command::Resume,
            update("requested", None, None),
            update("failed", Some(486), Some("Busy Here")),
            Command::Stop {
                reason: "caller hung up".into(),
            },
            Command::Error {
                message: "audio dropped".into(),
            },
        ]
    }

    #[test]
    fn every_command_is_said_as_the_golden_frames_say_it() {
        let mut agent = native();
        for (command, golden) in commands().into_iter().zip(TO_AGENT.lines()) {
            agent.command(command);
            assert_eq!(agent.texts(), [golden]);
        }
        assert_eq!(TO_AGENT.lines().count(), commands().len());
    }

    #[test]
    fn a_call_without_extras_has_no_empty_fields() {
        let mut agent = native();
        let Command::Start(mut bare) = start() else {
            panic!("start() makes a start");
        };
        bare.input_context.clear();
        bare.call.twilio_call_sid = None;
        bare.call.headers.clear();
        agent.command(Command::Start(bare));
        let text = agent.texts().remove(0);
        assert!(!text.contains("input_context") && !text.contains("twilio_call_sid"));
        assert!(text.contains(r#""headers":{}"#));
    }

    #[test]
    fn every_golden_frame_of_an_agent_is_understood() {
        let mut agent = native();
        for golden in FROM_AGENT.lines() {
            agent.receives(golden);
            let events = agent.events();
            assert_eq!(events.len(), 1, "{golden}");
            assert!(
                !matches!(events[0], Event::Fault { .. }),
                "{golden}: {events:?}"
            );
        }
        assert_eq!(agent.texts(), [""; 0]);
    }

    #[test]
    fn frames_become_events_word_by_word() {
        let mut agent = native();
        agent.receives(r#"{"type":"transcript","role":"caller","text":"hi","final":false}"#);
        agent.receives(r#"{"type":"transcript","role":"agent","text":"hello"}"#);
        agent.receives(r#"{"type":"dtmf","digits":"1a#","duration_ms":1,"gap_ms":99999}"#);
        agent.receives(r#"{"type":"reject"}"#);
        agent.receives(r#"{"type":"hangup","headers":{"X-A":"b"},"reason":"done"}"#);
        let words = |role, text: &str, is_final| Event::Transcript {
            role,
            text: text.into(),
            is_final,
        };
        assert_eq!(
            agent.events(),
            [
                words(Role::Caller, "hi", false),
                words(Role::Agent, "hello", true),
                Event::SendDtmf {
                    digits: "1A#".into(),
                    duration: Some(ms(40)),
                    gap: Some(ms(8000))
                },
                Event::Reject { status: 603 },
                Event::Hangup {
                    headers: vec![("X-A".into(), "b".into())],
                    reason: Some("done".into())
                },
            ]
        );
    }

    #[test]
    fn ibms_object_alone_is_a_handoff() {
        let mut agent = native();
        agent.receives(include_str!(
            "../../../tests/data/golden/ibm-connect-to-agent.json"
        ));
        let events = agent.events();
        assert!(
            matches!(&events[..], [Event::Handoff(request)] if request.target.as_deref() == Some("sip:queue@flex.example.com")),
            "{events:?}"
        );
    }

    #[test]
    fn the_caller_is_heard_as_little_endian_pcm() {
        let mut agent = native();
        agent.hears(Audio::Pcm(&[1, -2]));
        agent.hears(Audio::PcmBytes(&[5, 6]));
        assert_eq!(agent.binaries(), [vec![1, 0, 0xfe, 0xff], vec![5, 6]]);
        assert!(agent.kinds().iter().all(|kind| *kind == MessageKind::Audio));
    }

    #[test]
    fn agent_audio_is_whole_samples_however_it_is_cut() {
        let mut agent = native();
        for chunk in [&[1, 2, 3][..], &[4], &[], &[5], &[6, 7, 8, 9]] {
            agent.receives_binary(chunk);
        }
        assert_eq!(agent.played(), [1, 2, 3, 4, 5, 6, 7, 8]);
        agent.receives(r#"{"type":"clear"}"#);
        agent.receives_binary(&[10, 11]);
        assert_eq!(agent.played(), [10, 11]);
    }

    #[test]
    fn it_dials_with_its_key_and_never_prints_it() {
        let mut agent = native();
        agent.opens();
        assert_eq!(agent.events(), [Event::Ready]);
        let link = agent.dialect.link().unwrap();
        assert_eq!(link.subprotocol, Some("baton.v1"));
        assert_eq!(
            link.headers,
            [("Authorization".to_owned(), "Bearer s3cret".to_owned())]
        );
        assert!(!format!("{:?}", agent.dialect).contains("s3cret"));
    }

    #[test]
    fn frames_of_tomorrow_are_passed_over() {
        let mut agent = native();
        agent.receives(r#"{"type":"telepathy","strength":11}"#);
        agent.receives(r#"{"type":"clear","why":"because"}"#);
        assert_eq!(agent.events(), [Event::Clear]);
        assert_eq!(agent.texts(), [""; 0]);
    }

    #[test]
    fn malformed_frames_are_answered_and_change_nothing() {
        for bad in [
            "",
            "hello",
            "{",
            "[]",
            r#"["clear"]"#,
            "{}",
            r#"{"type":7}"#,
            r#"{"type":"mark"}"#,
            r#"{"type":"mark","name":7}"#,
            r#"{"type":"transcript","role":"ghost","text":"x"}"#,
            r#"{"type":"sensitive"}"#,
            r#"{"type":"reject","status":200}"#,
            r#"{"type":"redirect","target":"http://x"}"#,
            r#"{"type":"dtmf","digits":"1x"}"#,
            r#"{"type":"dtmf","digits":""}"#,
            r#"{"type":"hangup","headers":{"Via":"x"}}"#,
            r#"{"type":"handoff","target":"sip:a\r\nb"}"#,
            r#"{"type":"handoff","headers":["a"]}"#,
        ] {
            let mut agent = native();
            agent.receives(bad);
            let events = agent.events();
            assert!(
                matches!(&events[..], [Event::Fault { close: None, .. }]),
                "{bad}: {events:?}"
            );
            let texts = agent.texts();
            assert!(
                texts.len() == 1 && texts[0].starts_with(r#"{"type":"error","message":""#),
                "{bad}: {texts:?}"
            );
        }
    }

    #[test]
    fn deep_and_long_frames_are_refused() {
        let deep = format!(
            "{{\"type\":\"context\",\"set\":{{\"a\":{}",
            "[".repeat(5000)
        );
        let long = "x".repeat(70_000);
        for bad in [
            deep,
            format!(r#"{{"type":"mark","name":"{long}"}}"#),
            format!(r#"{{"type":"transcript","role":"agent","text":"{long}"}}"#),
            format!(r#"{{"type":"context","set":{{"a":"{long}"}}}}"#),
            format!(r#"{{"type":"dtmf","digits":"{}"}}"#, "1".repeat(65)),
        ] {
            let mut agent = native();
            agent.receives(&bad);
            assert!(matches!(
                &agent.events()[..],
                [Event::Fault { close: None, .. }]
            ));
            assert!(agent.texts()[0].len() < 400);
        }
    }

    #[test]
    fn five_malformed_frames_in_five_seconds_close_the_socket() {
        let mut agent = native();
        for _ in 0..4 {
            agent.receives("x");
            agent.advance(ms(1000));
        }
        assert!(
            agent
                .events()
                .iter()
                .all(|e| matches!(e, Event::Fault { close: None, .. }))
        );
        agent.receives("x");
        assert!(matches!(
            &agent.events()[..],
            [Event::Fault {
                close: Some(1008),
                ..
            }]
        ));
        agent.receives(r#"{"type":"clear"}"#);
        agent.receives_binary(&[1, 2]);
        assert_eq!(agent.events(), []);
        assert!(agent.played().is_empty());
    }

    #[test]
    fn slow_mistakes_are_forgiven() {
        let mut agent = native();
        for _ in 0..50 {
            agent.receives("x");
            agent.advance(ms(1300));
        }
        assert!(
            agent
                .events()
                .iter()
                .all(|e| matches!(e, Event::Fault { close: None, .. }))
        );
    }

    #[test]
    fn a_frame_beyond_a_mebibyte_closes_the_socket() {
        let mut agent = native();
        agent.receives_binary(&vec![0; MAX_FRAME]);
        assert_eq!(agent.events(), []);
        agent.receives_binary(&vec![0; MAX_FRAME + 2]);
        assert!(matches!(
            &agent.events()[..],
            [Event::Fault {
                close: Some(1009),
                ..
            }]
        ));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text: String) {
            native().receives(&text);
        }
    }
}
