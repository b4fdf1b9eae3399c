//! One file per style: what it sends, and what it makes of the answers.

pub mod hangup;
pub mod refer;

use std::time::Instant;

use super::{Evidence, FailureKind, HandoffState, Input};

/// A style at work.
#[derive(Debug)]
pub(super) enum Attempt {
    Refer(refer::Refer),
    Hangup(hangup::Hangup),
}

/// What an attempt has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// `trying` or `ringing`.
    Progress(HandoffState, Evidence),
    /// A human has the caller; the call is still up on our side.
    Transferred(Evidence),
    /// The same, and the far end has hung up.
    TransferredAndGone(Evidence),
    /// Our BYE was acknowledged.
    Returned(Evidence),
    /// The call is gone and nobody said where to.
    Unconfirmed(Evidence),
    /// It did not happen; the next style may.
    Failed(FailureKind, Evidence),
    /// It did not happen and the call is over.
    FailedAndGone(FailureKind, Evidence),
}

impl Attempt {
    pub(super) fn handle_input(&mut self, now: Instant, input: &Input) -> Option<Verdict> {
        match self {
            Self::Refer(refer) => refer.handle_input(now, input),
            Self::Hangup(hangup) => hangup.handle_input(input),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Verdict> {
        match self {
            Self::Refer(refer) => refer.handle_timeout(now),
            Self::Hangup(_) => None,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Refer(refer) => refer.poll_timeout(),
            Self::Hangup(_) => None,
        }
    }
}
