//! The real binary on real loopback sockets: SIPp is the far end, and both views of each call are asserted.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: waits for processes of its own"
)]

mod agents;
mod sipp;
mod support;
