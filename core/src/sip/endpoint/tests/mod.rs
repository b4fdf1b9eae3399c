//! Behaviour of the endpoint, one file each. [`pair`] wires two of them back to back; [`raw`] plays the far end by hand.

mod pair;
mod raw;

mod call;
