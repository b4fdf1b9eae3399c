//! The library's own softphone as the caller and the trunk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use baton::softphone::{
    CallPlan, CallReport, Keep, LiveCall, OnRefer, Phone, PhoneConfig, PhoneEvent,
};
use baton_core::vocab::Entropy;
use tokio::time::timeout;

use super::Baton;
use super::baton::PATIENCE;

/// A phone on loopback; another one each time, and the same ones in every run.
pub(crate) fn phone() -> Phone {
    static PHONES: AtomicU64 = AtomicU64::new(7);
    let seed = PHONES.fetch_add(1, Ordering::Relaxed);
    Phone::bind(PhoneConfig::loopback(Entropy::from_number(seed))).expect("loopback has a port")
}

/// A call to this bridge that keeps everything it sees and ends when the far end ends it.
pub(crate) fn plan(baton: &Baton) -> CallPlan {
    CallPlan {
        from_user: "+15559870042".into(),
        keep: Keep::ALL,
        on_refer: OnRefer::Accept,
        ..CallPlan::new(baton.uri())
    }
}

/// The same, saying this.
pub(crate) fn saying(baton: &Baton, samples: Vec<i16>) -> CallPlan {
    CallPlan {
        play: Arc::from(samples),
        ..plan(baton)
    }
}

/// Starts it.
pub(crate) async fn calls(plan: CallPlan) -> LiveCall {
    phone().start(plan).await.expect("the call can be placed")
}

/// Waits for an event like this.
pub(crate) async fn sees(call: &mut LiveCall, what: &str, like: impl Fn(&PhoneEvent) -> bool) {
    finds(call, what, |event| like(event).then_some(())).await;
}

/// Waits for the answer; returns how long it took.
pub(crate) async fn answered(call: &mut LiveCall) -> Duration {
    let after = |event: &PhoneEvent| {
        if let PhoneEvent::Answered(after) = event {
            Some(*after)
        } else {
            None
        }
    };
    finds(call, "an answer", after).await
}

/// Waits for a REFER, and returns its Refer-To.
pub(crate) async fn referred(call: &mut LiveCall) -> String {
    let refer_to = |event: &PhoneEvent| {
        if let PhoneEvent::Referred(refer_to) = event {
            Some(refer_to.clone())
        } else {
            None
        }
    };
    finds(call, "a REFER", refer_to).await
}

async fn finds<T>(call: &mut LiveCall, what: &str, found: impl Fn(&PhoneEvent) -> Option<T>) -> T {
    let search = async {
        loop {
            let event = call.next().await;
            let event = event.unwrap_or_else(|| panic!("the call ended before: {what}"));
            if let Some(found) = found(&event) {
                return found;
            }
        }
    };
    timeout(PATIENCE, search)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for: {what}"))
}

/// Waits for the end.
pub(crate) async fn ended(call: LiveCall) -> CallReport {
    let end = timeout(PATIENCE, call.report()).await;
    end.expect("the call ends")
}

/// Hangs up, and waits for the end.
pub(crate) async fn hung_up(call: LiveCall) -> CallReport {
    call.hang_up().await;
    ended(call).await
}

/// The session key that a Refer-To carries.
pub(crate) fn key_in(refer_to: &str) -> &str {
    let (_, rest) = refer_to
        .split_once("X-Session-History-Key=")
        .unwrap_or_else(|| panic!("no key in {refer_to}"));
    let end = rest
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(rest.len());
    &rest[..end]
}

/// The requests of this method that the report's wire has.
pub(crate) fn count_of(report: &CallReport, method: &str) -> usize {
    let start = format!("{method} ");
    report
        .wire
        .iter()
        .filter(|line| line.start_line.starts_with(&start))
        .count()
}
