//! The one table of states and endings. Code, JSON, the HTTP schema and the docs all take their words from here.

use serde::{Deserialize, Serialize};

/// An enum whose variants have one word each, the same in JSON, logs and metrics.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every value, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word for it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// How far a handoff has come.
    HandoffState {
        /// Somebody wants the caller handed over; nothing has been sent.
        Requested = "requested",
        /// The history behind it is durable.
        Committed = "committed",
        /// The far end accepted, or reports that it tries.
        Trying = "trying",
        /// The target rings.
        Ringing = "ringing",
        /// Proven: a NOTIFY with 2xx, or the refer-handler asked for this session's key.
        Transferred = "transferred",
        /// The caller and the target talk through us.
        Bridged = "bridged",
        /// We hung up with the target in the BYE, and the far end acknowledged it.
        Returned = "returned",
        /// It did not happen; the failure's kind and the SIP status say why.
        Failed = "failed",
        /// The far end accepted and hung up, and never said how it went.
        Unconfirmed = "unconfirmed",
        /// After `failed`: the caller is back with the agent. A step, not an outcome: the handoff stays `failed`.
        Resumed = "resumed",
    }
}

impl HandoffState {
    /// Whether nothing but late proof can follow.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Transferred | Self::Bridged | Self::Returned | Self::Failed | Self::Unconfirmed
        )
    }
}

words! {
    /// Why a handoff failed.
    FailureKind {
        /// The request itself cannot be carried out: no target, a bad URI, a header that may not travel.
        Invalid = "invalid",
        /// The history could not be made durable, so nothing was sent.
        NotDurable = "not_durable",
        /// The far end refused the REFER (3xx-6xx).
        Refused = "refused",
        /// The far end never answered the REFER.
        NoAnswer = "no_answer",
        /// The far end accepted, and then said nothing, or nothing that settles it.
        Silent = "silent",
        /// The far end tried and the target did not take the call (NOTIFY 3xx-6xx).
        TargetFailed = "target_failed",
        /// The caller hung up before the far end had accepted.
        CallerHungUp = "caller_hung_up",
        /// The call ended under it for another reason: the media or the dialog was lost, or somebody ended it.
        CallEnded = "call_ended",
    }
}

words! {
    /// How a call ended.
    EndKind {
        /// A human has the caller, with proof.
        Transferred = "transferred",
        /// A human had the caller through us.
        Bridged = "bridged",
        /// Hung up with the target in the BYE.
        Returned = "returned",
        /// The caller hung up.
        CallerHungUp = "caller_hung_up",
        /// The agent, or an operator, hung up.
        AgentHungUp = "agent_hung_up",
        /// Refused before the answer.
        Rejected = "rejected",
        /// Given up by the caller before the answer.
        Cancelled = "cancelled",
        /// No RTP.
        Lost = "lost",
        /// Something broke and there was no next step.
        Failed = "failed",
    }
}

words! {
    /// Who ended a call.
    EndBy {
        /// The caller, or the network behind which the caller is.
        Caller = "caller",
        /// The agent.
        Agent = "agent",
        /// Baton, by its own rules.
        Bridge = "bridge",
        /// A person or a program through the HTTP interface.
        Operator = "operator",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_json_says() {
        for state in HandoffState::ALL {
            let json = serde_json::to_string(state).expect("serializes");
            assert_eq!(json, format!("\"{state}\""));
        }
        for kind in EndKind::ALL {
            let json = format!("\"{kind}\"");
            assert_eq!(
                serde_json::from_str::<EndKind>(&json).expect("parses"),
                *kind
            );
        }
    }

    #[test]
    fn the_tables_hold_the_documented_words() {
        let words = |all: &[EndKind]| all.iter().map(|k| k.as_str()).collect::<Vec<_>>().join(" ");
        assert_eq!(
            words(EndKind::ALL),
            "transferred bridged returned caller_hung_up agent_hung_up rejected cancelled lost failed"
        );
        let finals: Vec<_> = HandoffState::ALL.iter().filter(|s| s.is_final()).collect();
        assert_eq!(finals.len(), 5);
    }
}
