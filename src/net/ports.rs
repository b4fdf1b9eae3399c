//! Which UDP port a call's RTP gets: a random even one of the configured range (RFC 3550 §11 for even).
//!
//! Random, because a guessable port invites "RTP bleed": audio sprayed at the next call before its caller speaks.
//! The operating system is the register of what is taken; nothing is booked here, so nothing can leak.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::str::FromStr;
use std::sync::Mutex;

use baton_core::vocab::Entropy;

use super::listen::BindFault;
use super::udp;

/// Random draws before the whole range is walked: enough until more than nine in ten ports are taken.
const DRAWS: u64 = 32;

/// Expedited forwarding (RFC 3246) in the octet that IP calls TOS: voice goes first where routers care.
const EXPEDITED: u32 = 46 << 2;

/// A range of UDP ports, both ends included: `"10000-19999"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// From the first to the last port; `None` when there is no even port other than 0 in it.
    pub fn new(first: u16, last: u16) -> Option<Self> {
        let first = first.max(2).checked_next_multiple_of(2)?;
        (first <= last).then_some(Self { first, last })
    }

    /// How many calls it has room for.
    pub fn calls(self) -> u64 {
        u64::from((self.last - self.first) / 2) + 1
    }

    fn port(self, index: u64) -> u16 {
        let offset = u16::try_from(index % self.calls()).expect("fewer even ports than ports");
        self.first + offset * 2
    }
}

/// Not a range of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a range of UDP ports; write it as \"10000-19999\"")]
pub struct NotAPortRange(String);

impl FromStr for PortRange {
    type Err = NotAPortRange;

    fn from_str(text: &str) -> Result<Self, NotAPortRange> {
        text.split_once('-')
            .and_then(|(first, last)| {
                Self::new(first.trim().parse().ok()?, last.trim().parse().ok()?)
            })
            .ok_or_else(|| NotAPortRange(text.to_owned()))
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// No RTP socket for this call; its text is for the operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// Every port of the range is taken.
    #[error("no free RTP port in {0} ([media] rtp_ports): widen the range, two ports per call")]
    AllTaken(PortRange),
    /// The address itself cannot be used.
    #[error("cannot open an RTP socket on {ip} ([media] rtp_ports): {fault}")]
    Unusable {
        /// Where.
        ip: IpAddr,
        /// What is wrong.
        fault: BindFault,
    },
}

/// Where RTP sockets come from.
#[derive(Debug)]
pub struct RtpPorts {
    ip: IpAddr,
    /// `None`: any port the system likes (tests, the demo).
    range: Option<PortRange>,
    entropy: Mutex<Entropy>,
}

impl RtpPorts {
    /// * `ip`: the address RTP is received on; 0.0.0.0 for all.
    /// * `range`: `None` leaves the choice to the system.
    pub fn new(ip: IpAddr, range: Option<PortRange>, entropy: Entropy) -> Self {
        Self {
            ip,
            range,
            entropy: Mutex::new(entropy),
        }
    }

    /// Opens the RTP socket of one call, non-blocking. The port is free again when the socket is dropped.
    ///
    /// # Errors
    /// [`PortError`] when no port of the range is free, or the address cannot be used.
    pub fn bind(&self) -> Result<UdpSocket, PortError> {
        let Some(range) = self.range else {
            return self.open(0).map_err(|error| self.unusable(error));
        };
        for port in self.candidates(range) {
            match self.open(port) {
                Ok(socket) => return Ok(socket),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(self.unusable(error)),
            }
        }
        Err(PortError::AllTaken(range))
    }

    fn candidates(&self, range: PortRange) -> impl Iterator<Item = u16> {
        let mut entropy = self
            .entropy
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .fork();
        let walk_from = entropy.below(range.calls());
        (0..DRAWS)
            .map(move |_| range.port(entropy.below(range.calls())))
            .chain((0..range.calls()).map(move |step| range.port(walk_from + step)))
    }

    fn open(&self, port: u16) -> io::Result<UdpSocket> {
        let socket = udp::open(SocketAddr::new(self.ip, port), None)?;
        // Marking is a courtesy to routers; a system that forbids it still carries calls.
        let mark = socket2::SockRef::from(&socket);
        let _ = match self.ip {
            IpAddr::V4(_) => mark.set_tos_v4(EXPEDITED),
            IpAddr::V6(_) => mark.set_tclass_v6(EXPEDITED),
        };
        Ok(socket)
    }

    fn unusable(&self, error: io::Error) -> PortError {
        PortError::Unusable {
            ip: self.ip,
            fault: error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(range: Option<PortRange>) -> RtpPorts {
        RtpPorts::new(
            "127.0.0.1".parse().unwrap(),
            range,
            Entropy::from_number(11),
        )
    }

    #[test]
    fn a_range_reads_as_people_write_it() {
        let range: PortRange = "10000-19999".parse().unwrap();
        assert_eq!(range.calls(), 5000);
        assert_eq!(range.to_string(), "10000-19999");
        assert_eq!("10001 - 10003".parse::<PortRange>().unwrap().calls(), 1);
    }

    #[test]
    fn what_is_not_a_range_is_refused_with_an_example() {
        for text in [
            "",
            "10000",
            "20000-10000",
            "1-70000",
            "x-y",
            "65535-65535",
            "0-1",
        ] {
            let error = text.parse::<PortRange>().unwrap_err();
            assert!(error.to_string().contains("10000-19999"), "{text}");
        }
    }

    #[test]
    fn ports_are_even_random_and_never_given_twice() {
        let range: PortRange = "42000-42199".parse().unwrap();
        let ports = ports(Some(range));
        let sockets: Vec<_> = (0..50).map(|_| ports.bind().unwrap()).collect();
        let mut taken: Vec<_> = sockets
            .iter()
            .map(|s| s.local_addr().unwrap().port())
            .collect();
        assert!(
            taken
                .iter()
                .all(|p| p % 2 == 0 && (42000..=42199).contains(p))
        );
        assert!(taken.windows(2).any(|w| w[1] != w[0] + 2), "not sequential");
        taken.sort_unstable();
        taken.dedup();
        assert_eq!(taken.len(), 50);
    }

    #[test]
    fn a_full_range_says_which_setting_to_widen() {
        let range: PortRange = "42300-42305".parse().unwrap();
        let ports = ports(Some(range));
        let sockets: Vec<_> = (0..3).map(|_| ports.bind().unwrap()).collect();
        let error = ports.bind().unwrap_err().to_string();
        assert!(error.contains("42300-42305 ([media] rtp_ports)"), "{error}");
        drop(sockets);
        assert!(ports.bind().is_ok(), "a dropped socket frees its port");
    }

    #[test]
    fn without_a_range_the_system_chooses() {
        let socket = ports(None).bind().unwrap();
        assert_ne!(socket.local_addr().unwrap().port(), 0);
    }

    #[test]
    fn an_address_of_another_machine_is_not_a_full_range() {
        let ports = RtpPorts::new(
            "192.0.2.1".parse().unwrap(),
            PortRange::new(42400, 42500),
            Entropy::from_number(1),
        );
        let error = ports.bind().unwrap_err();
        assert!(matches!(error, PortError::Unusable { .. }), "{error}");
    }
}
