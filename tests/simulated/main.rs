//! Whole calls in virtual time over a virtual network, both ends ours: the cores as they run together, without a
//! socket, a thread or a millisecond of waiting.

mod support;

mod answer;
mod cancel;
mod handoff_failures;
mod handoff_refer;
mod lost_messages;
mod races;
mod reinvite;
