//! The side that asks: who says he is whom, and is he (RFC 7616 §3.3, RFC 3261 §22.2).
//!
//! An unknown name and a wrong password take the same work and get the same answer. Nothing is remembered of a
//! challenge; of a right answer its count is, and of a wrong one that there was one.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq;

use super::nonce::Nonces;
use super::replays::Replays;
use super::wrong_tries::WrongTries;
use super::{Account, Algorithm, Challenge, Credentials, Qop};
use crate::sip::message::{Method, Uri};
use crate::vocab::Entropy;

/// How long a nonce is good.
const LIFETIME: Duration = Duration::from_mins(1);
/// Answers of one request that are looked at; those for proxies on the way may stand before ours.
const ANSWERS: usize = 8;

/// What is asked for, by whom.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// Its Request-URI.
    pub uri: &'a str,
    /// Where it came from.
    pub source: IpAddr,
}

/// Who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The account with this index.
    Proven(usize),
    /// Ask, with [`Authenticator::challenges`].
    Unproven {
        /// The answer was to a nonce that is not good any more: the same account may try again.
        stale: bool,
    },
    /// Too many wrong answers came from there: 403, whatever this one is.
    Barred,
}

/// Asks for digest credentials in one realm.
#[derive(Debug)]
pub struct Authenticator {
    realm: String,
    offered: Vec<Algorithm>,
    nonces: Nonces,
    /// The time of its first nonce.
    epoch: Option<Instant>,
    replays: Replays,
    wrong: WrongTries,
    /// Stands for accounts that do not exist.
    nobody: Account,
}

impl Authenticator {
    /// For this realm; every secret is taken from `entropy`.
    ///
    /// * `offered`: one challenge for each, in this order. Telephones exist that read only the first (RFC 8760 §2.4 has
    ///   the strongest there).
    pub fn new(realm: &str, offered: &[Algorithm], entropy: &mut Entropy) -> Self {
        let mut secret = [0; 32];
        for octets in secret.chunks_exact_mut(8) {
            octets.copy_from_slice(&entropy.next_u64().to_be_bytes());
        }
        Self {
            realm: realm.to_owned(),
            offered: offered.to_vec(),
            nonces: Nonces::new(secret),
            epoch: None,
            replays: Replays::default(),
            wrong: WrongTries::default(),
            nobody: Account::new("", &entropy.hex(16)),
        }
    }

    /// The values of the `WWW-Authenticate` lines, in order.
    pub fn challenges(&mut self, now: Instant, source: IpAddr, stale: bool) -> Vec<String> {
        let nonce = {
            let at = self.millis(now);
            self.nonces.mint(at, source)
        };
        let one = |algorithm| Challenge {
            realm: self.realm.clone(),
            nonce: nonce.clone(),
            opaque: None,
            algorithm: Some(algorithm),
            qop: Qop::Auth,
            stale,
        };
        self.offered.iter().map(|a| one(*a).to_string()).collect()
    }

