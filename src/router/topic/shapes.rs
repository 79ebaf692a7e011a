//! Patterns found by their text.
//!
//! Owns the shapes that an exchange's patterns have. Never matches a pattern word by word.
//!
//! A pattern's shape is where its `*` and its `#` stand: `eu.*.cpu` and `us.*.disk` have the same. Put a shape's
//! `*` and `#` into a key, and what comes out is the text of the only pattern of that shape that matches the key: with
//! the shape of these two `eu.web.cpu` becomes `eu.*.cpu`. So a route looks up one text for each shape, however many patterns
//! have it. Exchanges have few shapes, since it is programs that make patterns.
//!
//! A text that was found so always matches. Where the pattern has a literal word the key has the same one, and a key's own word `*` or
//! `#` is matched by the pattern's.

use std::sync::Arc;

use bytes::Bytes;
use imbl::HashMap;
use smallvec::SmallVec;

use super::words;
use crate::router::Target;
use crate::router::binding::{Binding, BindingSet};
use crate::router::routes::Routes;

/// With more shapes than this the trie is quicker for those beyond.
const MOST: usize = 16;

#[derive(Clone)]
pub(super) struct Shapes<Q> {
    /// Each shape once, with the number of bindings that have it.
    known: Vec<(Shape, usize)>,
    // The default hasher is keyed at random: clients choose the words.
    by_text: HashMap<Bytes, BindingSet<Q>>,
}

/// Where a pattern has its `*` and its `#`.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    /// A bit for each word but `#`, the first word's lowest: set for `*`.
    stars: u64,
    /// The words before `#`, or all of them.
    before: usize,
    /// The words after `#`; `None` without `#`.
    after: Option<usize>,
}

/// A key is at most 255 octets, and `#` for no words is the most that a pattern's text can be longer.
type Text = SmallVec<[u8; 264]>;

impl Shape {
    /// The shape of a pattern; `None` if it has a second `#` or more than 64 other words.
    fn of(pattern: &[u8]) -> Option<Self> {
        let mut shape = Shape {
            stars: 0,
            before: 0,
            after: None,
        };
        for word in words(pattern) {
            if word == b"#" {
                if shape.after.is_some() {
                    return None;
                }
                shape.after = Some(0);
                continue;
            }
            let at = shape.before + shape.after.unwrap_or(0);
            if at >= 64 {
                return None;
            }
            if word == b"*" {
                shape.stars |= 1 << at;
            }
            match &mut shape.after {
                Some(after) => *after += 1,
                None => shape.before += 1,
            }
        }
        Some(shape)
    }

    /// The text of the pattern of this shape that matches a key of these words; `None` if none can.
    fn text<'k>(self, key: &[&'k [u8]]) -> Option<Text> {
        let (before, after) = match self.after {
            Some(after) => {
                let rest = key.len().checked_sub(after)?;
                (key.get(..self.before)?, key.get(rest.max(self.before)..)?)
            }
            None => (key, [].as_slice()),
        };
        if before.len() != self.before || after.len() != self.after.unwrap_or(0) {
            return None;
        }
        let literal = |(at, word): (usize, &&'k [u8])| {
            if self.stars >> at & 1 == 1 {
                b"*"
            } else {
                *word
            }
        };
        let hash = self.after.map(|_| b"#".as_slice());
        let before = before.iter().enumerate().map(literal);
        let after = (self.before..).zip(after).map(literal);
        let mut text = Text::new();
        for (at, word) in before.chain(hash).chain(after).enumerate() {
            if at > 0 {
                text.push(b'.');
            }
            text.extend_from_slice(word);
        }
        Some(text)
    }
}

impl<Q: Target> Shapes<Q> {
    pub(super) fn new() -> Self {
        Shapes {
            known: Vec::new(),
            by_text: HashMap::new(),
        }
    }

    /// Adds a binding; false if its pattern has a shape that cannot be kept here.
    pub(super) fn insert(&mut self, binding: &Arc<Binding<Q>>) -> bool {
        let Some(shape) = Shape::of(&binding.key) else {
            return false;
        };
        if let Some((_, bindings)) = self.known.iter_mut().find(|(known, _)| *known == shape) {
            *bindings += 1;
        } else if self.known.len() < MOST {
            self.known.push((shape, 1));
        } else {
            return false;
        }
        self.by_text
            .entry(binding.key.clone())
            .or_default()
            .insert(Arc::clone(binding));
        true
    }

    /// Takes a binding out; false if it is not here.
    pub(super) fn remove(&mut self, binding: &Arc<Binding<Q>>) -> bool {
        let Some(set) = self.by_text.get_mut(&binding.key) else {
            return false;
        };
        if set.remove(binding).is_none() {
            return false;
        }
        if set.is_empty() {
            self.by_text.remove(&binding.key);
        }
        let shape = Shape::of(&binding.key);
        self.known.retain_mut(|(known, bindings)| {
            *bindings -= usize::from(Some(*known) == shape);
            *bindings > 0
        });
        true
    }

    pub(super) fn route(&self, key: &[u8], out: &mut Routes<Q>) {
        let mut parted: SmallVec<[&[u8]; 16]> = SmallVec::new();
        for (shape, _) in &self.known {
            if parted.is_empty() {
                parted.extend(words(key));
            }
            let text = shape.text(&parted);
            if let Some(set) = text.and_then(|text| self.by_text.get(text.as_slice())) {
                out.take_set(set);
            }
        }
    }

    /// Whether nothing is kept.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.known.is_empty() && self.by_text.is_empty()
    }
}
