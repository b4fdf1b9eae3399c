//! Keeps one binding alive with one registrar (RFC 3261 §10.2).
//!
//! ```text
//!                located, REGISTER                2xx
//!  Waiting ──► Locating ──────────► Asking ─────────────► Bound ── half to three quarters of its time ──► Locating
//!     ▲            │ nowhere          │ refused, silence    │ connection gone
//!     └────────────┴──────────────────┴─────────────────────┘
//!        again later: sooner after silence than after a refusal, later each time, never at a round number
//!
//!  Bound ── leave ──► Leaving (Expires: 0) ──► Gone
//! ```
//!
//! The machine says what to do next as a [`Step`]; the endpoint writes the requests, answers their challenges and tells
//! what became of them. Bindings of others to the same address are not touched.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::auth::Account;
use super::message::{Name, NameAddr, Response, Uri};
use crate::vocab::Entropy;

/// Where to register, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// Its URI: `sip:pbx.example.com`. With a user part that is the address to register, else the account's name is.
    pub registrar: String,
    /// Answers its challenges.
    pub account: Arc<Account>,
    /// For how long.
    pub expires: Duration,
}

/// How a registration stands, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not yet, and nothing has failed.
    Trying,
    /// Calls can come through it.
    Registered,
    /// It failed and is tried again: a status, 408 for silence, 503 when there is no way to it.
    Failed(u16),
}

/// What the endpoint has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Idle,
    /// Find out where the registrar is.
    Locate,
    /// Send REGISTER with these seconds in Expires.
    Register(u32),
    /// Say the REGISTER that was just answered again, with these seconds.
    Again(u32),
}

/// A final answer to our REGISTER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Its status; 408 for silence, 503 for no way.
    pub status: u16,
    /// Seconds that our binding got, if it is named.
    pub granted: Option<u32>,
    /// Min-Expires.
    pub least: Option<u32>,
    /// Retry-After.
    pub wait: Option<Duration>,
}

/// How long a location may take.
const PATIENCE: Duration = Duration::from_secs(32);
/// After silence and server failures: at first this, then twice as long each time.
const SOON: Duration = Duration::from_secs(5);
/// But at most this.
const SOON_MOST: Duration = Duration::from_mins(5);
/// After a refusal, which somebody has to mend.
const LATER: Duration = Duration::from_mins(1);
/// But at most this.
const LATER_MOST: Duration = Duration::from_mins(30);
/// Bindings shorter than this would be nothing but refreshes.
const SHORTEST: u32 = 10;
/// Longer ones are not believed.
const LONGEST: u32 = 7 * 24 * 3600;
/// A registrar's longer Min-Expires than this is a refusal.
const LEAST_MOST: u32 = 24 * 3600;

/// One binding.
#[derive(Debug)]
pub struct Registration {
    phase: Phase,
    /// Seconds to ask for.
    asks: u32,
    /// Until when the registrar keeps what it granted last.
    bound_until: Option<Instant>,
    failures: u32,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting { until: Instant },
    Locating { give_up: Instant },
    Asking { again: bool },
    Bound { refresh: Instant },
    Leaving,
    Gone,
}

