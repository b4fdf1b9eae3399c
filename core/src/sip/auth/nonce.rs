//! Nonces that need no memory: when, which, and a seal over both and the source that only this node can make.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Octets of the seal that are sent.
const SEAL: usize = 16;
/// Time, serial, seal.
const NONCE: usize = 8 + 4 + SEAL;

/// What a nonce of ours says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Minted {
    /// Milliseconds since the first one.
    pub(super) at: u64,
    /// Two of one millisecond differ.
    pub(super) serial: u32,
}

/// Makes nonces and knows them again.
#[derive(Clone)]
pub(super) struct Nonces {
    secret: [u8; 32],
    serial: u32,
}

impl Nonces {
    pub(super) fn new(secret: [u8; 32]) -> Self {
        Self { secret, serial: 0 }
    }

    /// A new one for this source.
    pub(super) fn mint(&mut self, at: u64, source: IpAddr) -> String {
        self.serial = self.serial.wrapping_add(1);
        let minted = Minted {
            at,
            serial: self.serial,
        };
        let mut octets = [0; NONCE];
        octets[..8].copy_from_slice(&at.to_be_bytes());
        octets[8..12].copy_from_slice(&self.serial.to_be_bytes());
        octets[12..].copy_from_slice(&self.seal(minted, source));
        STANDARD.encode(octets)
    }

    /// Reads one of ours; `None` when this node did not make it for this source.
    pub(super) fn read(&self, nonce: &str, source: IpAddr) -> Option<Minted> {
        if nonce.len() != NONCE.div_ceil(3) * 4 {
            return None;
        }
        let octets: [u8; NONCE] = STANDARD.decode(nonce).ok()?.try_into().ok()?;
        let (at, rest) = octets.split_first_chunk::<8>()?;
        let (serial, seal) = rest.split_first_chunk::<4>()?;
        let minted = Minted {
            at: u64::from_be_bytes(*at),
            serial: u32::from_be_bytes(*serial),
        };
        bool::from(self.seal(minted, source).as_slice().ct_eq(seal)).then_some(minted)
    }

    fn seal(&self, minted: Minted, source: IpAddr) -> [u8; SEAL] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret)
            .unwrap_or_else(|_| unreachable!("a key of any length will do"));
        mac.update(&minted.at.to_be_bytes());
        mac.update(&minted.serial.to_be_bytes());
        match source.to_canonical() {
            IpAddr::V4(v4) => mac.update(&v4.octets()),
            IpAddr::V6(v6) => mac.update(&v6.octets()),
        }
        let whole = mac.finalize().into_bytes();
        let mut seal = [0; SEAL];
        seal.copy_from_slice(&whole[..SEAL]);
        seal
    }
}

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nonces").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn a_nonce_is_known_again_by_its_maker_and_for_its_source_only() {
        let mut nonces = Nonces::new([7; 32]);
        let nonce = nonces.mint(1234, HERE);
        let minted = nonces.read(&nonce, HERE).unwrap();
        assert_eq!(minted.at, 1234);
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(nonces.read(&nonce, mapped), Some(minted));
        let elsewhere: IpAddr = "192.0.2.2".parse().unwrap();
        assert_eq!(nonces.read(&nonce, elsewhere), None);
        assert_eq!(Nonces::new([8; 32]).read(&nonce, HERE), None);
        assert_ne!(nonces.mint(1234, HERE), nonce);
    }

    #[test]
    fn a_changed_or_foreign_nonce_is_none_of_ours() {
        let mut nonces = Nonces::new([7; 32]);
        let nonce = nonces.mint(1, HERE);
        for at in 0..nonce.len() {
            let mut changed = nonce.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(nonces.read(&changed, HERE), None, "{changed}");
        }
        for foreign in [
            "",
            "dcd98b7102dd2f0e",
            "é",
            &"A".repeat(40),
            &"A".repeat(9000),
        ] {
            assert_eq!(nonces.read(foreign, HERE), None);
        }
    }
}
