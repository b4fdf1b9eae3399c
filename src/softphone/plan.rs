//! What a call is to do.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use baton_core::sdp::Codec;
use baton_core::sip::auth::Account;

use super::script::Timed;

/// What the phone does with a REFER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRefer {
    /// As a trunk does: 202, NOTIFY 100, ask the refer URL if there is one, NOTIFY the outcome.
    #[default]
    Accept,
    /// 603.
    Reject,
    /// 202, and never a NOTIFY.
    Ignore,
    /// No answer at all.
    Silent,
}

/// Not something that can be done with a REFER.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: choose accept, reject, ignore (202 and no NOTIFY) or silent (no answer)")]
pub struct NotAnOption(String);

impl FromStr for OnRefer {
    type Err = NotAnOption;

    fn from_str(text: &str) -> Result<Self, NotAnOption> {
        match text {
            "accept" => Ok(Self::Accept),
            "reject" => Ok(Self::Reject),
            "ignore" => Ok(Self::Ignore),
            "silent" => Ok(Self::Silent),
            _ => Err(NotAnOption(text.to_owned())),
        }
    }
}

/// What a report keeps beside its figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// What was heard (half an hour at most).
    pub recording: bool,
    /// The time between any two packets (10 minutes at most).
    pub gaps: bool,
    /// Every message. For one call at a time: it watches the whole wire.
    pub wire: bool,
}

impl Keep {
    /// All of it.
    pub const ALL: Self = Self {
        recording: true,
        gaps: true,
        wire: true,
    };
}

/// One call, planned.
#[derive(Debug, Clone)]
pub struct CallPlan {
    /// Whom to call: `sip:user@host[:port][;transport=tcp|tls]` or `sips:`.
    pub uri: String,
    /// Our user part in From and Contact.
    pub from_user: String,
    /// Answers challenges; without it none is answered.
    pub account: Option<Arc<Account>>,
    /// Extra header fields of the INVITE.
    pub headers: Vec<(String, String)>,
    /// Codecs in the order of our offer.
    pub codecs: Vec<Codec>,
    /// What we say: 8 kHz mono. Silence after it.
    pub play: Arc<[i16]>,
    /// Say it again and again.
    pub repeat: bool,
    /// What the report keeps.
    pub keep: Keep,
    /// Key presses and more, by time.
    pub script: Vec<Timed>,
    /// Hang up this long after the answer; `None`: when the far end does.
    pub duration: Option<Duration>,
    /// How long it may ring.
    pub ring_timeout: Duration,
    /// No RTP for this long is a lost call; not while the far end holds us.
    pub no_rtp_timeout: Duration,
    /// What to do with a REFER.
    pub on_refer: OnRefer,
    /// Asked as Twilio asks a referUrl: a form with `ReferTransferTarget`. Implies `X-Twilio-CallSid` in the INVITE.
    pub refer_url: Option<String>,
    /// How long the far end may take to hang up after a transfer that went well.
    pub bye_timeout: Duration,
}

impl CallPlan {
    /// A silent call that ends when the far end ends it.
    pub fn new(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            from_user: "baton".into(),
            account: None,
            headers: Vec::new(),
            codecs: Codec::ALL.to_vec(),
            play: Arc::from([]),
            repeat: false,
            keep: Keep::default(),
            script: Vec::new(),
            duration: None,
            ring_timeout: Duration::from_mins(1),
            no_rtp_timeout: Duration::from_secs(10),
            on_refer: OnRefer::Accept,
            refer_url: None,
            bye_timeout: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_with_a_refer_reads_as_the_flag_spells_it() {
        for (text, option) in [
            ("accept", OnRefer::Accept),
            ("reject", OnRefer::Reject),
            ("ignore", OnRefer::Ignore),
            ("silent", OnRefer::Silent),
        ] {
            assert_eq!(text.parse(), Ok(option));
        }
        let error = "Accept all".parse::<OnRefer>().unwrap_err();
        assert!(error.to_string().contains("silent"), "{error}");
    }
}
