//! A hundred ports that no other test uses while this one runs, whether it is a thread or a process.

use std::net::{TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below Linux' ephemeral ports, so that no client socket of the machine sits in the middle of a block.
const FIRST: u16 = 10_000;
const BLOCKS: u16 = 220;
const BLOCK: u16 = 100;

static TAKEN_HERE: AtomicU16 = AtomicU16::new(0);

/// A block of ports. Its first TCP port is held as the sign that the block is in use; the kernel gives it back even
/// when a test is killed.
#[derive(Debug)]
pub(crate) struct Ports {
    first: u16,
    _sign: TcpListener,
}

impl Ports {
    /// A free block.
    pub(crate) fn take() -> Self {
        let process = u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap_or_default();
        for _ in 0..BLOCKS {
            let here = TAKEN_HERE.fetch_add(1, Ordering::Relaxed);
            let first = FIRST + (process.wrapping_add(here) % BLOCKS) * BLOCK;
            if let Ok(sign) = TcpListener::bind(("127.0.0.1", first))
                && all_free(first)
            {
                return Self { first, _sign: sign };
            }
        }
        panic!(
            "no {BLOCK} free loopback ports between {FIRST} and {}",
            FIRST + BLOCKS * BLOCK
        );
    }

    /// Baton's SIP port (UDP and TCP).
    pub(crate) fn sip(&self) -> u16 {
        self.first + 1
    }

    /// Baton's HTTP port (TCP).
    pub(crate) fn http(&self) -> u16 {
        self.first + 2
    }

    /// SIPp's SIP port (UDP).
    pub(crate) fn sipp(&self) -> u16 {
        self.first + 3
    }

    /// The port on which SIPp takes commands (UDP); it insists on one.
    pub(crate) fn sipp_control(&self) -> u16 {
        self.first + 4
    }

    /// Baton's SIP port for TLS.
    pub(crate) fn sips(&self) -> u16 {
        self.first + 5
    }

    /// Baton's RTP ports.
    pub(crate) fn rtp(&self) -> RangeInclusive<u16> {
        self.first + 10..=self.first + 49
    }

    /// The first of SIPp's RTP ports; it takes four for each of its calls.
    pub(crate) fn sipp_media(&self) -> u16 {
        self.first + 50
    }

    /// Ports of one of three other peers; the first two have RTP ports as well.
    pub(crate) fn peer(&self, nth: u16) -> PeerPorts {
        PeerPorts {
            signalling: self.first + 74 + 3 * nth,
            media: self.first + 84 + 8 * nth,
        }
    }
}

/// Ports of one peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerPorts {
    signalling: u16,
    media: u16,
}

impl PeerPorts {
    /// SIP over UDP and TCP.
    pub(crate) fn sip(self) -> u16 {
        self.signalling
    }

    /// SIP over TLS.
    pub(crate) fn tls(self) -> u16 {
        self.signalling + 1
    }

    /// Where it takes commands (TCP).
    pub(crate) fn control(self) -> u16 {
        self.signalling + 2
    }

    /// RTP and RTCP of two calls and more.
    pub(crate) fn rtp(self) -> RangeInclusive<u16> {
        self.media..=self.media + 7
    }
}

fn all_free(first: u16) -> bool {
    let held: Result<Vec<_>, _> = (first..first + BLOCK)
        .map(|port| UdpSocket::bind(("127.0.0.1", port)))
        .collect();
    let streams = [1, 2, 3, 5].map(|offset| TcpListener::bind(("127.0.0.1", first + offset)));
    held.is_ok() && streams.iter().all(Result::is_ok)
}
