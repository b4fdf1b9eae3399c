//! The side that answers: every realm that challenged one dialog or registration (RFC 3261 §22.2, §22.3).
//!
//! A proxy and the far end may both challenge, each in its own realm, so a request can bear several answers. Each
//! realm's nonce is kept and counted, and later requests answer it before they are asked. A wrong password must not
//! turn into a loop: see [`Authorizations::handle_challenge`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Account, Challenge, Counted, Credentials};
use crate::sip::message::{Headers, Method, Name};

/// Realms of one dialog.
const REALMS: usize = 4;
/// How often one request is said again for the sake of challenges.
const TRIES: u8 = 4;
/// How long a nonce is used before it is asked for.
const FRESH: Duration = Duration::from_mins(1);

/// A challenge that is not to be answered, or not again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unanswerable {
    /// Nobody is to be answered.
    #[error("there is no account to answer with")]
    NoAccount,
    /// There is no challenge in it that can be read.
    #[error("no digest challenge that can be read")]
    None,
    /// Only hashes or protections that we do not have.
    #[error("no algorithm of the challenge is known")]
    Algorithm,
    /// The account was refused.
    #[error("the credentials were refused")]
    Refused,
    /// It goes on and on.
    #[error("challenged too often")]
    TooOften,
}

/// Answers challenges with one account.
#[derive(Debug, Clone)]
pub struct Authorizations {
    account: Arc<Account>,
    realms: Vec<Realm>,
}

#[derive(Debug, Clone)]
struct Realm {
    /// The field that answers it: `Authorization` or `Proxy-Authorization`.
    field: Name,
    challenge: Challenge,
    /// How often its nonce was used.
    nc: u32,
    since: Instant,
}

impl Authorizations {
    /// With this account.
    pub fn new(account: Arc<Account>) -> Self {
        Self {
            account,
            realms: Vec::new(),
        }
    }

    /// Whether no realm has challenged us lately.
    pub fn is_empty(&self) -> bool {
        self.realms.is_empty()
    }

    /// A 401 or 407 came. When it can be answered, [`Authorizations::fields`] does.
    ///
    /// A realm that the request answered already is answered again when it says `stale`, or when the request was
    /// challenged for the first time (its nonce was an old one that we had kept), and never with the same nonce otherwise.
    ///
    /// * `request`: the header fields of what was challenged.
    /// * `tries`: how often that was said again already.
    ///
    /// # Errors
    /// Why there is nothing to be said.
    pub fn handle_challenge(
        &mut self,
        now: Instant,
        request: &Headers,
        response: &Headers,
        tries: u8,
    ) -> Result<(), Unanswerable> {
        if tries >= TRIES {
            return Err(Unanswerable::TooOften);
        }
        let mut chosen = strongest(response)?;
        chosen.truncate(REALMS);
        for (field, challenge) in &chosen {
            let said = said_in(request, *field, &challenge.realm);
            let same = said.as_deref() == Some(challenge.nonce.as_str());
            let again = !challenge.stale && (tries > 0 || same);
            if said.is_some() && again {
                return Err(Unanswerable::Refused);
            }
        }
        for (field, challenge) in chosen {
            self.realms
                .retain(|old| old.field != field || old.challenge.realm != challenge.realm);
            if self.realms.len() == REALMS {
                self.realms.remove(0);
            }
            self.realms.push(Realm {
                field,
                challenge,
                nc: 0,
                since: now,
            });
        }
        Ok(())
    }

    /// What a request must bear: an answer for each realm whose nonce is fresh.
    ///
    /// * `cnonce`: random.
    pub fn fields(
        &mut self,
        now: Instant,
        method: &Method,
        uri: &str,
        cnonce: &str,
    ) -> Vec<(Name, String)> {
        self.realms.retain(|realm| now < realm.since + FRESH);
        let mut fields = Vec::with_capacity(self.realms.len());
        for realm in &mut self.realms {
            realm.nc += 1;
            let counted = Counted {
                cnonce: cnonce.to_owned(),
                nc: realm.nc,
            };
            let answer =
                Credentials::answer(&realm.challenge, &self.account, (method, uri), counted);
            fields.extend(answer.map(|answer| (realm.field, answer.to_string())));
        }
        fields
    }
}

