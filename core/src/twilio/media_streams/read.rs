//! Frames we read. One borrowed struct per role takes every event, so that `media`, fifty times a second, is one
//! pass over the text and one over the base64.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use serde::Deserialize;

use super::BASE64;
use super::scalar::{Counter, Parameters};

/// A frame that cannot be used; neither role closes for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Not JSON, or fields of other types.
    #[error("not a Media Streams frame: {0}")]
    Json(String),
    /// `media` without a payload, `mark` without a name, ..
    #[error("{event} without {field}")]
    Missing {
        /// The event.
        event: &'static str,
        /// What it lacks.
        field: &'static str,
    },
    /// The payload is not base64.
    #[error("payload is not base64")]
    Base64,
    /// The stream carries something else than μ-law at 8 kHz.
    #[error("media format {0} is not audio/x-mulaw at 8000")]
    Format(String),
}

/// What a bot says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromBot<'a> {
    /// Audio; it is in the buffer given to [`FromBot::parse`].
    Media,
    /// Tell me when it was played.
    Mark {
        /// May repeat.
        name: Cow<'a, str>,
    },
    /// Drop what is queued.
    Clear,
    /// Something of tomorrow, or of another vendor.
    Unknown,
}

/// What Twilio says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromTwilio<'a> {
    /// Hello.
    Connected,
    /// The call.
    Start(Box<Start>),
    /// Audio; it is in the buffer given to [`FromTwilio::parse`].
    Media {
        /// Ms since the stream began.
        timestamp: Option<u64>,
        /// `false`: what the caller hears, not what they say.
        inbound: bool,
    },
    /// The caller pressed a key.
    Dtmf {
        /// `0-9 * # A-D`.
        digit: char,
    },
    /// A mark was played or cleared.
    Mark {
        /// Its name.
        name: Cow<'a, str>,
    },
    /// The end.
    Stop,
    /// Something of tomorrow, or of another vendor.
    Unknown,
}

/// `start`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Start {
    /// `MZ..`; goes into every frame of ours.
    pub stream_sid: String,
    /// `CA..`.
    pub call_sid: Option<String>,
    /// `AC..`.
    pub account_sid: Option<String>,
    /// From `<Parameter>`; all strings.
    pub parameters: BTreeMap<String, String>,
}

/// Every event of both roles, borrowed. Bodies of other events than the one named are passed over unread.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, default)]
    event: Cow<'a, str>,
    #[serde(default, alias = "streamSid", alias = "stream_id")]
    stream_sid: Option<String>,
    #[serde(borrow)]
    media: Option<Media<'a>>,
    #[serde(borrow)]
    mark: Option<Mark<'a>>,
    #[serde(borrow)]
    dtmf: Option<Dtmf<'a>>,
    start: Option<RawStart>,
}

#[derive(Deserialize)]
struct Media<'a> {
    #[serde(borrow, default)]
    payload: Cow<'a, str>,
    #[serde(borrow, default)]
    track: Cow<'a, str>,
    #[serde(default)]
    timestamp: Counter,
}

#[derive(Deserialize)]
struct Mark<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Dtmf<'a> {
    #[serde(borrow, default)]
    digit: Cow<'a, str>,
}

#[derive(Deserialize)]
struct RawStart {
    #[serde(default, alias = "streamSid", alias = "stream_id")]
    stream_sid: Option<String>,
    #[serde(default, alias = "callSid")]
    call_sid: Option<String>,
    #[serde(default, alias = "accountSid")]
    account_sid: Option<String>,
    #[serde(default, alias = "customParameters")]
    custom_parameters: Option<Parameters>,
    #[serde(default, alias = "mediaFormat")]
    media_format: Option<MediaFormat>,
}

#[derive(Deserialize)]
struct MediaFormat {
    #[serde(default)]
    encoding: String,
    #[serde(default, alias = "sampleRate")]
    sample_rate: Counter,
}

