//! Plain counters; the shell samples them into metrics.

/// What the endpoint has seen since it was made. Every field only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Datagrams and stream messages taken in.
    pub received: u64,
    /// Messages put on the wire, repeats included.
    pub sent: u64,
    /// What could not be read as SIP, or not be answered, and was dropped.
    pub malformed: u64,
    /// Requests that were taken for repeats of known ones.
    pub repeats_received: u64,
    /// Messages sent again by a timer.
    pub repeats_sent: u64,
    /// Requests refused without being remembered, by the checks before a call sees them.
    pub refused: u64,
    /// Of those: from sources that belong to no trunk.
    pub strangers: u64,
    /// Of those: 401, because nobody had proved anything.
    pub challenged: u64,
    /// Challenges of ours that we answered.
    pub challenges_answered: u64,
    /// Of those refused: 503, because of readiness or limits.
    pub overloaded: u64,
    /// New calls that were dropped unread, because more came in than could be served: counted by whoever owns the socket.
    pub shed: u64,
    /// ACKs, CANCELs and responses that belong to nothing.
    pub strays: u64,
    /// Calls offered to us that reached their call.
    pub calls_in: u64,
    /// Calls we placed.
    pub calls_out: u64,
    /// Requests of ours that nobody answered.
    pub timeouts: u64,
    /// Sends that failed.
    pub send_errors: u64,
}