impl Registration {
    /// Registers as soon as it is woken.
    pub fn new(now: Instant, expires: Duration) -> Self {
        let asks = u32::try_from(expires.as_secs()).unwrap_or(LONGEST);
        Self {
            phase: Phase::Waiting { until: now },
            asks: asks.clamp(SHORTEST, LONGEST),
            bound_until: None,
            failures: 0,
            standing: Standing::Trying,
        }
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Whether calls may come through it.
    pub fn is_bound(&self, now: Instant) -> bool {
        self.bound_until.is_some_and(|until| now < until)
    }

    /// Whether it can be forgotten.
    pub fn is_gone(&self) -> bool {
        self.phase == Phase::Gone
    }

    /// Whether it is on its way out.
    pub fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving | Phase::Gone)
    }

    /// The earliest deadline.
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting { until } => Some(until),
            Phase::Locating { give_up } => Some(give_up),
            Phase::Bound { refresh } => Some(refresh),
            Phase::Asking { .. } | Phase::Leaving | Phase::Gone => None,
        }
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant, dice: &mut Entropy) -> Step {
        match self.phase {
            Phase::Waiting { until: at } | Phase::Bound { refresh: at } if at <= now => {
                self.phase = Phase::Locating {
                    give_up: now + PATIENCE,
                };
                Step::Locate
            }
            Phase::Locating { give_up } if give_up <= now => {
                self.fail(now, 503, None, dice);
                Step::Idle
            }
            // Woken early, or nothing to wait for.
            Phase::Waiting { .. }
            | Phase::Locating { .. }
            | Phase::Asking { .. }
            | Phase::Bound { .. }
            | Phase::Leaving
            | Phase::Gone => Step::Idle,
        }
    }

    /// Where the registrar is is known, or not.
    pub fn handle_located(&mut self, now: Instant, found: bool, dice: &mut Entropy) -> Step {
        if !matches!(self.phase, Phase::Locating { .. }) {
            return Step::Idle;
        }
        if !found {
            self.fail(now, 503, None, dice);
            return Step::Idle;
        }
        self.phase = Phase::Asking { again: false };
        Step::Register(self.asks)
    }

    /// Our REGISTER was answered, or nobody answered. Challenges that can be answered are not told here.
    pub fn handle_answer(&mut self, now: Instant, answer: Answer, dice: &mut Entropy) -> Step {
        let Phase::Asking { again } = self.phase else {
            if self.phase == Phase::Leaving {
                self.phase = Phase::Gone;
            }
            return Step::Idle;
        };
        match (answer.status, answer.least) {
            (200..300, _) => self.succeed(now, answer.granted.unwrap_or(self.asks), dice),
            (423, Some(least)) if !again && least > self.asks && least <= LEAST_MOST => {
                self.asks = least;
                self.phase = Phase::Asking { again: true };
                return Step::Again(least);
            }
            (status, _) => self.fail(now, status, answer.wait, dice),
        }
        Step::Idle
    }

    /// The connection that calls come by is gone: the registrar must learn of another.
    pub fn handle_lost(&mut self, now: Instant, dice: &mut Entropy) {
        if matches!(self.phase, Phase::Bound { .. }) {
            let until = now + jittered(Duration::from_secs(2), dice);
            self.phase = Phase::Waiting { until };
        }
    }

    /// Nobody is to call through it any more.
    ///
    /// * returns the REGISTER that removes the binding, if the registrar may have one.
    pub fn leave(&mut self, now: Instant) -> Step {
        if self.is_leaving() {
            return Step::Idle;
        }
        let asked = matches!(self.phase, Phase::Asking { .. });
        if self.is_bound(now) || asked {
            self.bound_until = None;
            self.phase = Phase::Leaving;
            return Step::Register(0);
        }
        self.phase = Phase::Gone;
        Step::Idle
    }

    fn succeed(&mut self, now: Instant, granted: u32, dice: &mut Entropy) {
        if granted == 0 {
            return self.fail(now, 503, None, dice); // it took the binding away
        }
        let granted = Duration::from_secs(granted.clamp(SHORTEST, LONGEST).into());
        // Half to three quarters: time enough for a second try, and a fleet that started at once does not stay so.
        let spread = millis_of(granted / 4);
        let refresh = granted / 2 + Duration::from_millis(dice.below(spread + 1));
        self.failures = 0;
        self.standing = Standing::Registered;
        self.bound_until = Some(now + granted);
        self.phase = Phase::Bound {
            refresh: now + refresh,
        };
    }

    fn fail(&mut self, now: Instant, status: u16, wait: Option<Duration>, dice: &mut Entropy) {
        let passing = matches!(status, 408 | 480 | 423 | 500..=599);
        let (first, most) = if passing {
            (SOON, SOON_MOST)
        } else {
            (LATER, LATER_MOST)
        };
        let backoff = (first * (1 << self.failures.min(10))).min(most);
        let asked = wait.map_or(Duration::ZERO, |wait| wait.min(LATER_MOST));
        self.failures = self.failures.saturating_add(1);
        self.standing = Standing::Failed(status);
        self.phase = Phase::Waiting {
            until: now + asked.max(jittered(backoff, dice)),
        };
    }
}

