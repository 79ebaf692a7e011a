//! Counts and levels with their course over time: `publish` beside `publish_details`.
//!
//! Owns the form of `*_details`: the rate, and with `…_age` and `…_incr` the samples, the youngest
//! first (A12).

use serde_json::{Map, Value, json};

use super::object::Object;
use super::query::Params;
use crate::base::clock;
use crate::base::history::{History, Sample, per_second};

/// What a request wants to know of the past, by the group of figures.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Windows {
    /// Of queue lengths: `lengths_age`, `lengths_incr`.
    pub(super) lengths: Option<Window>,
    /// Of message rates: `msg_rates_age`, `msg_rates_incr`.
    pub(super) messages: Option<Window>,
    /// Of octets: `data_rates_age`, `data_rates_incr`.
    pub(super) data: Option<Window>,
}

impl Windows {
    pub(super) fn read(params: &Params) -> Self {
        let window = |group: &str| {
            let seconds = |part| params.number(&format!("{group}_{part}"));
            let age_s = seconds("age").filter(|&s| s > 0)?;
            Some(Window {
                age_ms: age_s.saturating_mul(1000),
                step_ms: seconds("incr").unwrap_or(5).saturating_mul(1000),
            })
        };
        Windows {
            lengths: window("lengths"),
            messages: window("msg_rates"),
            data: window("data_rates"),
        }
    }

    /// Whether anything of the past is wanted beyond the rates.
    pub(super) fn any(&self) -> bool {
        self.lengths.or(self.messages).or(self.data).is_some()
    }
}

/// A span of time up to now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    age_ms: u64,
    step_ms: u64,
}

/// The course of one thing.
pub(super) struct Course<T> {
    recent: Option<[Sample<T>; 2]>,
    history: Option<History<T>>,
    windows: Windows,
}

impl<T: Copy> Course<T> {
    /// With its last two samples only.
    pub(super) fn recent(recent: Option<[Sample<T>; 2]>) -> Self {
        Course {
            recent,
            history: None,
            windows: Windows::default(),
        }
    }

    /// With what `windows` ask for.
    pub(super) fn of(history: Option<History<T>>, windows: Windows) -> Self {
        Course {
            recent: history.as_ref().and_then(History::last_two),
            history,
            windows,
        }
    }

    /// Sets a count and its details: how many came each second.
    fn count(&self, into: &mut Map<String, Value>, field: Field<T>, now: &T, of: Of) {
        let rate = self.recent.as_ref().map(|two| per_second(two, field.of));
        self.put(into, field, now, of, rate);
    }

    /// Sets a level and its details: by how much it rose each second, or fell.
    fn level(&self, into: &mut Map<String, Value>, field: Field<T>, now: &T, of: Of) {
        let rate = self.recent.as_ref().map(|&[before, after]| {
            let fallen = [
                Sample {
                    value: after.value,
                    ..before
                },
                Sample {
                    value: before.value,
                    ..after
                },
            ];
            per_second(&[before, after], field.of) - per_second(&fallen, field.of)
        });
        self.put(into, field, now, of, rate);
    }

    fn put(
        &self,
        into: &mut Map<String, Value>,
        field: Field<T>,
        now: &T,
        of: Of,
        rate: Option<f64>,
    ) {
        let mut details = Map::new();
        details.insert("rate".to_owned(), rate.unwrap_or(0.0).into());
        let window = match of {
            Of::Lengths => self.windows.lengths,
            Of::Messages => self.windows.messages,
            Of::Data => self.windows.data,
        };
        if let (Some(window), Some(history)) = (window, &self.history) {
            let now_ms = clock::now_ms();
            let samples = history.window(now_ms, window.age_ms, window.step_ms);
            samples_of(&samples, field.of, &mut details);
        }
        into.insert(field.name.to_owned(), (field.of)(now).into());
        into.insert(format!("{}_details", field.name), details.into());
    }

    /// The levels or counts as fields of an object.
    pub(super) fn put_into(&self, object: &mut Object<'_>, fields: &[Field<T>], now: &T, of: Of) {
        for &field in fields {
            let details = format!("{}_details", field.name);
            if object.wants_any(&[field.name, &details]) {
                let mut pair = Map::new();
                match of {
                    Of::Lengths => self.level(&mut pair, field, now, of),
                    _ => self.count(&mut pair, field, now, of),
                }
                for (name, value) in pair {
                    object.put(&name, value);
                }
            }
        }
    }

