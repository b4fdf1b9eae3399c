//! What was seen of a call: live, as events, and in the end, as a report.

use std::time::Duration;

use serde::Serialize;

pub use super::standstill::Gap;
use crate::net::sip_task::WireLine;

/// How a call ended, seen from the phone.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// It was answered and ended with a BYE.
    Completed {
        /// Whether the BYE was ours.
        by_us: bool,
        /// The Reason header of theirs.
        reason: Option<String>,
    },
    /// It was refused.
    Refused {
        /// 300-699.
        status: u16,
        /// Its phrase.
        reason: String,
    },
    /// Nobody answered in time (or nobody is there: 408).
    NoAnswer,
    /// It was answered, and its audio stopped or never came.
    MediaLost,
    /// The far end asked for a transfer that did not work.
    TransferFailed {
        /// For people.
        why: String,
    },
    /// The dialog died, or what the far end said makes no sense.
    Failed {
        /// For people.
        why: String,
    },
}

impl Outcome {
    /// The exit code of `baton call` (2 is a usage error).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Completed { .. } => 0,
            Self::Refused { .. } | Self::Failed { .. } => 3,
            Self::NoAnswer => 4,
            Self::MediaLost => 5,
            Self::TransferFailed { .. } => 6,
        }
    }
}

/// Everything seen of one call. Times are milliseconds.
#[derive(Debug, Clone, Serialize)]
pub struct CallReport {
    /// Call-ID.
    pub call_id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// INVITE to 200.
    pub setup_ms: Option<f64>,
    /// INVITE to the first 180 or 183.
    pub ringing_ms: Option<f64>,
    /// 200 to the end.
    pub talk_ms: Option<f64>,
    /// Header fields of the 200.
    pub answer_headers: Vec<(String, String)>,
    /// The voice.
    pub rtp: RtpReport,
    /// The transfer, if one was asked for.
    pub refer: Option<ReferReport>,
    /// What was heard, 8 kHz mono, on the sender's clock; lost packets are silence.
    #[serde(skip)]
    pub recording: Vec<i16>,
    /// Every message of the call, where the plan asked for it.
    #[serde(skip)]
    pub wire: Vec<WireLine>,
}

/// The voice, as received and sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RtpReport {
    /// Codec of the answer.
    pub codec: Option<&'static str>,
    /// Packets sent.
    pub sent: u64,
    /// Packets received and taken.
    pub received: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets that came behind a later one.
    pub reordered: u64,
    /// Datagrams refused: no RTP, or from elsewhere.
    pub refused: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter_ms: f64,
    /// Answer to the first packet.
    pub first_packet_ms: Option<f64>,
    /// Answer to the first frame that is louder than -45 dBFS.
    pub first_voice_ms: Option<f64>,
    /// The longest time without a packet, once they came.
    pub longest_gap_ms: f64,
    /// The longest one when the time is taken off that this machine demonstrably stood still.
    pub worst_gap: Gap,
    /// The time between any two packets, where the plan asked for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps_ms: Vec<f32>,
    /// Keys that the far end pressed.
    pub digits: String,
}

/// A transfer, seen from the trunk.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ReferReport {
    /// Refer-To as written.
    pub refer_to: String,
    /// Referred-By as written.
    pub referred_by: Option<String>,
    /// Every header field of the REFER.
    pub headers: Vec<(String, String)>,
    /// What we answered; `None` for silence.
    pub answered: Option<u16>,
    /// What the refer URL said.
    pub webhook: Option<WebhookReport>,
    /// The sipfrag statuses we reported.
    pub notified: Vec<u16>,
    /// How those NOTIFYs were answered.
    pub notify_replies: Vec<u16>,
    /// Whether the far end hung up after a good outcome, as a transferor must.
    pub bye_received: bool,
}

/// One request to the refer URL.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct WebhookReport {
    /// HTTP status; `None` when there was no answer.
    pub status: Option<u16>,
    /// The TwiML, or whatever came; cut at 64 KiB.
    pub body: String,
    /// What went wrong.
    pub error: Option<String>,
}

impl WebhookReport {
    /// Whether a trunk would go on with the transfer.
    pub fn is_success(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }
}

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum PhoneEvent {
    /// 180 or 183.
    Ringing(u16),
    /// 200, after so long.
    Answered(Duration),
    /// The first packet came, so long after the answer.
    FirstPacket(Duration),
    /// The first audible frame, so long after the answer.
    FirstVoice(Duration),
    /// Levels of the last 200 ms in dBFS; may be left out when nobody looks.
    Level {
        /// What we hear.
        heard: f32,
        /// What we say.
        said: f32,
    },
    /// All of `play` was said.
    PlayedOut,
    /// We pressed keys.
    Pressed(String),
    /// The far end pressed a key.
    Digit(char),
    /// The far end put us on hold, or took us back.
    Held(bool),
    /// A REFER came; its Refer-To.
    Referred(String),
    /// The refer URL answered.
    Webhook(WebhookReport),
    /// We sent a NOTIFY with this sipfrag status.
    Notified(u16),
    /// A message on the wire, where the plan asked for it.
    Wire(WireLine),
}

/// As milliseconds with a fraction.
pub(super) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_manual() {
        let codes = [
            Outcome::Completed {
                by_us: true,
                reason: None,
            },
            Outcome::Refused {
                status: 486,
                reason: String::new(),
            },
            Outcome::NoAnswer,
            Outcome::MediaLost,
            Outcome::TransferFailed { why: String::new() },
        ]
        .map(|outcome| outcome.exit_code());
        assert_eq!(codes, [0, 3, 4, 5, 6]);
    }

    #[test]
    fn an_outcome_is_told_apart_by_its_kind_in_json() {
        let json = serde_json::to_value(Outcome::Refused {
            status: 486,
            reason: "Busy Here".into(),
        })
        .unwrap();
        assert_eq!(
            json,
            serde_json::json!({"kind": "refused", "status": 486, "reason": "Busy Here"})
        );
    }
}
