//! `x-consistent-hash`: one destination, by a hash of the key, a header or a property, in proportion to the
//! weights that the binding keys are (A3.7).
//!
//! Owns weights and the choice. Never looks at a binding's arguments.
//!
//! RabbitMQ lines up as many buckets as the weights add up to in the order of binding, and picks one by jump
//! consistent hash. That moves few keys when a destination comes, but all that stand behind it when one goes,
//! and it hangs on an order that is not kept. Here every destination draws a number from the message's hash and
//! its own name, and the best in proportion to the weight wins (weighted rendezvous hashing). So the choice
//! depends on nothing but the hash and who is bound with which weight, and a destination that comes or goes
//! takes or gives away its own share and moves nothing else. The price is a draw for each destination.

use std::sync::Arc;

use bytes::Bytes;

use super::Target;
use super::arguments::Comparable;
use super::binding::Binding;
use super::hash;
use super::lineup::{Lineup, Place};
use super::message::{Asked, HashProperty, MessageView};
use super::routes::Routes;

/// The greatest weight a binding can have.
const MAX_WEIGHT: u32 = 10_000;

/// What of a message an `x-consistent-hash` exchange hashes: its arguments `hash-header` and `hash-property`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HashOn {
    /// The routing key; of several, the first.
    #[default]
    Key,
    /// The header of this name. Messages without it all go one way.
    Header(Bytes),
    /// A property. Messages without it all go one way.
    Property(HashProperty),
}

/// A binding key that an `x-consistent-hash` exchange refuses: 406 (A3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightError {
    /// Not an integer.
    #[error("the weight is not an integer")]
    NotInteger,
    /// Zero or less.
    #[error("the weight is not above 0")]
    NotPositive,
    /// More than this.
    #[error("the weight is above {0}")]
    TooLarge(u32),
}

/// Reads a weight as Erlang reads an integer: digits, with a sign before them or not.
pub(super) fn weight(key: &[u8]) -> Result<u32, WeightError> {
    let (negative, digits) = match key {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(WeightError::NotInteger);
    }
    let add = |sum: u32, digit: &u8| {
        sum.saturating_mul(10)
            .saturating_add(u32::from(digit - b'0'))
    };
    match digits.iter().fold(0, add) {
        0 => Err(WeightError::NotPositive),
        _ if negative => Err(WeightError::NotPositive),
        weight if weight > MAX_WEIGHT => Err(WeightError::TooLarge(MAX_WEIGHT)),
        weight => Ok(weight),
    }
}

#[derive(Clone)]
pub(super) struct ConsistentTable<Q> {
    line: Lineup<Q, Share>,
}

/// What a destination draws with.
#[derive(Clone, Copy)]
pub(super) struct Share {
    seed: u64,
    /// One divided by the weight.
    scale: f64,
}

impl Share {
    pub(super) fn new(is_queue: bool, name: &[u8], weight: u32) -> Self {
        let kind = if is_queue { b'q' } else { b'e' };
        Share {
            seed: hash::wide(kind, name),
            scale: 1.0 / f64::from(weight),
        }
    }

    /// The lowest draw wins. It is distributed exponentially with the weight as its rate, so each wins as often
    /// as its weight is of all weights.
    pub(super) fn draw(&self, hash: u64) -> f64 {
        hash::exponential(hash::scatter(hash ^ self.seed)) * self.scale
    }
}

impl<Q: Target> ConsistentTable<Q> {
    pub(super) fn new() -> Self {
        ConsistentTable {
            line: Lineup::new(),
        }
    }

    pub(super) fn insert(&mut self, binding: &Arc<Binding<Q>>) {
        // It was checked before it came here.
        let Ok(weight) = weight(&binding.key) else {
            return;
        };
        self.line.insert(binding, |is_queue, name| {
            Share::new(is_queue, name.as_bytes(), weight)
        });
    }

    pub(super) fn remove(&mut self, binding: &Arc<Binding<Q>>) {
        self.line.remove(binding);
    }

    pub(super) fn route<M: MessageView>(
        &self,
        on: &HashOn,
        keys: &[&[u8]],
        message: &mut Asked<'_, M>,
        out: &mut Routes<Q>,
    ) {
        if self.line.len() <= 1 {
            return self.line.iter().for_each(|only| out.take(&only.binding));
        }
        let value = match on {
            HashOn::Key => keys.first().map(|key| Comparable::Bytes(*key)),
            HashOn::Header(name) => {
                out.note_uncacheable();
                message.header(name)
            }
            HashOn::Property(property) => {
                out.note_uncacheable();
                message.property(*property)
            }
        };
        if let Some(place) = self.pick(hash::value(&value.unwrap_or(Comparable::Void))) {
            out.take(&place.binding);
        }
    }

    /// The lowest draw's. Of several bindings of one destination the first counts and the others wait.
    fn pick(&self, hash: u64) -> Option<&Place<Q, Share>> {
        let mut best: Option<(f64, &Place<Q, Share>)> = None;
        let mut seed = None;
        for place in self.line.iter() {
            if seed.replace(place.beside.seed) == Some(place.beside.seed) {
                continue;
            }
            let draw = place.beside.draw(hash);
            if best.is_none_or(|(lowest, _)| draw < lowest) {
                best = Some((draw, place));
            }
        }
        best.map(|(_, place)| place)
    }

    /// Whether nothing is left in the table.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.line.len() == 0
    }
}
