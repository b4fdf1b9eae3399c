//! RTP (RFC 3550): the header, the numbering of both directions, whose packets count, and what RTCP reports of them.

pub mod packet;
pub mod receiver;
pub mod rtcp;
pub mod sender;
pub mod sequence;
pub mod source;

pub use packet::{Packet, PacketError, RtpTimestamp, SeqNo};
pub use source::{Admission, Latch, LatchPolicy};