/// The strongest challenge of each realm that we can answer, in the order in which realms appear.
fn strongest(response: &Headers) -> Result<Vec<(Name, Challenge)>, Unanswerable> {
    let kinds = [
        (Name::WwwAuthenticate, Name::Authorization),
        (Name::ProxyAuthenticate, Name::ProxyAuthorization),
    ];
    let mut chosen: Vec<(Name, Challenge)> = Vec::new();
    let mut read = false;
    for (asks, answers) in kinds {
        let challenges = response
            .all(asks)
            .filter_map(|v| Challenge::parse_all(v).ok());
        for challenge in challenges.flatten() {
            read = true;
            if challenge.answerable().is_none() {
                continue;
            }
            let same = |(field, old): &&mut (Name, Challenge)| {
                *field == answers && old.realm == challenge.realm
            };
            match chosen.iter_mut().find(same) {
                Some((_, old)) if old.answerable() < challenge.answerable() => *old = challenge,
                Some(_) => {}
                None => chosen.push((answers, challenge)),
            }
        }
    }
    match (chosen.is_empty(), read) {
        (false, _) => Ok(chosen),
        (true, true) => Err(Unanswerable::Algorithm),
        (true, false) => Err(Unanswerable::None),
    }
}

/// The nonce that a request answered in this realm.
fn said_in(request: &Headers, field: Name, realm: &str) -> Option<String> {
    let mut said = request
        .all(field)
        .filter_map(|value| Credentials::parse(value).ok());
    said.find(|said| said.realm == realm).map(|said| said.nonce)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::auth::Algorithm;
    use crate::sip::message::{Request, Response};
    use crate::testing::t0;

    struct Client {
        now: Instant,
        authorizations: Authorizations,
        sent: Request,
        tries: u8,
    }

    fn request(fields: &[(Name, String)]) -> Request {
        let mut builder = Request::builder(Method::Bye, "sip:a@b");
        for (name, value) in fields {
            builder = builder.header(*name, value);
        }
        builder.build().unwrap()
    }

    impl Client {
        fn new() -> Self {
            let account = Arc::new(Account::new("bridge", "s3cret"));
            Self {
                now: t0(),
                authorizations: Authorizations::new(account),
                sent: request(&[]),
                tries: 0,
            }
        }

        /// A request of its own, not one said again.
        fn asks(&mut self) -> Vec<Credentials> {
            self.tries = 0;
            self.says()
        }

        fn says(&mut self) -> Vec<Credentials> {
            let fields = self
                .authorizations
                .fields(self.now, &Method::Bye, "sip:a@b", "c");
            self.sent = request(&fields);
            let read = |(_, value): &(Name, String)| Credentials::parse(value).unwrap();
            fields.iter().map(read).collect()
        }

        fn challenged(&mut self, lines: &[(Name, &str)]) -> Result<Vec<Credentials>, Unanswerable> {
            let mut response = Response::builder_for(&self.sent, 401);
            for (name, value) in lines {
                response = response.header(*name, value);
            }
            let response = response.build().unwrap();
            self.authorizations.handle_challenge(
                self.now,
                self.sent.headers(),
                response.headers(),
                self.tries,
            )?;
            self.tries += 1;
            Ok(self.says())
        }
    }

    const WWW: Name = Name::WwwAuthenticate;
    const MD5: &str = r#"Digest realm="r", nonce="n1", qop="auth""#;

    #[test]
    fn the_strongest_algorithm_is_answered_wherever_it_stands() {
        let mut client = Client::new();
        let said = client
            .challenged(&[
                (WWW, MD5),
                (
                    WWW,
                    r#"Digest realm="r", nonce="n2", qop="auth", algorithm=SHA-256"#,
                ),
                (WWW, r#"Digest realm="r", nonce="n3", algorithm=AKAv2-MD5"#),
            ])
            .unwrap();
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].algorithm, Some(Algorithm::SHA_256));
        assert_eq!(said[0].nonce, "n2");
    }

    #[test]
    fn later_requests_count_the_same_nonce_while_it_is_fresh() {
        let mut client = Client::new();
        let nc = |said: &[Credentials]| said[0].counted.as_ref().map(|counted| counted.nc);
        assert_eq!(client.asks(), []);
        assert_eq!(nc(&client.challenged(&[(WWW, MD5)]).unwrap()), Some(1));
        assert_eq!(nc(&client.asks()), Some(2));
        client.now += FRESH;
        assert_eq!(client.asks(), []);
    }

    #[test]
    fn a_wrong_password_is_said_once() {
        let mut client = Client::new();
        assert!(client.challenged(&[(WWW, MD5)]).is_ok());
        let other = r#"Digest realm="r", nonce="n2", qop="auth""#;
        assert_eq!(
            client.challenged(&[(WWW, other)]),
            Err(Unanswerable::Refused)
        );
        assert_eq!(client.challenged(&[(WWW, MD5)]), Err(Unanswerable::Refused));
    }

    #[test]
    fn a_stale_nonce_is_replaced_and_there_is_an_end_to_it() {
        let mut client = Client::new();
        assert!(client.challenged(&[(WWW, MD5)]).is_ok());
        for n in 2..5 {
            let stale = format!(r#"Digest realm="r", nonce="n{n}", qop="auth", stale=true"#);
            let said = client.challenged(&[(WWW, &stale)]).unwrap();
            assert_eq!(said[0].counted.as_ref().unwrap().nc, 1);
        }
        let stale = r#"Digest realm="r", nonce="n9", qop="auth", stale=true"#;
        assert_eq!(
            client.challenged(&[(WWW, stale)]),
            Err(Unanswerable::TooOften)
        );
    }

    #[test]
    fn a_nonce_kept_too_long_is_replaced_even_if_nobody_says_stale() {
        let mut client = Client::new();
        assert!(client.challenged(&[(WWW, MD5)]).is_ok());
        assert_eq!(client.asks()[0].nonce, "n1");
        let next = r#"Digest realm="r", nonce="n2", qop="auth""#;
        let said = client.challenged(&[(WWW, next)]).unwrap();
        assert_eq!(said[0].nonce, "n2");
        // But the same nonce once more means that it is not the nonce.
        client.asks();
        assert_eq!(
            client.challenged(&[(WWW, next)]),
            Err(Unanswerable::Refused)
        );
    }

    #[test]
    fn a_proxy_and_the_far_end_are_both_answered() {
        let mut client = Client::new();
        let proxy = (
            Name::ProxyAuthenticate,
            r#"Digest realm="proxy", nonce="p", qop="auth""#,
        );
        let said = client.challenged(&[proxy]).unwrap();
        assert_eq!(said.len(), 1);
        assert_eq!(client.sent.headers().count(Name::ProxyAuthorization), 1);
        let said = client.challenged(&[(WWW, MD5)]).unwrap();
        let realms: Vec<_> = said.iter().map(|said| said.realm.as_str()).collect();
        assert_eq!(realms, ["proxy", "r"]);
        assert_eq!(said[0].counted.as_ref().unwrap().nc, 2);
        assert_eq!(client.sent.headers().count(Name::Authorization), 1);
    }

    #[test]
    fn what_cannot_be_answered_is_told_apart() {
        let mut client = Client::new();
        assert_eq!(client.challenged(&[]), Err(Unanswerable::None));
        assert_eq!(
            client.challenged(&[(WWW, "Basic realm=\"r\"")]),
            Err(Unanswerable::None)
        );
        assert_eq!(
            client.challenged(&[(WWW, "Digest realm=\"open")]),
            Err(Unanswerable::None)
        );
        let int = r#"Digest realm="r", nonce="n", qop="auth-int""#;
        assert_eq!(
            client.challenged(&[(WWW, int)]),
            Err(Unanswerable::Algorithm)
        );
    }

    #[test]
    fn there_is_an_end_to_realms() {
        let mut client = Client::new();
        let lines: Vec<_> = (0..20)
            .map(|n| format!(r#"Digest realm="r{n}", nonce="n", qop="auth""#))
            .collect();
        let lines: Vec<_> = lines.iter().map(|line| (WWW, line.as_str())).collect();
        assert_eq!(client.challenged(&lines).unwrap().len(), REALMS);
    }
}
