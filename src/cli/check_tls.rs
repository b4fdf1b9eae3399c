#![expect(
    clippy::disallowed_methods,
    reason = "shell: a certificate is good or not at this moment"
)]
//! `baton check`: the files of `[sip] tls`.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::Config;
use crate::config::check::Finding;
use crate::net::tls::{Tls, names};

const PLACE: &str = "[sip] tls";
const DAY: i64 = 24 * 60 * 60;
/// Less than this left is worth a warning: renewals run a month ahead.
const SOON: i64 = 14 * DAY;

/// Files that are there, can be read and fit each other; a certificate that is good today and in two weeks.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let files = config.tls_files();
    let nothing_set = files == crate::net::tls::Files::default();
    if nothing_set {
        return Vec::new();
    }
    if let Err(error) = Tls::load(&files) {
        return vec![Finding::error(
            PLACE,
            error.to_string(),
            "the node does not start, or reload, with these files",
        )];
    }
    let Some((certificate, _)) = &files.identity else {
        return vec![Finding::ok(PLACE, "authorities can be read")];
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs().cast_signed());
    match names::facts(certificate) {
        Ok(facts) => vec![validity(&facts, now)],
        Err(error) => vec![Finding::error(PLACE, error.to_string(), "replace it")],
    }
}

fn validity(facts: &names::Facts, now: i64) -> Finding {
    let names = facts.names.join(", ");
    let left = facts.not_after - now;
    let fix = "renew the certificate, then send SIGHUP";
    if left < 0 {
        let what = format!(
            "the certificate of {names} expired {} days ago",
            -left / DAY
        );
        Finding::error(PLACE, what, fix)
    } else if now < facts.not_before {
        let days = (facts.not_before - now) / DAY;
        let what = format!("the certificate of {names} is good only in {days} days");
        Finding::error(PLACE, what, "correct the clock, or use another certificate")
    } else if left < SOON {
        let what = format!("the certificate of {names} expires in {} days", left / DAY);
        Finding::warning(PLACE, what, fix)
    } else {
        let what = format!("the certificate of {names} is good for {} days", left / DAY);
        Finding::ok(PLACE, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check::Severity;

    #[test]
    fn a_certificate_is_good_too_early_ending_soon_or_over() {
        let facts = names::Facts {
            names: vec!["voice.example.com".into()],
            not_before: 100 * DAY,
            not_after: 200 * DAY,
        };
        for (day, severity, says) in [
            (99, Severity::Error, "only in 1 days"),
            (100, Severity::Ok, "for 100 days"),
            (187, Severity::Warning, "in 13 days"),
            (203, Severity::Error, "expired 3 days ago"),
        ] {
            let found = validity(&facts, day * DAY);
            assert_eq!(found.severity, severity, "{day}");
            assert!(found.what.contains(says), "{day}: {}", found.what);
        }
    }
}
