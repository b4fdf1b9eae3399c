//! What a test over real sockets needs: ports of its own, the binary, HTTP, and SIPp.

pub(crate) mod baton;
pub(crate) mod http;
pub(crate) mod ports;
pub(crate) mod sipp;

pub(crate) use baton::Baton;
pub(crate) use sipp::Sipp;
