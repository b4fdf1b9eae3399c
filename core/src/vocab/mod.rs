//! Ring 0: the words everyone uses. No behaviour beyond construction and printing.

pub mod audio;
pub mod entropy;
pub mod ids;
pub mod pii;
pub mod timers;

pub use audio::{PTIME, SampleRate};
pub use entropy::Entropy;
pub use ids::{CallId, HandoffId, HandoffKey};
pub use pii::Pii;
pub use timers::Timers;