    /// The levels with their details.
    pub(super) fn levels(&self, fields: &[Field<T>], now: &T) -> Map<String, Value> {
        let mut levels = Map::new();
        for &field in fields {
            self.level(&mut levels, field, now, Of::Lengths);
        }
        levels
    }

    /// The counts as the field `message_stats`, if it is wanted; none if nothing has been counted.
    pub(super) fn put_stats(&self, object: &mut Object<'_>, fields: &[Field<T>], now: &T) {
        if object.wants_any(&["message_stats"])
            && let Some(stats) = self.stats(fields, now)
        {
            object.put("message_stats", stats);
        }
    }

    /// The counts as an object of their own; none if nothing has been counted.
    pub(super) fn stats(&self, fields: &[Field<T>], now: &T) -> Option<Value> {
        if fields.iter().all(|field| (field.of)(now) == 0) {
            return None;
        }
        let mut stats = Map::new();
        for &field in fields {
            self.count(&mut stats, field, now, Of::Messages);
        }
        Some(stats.into())
    }
}

/// Which window applies, and whether it is a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// Levels.
    Lengths,
    /// Counts of messages.
    Messages,
    /// Counts of octets.
    Data,
}

/// A figure by its name in JSON.
pub(super) struct Field<T> {
    pub(super) name: &'static str,
    pub(super) of: fn(&T) -> u64,
}

impl<T> Field<T> {
    pub(super) const fn new(name: &'static str, of: fn(&T) -> u64) -> Self {
        Field { name, of }
    }
}

// Derived, they would ask the same of T.
impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Field<T> {}

/// The samples, their mean, and the rate over all of them.
fn samples_of<T: Copy>(samples: &[Sample<T>], of: fn(&T) -> u64, details: &mut Map<String, Value>) {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        return;
    };
    let shown: Vec<Value> = samples
        .iter()
        .rev()
        .map(|sample| json!({ "sample": of(&sample.value), "timestamp": sample.at_ms }))
        .collect();
    let sum: f64 = samples.iter().map(|sample| of(&sample.value) as f64).sum();
    details.insert("samples".to_owned(), shown.into());
    details.insert("avg".to_owned(), (sum / samples.len() as f64).into());
    details.insert(
        "avg_rate".to_owned(),
        per_second(&[*first, *last], of).into(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::history::Tier;
    use crate::management::object::Columns;

    const FIELD: Field<u64> = Field::new("n", |n| *n);

    fn history(values: &[u64]) -> History<u64> {
        let mut history = History::new(&[Tier {
            step_ms: 5_000,
            kept: 13,
        }]);
        let end = clock::now_ms();
        for (at, &value) in values.iter().enumerate() {
            history.push(end - 5_000 * (values.len() - 1 - at) as u64, value);
        }
        history
    }

    fn shown(values: &[u64], windows: Windows, of: Of) -> Value {
        let course = Course::of(Some(history(values)), windows);
        let columns = Columns::ALL;
        let mut object = Object::new(&columns);
        course.put_into(&mut object, &[FIELD], values.last().unwrap(), of);
        object.finish().into()
    }

    #[test]
    fn a12_rates_of_counts_and_of_levels() {
        let none = Windows::default();
        assert_eq!(
            shown(&[0, 50], none, Of::Messages),
            json!({ "n": 50, "n_details": { "rate": 10.0 } })
        );
        assert_eq!(
            shown(&[50, 0], none, Of::Messages)["n_details"]["rate"],
            0.0
        );
        assert_eq!(
            shown(&[50, 0], none, Of::Lengths),
            json!({ "n": 0, "n_details": { "rate": -10.0 } })
        );
        let course = Course::recent(None);
        assert_eq!(
            course.stats(&[FIELD], &3),
            Some(json!({ "n": 3, "n_details": { "rate": 0.0 } }))
        );
        assert_eq!(course.stats(&[FIELD], &0), None);
    }

    #[test]
    fn a12_samples_are_given_on_demand_the_youngest_first() {
        let windows = Windows {
            messages: Some(Window {
                age_ms: 10_000,
                step_ms: 5_000,
            }),
            ..Windows::default()
        };
        let found = shown(&[0, 10, 30, 60], windows, Of::Messages);
        let details = &found["n_details"];
        let samples = details["samples"].as_array().unwrap();
        let values: Vec<_> = samples.iter().map(|s| s["sample"].clone()).collect();
        assert_eq!(values, [60, 30, 10]);
        assert_eq!(details["rate"], 6.0);
        assert_eq!(details["avg_rate"], 5.0);
        assert!(shown(&[0, 10], windows, Of::Data)["n_details"]["samples"].is_null());
    }
}
