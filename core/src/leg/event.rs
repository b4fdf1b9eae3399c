//! What passes between a call and its leg: a few commands and events per second, never audio.

use std::time::Duration;

use crate::agent;
use crate::agent::prompts::Prompt;

/// What the call wants of its leg.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// The call is answered: the caller's clock starts, RTP leaves every 20 ms from here to the end, and the
    /// agent gets its `start`.
    Answered,
    /// Say this to the agent. (`start`, marks, digits and speech it is told by the leg itself.)
    Agent(agent::Command),
    /// Stop the agent's playout where it is, if it plays; [`Command::ResumePlayout`] goes on from there.
    PausePlayout,
    /// Play one of Baton's own prompts to the caller, behind whatever plays; ends with [`Event::PromptEnded`].
    Prompt(Prompt),
    /// Silence the caller's ear within 20 ms, if the agent is heard there.
    Clear,
    /// After a pausing barge-in: go on where it stopped.
    ResumePlayout,
    /// Digits to the caller's side (RFC 4733).
    SendDigits {
        /// `0-9 * # A-D`.
        digits: String,
        /// Each.
        duration: Duration,
        /// Between two.
        gap: Duration,
    },
    /// The far end's address, codec or direction changed (re-INVITE).
    Renegotiated(Box<Renegotiated>),
    /// The caller left the agent's care (handed over, or the agent is gone): no more audio either way between them;
    /// the caller gets comfort noise.
    DetachAgent {
        /// For the agent's `stop`.
        reason: String,
    },
    /// Pause or resume the recording.
    Recording(bool),
    /// The call is over: stop the agent, close the sockets.
    Close {
        /// For the agent's `stop`.
        reason: String,
    },
}

/// What a re-INVITE changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renegotiated {
    /// Where our RTP goes now.
    pub remote: std::net::SocketAddr,
    /// Whether we may send.
    pub send: bool,
    /// Whether silence from the far end means that something is wrong: it does not on hold.
    pub receive: bool,
    /// The codec both ways from here on.
    pub codec: crate::sdp::Codec,
    /// Its payload type.
    pub payload_type: u8,
    /// Payload type of RFC 4733 digits.
    pub telephone_event: Option<u8>,
}

/// What the call should know.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The agent can be talked to.
    AgentOpen,
    /// The agent said something (audio, marks and clears are served inside the leg).
    Agent(agent::Event),
    /// The agent's socket could not be opened, broke, or closed.
    AgentClosed {
        /// `true`: it closed with 1000 or 1001.
        clean: bool,
        /// For people.
        why: String,
    },
    /// First audio of the agent was sent to the caller.
    AgentHeard {
        /// Media time.
        at: Duration,
    },
    /// The caller began to speak.
    SpeechStarted {
        /// Media time.
        at: Duration,
    },
    /// The caller fell silent.
    SpeechStopped {
        /// Media time.
        at: Duration,
    },
    /// The caller pressed a key.
    Digit {
        /// `0-9 * # A-D`.
        digit: char,
        /// How long.
        duration: Duration,
        /// Media time.
        at: Duration,
    },
    /// A mark of the agent was reached (`heard`) or cleared.
    Marked {
        /// Its name.
        name: String,
        /// See above.
        heard: bool,
        /// Media time.
        at: Duration,
    },
    /// The agent's turn was cut.
    Cleared {
        /// What the caller heard of it.
        heard: Duration,
    },
    /// The agent finished a run of audio: a turn in the history.
    AgentTurn {
        /// Media time of its first sample in the caller's ear.
        from: Duration,
        /// Media time of its last.
        to: Duration,
    },
    /// The agent is more than `playout_max` ahead of the caller's ear; the newest audio was dropped. Once per overflow.
    PlayoutFull,
    /// A prompt of Baton's own was heard (or cleared).
    PromptEnded(Prompt),
    /// Once a second while the call is up: how it goes. A newer one replaces an older one.
    Report(Box<Summary>),
    /// No RTP for `no_rtp_timeout` while some was due.
    MediaLost,
    /// The sockets are closed and the agent has been told; the last event.
    Closed(Box<Summary>),
}

/// A leg's figures, for the call's one summary line and `/v1/calls/{id}`.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Summary {
    /// Packets received and taken.
    pub packets_received: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets that never came.
    pub packets_lost: u64,
    /// Packets that came too late to be used.
    pub packets_late: u64,
    /// Packets refused: wrong source, unknown payload type, neither RTP nor RTCP.
    pub packets_refused: u64,
    /// RTCP reports of the far end that came by the RTP port.
    pub rtcp_received: u64,
    /// Of our packets, lost as the far end last reported.
    pub far_end_lost: u64,
    /// Audio made up for what was lost, ms.
    pub concealed_ms: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1), ms.
    pub jitter_ms: f64,
    /// Loudest caller frame of the last second, dBFS.
    pub level_dbfs: f32,
    /// Agent audio dropped because the caller's queue was full, ms.
    pub overflow_ms: u64,
    /// Caller audio dropped because the agent's socket did not keep up, ms.
    pub link_dropped_ms: u64,
}
