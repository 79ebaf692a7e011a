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

use std::ops::Range;
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

    /// The text of the pattern of this shape that matches a key; `None` if none can.
    fn text(self, key: &Words<'_>) -> Option<Text> {
        let after = self.after.unwrap_or(0);
        let rest = key.len().checked_sub(after)?;
        if rest < self.before || (self.after.is_none() && rest > self.before) {
            return None;
        }
        let mut text = Text::new();
        key.put(0..self.before, self.stars, &mut text);
        if self.after.is_some() {
            let dots = (self.before > 0, after > 0);
            text.extend_from_slice(match dots {
                (false, false) => b"#",
                (true, false) => b".#",
                (false, true) => b"#.",
                (true, true) => b".#.",
            });
            let stars = self.stars.checked_shr(self.before as u32).unwrap_or(0);
            key.put(rest..key.len(), stars, &mut text);
        }
        Some(text)
    }
}

/// Most keys are at most 255 octets; `#` for no words makes a text two longer, and `*` each empty word one.
type Text = SmallVec<[u8; 264]>;

/// A key and where its words are.
struct Words<'k> {
    key: &'k [u8],
    /// Each word's first octet and the one behind its last.
    places: SmallVec<[(u32, u32); 16]>,
}

impl<'k> Words<'k> {
    fn of(key: &'k [u8]) -> Self {
        let mut places = SmallVec::new();
        let mut from = 0;
        for word in words(key) {
            let end = from + word.len() as u32;
            places.push((from, end));
            from = end + 1;
        }
        Words { key, places }
    }

    fn len(&self) -> usize {
        self.places.len()
    }

    /// Writes some of the words, with `*` for each one that has its bit. What stands between two `*` is
    /// copied as a whole, dots included.
    fn put(&self, range: Range<usize>, mut stars: u64, text: &mut Text) {
        let Some(places) = self.places.get(range) else {
            return;
        };
        let (Some(&(mut from, _)), Some(&(_, end))) = (places.first(), places.last()) else {
            return;
        };
        while stars != 0
            && let Some(&(start, behind)) = places.get(stars.trailing_zeros() as usize)
        {
            text.extend_from_slice(self.octets(from, start));
            text.push(b'*');
            from = behind;
            stars &= stars - 1;
        }
        text.extend_from_slice(self.octets(from, end));
    }

    fn octets(&self, from: u32, to: u32) -> &[u8] {
        self.key.get(from as usize..to as usize).unwrap_or_default()
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
        if self.known.is_empty() {
            return;
        }
        let key = Words::of(key);
        for (shape, _) in &self.known {
            let text = shape.text(&key);
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
