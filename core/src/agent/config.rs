//! Which agent: the table of kinds, and how each is made.

use serde::Deserialize;

use super::Dialect;
use super::echo::Echo;
use super::native::{self, Native};
use super::scripted::{self, Scripted};
use super::secret::Secret;
use super::twilio_streams::{self, TwilioStreams};
use crate::vocab::{Entropy, SampleRate};

/// A language an agent speaks. A new one is a file in this folder, a variant here and a line in [`build`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Recorded speech and voice activity: needs nothing.
    #[default]
    Scripted,
    /// The caller's own voice.
    Echo,
    /// `baton.v1` over a WebSocket.
    Websocket,
    /// Twilio Media Streams, we play Twilio: any bot written for it.
    TwilioStreams,
}

/// One `[[agent]]`, as far as its dialect is concerned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Its name.
    pub name: String,
    /// Its language.
    pub kind: Kind,
    /// Where its socket is.
    pub url: String,
    /// Bearer for that socket.
    pub api_key: Option<Secret>,
    /// What it hears and speaks, where the dialect leaves a choice.
    pub sample_rate: SampleRate,
    /// What the scripted agent does.
    pub script: scripted::Config,
}

/// The dialect of one call with this agent; `entropy` makes the identifiers the dialect invents.
pub fn build(config: &Config, entropy: Entropy) -> Box<dyn Dialect> {
    match config.kind {
        Kind::Scripted => Box::new(Scripted::new(config.script.clone())),
        Kind::Echo => Box::new(Echo),
        Kind::Websocket => Box::new(Native::new(native::Config {
            url: config.url.clone(),
            api_key: config.api_key.clone(),
            sample_rate: config.sample_rate,
        })),
        Kind::TwilioStreams => Box::new(TwilioStreams::new(
            twilio_streams::Config {
                url: config.url.clone(),
                api_key: config.api_key.clone(),
            },
            entropy,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_the_configuration_makes_its_agent() {
        for (kind, url) in [
            ("scripted", None),
            ("echo", None),
            ("websocket", Some("wss://bot")),
            ("twilio-streams", Some("wss://bot")),
        ] {
            let config = Config {
                kind: serde_json::from_value(kind.into()).unwrap(),
                url: "wss://bot".into(),
                ..Config::default()
            };
            let agent = build(&config, Entropy::from_number(1));
            assert_eq!(agent.link().map(|link| link.url).as_deref(), url, "{kind}");
        }
        assert!(serde_json::from_str::<Kind>("\"telepathy\"").is_err());
    }

    #[test]
    fn a_secret_is_never_printed() {
        let config = Config {
            api_key: Some("s3cret".to_owned().into()),
            ..Config::default()
        };
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