/// Half of it to all of it.
fn jittered(time: Duration, dice: &mut Entropy) -> Duration {
    time / 2 + Duration::from_millis(dice.below(millis_of(time / 2) + 1))
}

fn millis_of(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX - 1)
}

impl Register {
    /// Request-URI of the REGISTER and the address of record (§10.2).
    ///
    /// * returns `None` when the registrar is no SIP URI.
    pub fn addresses(&self) -> Option<(String, String)> {
        let uri = Uri::parse(&self.registrar).ok().filter(Uri::is_sip)?;
        let user = match uri.user_raw() {
            Some(user) if !user.is_empty() => user.to_owned(),
            _ => super::message::uri::escape_user(&self.account.username),
        };
        let scheme = uri.scheme().to_ascii_lowercase();
        let record = format!("{scheme}:{user}@{}", uri.host());
        let rest = self.registrar.split_once(':')?.1;
        let rest = rest.split('?').next().unwrap_or(rest);
        let host = rest.split_once('@').map_or(rest, |(_, host)| host);
        Some((format!("{scheme}:{host}"), record))
    }
}

impl Answer {
    /// What a response says of the binding whose Contact has this user part.
    pub fn of(response: &Response, token: &str) -> Self {
        let headers = response.headers();
        let number = |name| headers.get(name).and_then(seconds);
        let ours = headers
            .values(Name::Contact)
            .filter_map(NameAddr::parse)
            .find(|contact| {
                Uri::parse(contact.uri)
                    .is_ok_and(|uri| uri.user().is_some_and(|user| user == token))
            });
        let named = ours.and_then(|contact| contact.params.value("expires").and_then(seconds));
        Self {
            status: response.status(),
            granted: named.or_else(|| number(Name::Expires)),
            least: number(Name::MinExpires),
            wait: headers
                .get(Name::RetryAfter)
                .and_then(super::locate::retry_after),
        }
    }

    /// Nobody answered (408), or there is no way to the registrar (503).
    pub const fn none(status: u16) -> Self {
        Self {
            status,
            granted: None,
            least: None,
            wait: None,
        }
    }
}

