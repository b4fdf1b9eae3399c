//! The answer to a challenge: the value of `Authorization` and `Proxy-Authorization` (RFC 7616 §3.4).

use std::fmt;

use super::algorithm::Said;
use super::params::{self, quote};
use super::{Account, Algorithm, Challenge, DigestError, Qop};
use crate::sip::message::Method;

/// What `qop=auth` adds: who answers counts, so that nobody else can say the same again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The client's own nonce.
    pub cnonce: String,
    /// How often it has used the server's nonce, this time included.
    pub nc: u32,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who.
    pub username: String,
    /// In which realm.
    pub realm: String,
    /// The challenge's.
    pub nonce: String,
    /// What is asked for, as the client saw it.
    pub uri: String,
    /// The hash, hexadecimal.
    pub response: String,
    /// MD5 when none is named, `None` for one that we do not know.
    pub algorithm: Option<Algorithm>,
    /// The challenge's.
    pub opaque: Option<String>,
    /// With `qop=auth`.
    pub counted: Option<Counted>,
}

impl Credentials {
    /// Reads a header value. `userhash` is passed over: a hashed name is nobody's.
    ///
    /// # Errors
    /// It is not exactly one Digest answer with all its parts.
    pub fn parse(value: &str) -> Result<Self, DigestError> {
        let schemes = params::parse(value)?;
        let [scheme] = schemes.as_slice() else {
            return Err(DigestError::Syntax); // there is one Authorization per line (RFC 3261 §20.7)
        };
        if !scheme.is_digest() {
            return Err(DigestError::NotDigest);
        }
        let text = |name| scheme.need(name).map(str::to_owned);
        let counted = match scheme.get("qop") {
            None => None,
            Some(qop) if qop.eq_ignore_ascii_case("auth") => Some(Counted {
                cnonce: text("cnonce")?,
                nc: count(scheme.need("nc")?)?,
            }),
            Some(_) => return Err(DigestError::Value("qop")),
        };
        Ok(Self {
            username: text("username")?,
            realm: text("realm")?,
            nonce: text("nonce")?,
            uri: text("uri")?,
            response: text("response")?,
            algorithm: match scheme.get("algorithm") {
                None => Some(Algorithm::MD5),
                Some(name) => Algorithm::parse(name),
            },
            opaque: scheme.get("opaque").map(str::to_owned),
            counted,
        })
    }

    /// Answers a challenge.
    ///
    /// * `counted`: used when the challenge has `qop=auth`.
    /// * returns `None` for a challenge that is not [`Challenge::answerable`].
    pub fn answer(
        challenge: &Challenge,
        account: &Account,
        (method, uri): (&Method, &str),
        counted: Counted,
    ) -> Option<Self> {
        let algorithm = challenge.answerable()?;
        let counted = (challenge.qop == Qop::Auth).then_some(counted);
        let said = Said {
            method: method.as_str(),
            uri,
            realm: &challenge.realm,
            nonce: &challenge.nonce,
            counted: counted.as_ref(),
        };
        Some(Self {
            username: account.username.clone(),
            response: algorithm.response(account, &said),
            realm: challenge.realm.clone(),
            nonce: challenge.nonce.clone(),
            uri: uri.to_owned(),
            algorithm: Some(algorithm),
            opaque: challenge.opaque.clone(),
            counted,
        })
    }

    /// What `response` must be if this account is theirs; `None` for a hash that we do not know.
    pub(super) fn expected(&self, account: &Account, method: &Method) -> Option<String> {
        let said = Said {
            method: method.as_str(),
            uri: &self.uri,
            realm: &self.realm,
            nonce: &self.nonce,
            counted: self.counted.as_ref(),
        };
        Some(self.algorithm?.response(account, &said))
    }
}

/// `nc`: eight hexadecimal digits; the zeros before them are not insisted on.
fn count(text: &str) -> Result<u32, DigestError> {
    let digits = (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    digits
        .then(|| u32::from_str_radix(text, 16).ok())
        .flatten()
        .ok_or(DigestError::Value("nc"))
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{}\"",
            quote(&self.username),
            quote(&self.realm),
            quote(&self.nonce),
            quote(&self.uri),
            self.response
        )?;
        if let Some(algorithm) = self.algorithm {
            write!(f, ", algorithm={}", algorithm.as_str())?;
        }
        if let Some(Counted { cnonce, nc }) = &self.counted {
            write!(f, ", qop=auth, nc={nc:08x}, cnonce={}", quote(cnonce))?;
        }
        if let Some(opaque) = &self.opaque {
            write!(f, ", opaque={}", quote(opaque))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(more: &str) -> Challenge {
        let text = format!(
            r#"Digest realm="voice.example.com", nonce="dcd98b7102dd2f0e", opaque="o" {more}"#
        );
        Challenge::parse_all(&text).unwrap().remove(0)
    }

    fn answer(more: &str) -> Option<Credentials> {
        let counted = Counted {
            cnonce: "0a4f113b".into(),
            nc: 1,
        };
        let account = Account::new("bridge", "s3cret");
        let what = (&Method::Invite, "sip:+15551230000@192.0.2.10");
        Credentials::answer(&challenge(more), &account, what, counted)
    }

    #[test]
    fn a_challenge_is_answered_as_others_computed_it_and_the_answer_is_read_back() {
        for (more, response) in [
            (r#", qop="auth""#, "7840b734d8060d4f908ab1c9e7a070a7"),
            ("", "c42ec4b4fc81e1e054837b580840ce38"),
            (
                r#", qop="auth,auth-int", algorithm=SHA-256"#,
                "55301474cb329fc9d506cbc1e33ec5b18edf6b70c6b95b7198db64b4a3a6a0bf",
            ),
        ] {
            let credentials = answer(more).unwrap();
            assert_eq!(credentials.response, response, "{more}");
            assert_eq!(
                Credentials::parse(&credentials.to_string()),
                Ok(credentials)
            );
        }
        assert_eq!(answer(r#", qop="auth-int""#), None);
    }

    #[test]
    fn an_answer_that_lacks_a_part_or_counts_wrongly_is_refused() {
        let whole = answer(r#", qop="auth""#).unwrap().to_string();
        for name in [
            "username", "realm", "nonce", "uri", "response", "nc", "cnonce",
        ] {
            let without = whole.replace(&format!(" {name}="), &format!(" x-{name}="));
            let error = Credentials::parse(&without).unwrap_err();
            assert_eq!(error, DigestError::Missing(name), "{without}");
        }
        for nc in ["", "0", "123456789", "+1", "0000000g"] {
            let other = whole.replace("nc=00000001", &format!("nc={nc}"));
            let read = Credentials::parse(&other);
            let zero = nc == "0"; // it reads, and is no count: the replay check knows
            assert_eq!(read.is_ok(), zero, "{nc}");
        }
        assert_eq!(
            Credentials::parse(&whole.replace("qop=auth", "qop=auth-int")),
            Err(DigestError::Value("qop"))
        );
        assert_eq!(
            Credentials::parse("Basic realm=\"r\""),
            Err(DigestError::NotDigest)
        );
        assert!(Credentials::parse("Basic dXNlcjpwYXNz").is_err());
        assert!(Credentials::parse(&format!("{whole}, {whole}")).is_err());
    }
}
