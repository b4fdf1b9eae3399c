#![expect(
    clippy::disallowed_methods,
    reason = "shell: owns the schedule of a load test"
)]
//! `baton call --calls N --rate R`: many calls, and what became of them in percentiles.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::softphone::{CallPlan, CallReport, Outcome, Phone, PhoneError};

/// What became of many calls.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LoadResult {
    /// Calls placed.
    pub calls: usize,
    /// Calls that ended as planned.
    pub completed: usize,
    /// The others, by what happened: `503 Service Unavailable`, `no answer`, `media lost`, …
    pub failures: BTreeMap<String, usize>,
    /// The most calls at the same time.
    pub most_at_once: usize,
    /// INVITE to 200, ms.
    pub setup_ms: Percentiles,
    /// Answer to the first packet, ms.
    pub first_packet_ms: Percentiles,
    /// Packets lost of those due, percent.
    pub loss_percent: Percentiles,
    /// Interarrival jitter, ms.
    pub jitter_ms: Percentiles,
    /// The longest time without a packet, ms.
    pub longest_gap_ms: Percentiles,
    /// Packets sent by all calls.
    pub packets_sent: u64,
    /// Packets received by all calls.
    pub packets_received: u64,
    #[serde(skip)]
    codes: BTreeMap<u8, usize>,
}

/// A figure over all calls that have it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of the calls do no worse.
    pub p50: f64,
    /// 95 of 100 do no worse.
    pub p95: f64,
    /// 99 of 100 do no worse.
    pub p99: f64,
    /// The worst.
    pub max: f64,
}

impl Percentiles {
    /// By the nearest rank; zeros for nothing.
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        let rank = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100);
            values.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        Self {
            p50: rank(50),
            p95: rank(95),
            p99: rank(99),
            max: rank(100),
        }
    }
}

/// Places `calls` calls, `rate` of them per second, and waits for the last.
pub async fn run(
    phone: &Phone,
    plan: &CallPlan,
    calls: u32,
    rate: f64,
    silent: bool,
) -> LoadResult {
    let bar = progress(calls, silent);
    let started = Instant::now();
    let mut under_way = JoinSet::new();
    let mut reports = Vec::new();
    let mut most_at_once = 0;
    for index in 0..calls {
        let due = started + Duration::from_secs_f64(f64::from(index) / rate);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => break,
                Some(ended) = under_way.join_next() => note(&mut reports, ended, &bar),
            }
        }
        let (phone, plan) = (phone.clone(), plan.clone());
        under_way.spawn(async move { phone.call(plan).await });
        most_at_once = most_at_once.max(under_way.len());
        bar.set_message(format!("{} under way", under_way.len()));
    }
    while let Some(ended) = under_way.join_next().await {
        note(&mut reports, ended, &bar);
        bar.set_message(format!("{} under way", under_way.len()));
    }
    bar.finish_and_clear();
    LoadResult {
        most_at_once,
        ..LoadResult::new(&reports)
    }
}

type Ended = Result<Result<CallReport, PhoneError>, tokio::task::JoinError>;

