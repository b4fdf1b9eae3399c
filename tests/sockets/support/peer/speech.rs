//! Speech that a peer says and hears: the demo's caller and the agent's prompts, 8 kHz.

use std::fs;
use std::path::Path;

use baton_core::media::g711::{self, Codec};

/// A second, in samples.
const SECOND: usize = 8000;

/// Four seconds of a caller: "Hello. I would like to change the delivery address of my order."
pub(crate) fn caller() -> Vec<i16> {
    asset("demo/caller.ulaw")
}

/// Almost five seconds of the scripted agent: "Hello, this is Baton. ..."
pub(crate) fn greeting() -> Vec<i16> {
    asset("prompts/greeting.ulaw")
}

/// The caller's words after a pause of so many seconds, and then silence for a minute: a peer's line stays open.
pub(crate) fn caller_after(seconds: usize) -> Vec<i16> {
    let mut samples = vec![0; seconds * SECOND];
    samples.extend(caller());
    samples.resize(samples.len() + 60 * SECOND, 0);
    samples
}

fn asset(name: &str) -> Vec<i16> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("assets")
        .join(name);
    let octets = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    octets
        .iter()
        .map(|octet| g711::decode(Codec::Pcmu, *octet))
        .collect()
}
