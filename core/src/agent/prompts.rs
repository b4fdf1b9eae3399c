//! Baton's own words: recorded speech, shipped in the binary as the wire plays it.
//!
//! `assets/prompts/make.sh` makes the sound from `assets/prompts/texts.tsv`.

use std::time::Duration;

use crate::vocab::SampleRate;

/// One recorded sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Prompt {
    /// The scripted agent's first words.
    Greeting,
    /// Before it plays back what the caller said.
    IHeard,
    /// And after it.
    WhatElse,
    /// Nobody spoke.
    StillThere,
    /// Before a handoff.
    ToAPerson,
    /// While a handoff is tried.
    Connecting,
    /// A handoff came to nothing.
    TransferFailed,
    /// The agent broke.
    AgentFailed,
    /// The last words of a call nobody can take.
    Goodbye,
}

macro_rules! recorded {
    ($($prompt:ident = $file:literal, $text:literal;)*) => {
        impl Prompt {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$prompt),*];

            /// Its name in `texts.tsv`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$prompt => $file,)* }
            }

            /// What it says.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$prompt => $text,)* }
            }

            /// How it sounds: G.711 μ-law, 8 kHz, one octet per sample.
            pub const fn ulaw(self) -> &'static [u8] {
                match self {
                    $(Self::$prompt => include_bytes!(concat!("../../../assets/prompts/", $file, ".ulaw")),)*
                }
            }
        }
    };
}

recorded! {
    Greeting = "greeting", "Hello, this is Baton. Tell me what I can do for you, or press zero for a person.";
    IHeard = "i_heard", "I heard:";
    WhatElse = "what_else", "What else can I do for you?";
    StillThere = "still_there", "Are you still there? Please say something, or press zero for a person.";
    ToAPerson = "to_a_person", "I will connect you to a person.";
    Connecting = "connecting", "Please hold while I connect you.";
    TransferFailed = "transfer_failed", "I am sorry, nobody could take your call. Let us go on.";
    AgentFailed = "agent_failed", "I am sorry, something went wrong on our side. I will connect you to a person.";
    Goodbye = "goodbye", "I am sorry, we cannot take your call now. Goodbye.";
}

impl Prompt {
    /// How long it plays.
    pub fn duration(self) -> Duration {
        SampleRate::Hz8000.duration_of(self.ulaw().len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recordings_are_of_the_texts_in_the_table() {
        let table: Vec<(&str, &str)> = include_str!("../../../assets/prompts/texts.tsv")
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .collect();
        let ours: Vec<(&str, &str)> = Prompt::ALL.iter().map(|p| (p.name(), p.text())).collect();
        assert_eq!(table, ours);
    }

    #[test]
    fn every_recording_holds_speech_and_is_small() {
        for prompt in Prompt::ALL {
            let sound = prompt.ulaw();
            assert!(sound.len() < 60_000, "{prompt:?}");
            assert!(prompt.duration() > Duration::from_millis(400), "{prompt:?}");
            // μ-law code words below 0x20 or from 0x80 to 0xa0 are loud: the upper quarter of the scale.
            let loud = sound.iter().filter(|octet| **octet & 0x7f < 0x30).count();
            assert!(
                loud * 50 > sound.len(),
                "{prompt:?} is silence: {loud} loud samples"
            );
        }
    }
}
