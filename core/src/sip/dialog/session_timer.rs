//! Session timers (RFC 4028): one side, the *refresher*, shows now and then that the session lives; when it does not,
//! the other hangs up. It is how a proxy between two user agents learns that one of them is gone.
//!
//! ```text
//!      2xx with Session-Expires: n
//!       │
//!       ├──── n/2 ────► refresher: UPDATE or re-INVITE ──2xx──► starts again
//!       │
//!       └──── n - min(32, n/3) ────► either side, when no refresh came through: BYE
//! ```
//!
//! The words `uac` and `uas` in the header mean the sides of the transaction that carries it, not of the call; inside
//! this file they are [`Refresher::Us`] and [`Refresher::Peer`].

use std::time::{Duration, Instant};

use crate::sip::message::{Headers, Name};

/// The shortest interval anybody may ask for (§4).
pub const MIN_SE: u32 = 90;
/// The longest interval that a 422 can talk us into: a timer of more than a day protects nothing.
const LONGEST: u32 = 86_400;
/// How often one refresh may be made again with a longer interval.
const RAISES: u8 = 3;
/// A refresh that failed is not made again sooner than this.
const BREATH: Duration = Duration::from_secs(5);
/// The option tag.
pub const TAG: &str = "timer";

/// Header fields a message must bear.
pub type Fields = Vec<(String, String)>;

fn field(name: Name, value: String) -> (String, String) {
    (name.as_str().to_owned(), value)
}

/// Who refreshes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresher {
    /// We do.
    Us,
    /// The peer does.
    Peer,
}

/// A side of the transaction that bears the header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Who sent the request.
    Uac,
    /// Who answers it.
    Uas,
}

/// A Session-Expires value as written (§4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionExpires {
    /// The interval in seconds.
    pub seconds: u32,
    /// Who shall refresh; the answerer chooses when it is missing.
    pub refresher: Option<Side>,
}

impl SessionExpires {
    /// Reads it; one that cannot be read is none.
    pub fn of(headers: &Headers) -> Option<Self> {
        let seconds = delta_seconds(headers.get(Name::SessionExpires)?)?;
        let refresher = headers.params(Name::SessionExpires).value("refresher");
        let is = |name: &str| refresher.is_some_and(|value| value.eq_ignore_ascii_case(name));
        let refresher = match (is("uac"), is("uas")) {
            (true, _) => Some(Side::Uac),
            (_, true) => Some(Side::Uas),
            _ => None,
        };
        Some(Self { seconds, refresher })
    }
}

/// The number before any parameter.
fn delta_seconds(value: &str) -> Option<u32> {
    let number = value.split(';').next()?.trim();
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| number.parse().ok()).flatten()
}

/// Whether the sender of a request knows session timers.
fn supports(headers: &Headers) -> bool {
    headers.lists(Name::Supported, TAG) || headers.lists(Name::Require, TAG)
}

/// Whether a request must be answered 422: its interval is too small, and its sender will understand why (§9). A proxy may
/// have put the interval in for a sender that would not; then there is no timer.
pub fn is_too_small(request: &Headers) -> bool {
    supports(request) && SessionExpires::of(request).is_some_and(|wish| wish.seconds < MIN_SE)
}

/// The timer of one dialog; off until a 2xx bears Session-Expires.
#[derive(Debug, Default)]
pub struct SessionTimer {
    /// The largest Min-SE that came our way.
    min_se: u32,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    seconds: u32,
    refresher: Refresher,
    /// When our next refresh goes out; `None` while one is under way, and when it is not for us.
    refresh: Option<Instant>,
    /// When the session is over.
    end: Instant,
    raises: u8,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// Send a refresh; it is under way from now on.
    Refresh,
    /// Nobody has refreshed in time: BYE.
    Expired,
}