impl<'a> FromBot<'a> {
    /// Reads a frame of at most [`super::MAX_FROM_BOT`] octets; `audio` is overwritten by a `media`.
    ///
    /// # Errors
    /// Frames to be passed over.
    pub fn parse(text: &'a str, audio: &mut Vec<u8>) -> Result<Self, Malformed> {
        let frame = Frame::read(text)?;
        match frame.event.as_ref() {
            "media" => {
                frame.decode(audio)?;
                Ok(Self::Media)
            }
            "mark" => Ok(Self::Mark {
                name: frame.mark_name()?,
            }),
            "clear" => Ok(Self::Clear),
            _ => Ok(Self::Unknown),
        }
    }
}

impl<'a> FromTwilio<'a> {
    /// Reads a frame of at most [`super::MAX_FROM_TWILIO`] octets; `audio` is overwritten by a `media`.
    ///
    /// # Errors
    /// Frames to be passed over; a `start` that cannot be used ends the stream.
    pub fn parse(text: &'a str, audio: &mut Vec<u8>) -> Result<Self, Malformed> {
        let frame = Frame::read(text)?;
        match frame.event.as_ref() {
            "media" => {
                let media = frame.decode(audio)?;
                Ok(Self::Media {
                    timestamp: media.timestamp.0,
                    inbound: media.track != "outbound",
                })
            }
            "dtmf" => {
                let digit = frame
                    .dtmf
                    .as_ref()
                    .and_then(|dtmf| dtmf.digit.chars().next());
                let digit = digit
                    .map(|digit| digit.to_ascii_uppercase())
                    .filter(|digit| "0123456789*#ABCD".contains(*digit));
                digit
                    .map(|digit| Self::Dtmf { digit })
                    .ok_or(Malformed::Missing {
                        event: "dtmf",
                        field: "digit",
                    })
            }
            "mark" => Ok(Self::Mark {
                name: frame.mark_name()?,
            }),
            "connected" => Ok(Self::Connected),
            "start" => Ok(Self::Start(Box::new(frame.into_start()?))),
            "stop" => Ok(Self::Stop),
            _ => Ok(Self::Unknown),
        }
    }
}

impl<'a> Frame<'a> {
    fn read(text: &'a str) -> Result<Self, Malformed> {
        // Serde would read a struct from an array too.
        if !text.trim_start().starts_with('{') {
            return Err(Malformed::Json("not an object".into()));
        }
        serde_json::from_str(text)
            .map_err(|error| Malformed::Json(error.to_string().chars().take(200).collect()))
    }

    fn decode(&self, audio: &mut Vec<u8>) -> Result<&Media<'a>, Malformed> {
        let missing = Malformed::Missing {
            event: "media",
            field: "payload",
        };
        let media = self.media.as_ref().ok_or(missing)?;
        audio.clear();
        BASE64
            .decode_vec(media.payload.as_bytes(), audio)
            .map_err(|_| Malformed::Base64)?;
        Ok(media)
    }

    fn mark_name(self) -> Result<Cow<'a, str>, Malformed> {
        self.mark.map(|mark| mark.name).ok_or(Malformed::Missing {
            event: "mark",
            field: "name",
        })
    }

    fn into_start(self) -> Result<Start, Malformed> {
        let missing = |field| Malformed::Missing {
            event: "start",
            field,
        };
        let raw = self.start.ok_or(missing("start"))?;
        if let Some(format) = raw.media_format {
            let mulaw = matches!(
                format.encoding.to_ascii_lowercase().as_str(),
                "" | "audio/x-mulaw" | "pcmu" | "mulaw"
            );
            if !mulaw || format.sample_rate.0.is_some_and(|rate| rate != 8000) {
                return Err(Malformed::Format(
                    format.encoding.chars().take(40).collect(),
                ));
            }
        }
        Ok(Start {
            stream_sid: raw
                .stream_sid
                .or(self.stream_sid)
                .ok_or(missing("streamSid"))?,
            call_sid: raw.call_sid,
            account_sid: raw.account_sid,
            parameters: raw.custom_parameters.unwrap_or_default().0,
        })
    }
}
