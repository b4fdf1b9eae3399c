//! The real binary on real loopback sockets: SIPp, the library's own phone and small agents are the far ends, and both
//! views of each call are asserted.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: waits for processes of its own"
)]

mod agents;
mod bad_input;
mod crash;
mod dns;
mod identity;
mod program;
mod sipp;
mod support;