impl SessionTimer {
    /// UAS of an INVITE, re-INVITE or UPDATE that is being answered 2xx: starts the timer (again).
    ///
    /// A request without Session-Expires keeps a running timer running; when its sender does not even know timers, we
    /// are the refresher (§9, table 2).
    ///
    /// * returns what the 2xx must bear.
    pub fn answer(&mut self, now: Instant, request: &Headers) -> Fields {
        let knows = supports(request);
        self.note_min_se(request);
        let wish = SessionExpires::of(request).filter(|wish| wish.seconds >= MIN_SE);
        let (seconds, refresher) = match (wish, &self.running) {
            (Some(wish), _) if knows && wish.refresher != Some(Side::Uas) => {
                (wish.seconds, Refresher::Peer)
            }
            (Some(wish), _) => (wish.seconds, Refresher::Us),
            (None, Some(running)) if knows => (running.seconds, running.refresher),
            (None, Some(running)) => (running.seconds, Refresher::Us),
            (None, None) => return Fields::new(),
        };
        self.start(now, seconds, refresher);
        let (side, required) = match refresher {
            Refresher::Peer => ("uac", true),
            Refresher::Us => ("uas", false),
        };
        let mut fields = vec![field(
            Name::SessionExpires,
            format!("{seconds};refresher={side}"),
        )];
        if required {
            fields.push(field(Name::Require, TAG.to_owned()));
        }
        fields
    }

    /// UAC: what a re-INVITE or UPDATE of ours must bear to keep the timer (§7.4).
    pub fn ask(&self) -> Fields {
        let Some(running) = &self.running else {
            return Fields::new();
        };
        let side = match running.refresher {
            Refresher::Us => "uac",
            Refresher::Peer => "uas",
        };
        let wish = format!("{};refresher={side}", running.seconds);
        let mut fields = vec![field(Name::SessionExpires, wish)];
        if self.min_se > MIN_SE {
            fields.push(field(Name::MinSe, self.min_se.to_string()));
        }
        fields
    }

    /// UAC: a 2xx to an INVITE, re-INVITE or UPDATE of ours came. Without Session-Expires there is no timer (§7.2).
    pub fn handle_answer(&mut self, now: Instant, response: &Headers) {
        match SessionExpires::of(response) {
            Some(agreed) => {
                let refresher = match agreed.refresher {
                    Some(Side::Uas) => Refresher::Peer,
                    Some(Side::Uac) | None => Refresher::Us,
                };
                self.start(now, agreed.seconds.max(MIN_SE), refresher);
            }
            None => self.running = None,
        }
    }

    /// UAC: a 422 came.
    ///
    /// * returns `true` when the request may be made again with the longer interval.
    pub fn handle_too_small(&mut self, response: &Headers) -> bool {
        self.note_min_se(response);
        let Some(running) = &mut self.running else {
            return false;
        };
        if self.min_se <= running.seconds || running.raises == RAISES {
            return false;
        }
        running.seconds = self.min_se;
        running.raises += 1;
        true
    }

    /// A refresh of ours did not come through, but the session may live: it is made again halfway to its end.
    pub fn handle_failed(&mut self, now: Instant) {
        if let Some(running) = &mut self.running {
            let left = running.end.saturating_duration_since(now);
            self.postpone(now + (left / 2).max(BREATH));
        }
    }

    /// Our refresh goes out then, and not while it is under way.
    pub fn postpone(&mut self, until: Instant) {
        if let Some(running) = &mut self.running
            && running.refresher == Refresher::Us
        {
            running.refresh = Some(until);
        }
    }

