//! What the dialects' tests share.

pub(crate) mod ladder;
