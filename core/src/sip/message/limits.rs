//! How large anything in a message may be. Every limit is far above what honest peers send, and bounds what
//! one datagram can make us do.

/// A whole message; also the most a UDP datagram can hold.
pub const MESSAGE: usize = 64 * 1024;
/// The body of a message that came by a stream.
pub const BODY: usize = 64 * 1024;
/// Start line, with it the Request-URI.
pub const START_LINE: usize = 4 * 1024;
/// One header field, continuation lines included.
pub const HEADER: usize = 8 * 1024;
/// Header fields in one message.
pub const HEADERS: usize = 128;
/// The largest number a `CSeq` may carry is below this (RFC 3261 §8.1.1.5).
pub const CSEQ: u32 = 1 << 31;
