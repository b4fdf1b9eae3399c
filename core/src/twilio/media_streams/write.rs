//! Frames we write, each into a buffer that is used again for the next.

use std::fmt::Write;

use base64::Engine;
use serde::Serialize;

use super::BASE64;

/// The identifiers of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamIds {
    /// `MZ` and 32 hexadecimal digits.
    pub stream_sid: String,
    /// `CA` and 32 hexadecimal digits.
    pub call_sid: String,
    /// `AC` and 32 hexadecimal digits.
    pub account_sid: String,
}

/// Writes what Twilio says to a bot: the client role.
#[derive(Debug)]
pub struct TwilioWriter {
    ids: StreamIds,
    /// Of the last frame; counts everything after `connected`.
    sequence: u64,
    /// Of the last `media`.
    chunk: u64,
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Frame<'a, T: Serialize> {
    event: &'static str,
    sequence_number: &'a str,
    #[serde(flatten)]
    body: T,
    stream_sid: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Body<'a> {
    #[serde(rename_all = "camelCase")]
    Start {
        account_sid: &'a str,
        stream_sid: &'a str,
        call_sid: &'a str,
        tracks: [&'a str; 1],
        media_format: MediaFormat,
        #[serde(serialize_with = "as_map")]
        custom_parameters: &'a [(String, String)],
    },
    Dtmf {
        track: &'a str,
        digit: char,
    },
    Mark {
        name: &'a str,
    },
    #[serde(rename_all = "camelCase")]
    Stop {
        account_sid: &'a str,
        call_sid: &'a str,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MediaFormat {
    encoding: &'static str,
    sample_rate: u32,
    channels: u32,
}

impl TwilioWriter {
    /// The first frame: the only one without identifiers.
    pub const CONNECTED: &'static str =
        r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#;

    /// A stream that has said nothing.
    pub fn new(ids: StreamIds) -> Self {
        Self {
            ids,
            sequence: 0,
            chunk: 0,
            text: String::with_capacity(512),
        }
    }

    /// The stream's identifiers.
    pub fn ids(&self) -> &StreamIds {
        &self.ids
    }

    /// The second; names in `parameters` must not repeat.
    pub fn start(&mut self, parameters: &[(String, String)]) -> &str {
        let body = Body::Start {
            account_sid: &self.ids.account_sid,
            stream_sid: &self.ids.stream_sid,
            call_sid: &self.ids.call_sid,
            tracks: ["inbound"],
            media_format: MediaFormat {
                encoding: "audio/x-mulaw",
                sample_rate: 8000,
                channels: 1,
            },
            custom_parameters: parameters,
        };
        self.sequence += 1;
        self.text
            .replace_range(.., &control("start", self.sequence, body, &self.ids));
        &self.text
    }

    /// Audio of the caller; `timestamp` in ms since the stream began.
    pub fn media(&mut self, timestamp: u64, ulaw: &[u8]) -> &str {
        self.sequence += 1;
        self.chunk += 1;
        self.text.clear();
        // Writing to a String cannot fail. Only digits, base64 and our own identifier are put in: nothing to escape.
        let _ = write!(
            self.text,
            r#"{{"event":"media","sequenceNumber":"{}","media":{{"track":"inbound","chunk":"{}","timestamp":"{timestamp}","payload":""#,
            self.sequence, self.chunk
        );
        BASE64.encode_string(ulaw, &mut self.text);
        self.text.push_str(r#""},"streamSid":""#);
        self.text.push_str(&self.ids.stream_sid);
        self.text.push_str("\"}");
        &self.text
    }

    /// A key the caller pressed.
    pub fn dtmf(&mut self, digit: char) -> &str {
        let body = Body::Dtmf {
            track: "inbound_track",
            digit,
        };
        self.sequence += 1;
        self.text
            .replace_range(.., &control("dtmf", self.sequence, body, &self.ids));
        &self.text
    }

    /// A mark was reached, or cleared: the bot cannot tell.
    pub fn mark(&mut self, name: &str) -> &str {
        self.sequence += 1;
        self.text.replace_range(
            ..,
            &control("mark", self.sequence, Body::Mark { name }, &self.ids),
        );
        &self.text
    }

    /// The last frame.
    pub fn stop(&mut self) -> &str {
        let body = Body::Stop {
            account_sid: &self.ids.account_sid,
            call_sid: &self.ids.call_sid,
        };
        self.sequence += 1;
        self.text
            .replace_range(.., &control("stop", self.sequence, body, &self.ids));
        &self.text
    }
}

fn control(event: &'static str, sequence: u64, body: Body<'_>, ids: &StreamIds) -> String {
    let frame = Frame {
        event,
        sequence_number: &sequence.to_string(),
        body,
        stream_sid: &ids.stream_sid,
    };
    // These types have string keys only, so they always serialize.
    serde_json::to_string(&frame).unwrap_or_default()
}

/// Writes what a bot says to Twilio: the server role.
#[derive(Debug)]
pub struct BotWriter {
    stream_sid: String,
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BotFrame<'a> {
    event: &'static str,
    stream_sid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<MarkBody<'a>>,
}

#[derive(Serialize)]
struct MarkBody<'a> {
    name: &'a str,
}

impl BotWriter {
    /// For the stream that `start` named.
    pub fn new(stream_sid: &str) -> Self {
        // It came from the network and stands in every frame: make it need no escaping.
        let stream_sid = stream_sid
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c));
        Self {
            stream_sid: stream_sid.take(64).collect(),
            text: String::with_capacity(320),
        }
    }

    /// Audio for the caller, any length.
    pub fn media(&mut self, ulaw: &[u8]) -> &str {
        self.text.clear();
        self.text.push_str(r#"{"event":"media","streamSid":""#);
        self.text.push_str(&self.stream_sid);
        self.text.push_str(r#"","media":{"payload":""#);
        BASE64.encode_string(ulaw, &mut self.text);
        self.text.push_str("\"}}");
        &self.text
    }

    /// Tell me when the caller heard everything before this.
    pub fn mark(&mut self, name: &str) -> &str {
        self.control("mark", Some(MarkBody { name }))
    }

    /// Drop what is queued.
    pub fn clear(&mut self) -> &str {
        self.control("clear", None)
    }

    fn control(&mut self, event: &'static str, mark: Option<MarkBody<'_>>) -> &str {
        let frame = BotFrame {
            event,
            stream_sid: &self.stream_sid,
            mark,
        };
        let text = serde_json::to_string(&frame).unwrap_or_default();
        self.text.replace_range(.., &text);
        &self.text
    }
}

fn as_map<S: serde::Serializer>(
    pairs: &&[(String, String)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}
