//! Twilio Media Streams in the client role: to the bot we are Twilio, so that any bot written for it works unchanged.
//!
//! ```text
//!  open ─► connected      Start ─► start      hear ─► media      Dtmf ─► dtmf      Mark ─► mark      Stop ─► stop
//!  media ─► play          mark ─► Event::Mark            clear ─► Event::Clear
//! ```
//!
//! The bot's wish for a human is the closing of its socket, which the link sees, not this file. A mark comes back when
//! it was heard and when it was cleared, and the bot cannot tell which: so it is with Twilio.

use std::time::{Duration, Instant};

use super::secret::Secret;
use super::{
    Audio, AudioFormat, CallInfo, Command, Dialect, Event, LinkRequest, MAX_MARK, Message,
    MessageKind, Outbox, Start,
};
use crate::twilio::media_streams::{FromBot, MAX_FROM_BOT, StreamIds, TwilioWriter};
use crate::vocab::{Entropy, PTIME};

/// The custom parameter that carries the key of the session history.
pub const KEY_PARAMETER: &str = "SessionHistoryKey";
/// Unusable frames that are told to the call; the rest are only passed over, as Twilio does with all.
const FAULTS_TOLD: u32 = 5;

/// Where the bot lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `ws://` or `wss://`.
    pub url: String,
    /// Sent as a bearer token.
    pub api_key: Option<Secret>,
}

/// The dialect of `kind = "twilio-streams"`.
#[derive(Debug)]
pub struct TwilioStreams {
    config: Config,
    entropy: Entropy,
    state: State,
    /// Audio of the frame being read; reused.
    audio: Vec<u8>,
    faults: u32,
}

#[derive(Debug)]
enum State {
    /// No `start` yet: nothing may be said but `connected`.
    Waiting,
    /// The stream runs.
    Streaming {
        twilio: Box<TwilioWriter>,
        /// Media time of the first frame heard: the stream's zero.
        zero: Option<Duration>,
    },
    /// `stop` was said; nothing follows it.
    Stopped,
}

impl TwilioStreams {
    /// A bot at `config.url`; `entropy` makes the identifiers that Twilio would have made.
    pub fn new(config: Config, entropy: Entropy) -> Self {
        Self {
            config,
            entropy,
            state: State::Waiting,
            audio: Vec::with_capacity(160),
            faults: 0,
        }
    }

    fn ids(&mut self, call: &CallInfo) -> StreamIds {
        let account = call
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("X-Twilio-AccountSid"));
        StreamIds {
            stream_sid: self.sid("MZ"),
            call_sid: call
                .twilio_call_sid
                .clone()
                .unwrap_or_else(|| self.sid("CA")),
            account_sid: account.map_or_else(|| self.sid("AC"), |(_, sid)| sid.clone()),
        }
    }

    fn sid(&mut self, prefix: &str) -> String {
        format!("{prefix}{}", self.entropy.hex(16))
    }

    fn start(&mut self, start: &Start, out: &mut dyn Outbox) {
        let mut twilio = Box::new(TwilioWriter::new(self.ids(&start.call)));
        say(twilio.start(&parameters(start)), out);
        self.state = State::Streaming { twilio, zero: None };
    }

    fn fault(&mut self, what: String, close: Option<u16>, out: &mut dyn Outbox) {
        self.faults += 1;
        if close.is_some() || self.faults <= FAULTS_TOLD {
            out.event(Event::Fault { what, close });
        }
    }

    fn handle_frame(&mut self, text: &str, out: &mut dyn Outbox) {
        match FromBot::parse(text, &mut self.audio) {
            Ok(FromBot::Media) => out.play(Audio::Ulaw(&self.audio)),
            Ok(FromBot::Mark { name }) if name.len() > MAX_MARK => {
                self.fault("a mark's name has at most 256 octets".into(), None, out);
            }
            Ok(FromBot::Mark { name }) => out.event(Event::Mark {
                name: name.into_owned(),
            }),
            Ok(FromBot::Clear) => out.event(Event::Clear),
            Ok(FromBot::Unknown) => {}
            Err(malformed) => self.fault(malformed.to_string(), None, out),
        }
    }
}

impl Dialect for TwilioStreams {
    fn format(&self) -> AudioFormat {
        AudioFormat::Ulaw
    }

    fn link(&self) -> Option<LinkRequest> {
        Some(LinkRequest {
            url: self.config.url.clone(),
            subprotocol: None,
            headers: self.config.api_key.iter().map(Secret::bearer).collect(),
        })
    }

    fn handle_open(&mut self, _now: Instant, out: &mut dyn Outbox) {
        say(TwilioWriter::CONNECTED, out);
        out.event(Event::Ready);
    }

