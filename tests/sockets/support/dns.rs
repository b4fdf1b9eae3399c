//! A real DNS server on loopback with a zone of the test's own: Debian's dnsmasq.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::baton::PATIENCE;

/// A running dnsmasq; dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Dns {
    child: Child,
    address: SocketAddr,
}

impl Dns {
    /// Starts it with this zone, in the words of dnsmasq: `--host-record=…`, `--srv-host=…`, `--naptr-record=…`.
    ///
    /// Everything else that it is asked for is NXDOMAIN: it has no upstream.
    pub(crate) fn serves(zone: &[String]) -> Self {
        // The system gives a port; dnsmasq takes it when it is free again.
        for _ in 0..5 {
            let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a port");
            let address = free.local_addr().expect("it is bound");
            drop(free);
            let mut dns = Self {
                child: spawn(address, zone),
                address,
            };
            if dns.answers() {
                return dns;
            }
        }
        panic!("dnsmasq does not answer: see its words above");
    }

    /// Where it is asked.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for its first answer; `false` when it ended instead.
    fn answers(&mut self) -> bool {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a port");
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("it can wait");
        // One question: A of "up.test".
        let question =
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02up\x04test\x00\x00\x01\x00\x01";
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Ok(Some(_)) = self.child.try_wait() {
                return false;
            }
            // Until it listens, loopback answers with an ICMP error.
            let asked = socket.send_to(question, self.address);
            if asked.is_ok() && socket.recv(&mut [0; 512]).is_ok() {
                return true;
            }
        }
        false
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(address: SocketAddr, zone: &[String]) -> Child {
    Command::new(program())
        .args(["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces"])
        .args(["--user=", "--group=", "--pid-file=", "--local=/test/", "--local-ttl=60"])
        .arg(format!("--port={}", address.port()))
        .arg(format!("--listen-address={}", address.ip()))
        .args(zone)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "dnsmasq cannot be started ({error}): install the Debian package dnsmasq-base, or run `make test`, which does"
            )
        })
}

/// Debian has it where only root looks.
fn program() -> &'static str {
    let there = "/usr/sbin/dnsmasq";
    if std::path::Path::new(there).is_file() {
        there
    } else {
        "dnsmasq"
    }
}
