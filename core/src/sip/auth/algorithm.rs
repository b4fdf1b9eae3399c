//! Hash algorithms of digest authentication (RFC 7616 §3.3, RFC 8760 §2.1), and the two strings that are hashed.

use std::fmt::Write;

use md5::Md5;
use sha2::digest::Digest;
use sha2::{Sha256, Sha512_256};

use super::{Account, Counted};

/// A hash, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hash {
    /// Broken, and still the only one that most telephones have.
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-512/256.
    Sha512_256,
}

/// What `algorithm` names, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Algorithm {
    /// The hash.
    pub hash: Hash,
    /// `-sess`: the first nonces go into the secret.
    pub session: bool,
}

/// What is hashed beside the account.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) method: &'a str,
    pub(super) uri: &'a str,
    pub(super) realm: &'a str,
    pub(super) nonce: &'a str,
    /// With `qop=auth`.
    pub(super) counted: Option<&'a Counted>,
}

impl Algorithm {
    /// MD5, which is meant when nothing is written.
    pub const MD5: Self = Self {
        hash: Hash::Md5,
        session: false,
    };
    /// SHA-256.
    pub const SHA_256: Self = Self {
        hash: Hash::Sha256,
        session: false,
    };

    /// By its name, in any case; `None` for one that we do not know.
    pub fn parse(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        let (hash, session) = match lower.strip_suffix("-sess") {
            Some(hash) => (hash, true),
            None => (lower.as_str(), false),
        };
        let hash = match hash {
            "md5" => Hash::Md5,
            "sha-256" => Hash::Sha256,
            "sha-512-256" => Hash::Sha512_256,
            _ => return None,
        };
        Some(Self { hash, session })
    }

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match (self.hash, self.session) {
            (Hash::Md5, false) => "MD5",
            (Hash::Md5, true) => "MD5-sess",
            (Hash::Sha256, false) => "SHA-256",
            (Hash::Sha256, true) => "SHA-256-sess",
            (Hash::Sha512_256, false) => "SHA-512-256",
            (Hash::Sha512_256, true) => "SHA-512-256-sess",
        }
    }

    /// The `response` value (RFC 7616 §3.4.1), lower case hexadecimal.
    pub(super) fn response(self, account: &Account, said: &Said<'_>) -> String {
        let password = account.password.reveal();
        let mut secret = self.hex(&[&account.username, said.realm, password]);
        if let (true, Some(counted)) = (self.session, said.counted) {
            secret = self.hex(&[&secret, said.nonce, &counted.cnonce]);
        }
        let asked = self.hex(&[said.method, said.uri]);
        match said.counted {
            None => self.hex(&[&secret, said.nonce, &asked]),
            Some(Counted { cnonce, nc }) => {
                let nc = format!("{nc:08x}");
                self.hex(&[&secret, said.nonce, &nc, cnonce, "auth", &asked])
            }
        }
    }

    /// Hash of the parts, joined with colons.
    fn hex(self, parts: &[&str]) -> String {
        let text = parts.join(":");
        match self.hash {
            Hash::Md5 => hex(&Md5::digest(text)),
            Hash::Sha256 => hex(&Sha256::digest(text)),
            Hash::Sha512_256 => hex(&Sha512_256::digest(text)),
        }
    }
}

fn hex(octets: &[u8]) -> String {
    octets
        .iter()
        .fold(String::with_capacity(64), |mut hex, octet| {
            let _ = write!(hex, "{octet:02x}"); // a string takes everything
            hex
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(cnonce: &str) -> Counted {
        Counted {
            cnonce: cnonce.to_owned(),
            nc: 1,
        }
    }

    #[test]
    fn an_invite_is_answered_as_others_computed_it() {
        let bridge = Account::new("bridge", "s3cret");
        let counted = counted("0a4f113b");
        let said = |counted| Said {
            method: "INVITE",
            uri: "sip:+15551230000@192.0.2.10",
            realm: "voice.example.com",
            nonce: "dcd98b7102dd2f0e",
            counted,
        };
        assert_eq!(
            Algorithm::MD5.response(&bridge, &said(Some(&counted))),
            "7840b734d8060d4f908ab1c9e7a070a7"
        );
        assert_eq!(
            Algorithm::MD5.response(&bridge, &said(None)),
            "c42ec4b4fc81e1e054837b580840ce38"
        );
        assert_eq!(
            Algorithm::SHA_256.response(&bridge, &said(Some(&counted))),
            "55301474cb329fc9d506cbc1e33ec5b18edf6b70c6b95b7198db64b4a3a6a0bf"
        );
    }

    /// RFC 7616 §3.9.1.
    #[test]
    fn mufasa_is_answered_as_the_rfc_prints_it() {
        let mufasa = Account::new("Mufasa", "Circle of Life");
        let counted = counted("f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ");
        let said = Said {
            method: "GET",
            uri: "/dir/index.html",
            realm: "http-auth@example.org",
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            counted: Some(&counted),
        };
        assert_eq!(
            Algorithm::MD5.response(&mufasa, &said),
            "8ca523f5e9506fed4657c9700eebdbec"
        );
        assert_eq!(
            Algorithm::SHA_256.response(&mufasa, &said),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
    }

    #[test]
    fn names_are_read_in_any_case_and_ordered_by_strength() {
        for name in ["MD5", "SHA-256-sess", "SHA-512-256"] {
            let algorithm = Algorithm::parse(&name.to_ascii_lowercase()).unwrap();
            assert_eq!(algorithm.as_str(), name);
        }
        assert_eq!(Algorithm::parse("AKAv1-MD5"), None);
        assert_eq!(Algorithm::parse(""), None);
        assert_eq!(Algorithm::parse("-sess"), None);
        assert!(Algorithm::MD5 < Algorithm::SHA_256);
        assert!(Algorithm::SHA_256 < Algorithm::parse("SHA-512-256").unwrap());
    }

    #[test]
    fn a_session_hashes_the_first_nonces_into_the_secret() {
        let bridge = Account::new("bridge", "s3cret");
        let (first, second) = (counted("aa"), counted("bb"));
        let said = |counted| Said {
            method: "BYE",
            uri: "sip:a@b",
            realm: "r",
            nonce: "n",
            counted: Some(counted),
        };
        let session = Algorithm::parse("MD5-sess").unwrap();
        let plain = Algorithm::MD5.response(&bridge, &said(&first));
        assert_ne!(session.response(&bridge, &said(&first)), plain);
        assert_ne!(
            session.response(&bridge, &said(&first)),
            session.response(&bridge, &said(&second))
        );
    }
}
