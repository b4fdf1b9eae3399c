//! Ring 3, the network: sockets and clocks around the cores. No protocol is decided here.
//!
//! | file | owns |
//! |---|---|
//! | [`listen`] | listening sockets, and errors that name the setting |
//! | [`udp`] | UDP sockets, and which of our addresses leads to a peer |
//! | [`streams`] | every TCP and TLS connection: limits, deadlines, reuse |
//! | [`sip_task`] | the node's one SIP endpoint, its sockets and its timers |
//! | [`admission`] | how many calls there may be: asked where they arrive |
//! | [`ports`] | which UDP port a call's RTP gets |
//! | [`dns`] | asking name servers, for what the core wants to know (RFC 3263) |
//! | [`agent_link`] | the WebSocket under every agent dialect |
//! | [`media_shard`] | one thread per core: RTP sockets, frame clock and agent links of its calls |
//! | [`tls`] | the one TLS provider of the process; certificates and whom we believe |

pub mod admission;
pub mod agent_link;
pub mod dns;
pub mod interfaces;
pub mod listen;
pub mod media_shard;
pub mod ports;
pub mod sip_task;
pub mod streams;
pub mod tls;
pub mod udp;
