//! Ring 4, the other side: a SIP phone built on the same cores as the bridge.
//!
//! `baton call` and `baton demo` ship it, and tests reuse it: [`Phone`] places calls, [`LiveCall`] steers one and tells
//! what happens, [`CallReport`] holds everything that was seen on the wire. It plays the trunk's part in a transfer
//! too: it answers REFER, asks the refer-handler as Twilio does, and reports by NOTIFY. It may not see `bridge`, which
//! keeps the cores honest from the caller's side.
//!
//! | file | what |
//! |---|---|
//! | [`phone`] | the phone: its endpoint, its media threads; starts calls |
//! | [`plan`] | what a call is to do, and what an error in it says |
//! | `place` `call` `run` | one call: its INVITE, what happens to it, the loop that drives it |
//! | `leg` | one call's voice as a sans-IO core |
//! | `refer` | the trunk's part of a transfer |
//! | [`report`] | what was seen |
//! | [`script`] | `0@3s`: timed actions |
//! | `standstill` | whether a gap is the far end's or this machine's |
//! | [`audio_file`] | WAV files in and out |

pub mod audio_file;
mod call;
mod leg;
pub mod phone;
mod place;
pub mod plan;
mod refer;
pub mod report;
mod run;
pub mod script;
mod standstill;

pub use phone::{LiveCall, Phone, PhoneConfig, PhoneError};
pub use plan::{CallPlan, Keep, OnRefer};
pub use report::{CallReport, Outcome, PhoneEvent};
pub use script::{Action, Timed};

#[cfg(test)]
mod tests;
