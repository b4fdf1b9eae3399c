//! How a call ended: a closed list, with free text riding along and never alone.

use crate::history::{EndBy, EndKind};
use crate::leg::event::Summary;

use super::Milestones;

/// Why a call is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// By whom.
    pub by: EndBy,
    /// How.
    pub kind: EndKind,
    /// For people.
    pub reason: String,
}

/// The last word on a call, for its one log line and `/v1/calls/{id}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Final {
    /// Why it is over.
    pub ended: Ended,
    /// When what happened.
    pub milestones: Milestones,
    /// Its media's figures; zeros when no media ever ran.
    pub media: Summary,
}

impl Ended {
    fn new(by: EndBy, kind: EndKind, reason: &str) -> Self {
        let mut reason = reason.to_owned();
        reason.truncate(reason.floor_char_boundary(500));
        Self { by, kind, reason }
    }

    /// A human has the caller.
    pub fn transferred() -> Self {
        Self::new(EndBy::Bridge, EndKind::Transferred, "handed over")
    }

    /// Our BYE told the platform where the caller goes.
    pub fn returned() -> Self {
        Self::new(EndBy::Bridge, EndKind::Returned, "hung up and returned")
    }

    /// The caller's BYE.
    pub fn caller_hung_up(reason: Option<&str>) -> Self {
        let reason = reason.unwrap_or("the caller hung up");
        Self::new(EndBy::Caller, EndKind::CallerHungUp, reason)
    }

    /// CANCEL, or a BYE before the answer.
    pub fn cancelled(reason: Option<&str>) -> Self {
        let reason = reason.unwrap_or("given up before the answer");
        Self::new(EndBy::Caller, EndKind::Cancelled, reason)
    }

    /// The agent's wish.
    pub fn agent_hung_up(reason: Option<&str>) -> Self {
        Self::new(
            EndBy::Agent,
            EndKind::AgentHungUp,
            reason.unwrap_or("the agent hung up"),
        )
    }

    /// An operator's wish.
    pub fn operator_hung_up(reason: Option<&str>) -> Self {
        let reason = reason.unwrap_or("ended through the HTTP interface");
        Self::new(EndBy::Operator, EndKind::AgentHungUp, reason)
    }

    /// Refused before the answer.
    pub fn rejected(by: EndBy, reason: &str) -> Self {
        Self::new(by, EndKind::Rejected, reason)
    }

    /// No RTP.
    pub fn lost() -> Self {
        Self::new(EndBy::Bridge, EndKind::Lost, "no RTP from the caller")
    }

    /// The node was stopped under it.
    pub fn stopped() -> Self {
        Self::new(EndBy::Bridge, EndKind::Failed, "the node was stopped")
    }

    /// Something broke.
    pub fn failed(by: EndBy, reason: &str) -> Self {
        Self::new(by, EndKind::Failed, reason)
    }
}
