//! Answers that are remembered for a while.
//!
//! Owns how long and how many. What is asked again and again stays; of the rest the oldest go.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// See the module.
pub(super) struct Answers<Q, A> {
    remembered: Duration,
    max: usize,
    held: Mutex<Held<Q, A>>,
}

/// When `recent` is full it takes the place of `older`, which goes.
struct Held<Q, A> {
    recent: HashMap<Q, (A, Instant)>,
    older: HashMap<Q, (A, Instant)>,
}

impl<Q: Hash + Eq + Clone, A: Clone> Answers<Q, A> {
    /// None yet, and never more than `max`.
    pub(super) fn new(remembered: Duration, max: usize) -> Self {
        Answers {
            remembered,
            max,
            held: Mutex::new(Held {
                recent: HashMap::new(),
                older: HashMap::new(),
            }),
        }
    }

    /// The answer, if it is remembered.
    pub(super) fn get(&self, question: &Q) -> Option<A> {
        self.get_at(question, Instant::now())
    }

    fn get_at(&self, question: &Q, now: Instant) -> Option<A> {
        let mut held = self.held.lock();
        if let Some((answer, until)) = held.recent.get(question) {
            return (now < *until).then(|| answer.clone());
        }
        let (answer, until) = held.older.remove(question)?;
        if now >= until {
            return None;
        }
        held.put(question.clone(), (answer.clone(), until), self.max);
        Some(answer)
    }

    /// Remembers an answer that came just now.
    pub(super) fn put(&self, question: Q, answer: A) {
        if self.remembered.is_zero() || self.max == 0 {
            return;
        }
        let until = Instant::now() + self.remembered;
        let mut held = self.held.lock();
        held.older.remove(&question);
        held.put(question, (answer, until), self.max);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let held = self.held.lock();
        held.recent.len() + held.older.len()
    }
}

impl<Q: Hash + Eq, A> Held<Q, A> {
    fn put(&mut self, question: Q, answer: (A, Instant), max: usize) {
        if self.recent.len() >= max.div_ceil(2) && !self.recent.contains_key(&question) {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(question, answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_remembered_for_its_time_and_not_for_longer_though_it_is_asked_for() {
        let answers = Answers::new(Duration::from_secs(100), 2);
        answers.put("q", true);
        let after = |seconds| Instant::now() + Duration::from_secs(seconds);
        for seconds in 0..9 {
            assert_eq!(answers.get_at(&"q", after(10 * seconds)), Some(true));
            // It is among the older then.
            answers.put("other", true);
        }
        assert_eq!(answers.get_at(&"q", after(100)), None);
        answers.put("q", false);
        assert_eq!(answers.get(&"q"), Some(false), "a refusal too");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_asked_for_stays() {
        for max in [1, 2, 7, 100] {
            let answers = Answers::new(Duration::from_secs(1000), max);
            answers.put(0, 0);
            for number in 1..1000 {
                answers.put(number, number);
                assert!(answers.len() <= max + 1, "{max}: {}", answers.len());
                if max > 2 {
                    assert_eq!(answers.get(&0), Some(0), "{max}: {number}");
                }
            }
        }
    }

    #[test]
    fn without_time_or_room_nothing_is_remembered() {
        for (seconds, max) in [(0, 100), (10, 0)] {
            let answers = Answers::new(Duration::from_secs(seconds), max);
            answers.put("q", true);
            assert_eq!(answers.get(&"q"), None);
        }
    }
}
