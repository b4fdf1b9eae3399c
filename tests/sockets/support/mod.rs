//! What a test over real sockets needs: ports of its own, the binary, HTTP, far ends and agents.

pub(crate) mod agent;
pub(crate) mod authority;
pub(crate) mod baton;
pub(crate) mod dns;
pub(crate) mod http;
pub(crate) mod node;
pub(crate) mod peer;
pub(crate) mod phone;
pub(crate) mod ports;
pub(crate) mod raw;
pub(crate) mod sipp;
pub(crate) mod sound;

pub(crate) use agent::{Agent, AgentServer};
pub(crate) use baton::{Baton, Fate, Setup};
pub(crate) use raw::RawCaller;
pub(crate) use sipp::Sipp;
