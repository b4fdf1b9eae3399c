//! How many connections there may be, and how long each may take for what.

use std::time::Duration;

/// Bounds on connections. Past a number the oldest silent connection is closed, never the newest refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, ours included.
    pub connections: usize,
    /// Connections at once from one source: an IPv4 address, or an IPv6 network of 64 bits.
    pub per_source: usize,
    /// From being accepted to the first whole message, a TLS handshake included.
    pub first_message: Duration,
    /// From a message's first octet to its last.
    pub message: Duration,
    /// Without a message or keep-alive, either way, on a connection that no dialog depends on (RFC 3261 §18).
    pub idle: Duration,
    /// For connecting to a peer.
    pub connect: Duration,
    /// For a TLS handshake with a peer we connected to.
    pub handshake: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2_000,
            per_source: 1_000,
            first_message: Duration::from_secs(20),
            message: Duration::from_secs(10),
            idle: Duration::from_mins(15),
            connect: Duration::from_secs(4),
            handshake: Duration::from_secs(4),
        }
    }
}