    /// What is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Due {
        let Some(running) = &mut self.running else {
            return Due::Nothing;
        };
        if running.end <= now {
            self.running = None;
            return Due::Expired;
        }
        if running.refresh.is_some_and(|at| at <= now) {
            running.refresh = None;
            return Due::Refresh;
        }
        Due::Nothing
    }

    /// When to look again.
    pub fn deadline(&self) -> Option<Instant> {
        let running = self.running.as_ref()?;
        Some(
            running
                .refresh
                .map_or(running.end, |at| at.min(running.end)),
        )
    }

    fn note_min_se(&mut self, headers: &Headers) {
        if let Some(min) = headers.get(Name::MinSe).and_then(delta_seconds)
            && min <= LONGEST
        {
            self.min_se = self.min_se.max(min);
        }
    }

    fn start(&mut self, now: Instant, seconds: u32, refresher: Refresher) {
        let interval = Duration::from_secs(seconds.into());
        let margin = (interval / 3).min(Duration::from_secs(32));
        self.running = Some(Running {
            seconds,
            refresher,
            refresh: (refresher == Refresher::Us).then(|| now + interval / 2),
            end: now + interval.saturating_sub(margin),
            raises: 0,
        });
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sip::message::Message;
    use crate::testing::t0;

    fn headers(lines: &str) -> Headers {
        let text = format!(
            "UPDATE sip:a@h SIP/2.0\r\n{}\r\n",
            lines.replace('\n', "\r\n")
        );
        Message::parse(&Bytes::from(text))
            .unwrap()
            .headers()
            .clone()
    }

    fn answered(t0: Instant, request: &str) -> (SessionTimer, Vec<String>) {
        let mut timer = SessionTimer::default();
        let fields = timer.answer(t0, &headers(request));
        let printed = fields
            .iter()
            .map(|(name, value)| format!("{name}: {value}"));
        (timer, printed.collect())
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn the_answer_says_who_refreshes_as_table_2_wants_it() {
        let t0 = t0();
        for (request, expected) in [
            ("", vec![]),
            ("Supported: timer\n", vec![]),
            (
                "Session-Expires: 1800\n",
                vec!["Session-Expires: 1800;refresher=uas"],
            ),
            (
                "x: 1800;refresher=uac\n",
                vec!["Session-Expires: 1800;refresher=uas"],
            ),
            (
                "Session-Expires: 1800\nk: 100rel, Timer\n",
                vec!["Session-Expires: 1800;refresher=uac", "Require: timer"],
            ),
            (
                "Session-Expires: 90 ; Refresher=UAC\nRequire: timer\n",
                vec!["Session-Expires: 90;refresher=uac", "Require: timer"],
            ),
            (
                "Session-Expires: 1800;refresher=uas\nSupported: timer\n",
                vec!["Session-Expires: 1800;refresher=uas"],
            ),
        ] {
            assert_eq!(answered(t0, request).1, expected, "{request}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_wish_and_a_short_one_of_a_proxy_neither() {
        let t0 = t0();
        for request in [
            "Session-Expires: \nSupported: timer\n",
            "Session-Expires: -90\nSupported: timer\n",
            "Session-Expires: 4294967296\nSupported: timer\n",
            "Session-Expires: soon\nSupported: timer\n",
            "Session-Expires: 89\n",
        ] {
            let (timer, fields) = answered(t0, request);
            assert!(fields.is_empty() && timer.deadline().is_none(), "{request}");
            assert!(!is_too_small(&headers(request)), "{request}");
        }
        assert!(is_too_small(&headers(
            "Session-Expires: 89\nSupported: timer\n"
        )));
        assert!(!is_too_small(&headers(
            "Session-Expires: 90\nSupported: timer\n"
        )));
    }

    #[test]
    fn the_refresher_refreshes_at_half_and_gives_up_before_the_end() {
        let t0 = t0();
        let (mut timer, _) = answered(t0, "Session-Expires: 1800\n");
        assert_eq!(timer.deadline(), Some(t0 + secs(900)));
        assert_eq!(timer.handle_timeout(t0 + secs(899)), Due::Nothing);
        assert_eq!(timer.handle_timeout(t0 + secs(900)), Due::Refresh);
        assert_eq!(timer.handle_timeout(t0 + secs(900)), Due::Nothing);
        assert_eq!(timer.deadline(), Some(t0 + secs(1768)));
        assert_eq!(timer.handle_timeout(t0 + secs(1768)), Due::Expired);
        assert_eq!(timer.deadline(), None);
    }

    #[test]
    fn the_other_side_waits_until_a_third_or_32_s_before_the_end() {
        let t0 = t0();
        for (seconds, end) in [(90, 60), (96, 64), (1800, 1768)] {
            let request = format!("Session-Expires: {seconds}\nSupported: timer\n");
            let (mut timer, _) = answered(t0, &request);
            let end = t0 + secs(end);
            assert_eq!(timer.deadline(), Some(end), "{seconds}");
            assert_eq!(timer.handle_timeout(end), Due::Expired, "{seconds}");
        }
    }

    #[test]
    fn a_request_without_the_header_keeps_the_timer_running_from_now_on() {
        let t0 = t0();
        let (mut timer, _) = answered(t0, "Session-Expires: 180\nSupported: timer\n");
        let later = t0 + secs(60);
        let fields = timer.answer(later, &headers("Supported: timer\n"));
        assert_eq!(fields[0].1, "180;refresher=uac");
        assert_eq!(timer.deadline(), Some(later + secs(148)));
        // Who says nothing of timers will not refresh.
        let fields = timer.answer(later, &headers(""));
        let expected = field(Name::SessionExpires, "180;refresher=uas".to_owned());
        assert_eq!(fields, [expected]);
        assert_eq!(timer.deadline(), Some(later + secs(90)));
    }

    #[test]
    fn another_interval_replaces_the_old_one() {
        let t0 = t0();
        let (mut timer, _) = answered(t0, "Session-Expires: 180\nSupported: timer\n");
        timer.answer(
            t0,
            &headers("Session-Expires: 600;refresher=uas\nSupported: timer\n"),
        );
        assert_eq!(timer.deadline(), Some(t0 + secs(300)));
        assert_eq!(timer.ask()[0].1, "600;refresher=uac");
    }

    #[test]
    fn the_2xx_decides_for_the_uac() {
        let t0 = t0();
        let mut timer = SessionTimer::default();
        assert!(timer.ask().is_empty());
        timer.handle_answer(t0, &headers("Session-Expires: 200;refresher=uas\n"));
        assert_eq!(timer.deadline(), Some(t0 + secs(168)));
        assert_eq!(timer.ask()[0].1, "200;refresher=uas");
        timer.handle_answer(t0, &headers("Session-Expires: 200\n"));
        assert_eq!(timer.deadline(), Some(t0 + secs(100)));
        timer.handle_answer(t0, &headers("Session-Expires: 1;refresher=uac\n"));
        assert_eq!(
            timer.deadline(),
            Some(t0 + secs(45)),
            "no peer makes us hurry"
        );
        timer.handle_answer(t0, &headers(""));
        assert_eq!(timer.deadline(), None);
    }

    #[test]
    fn a_422_raises_the_interval_a_few_times_and_never_beyond_a_day() {
        let t0 = t0();
        let (mut timer, _) = answered(t0, "Session-Expires: 90\n");
        assert!(!timer.handle_too_small(&headers("")));
        assert!(!timer.handle_too_small(&headers("Min-SE: 90\n")));
        assert!(!timer.handle_too_small(&headers("Min-SE: 86401\n")));
        for min in [120, 121, 122] {
            assert!(timer.handle_too_small(&headers(&format!("Min-SE: {min}\n"))));
        }
        assert_eq!(timer.ask()[0].1, "122;refresher=uac");
        assert_eq!(timer.ask()[1], field(Name::MinSe, "122".to_owned()));
        assert!(!timer.handle_too_small(&headers("Min-SE: 123\n")));
        assert!(!SessionTimer::default().handle_too_small(&headers("Min-SE: 900\n")));
    }

    #[test]
    fn a_refresh_that_failed_is_made_again_until_the_end() {
        let t0 = t0();
        let (mut timer, _) = answered(t0, "Session-Expires: 90\n");
        let mut refreshes = 0;
        let end = loop {
            let now = timer.deadline().unwrap();
            match timer.handle_timeout(now) {
                Due::Refresh => {
                    refreshes += 1;
                    timer.handle_failed(now);
                }
                Due::Expired => break now,
                Due::Nothing => unreachable!("the deadline was due"),
            }
        };
        assert_eq!((refreshes, end - t0), (3, secs(60)));
    }
}
