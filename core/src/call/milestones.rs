//! When what happened, from the INVITE on: the ladder of the console and the figures of the call's summary line.

use std::fmt;
use std::time::Duration;

use crate::history::HandoffState;

/// Entries of a ladder; a call that talks for hours with a busy far end keeps its beginning and its figures.
const LADDER_MAX: usize = 256;

/// One step of a call that a person wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Milestone {
    /// The INVITE came in.
    Invited,
    /// 180 sent.
    Ringing,
    /// The agent can be talked to.
    AgentOpen,
    /// 200 sent.
    Answered,
    /// ACK came.
    Acknowledged,
    /// The caller heard the agent for the first time.
    FirstAgentAudio,
    /// The caller spoke for the first time.
    FirstCallerSpeech,
    /// The far end put us on hold.
    Held,
    /// And took us back.
    Retrieved,
    /// The agent is gone.
    AgentLost,
    /// REFER sent.
    Referred,
    /// A handoff took a step.
    Handoff {
        /// Which.
        state: HandoffState,
        /// By which style.
        style: &'static str,
        /// The far end's word.
        status: Option<u16>,
    },
    /// The far end hung up.
    ByeReceived,
    /// We hung up.
    ByeSent,
    /// We refused.
    Rejected(u16),
}

impl fmt::Display for Milestone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invited => f.write_str("INVITE"),
            Self::Ringing => f.write_str("180 Ringing"),
            Self::AgentOpen => f.write_str("agent open"),
            Self::Answered => f.write_str("200 OK"),
            Self::Acknowledged => f.write_str("ACK"),
            Self::FirstAgentAudio => f.write_str("first agent audio"),
            Self::FirstCallerSpeech => f.write_str("first caller speech"),
            Self::Held => f.write_str("hold"),
            Self::Retrieved => f.write_str("retrieved"),
            Self::AgentLost => f.write_str("agent lost"),
            Self::Referred => f.write_str("REFER"),
            Self::Handoff {
                state,
                style,
                status: None,
            } => write!(f, "{style} {state}"),
            Self::Handoff {
                state,
                style,
                status: Some(status),
            } => write!(f, "{style} {state} ({status})"),
            Self::ByeReceived => f.write_str("BYE received"),
            Self::ByeSent => f.write_str("BYE sent"),
            Self::Rejected(status) => write!(f, "{status} sent"),
        }
    }
}

/// The steps of one call so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Milestones {
    /// Each with its time since the INVITE.
    ladder: Vec<(Duration, Milestone)>,
}

impl Milestones {
    /// Adds a step. What comes beyond the bound is not kept.
    pub(super) fn reach(&mut self, at: Duration, what: Milestone) {
        if self.ladder.len() < LADDER_MAX {
            self.ladder.push((at, what));
        }
    }

    /// All steps, in order.
    pub fn ladder(&self) -> &[(Duration, Milestone)] {
        &self.ladder
    }

    /// When a step was first reached, since the INVITE.
    pub fn first(&self, what: &Milestone) -> Option<Duration> {
        self.ladder
            .iter()
            .find(|(_, m)| m == what)
            .map(|(at, _)| *at)
    }

    /// From the INVITE to our 200.
    pub fn answer_delay(&self) -> Option<Duration> {
        self.first(&Milestone::Answered)
    }

    /// From our 200 to the agent's first sound in the caller's ear.
    pub fn first_agent_audio(&self) -> Option<Duration> {
        let heard = self.first(&Milestone::FirstAgentAudio)?;
        Some(heard.saturating_sub(self.answer_delay()?))
    }

    /// From the first handoff's request to its REFER: what the commit costs the caller.
    pub fn commit_delay(&self) -> Option<Duration> {
        let requested = |(_, m): &&(Duration, Milestone)| {
            matches!(
                m,
                Milestone::Handoff {
                    state: HandoffState::Requested,
                    ..
                }
            )
        };
        let (asked, _) = self.ladder.iter().find(requested)?;
        Some(self.first(&Milestone::Referred)?.saturating_sub(*asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_differences_of_the_ladder() {
        let ms = Duration::from_millis;
        let mut milestones = Milestones::default();
        assert_eq!(milestones.answer_delay(), None);
        for (at, what) in [
            (0, Milestone::Invited),
            (150, Milestone::Answered),
            (400, Milestone::FirstAgentAudio),
            (900, Milestone::FirstAgentAudio),
        ] {
            milestones.reach(ms(at), what);
        }
        assert_eq!(milestones.answer_delay(), Some(ms(150)));
        assert_eq!(milestones.first_agent_audio(), Some(ms(250)));
        assert_eq!(milestones.commit_delay(), None);
    }

    #[test]
    fn a_ladder_without_end_is_cut() {
        let mut milestones = Milestones::default();
        for _ in 0..10_000 {
            milestones.reach(Duration::ZERO, Milestone::Held);
        }
        assert_eq!(milestones.ladder().len(), LADDER_MAX);
    }
}