fn note(reports: &mut Vec<Result<CallReport, String>>, ended: Ended, bar: &ProgressBar) {
    let report = match ended {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    reports.push(report);
    bar.inc(1);
}

fn progress(calls: u32, silent: bool) -> ProgressBar {
    if silent {
        return ProgressBar::hidden();
    }
    let template = "  {bar:40} {pos}/{len} ended, {msg}  {elapsed_precise}";
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(u64::from(calls))
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

impl LoadResult {
    fn new(reports: &[Result<CallReport, String>]) -> Self {
        let answered: Vec<_> = reports
            .iter()
            .flatten()
            .filter(|report| report.setup_ms.is_some())
            .collect();
        let of = |figure: fn(&CallReport) -> Option<f64>| {
            Percentiles::of(answered.iter().filter_map(|report| figure(report)))
        };
        let mut result = Self {
            calls: reports.len(),
            setup_ms: of(|report| report.setup_ms),
            first_packet_ms: of(|report| report.rtp.first_packet_ms),
            loss_percent: of(loss_percent),
            jitter_ms: of(|report| Some(report.rtp.jitter_ms)),
            longest_gap_ms: of(|report| Some(report.rtp.longest_gap_ms)),
            packets_sent: answered.iter().map(|report| report.rtp.sent).sum(),
            packets_received: answered.iter().map(|report| report.rtp.received).sum(),
            ..Self::default()
        };
        for report in reports {
            let (what, code) = failure(report);
            match what {
                None => result.completed += 1,
                Some(what) => {
                    *result.failures.entry(what).or_default() += 1;
                    *result.codes.entry(code).or_default() += 1;
                }
            }
        }
        result
    }

    /// 0 when every call ended as planned, else the code of what happened most.
    pub fn exit_code(&self) -> u8 {
        let most = self.codes.iter().max_by_key(|(_, times)| **times);
        most.map_or(0, |(code, _)| *code)
    }
}

/// What went wrong, and its exit code.
fn failure(report: &Result<CallReport, String>) -> (Option<String>, u8) {
    let outcome = match report {
        Ok(report) => &report.outcome,
        Err(error) => return (Some(error.clone()), 1),
    };
    let what = match outcome {
        Outcome::Completed { .. } => None,
        Outcome::Refused { status, reason } => Some(format!("{status} {reason}")),
        Outcome::NoAnswer => Some("no answer".to_owned()),
        Outcome::MediaLost => Some("media lost".to_owned()),
        Outcome::TransferFailed { why } => Some(format!("transfer failed: {why}")),
        Outcome::Failed { why } => Some(why.clone()),
    };
    (what, outcome.exit_code())
}

#[expect(clippy::cast_precision_loss, reason = "packet counts of one call")]
fn loss_percent(report: &CallReport) -> Option<f64> {
    let due = report.rtp.received + report.rtp.lost;
    (due > 0).then(|| 100.0 * report.rtp.lost as f64 / due as f64)
}

impl fmt::Display for LoadResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} calls, {} at once at most: {} ended as planned, {} did not",
            self.calls,
            self.most_at_once,
            self.completed,
            self.calls - self.completed
        )?;
        writeln!(
            f,
            "{:18} {:>9} {:>9} {:>9} {:>9}",
            "", "p50", "p95", "p99", "max"
        )?;
        for (name, figure) in [
            ("setup ms", self.setup_ms),
            ("first packet ms", self.first_packet_ms),
            ("loss %", self.loss_percent),
            ("jitter ms", self.jitter_ms),
            ("longest gap ms", self.longest_gap_ms),
        ] {
            let Percentiles { p50, p95, p99, max } = figure;
            writeln!(f, "{name:18} {p50:>9.2} {p95:>9.2} {p99:>9.2} {max:>9.2}")?;
        }
        writeln!(
            f,
            "packets            sent {}, received {}",
            self.packets_sent, self.packets_received
        )?;
        for (what, times) in &self.failures {
            writeln!(f, "{times:>9} x {what}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::softphone::report::RtpReport;

    fn report(outcome: Outcome, setup_ms: Option<f64>, lost: u64) -> CallReport {
        CallReport {
            call_id: String::new(),
            outcome,
            setup_ms,
            ringing_ms: None,
            talk_ms: None,
            answer_headers: Vec::new(),
            rtp: RtpReport {
                received: 100 - lost,
                lost,
                ..RtpReport::default()
            },
            refer: None,
            recording: Vec::new(),
            wire: Vec::new(),
        }
    }

    fn completed(setup_ms: f64) -> CallReport {
        let outcome = Outcome::Completed {
            by_us: true,
            reason: None,
        };
        report(outcome, Some(setup_ms), 2)
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let figure = Percentiles::of((1..=200).map(f64::from));
        assert_eq!(
            (figure.p50, figure.p95, figure.p99, figure.max),
            (100.0, 190.0, 198.0, 200.0)
        );
        assert_eq!(Percentiles::of(std::iter::empty()), Percentiles::default());
        let one = Percentiles::of(std::iter::once(7.0));
        assert_eq!((one.p50, one.max), (7.0, 7.0));
    }

    #[test]
    fn failures_are_counted_by_what_happened_and_the_most_frequent_gives_the_exit_code() {
        let busy = || {
            report(
                Outcome::Refused {
                    status: 503,
                    reason: "Service Unavailable".into(),
                },
                None,
                0,
            )
        };
        let reports = [
            Ok(completed(10.0)),
            Ok(busy()),
            Ok(busy()),
            Ok(report(Outcome::MediaLost, Some(5.0), 100)),
            Err("no free RTP port".into()),
        ];
        let result = LoadResult::new(&reports);
        assert_eq!((result.calls, result.completed), (5, 1));
        assert_eq!(result.failures["503 Service Unavailable"], 2);
        assert_eq!(result.exit_code(), 3);
        assert!((result.loss_percent.p50 - 2.0).abs() < 1e-9);
        let shown = result.to_string();
        assert!(shown.contains("2 x 503 Service Unavailable"), "{shown}");
        assert_eq!(LoadResult::new(&[Ok(completed(1.0))]).exit_code(), 0);
    }
}
