//! What a handoff is asked and told, and what it wants done.

use super::{ContextError, KeyPlacement, OnFailure, Refer, Style, UnknownStyle};
use crate::history::{CommitError, HandoffStep, HistoryReceipt};
use crate::vocab::HandoffKey;

/// A wish to hand over, from the agent, an operator, or our own failure policy. What it leaves open, the
/// configuration fills.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// A SIP or tel URI.
    pub target: Option<String>,
    /// Tried first.
    pub style: Option<String>,
    /// Header fields for the target.
    pub headers: Vec<(String, String)>,
    /// Why, in a word or two.
    pub reason: Option<String>,
    /// What the human should know.
    pub summary: Option<String>,
    /// Wait until this mark was heard.
    pub say_first: Option<String>,
}

/// The call that is handed over.
#[derive(Debug, Clone)]
pub struct Caller<'a> {
    /// Its history.
    pub key: HandoffKey,
    /// Whether its peer's Allow names REFER.
    pub allows_refer: bool,
    /// Where its trunk wants the key.
    pub placement: KeyPlacement,
    /// Our own URI towards it.
    pub us: Option<&'a str>,
}

/// Why a handoff cannot even begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It cannot be put on the wire.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// It asks for a style that does not exist.
    #[error(transparent)]
    Style(#[from] UnknownStyle),
    /// One is running already; an accepted REFER cannot be taken back.
    #[error("a handoff is running already")]
    Busy,
    /// The call is not up, or not any more.
    #[error("there is no call to hand over")]
    NoCall,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The commit ended.
    Committed(Result<HistoryReceipt, CommitError>),
    /// A mark of the agent was heard, or cleared.
    Marked {
        /// Its name.
        name: String,
    },
    /// The REFER's final answer.
    ReferAnswered {
        /// Its status; 408 for silence.
        status: u16,
        /// Its phrase.
        reason: String,
    },
    /// A NOTIFY.
    Notified {
        /// The status line of its sipfrag.
        sipfrag: Option<(u16, String)>,
        /// It ends the subscription.
        last: bool,
    },
    /// The refer-handler asked for this session's key.
    KeyRead,
    /// The far end hung up.
    Bye {
        /// Its Reason header.
        reason: Option<String>,
    },
    /// Our BYE was answered.
    ByeAnswered {
        /// Final status; 408 for silence.
        status: u16,
    },
    /// What we wanted to send could not be sent.
    NotSent {
        /// For people.
        why: String,
    },
    /// The call is gone for another reason.
    DialogLost {
        /// For people.
        why: String,
    },
}

/// What is to be done, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Write this step into the history and tell everybody who listens.
    Report(Style, Box<HandoffStep>),
    /// Make the history durable; the answer is [`Input::Committed`].
    Commit,
    /// Send this REFER. It costs a receipt.
    Refer(HistoryReceipt, Box<Refer>),
    /// Send a BYE with these header fields. It costs a receipt.
    HangUpAndReturn(HistoryReceipt, Vec<(String, String)>),
    /// Answer the INVITE with 302 and this Contact. It costs a receipt.
    Redirect(HistoryReceipt, String),
    /// The last action.
    Finish(Outcome),
}

/// How a handoff ended, and so what the call does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A human has the caller: hang up on our side.
    Transferred,
    /// The same, and the far end has hung up already.
    TransferredAndGone,
    /// Our BYE is acknowledged.
    Returned,
    /// The call is gone, and nobody said where to.
    Unconfirmed,
    /// The caller was sent on before the answer; where to, nobody confirms.
    Redirected,
    /// It failed; the caller is ours again.
    Failed(OnFailure),
    /// It failed and the call is gone.
    FailedAndGone,
}

/// What the far end said, for the history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// SIP status.
    pub sip_status: Option<u16>,
    /// In words.
    pub reason: Option<String>,
    /// The status line of a sipfrag.
    pub sipfrag: Option<String>,
}

impl Evidence {
    pub(super) fn reason(text: &str) -> Self {
        Self {
            reason: Some(text.into()),
            ..Self::default()
        }
    }
}