    fn handle_command(&mut self, _now: Instant, command: Command, out: &mut dyn Outbox) {
        match (&mut self.state, command) {
            (State::Waiting, Command::Start(start)) => self.start(&start, out),
            (State::Streaming { twilio, .. }, Command::Dtmf { digit, .. }) => {
                say(twilio.dtmf(digit), out);
            }
            (State::Streaming { twilio, .. }, Command::Mark { name, .. }) => {
                say(twilio.mark(&name), out);
            }
            (State::Streaming { twilio, .. }, Command::Stop { .. }) => {
                say(twilio.stop(), out);
                self.state = State::Stopped;
            }
            (State::Waiting, Command::Stop { .. }) => self.state = State::Stopped,
            // Twilio has no words for speech, holding, handoffs and errors.
            (_, _) => {}
        }
    }

    fn hear(&mut self, _now: Instant, at: Duration, audio: Audio<'_>, out: &mut dyn Outbox) {
        let (State::Streaming { twilio, zero }, Audio::Ulaw(ulaw)) = (&mut self.state, audio)
        else {
            return;
        };
        // Bots subtract timestamps to know what was heard: they follow the media clock, not the count of frames.
        let since = at.saturating_sub(*zero.get_or_insert(at)) + PTIME;
        let timestamp = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let frame = twilio.media(timestamp, ulaw);
        out.send(Message::Text(frame), MessageKind::Audio);
    }

    fn handle_message(&mut self, _now: Instant, message: Message<'_>, out: &mut dyn Outbox) {
        if matches!(self.state, State::Stopped) {
            return;
        }
        match message {
            Message::Text(text) if text.len() > MAX_FROM_BOT => {
                let what = format!("a frame of {} octets, 1048576 are allowed", text.len());
                self.fault(what, Some(1009), out);
                self.state = State::Stopped;
            }
            Message::Text(text) => self.handle_frame(text, out),
            Message::Binary(_) => self.fault("a binary frame".into(), None, out),
        }
    }
}

fn say(frame: &str, out: &mut dyn Outbox) {
    out.send(Message::Text(frame), MessageKind::Control);
}

