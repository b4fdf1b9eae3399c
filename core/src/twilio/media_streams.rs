//! Twilio Media Streams frames, both roles: JSON text, one object a frame, μ-law in base64.
//!
//! ```text
//!  Twilio, or we as the client    ── FromTwilio: connected start media dtmf mark stop ──►    the bot, or we as the server
//!                                 ◄── FromBot: media mark clear ──
//! ```
//!
//! Reading is tolerant: unknown events and fields are passed over, identifiers in either spelling, counters as strings
//! or numbers, base64 with or without padding. Writing is exact. `media` allocates nothing once buffers have grown.

mod read;
mod scalar;
mod write;

pub use read::{FromBot, FromTwilio, Malformed, Start};
pub use write::{BotWriter, StreamIds, TwilioWriter};

use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Octets of one frame that are read from Twilio; its own are under 500.
pub const MAX_FROM_TWILIO: usize = 64 * 1024;
/// Octets of one frame that are read from a bot: some send a whole sentence at once.
pub const MAX_FROM_BOT: usize = 1024 * 1024;

/// Bots exist that leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    const TO_BOT: &str = include_str!("../../../tests/data/golden/media-streams.to-bot.jsonl");
    const FROM_BOT: &str = include_str!("../../../tests/data/golden/media-streams.from-bot.jsonl");
    const SID: &str = "MZ00000000000000000000000000000003";
    const SILENCE: [u8; 5] = [0xff; 5];

    fn ids() -> StreamIds {
        StreamIds {
            stream_sid: SID.into(),
            call_sid: "CA00000000000000000000000000000002".into(),
            account_sid: "AC00000000000000000000000000000001".into(),
        }
    }

    fn written() -> Vec<String> {
        let mut twilio = TwilioWriter::new(ids());
        vec![
            TwilioWriter::CONNECTED.into(),
            twilio.start(&[("sessionKey".into(), "k-42".into())]).into(),
            twilio.media(20, &SILENCE).into(),
            twilio.dtmf('5').into(),
            twilio.mark("u7").into(),
            twilio.media(40, &SILENCE).into(),
            twilio.stop().into(),
        ]
    }

    #[test]
    fn the_client_writes_the_golden_frames() {
        let golden: Vec<&str> = TO_BOT.lines().collect();
        assert_eq!(written(), golden);
    }

    #[test]
    fn the_server_reads_what_the_client_writes() {
        let mut audio = Vec::new();
        let written = written();
        let mut heard = Vec::new();
        for text in &written {
            heard.push(FromTwilio::parse(text, &mut audio).unwrap());
        }
        let start = Start {
            stream_sid: SID.into(),
            call_sid: Some(ids().call_sid),
            account_sid: Some(ids().account_sid),
            parameters: [("sessionKey".to_owned(), "k-42".to_owned())].into(),
        };
        let media = |timestamp| FromTwilio::Media {
            timestamp: Some(timestamp),
            inbound: true,
        };
        assert_eq!(
            heard,
            [
                FromTwilio::Connected,
                FromTwilio::Start(Box::new(start)),
                media(20),
                FromTwilio::Dtmf { digit: '5' },
                FromTwilio::Mark { name: "u7".into() },
                media(40),
                FromTwilio::Stop
            ]
        );
        assert_eq!(audio, SILENCE);
    }

    #[test]
    fn the_server_writes_and_the_client_reads_the_golden_frames() {
        let mut bot = BotWriter::new(SID);
        let written: Vec<String> = vec![
            bot.media(&SILENCE).into(),
            bot.mark("u\"7").into(),
            bot.clear().into(),
        ];
        assert_eq!(written, FROM_BOT.lines().collect::<Vec<_>>());
        let mut audio = Vec::new();
        let read: Vec<FromBot<'_>> = written
            .iter()
            .map(|text| FromBot::parse(text, &mut audio).unwrap())
            .collect();
        let mark = FromBot::Mark {
            name: "u\"7".into(),
        };
        assert_eq!(read, [FromBot::Media, mark, FromBot::Clear]);
        assert_eq!(audio, SILENCE);
    }

    #[test]
    fn other_vendors_spellings_are_read() {
        let mut audio = Vec::new();
        let start = r#"{"event":"start","sequence_number":1,"stream_id":"s-1","start":{"call_sid":"c-1","media_format":{"encoding":"PCMU","sample_rate":"8000","channels":1},"custom_parameters":{"a":1,"b":true,"c":null,"d":["x"],"e":"f"}}}"#;
        let Ok(FromTwilio::Start(start)) = FromTwilio::parse(start, &mut audio) else {
            panic!("a start is a start");
        };
        assert_eq!(start.stream_sid, "s-1");
        assert_eq!(start.call_sid.as_deref(), Some("c-1"));
        let parameters: Vec<(&str, &str)> = start
            .parameters
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(parameters, [("a", "1"), ("b", "true"), ("e", "f")]);
        let media = r#"{"event":"media","media":{"chunk":2,"timestamp":40,"payload":"\/\/\/\/\/w","track":"outbound"}}"#;
        assert_eq!(
            FromTwilio::parse(media, &mut audio),
            Ok(FromTwilio::Media {
                timestamp: Some(40),
                inbound: false
            })
        );
        assert_eq!(audio, [0xff; 4]);
        let odd = r#"{"event":"media","media":{"timestamp":{"x":1},"payload":""}}"#;
        assert_eq!(
            FromTwilio::parse(odd, &mut audio),
            Ok(FromTwilio::Media {
                timestamp: None,
                inbound: true
            })
        );
        assert!(audio.is_empty());
    }

    #[test]
    fn other_formats_are_refused_at_the_start() {
        for format in [
            r#"{"encoding":"audio/x-raw"}"#,
            r#"{"encoding":"audio/x-mulaw","sampleRate":16000}"#,
        ] {
            let start = format!(
                r#"{{"event":"start","streamSid":"MZ1","start":{{"mediaFormat":{format}}}}}"#
            );
            assert!(matches!(
                FromTwilio::parse(&start, &mut Vec::new()),
                Err(Malformed::Format(_))
            ));
        }
    }

    #[test]
    fn unknown_events_and_fields_are_passed_over() {
        for text in [
            r#"{"event":"playAudio","x":{"y":[1]}}"#,
            "{}",
            r#"{"media":{"payload":"AAAA"}}"#,
        ] {
            assert_eq!(FromBot::parse(text, &mut Vec::new()), Ok(FromBot::Unknown));
            assert_eq!(
                FromTwilio::parse(text, &mut Vec::new()),
                Ok(FromTwilio::Unknown)
            );
        }
        assert_eq!(
            FromBot::parse(
                r#"{"event":"clear","stream_sid":"other","why":null}"#,
                &mut Vec::new()
            ),
            Ok(FromBot::Clear)
        );
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let missing = |event, field| Malformed::Missing { event, field };
        for (text, fault) in [
            (r#"{"event":"media"}"#, missing("media", "payload")),
            (
                r#"{"event":"media","media":null}"#,
                missing("media", "payload"),
            ),
            (r#"{"event":"mark"}"#, missing("mark", "name")),
            (
                r#"{"event":"media","media":{"payload":"a$b"}}"#,
                Malformed::Base64,
            ),
            (
                r#"{"event":"media","media":{"payload":"A"}}"#,
                Malformed::Base64,
            ),
        ] {
            assert_eq!(FromBot::parse(text, &mut Vec::new()), Err(fault), "{text}");
        }
        for (text, fault) in [
            (
                r#"{"event":"dtmf","dtmf":{"digit":"x"}}"#,
                missing("dtmf", "digit"),
            ),
            (r#"{"event":"dtmf","dtmf":{}}"#, missing("dtmf", "digit")),
            (r#"{"event":"start"}"#, missing("start", "start")),
            (
                r#"{"event":"start","start":{}}"#,
                missing("start", "streamSid"),
            ),
        ] {
            assert_eq!(
                FromTwilio::parse(text, &mut Vec::new()),
                Err(fault),
                "{text}"
            );
        }
        for text in [
            "",
            "[]",
            r#"["media"]"#,
            "{",
            "nonsense",
            r#"{"event":7}"#,
            &"[".repeat(10_000),
        ] {
            assert!(
                matches!(
                    FromBot::parse(text, &mut Vec::new()),
                    Err(Malformed::Json(_))
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn a_hostile_stream_name_cannot_leave_its_place() {
        let mut bot = BotWriter::new("MZ1\",\"event\":\"clear");
        assert_eq!(
            bot.media(&[]),
            r#"{"event":"media","streamSid":"MZ1eventclear","media":{"payload":""}}"#
        );
        assert!(BotWriter::new(&"M".repeat(1000)).clear().len() < 120);
    }

    #[test]
    fn media_in_steady_state_grows_no_buffer_and_copies_no_text() {
        let frame = [0x7f; 160];
        let mut twilio = TwilioWriter::new(ids());
        let place = twilio.media(20, &frame).as_ptr();
        for n in 2..10_000 {
            assert_eq!(twilio.media(n * 20, &frame).as_ptr(), place);
        }
        let mut bot = BotWriter::new(SID);
        let text = bot.media(&frame).to_owned();
        assert_eq!(bot.media(&frame).len(), text.len());
        let mut audio = Vec::new();
        FromBot::parse(&text, &mut audio).unwrap();
        let place = audio.as_ptr();
        for _ in 0..1000 {
            FromBot::parse(&text, &mut audio).unwrap();
            assert_eq!((audio.as_ptr(), audio.len()), (place, 160));
        }
        let mark = r#"{"event":"mark","mark":{"name":"plain"}}"#;
        assert!(matches!(
            FromBot::parse(mark, &mut audio),
            Ok(FromBot::Mark {
                name: Cow::Borrowed("plain")
            })
        ));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text: String) {
            let _ = FromBot::parse(&text, &mut Vec::new());
            let _ = FromTwilio::parse(&text, &mut Vec::new());
        }

        #[test]
        fn audio_survives_both_ways(ulaw: Vec<u8>) {
            let mut audio = Vec::new();
            FromTwilio::parse(TwilioWriter::new(ids()).media(20, &ulaw), &mut audio).unwrap();
            assert_eq!(audio, ulaw);
            FromBot::parse(BotWriter::new(SID).media(&ulaw), &mut audio).unwrap();
            assert_eq!(audio, ulaw);
        }
    }
}
