//! SIP (RFC 3261) without sockets: messages, transactions, dialogs, and one endpoint that owns them all.
//! Bodies are bytes here; SDP is a stranger.

pub mod auth;
pub mod dialog;
pub mod digit_info;
pub mod endpoint;
pub mod locate;
pub mod message;
pub mod registration;
pub mod transaction;
pub mod trunk;