    /// Looks at the `Authorization` values of a request.
    ///
    /// * `accounts`: who it may be; of two with one name the first.
    pub fn verify<'h>(
        &mut self,
        now: Instant,
        asked: Asked<'_>,
        values: impl Iterator<Item = &'h str>,
        accounts: &[&Account],
    ) -> Verdict {
        let mut answers = values
            .take(ANSWERS)
            .filter_map(|value| Credentials::parse(value).ok());
        let Some(answer) = answers.find(|answer| answer.realm == self.realm) else {
            return Verdict::Unproven { stale: false };
        };
        if self.wrong.is_barred(now, asked.source) {
            return Verdict::Barred;
        }
        // A nonce of another node, another source or another life of this one proves nothing, so it is not looked into.
        let Some(minted) = self.nonces.read(&answer.nonce, asked.source) else {
            return Verdict::Unproven { stale: true };
        };
        let Some(account) = self.right(&asked, &answer, accounts) else {
            self.wrong.add(now, asked.source);
            return Verdict::Unproven { stale: false };
        };
        let oldest = self.millis(now).saturating_sub(millis(LIFETIME));
        let nc = answer.counted.map_or(0, |counted| counted.nc);
        if minted.at < oldest || !self.replays.take(oldest, minted, nc) {
            return Verdict::Unproven { stale: true };
        }
        Verdict::Proven(account)
    }

    /// The account whose password made this answer.
    fn right(
        &self,
        asked: &Asked<'_>,
        answer: &Credentials,
        accounts: &[&Account],
    ) -> Option<usize> {
        let found = accounts
            .iter()
            .position(|account| account.username == answer.username);
        let account = found.map_or(&self.nobody, |index| accounts[index]);
        let expected = answer.expected(account, asked.method)?;
        let said = answer.response.to_ascii_lowercase();
        let same = bool::from(expected.as_bytes().ct_eq(said.as_bytes()));
        let offered = answer.algorithm.is_some_and(|a| self.offered.contains(&a));
        let whole = offered && answer.counted.is_some() && is_same(&answer.uri, asked.uri);
        found.filter(|_| same && whole)
    }

    fn millis(&mut self, now: Instant) -> u64 {
        let epoch = *self.epoch.get_or_insert(now);
        millis(now.saturating_duration_since(epoch))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Whether a client that answered for `said` may ask for `asked`. Proxies on the way write another host, and every
/// host is ours: what must agree is who is called.
fn is_same(said: &str, asked: &str) -> bool {
    said == asked
        || matches!(
            (Uri::parse(said), Uri::parse(asked)),
            (Ok(said), Ok(asked)) if said.user() == asked.user() && said.is_sip() && asked.is_sip()
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::auth::Counted;
    use crate::testing::t0;

    const URI: &str = "sip:+15551230000@192.0.2.10";
    const OFFERED: [Algorithm; 2] = [Algorithm::SHA_256, Algorithm::MD5];

    struct Desk {
        now: Instant,
        authenticator: Authenticator,
        source: IpAddr,
        accounts: Vec<Account>,
    }

    impl Desk {
        fn new() -> Self {
            Self {
                now: t0(),
                authenticator: Authenticator::new("baton", &OFFERED, &mut Entropy::from_number(1)),
                source: "192.0.2.1".parse().unwrap(),
                accounts: vec![
                    Account::new("other", "s3cret"),
                    Account::new("bridge", "s3cret"),
                ],
            }
        }

        fn challenge(&mut self, algorithm: Algorithm) -> Challenge {
            let values = self.authenticator.challenges(self.now, self.source, false);
            let mut read = values
                .iter()
                .map(|value| Challenge::parse_all(value).unwrap().remove(0));
            read.find(|c| c.algorithm == Some(algorithm)).unwrap()
        }

        fn verify(&mut self, values: &[String]) -> Verdict {
            let asked = Asked {
                method: &Method::Invite,
                uri: URI,
                source: self.source,
            };
            let accounts: Vec<_> = self.accounts.iter().collect();
            let values = values.iter().map(String::as_str);
            self.authenticator
                .verify(self.now, asked, values, &accounts)
        }

        fn says(&mut self, challenge: &Challenge, password: &str, nc: u32) -> Verdict {
            self.verify(&[answer(challenge, "bridge", password, URI, nc)])
        }
    }

    fn answer(challenge: &Challenge, user: &str, password: &str, uri: &str, nc: u32) -> String {
        let counted = Counted {
            cnonce: "c".into(),
            nc,
        };
        let account = Account::new(user, password);
        Credentials::answer(challenge, &account, (&Method::Invite, uri), counted)
            .unwrap()
            .to_string()
    }

    const WRONG: Verdict = Verdict::Unproven { stale: false };
    const STALE: Verdict = Verdict::Unproven { stale: true };

    #[test]
    fn the_strongest_is_offered_first_and_either_is_taken() {
        let mut desk = Desk::new();
        let values = desk.authenticator.challenges(desk.now, desk.source, false);
        assert!(values[0].contains("algorithm=SHA-256"), "{values:?}");
        assert!(values[1].contains("algorithm=MD5"), "{values:?}");
        for algorithm in OFFERED {
            let challenge = desk.challenge(algorithm);
            assert_eq!(desk.says(&challenge, "s3cret", 1), Verdict::Proven(1));
        }
    }

    #[test]
    fn nothing_or_nonsense_proves_nothing() {
        let mut desk = Desk::new();
        assert_eq!(desk.verify(&[]), WRONG);
        for nonsense in [
            "",
            "Basic abc",
            "Digest",
            "Digest realm=\"baton\"",
            "\"\"\"",
        ] {
            assert_eq!(desk.verify(&[nonsense.into()]), WRONG, "{nonsense}");
        }
    }

    #[test]
    fn an_answer_for_another_realm_may_stand_before_ours() {
        let mut desk = Desk::new();
        let ours = desk.challenge(Algorithm::MD5);
        let mut theirs = ours.clone();
        theirs.realm = "proxy".into();
        let values = [&theirs, &ours].map(|c| answer(c, "bridge", "s3cret", URI, 1));
        assert_eq!(desk.verify(&values), Verdict::Proven(1));
        assert_eq!(desk.verify(&values[..1]), WRONG);
    }

    #[test]
    fn a_wrong_password_an_unknown_user_and_another_number_look_the_same() {
        let mut desk = Desk::new();
        let challenge = desk.challenge(Algorithm::SHA_256);
        assert_eq!(desk.says(&challenge, "secret", 1), WRONG);
        let unknown = answer(&challenge, "nobody", "s3cret", URI, 1);
        assert_eq!(desk.verify(&[unknown]), WRONG);
        let other = answer(&challenge, "bridge", "s3cret", "sip:900@192.0.2.10", 1);
        assert_eq!(desk.verify(&[other]), WRONG);
        let fitting = answer(&challenge, "bridge", "s3cret", URI, 1);
        let cut = fitting.replace("response=\"", "response=\"00");
        assert_eq!(desk.verify(&[cut]), WRONG);
        assert_eq!(desk.verify(&[fitting]), Verdict::Proven(1));
    }

    #[test]
    fn a_proxy_may_have_written_another_host() {
        let mut desk = Desk::new();
        let challenge = desk.challenge(Algorithm::MD5);
        let uri = "sip:+15551230000@voice.example.com;transport=udp";
        let value = answer(&challenge, "bridge", "s3cret", uri, 1);
        assert_eq!(desk.verify(&[value]), Verdict::Proven(1));
    }

    #[test]
    fn an_answer_without_a_count_or_with_another_algorithm_is_not_taken() {
        let mut desk = Desk::new();
        let mut challenge = desk.challenge(Algorithm::MD5);
        challenge.qop = Qop::None;
        assert_eq!(desk.says(&challenge, "s3cret", 1), WRONG);
        challenge.qop = Qop::Auth;
        challenge.algorithm = Algorithm::parse("MD5-sess");
        assert_eq!(desk.says(&challenge, "s3cret", 1), WRONG);
    }

    #[test]
    fn a_right_answer_to_an_old_nonce_is_stale_and_a_wrong_one_is_wrong() {
        let mut desk = Desk::new();
        let challenge = desk.challenge(Algorithm::MD5);
        desk.now += LIFETIME;
        assert_eq!(desk.says(&challenge, "s3cret", 1), Verdict::Proven(1));
        desk.now += Duration::from_millis(1);
        assert_eq!(desk.says(&challenge, "s3cret", 2), STALE);
        assert_eq!(desk.says(&challenge, "wrong", 2), WRONG);
    }

    #[test]
    fn a_count_said_twice_is_stale() {
        let mut desk = Desk::new();
        let challenge = desk.challenge(Algorithm::MD5);
        assert_eq!(desk.says(&challenge, "s3cret", 1), Verdict::Proven(1));
        assert_eq!(desk.says(&challenge, "s3cret", 1), STALE);
        assert_eq!(desk.says(&challenge, "s3cret", 2), Verdict::Proven(1));
        assert_eq!(desk.says(&challenge, "s3cret", 0), STALE);
    }

    #[test]
    fn a_nonce_of_somebody_else_is_stale_whatever_the_password_and_no_wrong_try() {
        let mut desk = Desk::new();
        let mut challenge = desk.challenge(Algorithm::MD5);
        challenge.nonce = "dcd98b7102dd2f0e".into();
        for password in ["s3cret"; 20].into_iter().chain(["wrong"; 20]) {
            assert_eq!(desk.says(&challenge, password, 1), STALE);
        }
        let elsewhere = desk.challenge(Algorithm::MD5);
        desk.source = "192.0.2.2".parse().unwrap();
        assert_eq!(desk.says(&elsewhere, "s3cret", 1), STALE);
    }

    #[test]
    fn who_guesses_is_barred_for_a_while() {
        let mut desk = Desk::new();
        let challenge = desk.challenge(Algorithm::MD5);
        for _ in 0..10 {
            assert_eq!(desk.says(&challenge, "guess", 1), WRONG);
        }
        assert_eq!(desk.says(&challenge, "s3cret", 1), Verdict::Barred);
        assert_eq!(desk.verify(&[]), WRONG, "who says nothing is asked");
        desk.now += Duration::from_mins(1);
        let challenge = desk.challenge(Algorithm::MD5);
        assert_eq!(desk.says(&challenge, "s3cret", 1), Verdict::Proven(1));
    }
}
