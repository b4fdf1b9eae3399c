//! The real binary on real loopback sockets: SIPp, the library's own phone and small agents are the far ends, and both
//! views of each call are asserted.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: waits for processes of its own"
)]

mod agents;
mod bad_input;
mod broken_task;
mod crash;
mod dns;
mod drain;
mod flood;
mod identity;
mod peers;
mod program;
mod sipp;
mod streams;
mod support;
mod tls;
mod transports;