/// What a `<Parameter>` would have carried: the history key, the route's variables, then forwarded headers that
/// neither names; the first of a repeated header stands.
fn parameters(start: &Start) -> Vec<(String, String)> {
    let mut parameters = vec![(KEY_PARAMETER.to_owned(), start.key.to_string())];
    for (name, value) in start
        .input_context
        .iter()
        .chain(start.call.headers.iter().map(|(name, value)| (name, value)))
    {
        if !parameters.iter().any(|(n, _)| n.eq_ignore_ascii_case(name)) {
            parameters.push((name.clone(), value.clone()));
        }
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::tests::ladder::{Ladder, start};

    const GOLDEN: &str = include_str!("../../../tests/data/golden/twilio-streams.jsonl");

    fn bot() -> Ladder<TwilioStreams> {
        let config = Config {
            url: "wss://bot.example.com/media".into(),
            api_key: None,
        };
        Ladder::new(TwilioStreams::new(config, Entropy::from_number(5)))
    }

    fn streaming() -> Ladder<TwilioStreams> {
        let mut bot = bot();
        bot.opens();
        bot.command(start());
        bot.texts();
        bot.events();
        bot
    }

    fn mark(name: &str, heard: bool) -> Command {
        Command::Mark {
            name: name.into(),
            heard,
            at: Duration::from_millis(900),
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_whole_call_is_said_as_twilio_says_it() {
        let mut bot = bot();
        bot.opens();
        assert_eq!(bot.events(), [Event::Ready]);
        bot.command(start());
        bot.at = ms(460);
        bot.hears(Audio::Ulaw(&[0xff; 5]));
        bot.hears(Audio::Ulaw(&[0xff; 5]));
        bot.command(Command::Dtmf {
            digit: '5',
            duration: ms(100),
            at: ms(480),
        });
        bot.command(mark("u7", true));
        bot.command(Command::Stop {
            reason: "caller hung up".into(),
        });
        let said = bot.texts();
        assert_eq!(said, GOLDEN.lines().collect::<Vec<_>>());
    }

    #[test]
    fn identifiers_are_made_where_the_trunk_sends_none() {
        let mut bot = bot();
        let Command::Start(mut start) = start() else {
            panic!("start() makes a start");
        };
        start.call.twilio_call_sid = None;
        start.call.headers = vec![("x-twilio-accountsid".into(), "AC7".into())];
        bot.command(Command::Start(start));
        let frame: serde_json::Value = serde_json::from_str(&bot.texts()[0]).unwrap();
        let sid = frame["start"]["callSid"].as_str().unwrap();
        let (prefix, digits) = sid.split_at(2);
        assert_eq!((prefix, digits.len()), ("CA", 32));
        assert!(
            digits
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        );
        assert_eq!(frame["start"]["accountSid"], "AC7");
        assert_eq!(frame["start"]["streamSid"], frame["streamSid"]);
    }

    #[test]
    fn audio_before_start_and_after_stop_is_not_sent() {
        let mut bot = bot();
        bot.hears(Audio::Ulaw(&[0xff; 160]));
        bot.command(mark("early", true));
        assert!(bot.texts().is_empty());
        bot.command(start());
        bot.command(Command::Stop { reason: "x".into() });
        bot.texts();
        bot.hears(Audio::Ulaw(&[0xff; 160]));
        bot.command(mark("late", true));
        bot.command(start());
        bot.receives(r#"{"event":"clear"}"#);
        assert!(bot.texts().is_empty() && bot.events().is_empty());
    }

    #[test]
    fn timestamps_follow_the_media_clock_over_a_gap() {
        let mut bot = streaming();
        for at in [1000, 1020, 1500] {
            bot.at = ms(at);
            bot.hears(Audio::Ulaw(&[0xff; 160]));
        }
        let stamps: Vec<String> = bot
            .texts()
            .iter()
            .map(|text| {
                serde_json::from_str::<serde_json::Value>(text).unwrap()["media"]["timestamp"]
                    .to_string()
            })
            .collect();
        assert_eq!(stamps, [r#""20""#, r#""40""#, r#""520""#]);
    }

    #[test]
    fn the_bots_audio_of_any_length_is_played_in_order() {
        let mut bot = streaming();
        bot.receives(r#"{"event":"media","streamSid":"x","media":{"payload":"AQID"}}"#);
        bot.receives(r#"{"event":"media","media":{"payload":""}}"#);
        bot.receives(r#"{"event":"media","stream_sid":"y","media":{"payload":"BA"}}"#);
        assert_eq!(bot.played(), [1, 2, 3, 4]);
    }

    #[test]
    fn marks_come_back_in_order_heard_or_cleared() {
        let mut bot = streaming();
        bot.receives(r#"{"event":"mark","mark":{"name":"a"}}"#);
        bot.receives(r#"{"event":"mark","mark":{"name":"a"}}"#);
        bot.receives(r#"{"event":"clear"}"#);
        let named = || Event::Mark { name: "a".into() };
        assert_eq!(bot.events(), [named(), named(), Event::Clear]);
        bot.command(mark("a", true));
        bot.command(mark("a", false));
        bot.command(Command::Cleared { heard: ms(10) });
        let texts = bot.texts();
        assert_eq!(texts.len(), 2);
        assert!(
            texts
                .iter()
                .all(|text| text.contains(r#""mark":{"name":"a"}"#))
        );
    }

    #[test]
    fn what_cannot_be_used_is_passed_over_and_told_a_few_times() {
        let mut bot = streaming();
        for _ in 0..100 {
            bot.receives("nonsense");
            bot.receives(r#"{"event":"media","media":{"payload":"$"}}"#);
            bot.receives_binary(&[1, 2, 3]);
        }
        let events = bot.events();
        assert_eq!(events.len(), 5);
        assert!(
            events
                .iter()
                .all(|e| matches!(e, Event::Fault { close: None, .. }))
        );
        assert!(bot.played().is_empty() && bot.texts().is_empty());
        bot.receives(&format!(
            r#"{{"event":"mark","mark":{{"name":"{}"}}}}"#,
            "x".repeat(300)
        ));
        assert_eq!(bot.events(), []);
        bot.receives(r#"{"event":"clear"}"#);
        assert_eq!(bot.events(), [Event::Clear]);
    }

    #[test]
    fn a_frame_beyond_a_mebibyte_closes_the_socket() {
        let mut bot = streaming();
        bot.receives(&" ".repeat(MAX_FROM_BOT + 1));
        assert!(matches!(
            &bot.events()[..],
            [Event::Fault {
                close: Some(1009),
                ..
            }]
        ));
        bot.receives(r#"{"event":"clear"}"#);
        assert_eq!(bot.events(), []);
    }

    #[test]
    fn it_dials_plainly() {
        let link = bot().dialect.link().unwrap();
        assert_eq!(
            (link.url.as_str(), link.subprotocol),
            ("wss://bot.example.com/media", None)
        );
        assert!(link.headers.is_empty());
    }
}
