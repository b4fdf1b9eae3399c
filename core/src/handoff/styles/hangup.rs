//! Hang up and return: a BYE that says where the caller should go. The platform behind the trunk acts on it.

use super::Verdict;
use crate::handoff::{Evidence, FailureKind, Input};

/// The header of the BYE that holds the target.
pub const TARGET_HEADER: &str = "Transfer-Target";

/// Waits for the answer to the BYE. SIP bounds the wait by itself (64·T1).
#[derive(Debug)]
pub(in crate::handoff) struct Hangup;

impl Hangup {
    #[expect(clippy::unused_self, reason = "the same shape as every other style")]
    pub(super) fn handle_input(&mut self, input: &Input) -> Option<Verdict> {
        match input {
            Input::ByeAnswered { status } => Some(answered(*status)),
            // Two BYEs crossed: theirs did not know of our target.
            Input::Bye { reason } => Some(Verdict::FailedAndGone(
                FailureKind::CallerHungUp,
                Evidence::reason(reason.as_deref().unwrap_or("the caller hung up first")),
            )),
            Input::NotSent { why } => {
                Some(Verdict::Failed(FailureKind::Refused, Evidence::reason(why)))
            }
            Input::DialogLost { why } => Some(Verdict::Unconfirmed(Evidence::reason(why))),
            // Nothing else concerns a BYE.
            Input::Committed(_)
            | Input::Marked { .. }
            | Input::ReferAnswered { .. }
            | Input::Notified { .. }
            | Input::KeyRead => None,
        }
    }
}

fn answered(status: u16) -> Verdict {
    let evidence = Evidence {
        sip_status: Some(status),
        ..Evidence::default()
    };
    if (200..300).contains(&status) {
        Verdict::Returned(evidence)
    } else {
        Verdict::Unconfirmed(evidence)
    }
}
