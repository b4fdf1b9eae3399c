//! A digest challenge: the value of `WWW-Authenticate` and `Proxy-Authenticate` (RFC 7616 §3.3).

use std::fmt;

use super::params::{self, Scheme, quote};
use super::{Algorithm, DigestError};

/// Octets of each text that is kept and said again; honest ones are far below.
const TEXT: usize = 1024;

/// Which protection it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qop {
    /// None named: the way of RFC 2069, without a count.
    None,
    /// `auth` is among them.
    Auth,
    /// Only others, `auth-int` as a rule.
    Other,
}

/// One digest challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Whose accounts.
    pub realm: String,
    /// What must be hashed.
    pub nonce: String,
    /// What must be said again.
    pub opaque: Option<String>,
    /// The hash; MD5 when none is named, `None` for one that we do not know.
    pub algorithm: Option<Algorithm>,
    /// The protection.
    pub qop: Qop,
    /// The answer was right, its nonce too old.
    pub stale: bool,
}

impl Challenge {
    /// Reads a header value: every digest challenge in it, in order; other schemes are passed over.
    ///
    /// # Errors
    /// The value, or one of its digest challenges, cannot be read.
    pub fn parse_all(value: &str) -> Result<Vec<Self>, DigestError> {
        let schemes = params::parse(value)?;
        let digests = schemes.iter().filter(|scheme| scheme.is_digest());
        digests.map(Self::of).collect()
    }

    fn of(scheme: &Scheme<'_>) -> Result<Self, DigestError> {
        let text = |name, value: &str| {
            if value.len() > TEXT {
                return Err(DigestError::Value(name));
            }
            Ok(value.to_owned())
        };
        let opaque = scheme.get("opaque").map(|value| text("opaque", value));
        Ok(Self {
            realm: text("realm", scheme.need("realm")?)?,
            nonce: text("nonce", scheme.need("nonce")?)?,
            opaque: opaque.transpose()?,
            algorithm: match scheme.get("algorithm") {
                None => Some(Algorithm::MD5),
                Some(name) => Algorithm::parse(name),
            },
            qop: qop(scheme.get("qop")),
            stale: scheme
                .get("stale")
                .is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
    }

    /// The hash to answer with, when we can: known, and with a protection that we have. A session needs a count.
    pub fn answerable(&self) -> Option<Algorithm> {
        let algorithm = self.algorithm?;
        match self.qop {
            Qop::Auth => Some(algorithm),
            Qop::None => Some(algorithm).filter(|algorithm| !algorithm.session),
            Qop::Other => None,
        }
    }
}

fn qop(value: Option<&str>) -> Qop {
    let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) else {
        return Qop::None;
    };
    let mut options = value.split(',').map(str::trim);
    if options.any(|option| option.eq_ignore_ascii_case("auth")) {
        Qop::Auth
    } else {
        Qop::Other
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (realm, nonce) = (quote(&self.realm), quote(&self.nonce));
        write!(f, "Digest realm={realm}, nonce={nonce}")?;
        if self.qop == Qop::Auth {
            f.write_str(", qop=\"auth\"")?;
        }
        if let Some(algorithm) = self.algorithm {
            write!(f, ", algorithm={}", algorithm.as_str())?;
        }
        if let Some(opaque) = &self.opaque {
            write!(f, ", opaque={}", quote(opaque))?;
        }
        if self.stale {
            f.write_str(", stale=true")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Challenge {
        let mut all = Challenge::parse_all(text).unwrap();
        assert_eq!(all.len(), 1, "{text}");
        all.remove(0)
    }

    #[test]
    fn challenges_of_real_servers_are_read() {
        let asterisk = one(
            r#"Digest realm="asterisk",nonce="1699999999/0a1b2c",opaque="5d",algorithm=md5,qop="auth""#,
        );
        assert_eq!(asterisk.algorithm, Some(Algorithm::MD5));
        assert_eq!(asterisk.opaque.as_deref(), Some("5d"));
        assert_eq!(asterisk.qop, Qop::Auth);
        let old = one(r#"digest NONCE="n", Realm="", stale="TRUE""#);
        assert_eq!((old.realm.as_str(), old.stale), ("", true));
        assert_eq!(old.answerable(), Some(Algorithm::MD5));
        let list =
            one(r#"Digest realm="r", nonce="n", qop="auth-int, auth", domain="sip:a sip:b""#);
        assert_eq!(list.qop, Qop::Auth);
        let odd = one(r#"Digest realm="r", nonce="n", qop=auth, algorithm="SHA-256", x-new=1"#);
        assert_eq!(odd.answerable(), Some(Algorithm::SHA_256));
    }

    #[test]
    fn several_in_one_header_are_all_read_and_other_schemes_passed_over() {
        let all = Challenge::parse_all(
            r#"Basic realm="b", Digest realm="a", nonce="1", Digest realm="c", nonce="2", Bearer x"#,
        );
        let realms: Vec<_> = all.unwrap().into_iter().map(|c| c.realm).collect();
        assert_eq!(realms, ["a", "c"]);
        assert_eq!(Challenge::parse_all("Basic realm=\"b\""), Ok(vec![]));
    }

    #[test]
    fn what_we_cannot_do_is_not_answerable() {
        for more in [
            r#"algorithm=AKAv1-MD5"#,
            r#"qop="auth-int""#,
            r#"algorithm=MD5-sess"#,
        ] {
            let challenge = one(&format!(r#"Digest realm="r", nonce="n", {more}"#));
            assert_eq!(challenge.answerable(), None, "{more}");
        }
        let session = one(r#"Digest realm="r", nonce="n", algorithm=MD5-sess, qop="auth""#);
        assert!(session.answerable().is_some());
    }

    #[test]
    fn what_lacks_a_part_or_is_huge_is_refused() {
        let missing = Challenge::parse_all(r#"Digest realm="r""#);
        assert_eq!(missing, Err(DigestError::Missing("nonce")));
        let missing = Challenge::parse_all(r#"Digest nonce="r""#);
        assert_eq!(missing, Err(DigestError::Missing("realm")));
        let huge = format!(r#"Digest realm="r", nonce="{}""#, "n".repeat(1025));
        assert_eq!(
            Challenge::parse_all(&huge),
            Err(DigestError::Value("nonce"))
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let challenge = Challenge {
            realm: "a \"b\" \\ c, Digest x=y".into(),
            nonce: "n+/=".into(),
            opaque: Some(String::new()),
            algorithm: Some(Algorithm::SHA_256),
            qop: Qop::Auth,
            stale: true,
        };
        assert_eq!(one(&challenge.to_string()), challenge);
    }
}
