//! `Idempotency-Key`: a client that repeats a request after a broken connection gets the first answer again.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::answer::ApiError;

/// Requests remembered; the oldest gives way.
const REMEMBERED: usize = 1024;

/// What a handler answers.
pub(super) type Outcome = Result<(StatusCode, Value), ApiError>;

/// Requests that named themselves, and their answers.
#[derive(Debug, Default)]
pub(super) struct Idempotency(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    known: HashMap<String, Known>,
    order: VecDeque<String>,
}

#[derive(Debug, Clone)]
struct Known {
    fingerprint: u64,
    /// `None` while the first one runs.
    outcome: Option<Outcome>,
}

/// What to do with a request.
#[derive(Debug)]
pub(super) enum Begin {
    /// It is the first: do it, and say how it went with [`Idempotency::finish`].
    Fresh,
    /// It was done: answer this.
    Done(Outcome),
}

impl Idempotency {
    /// * `name`: the client, the path and its key; * `body`: what it asks.
    pub(super) fn begin(&self, name: &str, body: &[u8]) -> Begin {
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let fingerprint = hasher.finish();
        let mut table = self.lock();
        if let Some(known) = table.known.get(name) {
            return Begin::Done(known.answer(fingerprint));
        }
        while table.order.len() >= REMEMBERED {
            if let Some(oldest) = table.order.pop_front() {
                table.known.remove(&oldest);
            }
        }
        table.order.push_back(name.to_owned());
        table.known.insert(
            name.to_owned(),
            Known {
                fingerprint,
                outcome: None,
            },
        );
        Begin::Fresh
    }

    /// How the first request went. What certainly changed nothing (429) may be tried again under the same key.
    pub(super) fn finish(&self, name: &str, outcome: &Outcome) {
        let nothing_happened =
            matches!(outcome, Err(error) if error.status == StatusCode::TOO_MANY_REQUESTS);
        let mut table = self.lock();
        if nothing_happened {
            table.known.remove(name);
            table.order.retain(|known| known != name);
        } else if let Some(known) = table.known.get_mut(name) {
            known.outcome = Some(outcome.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn answer(&self, fingerprint: u64) -> Outcome {
        if self.fingerprint != fingerprint {
            return Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "this Idempotency-Key came before with another body",
            ));
        }
        self.outcome.clone().unwrap_or_else(|| {
            Err(ApiError::new(
                StatusCode::CONFLICT,
                "still_running",
                "the first request with this Idempotency-Key is still running",
            ))
        })
    }
}

/// The request's `Idempotency-Key`.
pub(super) fn key_of(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    value
        .to_str()
        .ok()
        .filter(|key| (1..=255).contains(&key.len()))
        .map(Some)
        .ok_or_else(|| {
            ApiError::new(
                StatusCode::BAD_REQUEST,
                "bad_idempotency_key",
                "Idempotency-Key has to be 1 to 255 visible ASCII characters",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_request_gets_the_first_answer() {
        let table = Idempotency::default();
        assert!(matches!(table.begin("a", b"x"), Begin::Fresh));
        let first = (StatusCode::ACCEPTED, Value::from("first"));
        table.finish("a", &Ok(first.clone()));
        let Begin::Done(Ok(again)) = table.begin("a", b"x") else {
            panic!("done again");
        };
        assert_eq!(again, first);
        assert!(matches!(table.begin("b", b"x"), Begin::Fresh));
    }

    #[test]
    fn a_repeat_that_is_too_early_or_different_is_told_so() {
        let table = Idempotency::default();
        assert!(matches!(table.begin("a", b"x"), Begin::Fresh));
        for (body, code) in [(b"x", "still_running"), (b"y", "idempotency_key_reused")] {
            match table.begin("a", body) {
                Begin::Done(Err(error)) => assert_eq!(error.code, code),
                other @ (Begin::Fresh | Begin::Done(Ok(_))) => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_changed_nothing_may_be_tried_again_and_memory_is_bounded() {
        let table = Idempotency::default();
        assert!(matches!(table.begin("a", b"x"), Begin::Fresh));
        let busy = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "busy", "");
        table.finish("a", &Err(busy));
        assert!(matches!(table.begin("a", b"x"), Begin::Fresh));
        for number in 0..REMEMBERED {
            table.begin(&number.to_string(), b"x");
        }
        assert!(matches!(table.begin("a", b"x"), Begin::Fresh), "forgotten");
        assert_eq!(table.lock().known.len(), REMEMBERED);
    }
}
