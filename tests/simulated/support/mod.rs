//! What a simulated call needs: a clock, a wire, a trunk, and the bridge itself.
//!
//! ```text
//!  phone ─► far_end ─►  wire  ─► bridge ─► agent
//!  (RTP)    (SIP UAC)  (loss,    (endpoint, call,  (a dialect in
//!                      delay)     leg, historian)   the test's hand)
//!                                     └─► store
//! ```

pub(crate) mod agent;
pub(crate) mod bridge;
pub(crate) mod clock;
pub(crate) mod doorkeeper;
pub(crate) mod far_end;
mod historian;
pub(crate) mod ladder;
pub(crate) mod phone;
pub(crate) mod registrar;
pub(crate) mod store;
pub(crate) mod wire;
pub(crate) mod world;

pub(crate) use clock::{ms, secs};
pub(crate) use ladder::Ladder;