fn seconds(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // More than fit are as good as the most.
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::{Method, Request};
    use crate::testing::t0;

    struct Desk {
        now: Instant,
        dice: Entropy,
        machine: Registration,
    }

    impl Desk {
        fn new() -> Self {
            let now = t0();
            Self {
                now,
                dice: Entropy::from_number(1),
                machine: Registration::new(now, Duration::from_secs(300)),
            }
        }

        /// Sleeps until it wants something, and says how long that was.
        fn sleeps(&mut self) -> (Duration, Step) {
            let at = self.machine.deadline().unwrap();
            let slept = at - self.now;
            self.now = at;
            (slept, self.machine.handle_timeout(at, &mut self.dice))
        }

        fn asks(&mut self) -> Step {
            self.machine.handle_located(self.now, true, &mut self.dice)
        }

        fn hears(&mut self, status: u16) -> Step {
            self.answered(Answer::none(status))
        }

        fn answered(&mut self, answer: Answer) -> Step {
            self.machine.handle_answer(self.now, answer, &mut self.dice)
        }

        fn bound(granted: u32) -> Self {
            let mut desk = Self::new();
            assert_eq!(desk.sleeps(), (Duration::ZERO, Step::Locate));
            assert_eq!(desk.asks(), Step::Register(300));
            let granted = Some(granted);
            let answer = Answer {
                granted,
                ..Answer::none(200)
            };
            assert_eq!(desk.answered(answer), Step::Idle);
            desk
        }
    }

    #[test]
    fn it_registers_at_once_and_refreshes_before_the_binding_ends() {
        for granted in [60, 300, 3600] {
            let mut desk = Desk::bound(granted);
            assert_eq!(desk.machine.standing(), Standing::Registered);
            let whole = Duration::from_secs(granted.into());
            let bound_until = desk.now + whole;
            let (slept, step) = desk.sleeps();
            assert!(slept >= whole / 2 && slept <= whole * 3 / 4, "{slept:?}");
            assert_eq!(step, Step::Locate);
            assert!(desk.machine.is_bound(desk.now));
            assert!(!desk.machine.is_bound(bound_until));
        }
    }

    #[test]
    fn two_that_began_together_do_not_refresh_together() {
        let mut slept: Vec<_> = (0..20)
            .map(|seed| {
                let mut desk = Desk::bound(300);
                desk.dice = Entropy::from_number(seed);
                desk.machine.succeed(desk.now, 300, &mut desk.dice);
                desk.sleeps().0
            })
            .collect();
        slept.sort();
        slept.dedup();
        assert!(slept.len() > 15, "{slept:?}");
    }

    #[test]
    fn a_longer_minimum_is_taken_once() {
        let mut desk = Desk::new();
        desk.sleeps();
        desk.asks();
        let brief = |least| Answer {
            least: Some(least),
            ..Answer::none(423)
        };
        assert_eq!(desk.answered(brief(1800)), Step::Again(1800));
        assert_eq!(desk.answered(brief(3600)), Step::Idle);
        assert_eq!(desk.machine.standing(), Standing::Failed(423));
        desk.sleeps();
        assert_eq!(desk.asks(), Step::Register(1800), "it is remembered");
        assert_eq!(desk.answered(brief(u32::MAX)), Step::Idle);
        let mut other = Desk::new();
        other.sleeps();
        other.asks();
        assert_eq!(other.hears(423), Step::Idle, "without Min-Expires");
    }

    #[test]
    fn silence_is_tried_again_ever_later_and_a_refusal_later_still() {
        let waits = |status| {
            let mut desk = Desk::new();
            let mut waits = Vec::new();
            for _ in 0..20 {
                let (slept, step) = desk.sleeps();
                assert_eq!(step, Step::Locate);
                waits.push(slept);
                desk.asks();
                desk.hears(status);
                assert_eq!(desk.machine.standing(), Standing::Failed(status));
            }
            waits
        };
        let (silence, refusal) = (waits(408), waits(403));
        let between = |wait: Duration, least: u64, most: u64| {
            wait >= Duration::from_secs(least) && wait <= Duration::from_secs(most)
        };
        assert!(between(silence[1], 2, 5), "{silence:?}");
        assert!(between(silence[2], 5, 10), "{silence:?}");
        assert!(
            silence[8..].iter().all(|w| between(*w, 150, 300)),
            "{silence:?}"
        );
        assert!(between(refusal[1], 30, 60), "{refusal:?}");
        assert!(
            refusal[8..].iter().all(|w| between(*w, 900, 1800)),
            "{refusal:?}"
        );
    }

    #[test]
    fn a_registrar_that_says_when_is_believed_within_reason() {
        for (asked, least, most) in [(120, 120, 120), (999_999, 1800, 1800), (0, 2, 5)] {
            let mut desk = Desk::new();
            desk.sleeps();
            desk.asks();
            let busy = Answer {
                wait: Some(Duration::from_secs(asked)),
                ..Answer::none(503)
            };
            desk.answered(busy);
            let slept = desk.sleeps().0.as_secs();
            assert!((least..=most).contains(&slept), "{asked}: {slept}");
        }
    }

    #[test]
    fn a_success_forgets_the_failures() {
        let mut desk = Desk::new();
        for _ in 0..6 {
            desk.sleeps();
            desk.asks();
            desk.hears(408);
        }
        desk.sleeps();
        desk.asks();
        desk.hears(200);
        assert_eq!(desk.machine.standing(), Standing::Registered);
        desk.sleeps();
        desk.asks();
        desk.hears(408);
        assert!(
            desk.machine.is_bound(desk.now),
            "the old binding still holds"
        );
        assert!(desk.sleeps().0 <= SOON);
    }

    #[test]
    fn a_registrar_that_cannot_be_found_is_looked_for_again() {
        let mut desk = Desk::new();
        desk.sleeps();
        let step = desk.machine.handle_located(desk.now, false, &mut desk.dice);
        assert_eq!(step, Step::Idle);
        assert_eq!(desk.machine.standing(), Standing::Failed(503));
        assert_eq!(desk.sleeps().1, Step::Locate);
        assert_eq!(
            desk.sleeps(),
            (PATIENCE, Step::Idle),
            "nobody said anything"
        );
        assert_eq!(desk.asks(), Step::Idle, "and now it is too late");
    }

    #[test]
    fn who_leaves_takes_the_binding_away_if_there_may_be_one() {
        let mut desk = Desk::bound(300);
        assert_eq!(desk.machine.leave(desk.now), Step::Register(0));
        assert_eq!(desk.machine.leave(desk.now), Step::Idle);
        assert_eq!(
            (desk.machine.deadline(), desk.machine.is_gone()),
            (None, false)
        );
        assert_eq!(desk.hears(200), Step::Idle);
        assert!(desk.machine.is_gone());
        let mut fresh = Desk::new();
        assert_eq!(fresh.machine.leave(fresh.now), Step::Idle);
        assert!(fresh.machine.is_gone());
        let mut asking = Desk::new();
        asking.sleeps();
        asking.asks();
        assert_eq!(asking.machine.leave(asking.now), Step::Register(0));
    }

    #[test]
    fn a_binding_whose_connection_is_gone_is_made_again_soon() {
        let mut desk = Desk::bound(3600);
        desk.machine.handle_lost(desk.now, &mut desk.dice);
        let (slept, step) = desk.sleeps();
        assert!(slept <= Duration::from_secs(2));
        assert_eq!(step, Step::Locate);
    }

    #[test]
    fn a_binding_of_no_time_is_none_and_an_endless_one_is_not_believed() {
        let desk = Desk::bound(0);
        assert_eq!(desk.machine.standing(), Standing::Failed(503));
        let mut desk = Desk::bound(u32::MAX);
        let week = Duration::from_secs(LONGEST.into());
        assert!(desk.sleeps().0 <= week);
    }

    fn response(lines: &[(Name, &str)]) -> Response {
        let request = Request::builder(Method::Register, "sip:pbx")
            .build()
            .unwrap();
        let mut response = Response::builder_for(&request, 200);
        for (name, value) in lines {
            response = response.header(*name, value);
        }
        response.build().unwrap()
    }

    #[test]
    fn of_several_bindings_ours_says_how_long() {
        let granted = |lines: &[(Name, &str)]| Answer::of(&response(lines), "tok").granted;
        let contact = |value| (Name::Contact, value);
        let expires = (Name::Expires, "60");
        let several =
            contact("<sip:a@h>;expires=9, \"x, y\" <sip:tok@h;transport=tcp>;q=1;expires=120");
        assert_eq!(granted(&[several, expires]), Some(120));
        assert_eq!(granted(&[contact("sip:tok@h;expires=30")]), Some(30));
        assert_eq!(
            granted(&[contact("<sip:a@h>;expires=9"), expires]),
            Some(60)
        );
        assert_eq!(granted(&[contact("<sip:tok@h>")]), None);
        assert_eq!(
            granted(&[contact("<sip:tok@h>;expires=99999999999")]),
            Some(u32::MAX)
        );
        assert_eq!(
            granted(&[contact("<sip:tok@h>;expires=-1"), expires]),
            Some(60)
        );
        assert_eq!(granted(&[]), None);
    }

    #[test]
    fn the_address_of_record_is_the_registrars_user_or_the_accounts() {
        let of = |registrar: &str, user: &str| {
            let register = Register {
                registrar: registrar.into(),
                account: Arc::new(Account::new(user, "p")),
                expires: Duration::from_secs(300),
            };
            register.addresses()
        };
        let is = |request: &str, record: &str| Some((request.to_owned(), record.to_owned()));
        assert_eq!(
            of("sip:pbx.example.com:5070;transport=tcp", "bot"),
            is(
                "sip:pbx.example.com:5070;transport=tcp",
                "sip:bot@pbx.example.com"
            )
        );
        assert_eq!(
            of("sips:100@[2001:db8::1]?x=y", "bot"),
            is("sips:[2001:db8::1]", "sips:100@[2001:db8::1]")
        );
        assert_eq!(of("sip:pbx", "a b@c"), is("sip:pbx", "sip:a%20b%40c@pbx"));
        for bad in ["pbx.example.com", "tel:+1555", "sip:", ""] {
            assert_eq!(of(bad, "bot"), None, "{bad}");
        }
    }
}
