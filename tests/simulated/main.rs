//! Whole calls in virtual time over a virtual network, both ends ours: the cores as they run together, without a
//! socket, a thread or a millisecond of waiting.

mod support;

mod agent_lost;
mod agent_misbehaves;
mod answer;
mod barge_in;
mod cancel;
mod digest_auth;
mod drain;
mod dtmf;
mod failover;
mod far_end_hangs_up;
mod handoff_failures;
mod handoff_refer;
mod history_not_durable;
mod lost_messages;
mod many_calls;
mod media_loss;
mod notify;
mod races;
mod registration;
mod reinvite;
mod reliable;
mod session_timer;
mod strangers;
mod streams;
