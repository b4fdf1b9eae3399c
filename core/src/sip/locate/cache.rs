//! Answers of the DNS, kept as long as they may be: a call per second to one name asks once.
//!
//! It is bounded. When it is full the answer that would have gone next makes room: a peer that makes us ask for a
//! thousand names of its own costs others a question, never memory.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::dns::{Answer, Question};

/// Answers kept.
const ENTRIES: usize = 1_024;
/// The longest an answer is believed: who moves a server does not wait for a day.
const LONGEST: Duration = Duration::from_hours(1);
/// The longest a "no" is believed (RFC 2308 §5 allows hours; a name that has just been made should work soon).
const LONGEST_NO: Duration = Duration::from_mins(1);
/// How long a name server that failed is not asked again (RFC 2308 §7 allows five minutes).
const FAILED: Duration = Duration::from_secs(5);

/// Answers by question.
#[derive(Debug, Default)]
pub struct Cache {
    answers: BTreeMap<Question, (Instant, Answer)>,
}

impl Cache {
    /// The answer to a question, if it may still be believed.
    pub fn get(&mut self, now: Instant, question: &Question) -> Option<Answer> {
        let (until, answer) = self.answers.get(question)?;
        if *until > now {
            return Some(answer.clone());
        }
        self.answers.remove(question);
        None
    }

    /// Keeps an answer for its time to live; for no time at all when that is 0.
    pub fn insert(&mut self, now: Instant, question: Question, answer: Answer, ttl: Duration) {
        let ttl = match answer {
            Answer::Naptr(_) | Answer::Srv(_) | Answer::Addresses(_) => ttl.min(LONGEST),
            Answer::NoRecords | Answer::NoSuchName => ttl.min(LONGEST_NO),
            Answer::Failed => FAILED,
        };
        if ttl.is_zero() {
            self.answers.remove(&question);
            return;
        }
        if self.answers.len() >= ENTRIES && !self.answers.contains_key(&question) {
            self.make_room(now);
        }
        self.answers.insert(question, (now + ttl, answer));
    }

    /// Answers held.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    fn make_room(&mut self, now: Instant) {
        self.answers.retain(|_, (until, _)| *until > now);
        if self.answers.len() < ENTRIES {
            return;
        }
        let next = self.answers.iter().min_by_key(|(_, (until, _))| *until);
        if let Some(question) = next.map(|(question, _)| question.clone()) {
            self.answers.remove(&question);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::dns::Kind;
    use super::*;
    use crate::testing::t0;

    fn question(name: &str) -> Question {
        Question::new(name, Kind::A).unwrap()
    }

    fn address() -> Answer {
        Answer::Addresses(vec![[192, 0, 2, 1].into()])
    }

    #[test]
    fn an_answer_is_believed_for_its_time_to_live_and_an_hour_at_most() {
        let t0 = t0();
        let mut cache = Cache::default();
        cache.insert(t0, question("a"), address(), Duration::from_secs(30));
        cache.insert(t0, question("b"), address(), Duration::MAX);
        let at = |secs| t0 + Duration::from_secs(secs);
        assert_eq!(cache.get(at(29), &question("a")), Some(address()));
        assert_eq!(cache.get(at(30), &question("a")), None);
        assert_eq!(cache.get(at(3_599), &question("b")), Some(address()));
        assert_eq!(cache.get(at(3_600), &question("b")), None);
        assert!(cache.is_empty());
    }

    #[test]
    fn a_no_is_remembered_shortly_and_a_failure_for_a_moment() {
        let t0 = t0();
        let mut cache = Cache::default();
        let day = Duration::from_hours(24);
        cache.insert(t0, question("no"), Answer::NoSuchName, day);
        cache.insert(t0, question("failed"), Answer::Failed, day);
        let at = |secs| t0 + Duration::from_secs(secs);
        assert_eq!(cache.get(at(4), &question("failed")), Some(Answer::Failed));
        assert_eq!(cache.get(at(5), &question("failed")), None);
        assert_eq!(cache.get(at(59), &question("no")), Some(Answer::NoSuchName));
        assert_eq!(cache.get(at(60), &question("no")), None);
    }

    #[test]
    fn a_time_to_live_of_zero_is_honoured() {
        let t0 = t0();
        let mut cache = Cache::default();
        cache.insert(t0, question("a"), address(), Duration::from_secs(9));
        cache.insert(t0, question("a"), address(), Duration::ZERO);
        assert_eq!(cache.get(t0, &question("a")), None);
    }

    #[test]
    fn many_names_do_not_make_it_grow_and_the_one_that_ends_first_goes_first() {
        let t0 = t0();
        let mut cache = Cache::default();
        cache.insert(t0, question("keep"), address(), Duration::from_mins(50));
        for number in 0..3_000 {
            cache.insert(
                t0,
                question(&format!("n{number}")),
                address(),
                Duration::from_mins(1),
            );
        }
        assert_eq!(cache.len(), ENTRIES);
        assert!(cache.get(t0, &question("keep")).is_some());
        assert!(cache.get(t0, &question("n2999")).is_some());
    }
}
