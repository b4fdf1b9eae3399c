//! Baton's pure part: everything that decides, nothing that touches the world.
//!
//! Rings, each of which may only look inward:
//!
//! | ring | modules | what |
//! |---|---|---|
//! | 0 | [`vocab`] | words everyone uses |
//! | 1 | [`sip`] [`sdp`] [`media`] [`twilio`] [`agent`] | protocols and signal processing |
//! | 2 | [`history`] [`transfer`] [`handoff`] [`call`] [`leg`] [`admission`] | decisions |
//!
//! Every core is a plain struct with one contract: `handle_*(now, ..)` tells it what happened,
//! `poll_*()` drains what it wants done, `poll_timeout()` says when it wants to be woken.
//!
//! Start reading with [`call`] (what a call does), [`sip::endpoint`] (how it is said on the wire) and
//! [`leg`] (how the caller's voice reaches the agent and back).

pub mod admission;
pub mod agent;
pub mod call;
pub mod handoff;
pub mod history;
pub mod leg;
pub mod media;
pub mod sdp;
pub mod sip;
pub mod transfer;
pub mod twilio;
pub mod vocab;

#[cfg(test)]
pub(crate) mod testing;
