//! Patterns word by word.
//!
//! Owns the trie of patterns. Never sees a pattern whose shape is kept by its text.

use std::sync::Arc;

use bytes::Bytes;
use imbl::HashMap;

use crate::router::Target;
use crate::router::binding::{Binding, BindingSet};
use crate::router::routes::Routes;

#[derive(Clone)]
pub(super) struct Trie<Q> {
    root: Node<Q>,
}

/// A place in the trie: what the words so far lead to.
#[derive(Clone)]
struct Node<Q> {
    /// The bindings whose pattern ends here.
    here: BindingSet<Q>,
    /// By literal word. The default hasher is keyed at random: clients choose the words.
    words: HashMap<Bytes, Arc<Node<Q>>>,
    star: Option<Arc<Node<Q>>>,
    hash: Option<Arc<Node<Q>>>,
}

/// The first word and the words after it, `None` if there are none.
fn split(words: &[u8]) -> (&[u8], Option<&[u8]>) {
    match words.iter().position(|octet| *octet == b'.') {
        Some(dot) => {
            let (word, rest) = words.split_at(dot);
            (word, rest.get(1..))
        }
        None => (words, None),
    }
}

/// The words of a key: `None` for the empty key, which has none.
fn words(key: &[u8]) -> Option<&[u8]> {
    if key.is_empty() { None } else { Some(key) }
}

impl<Q: Target> Trie<Q> {
    pub(super) fn new() -> Self {
        Trie { root: Node::new() }
    }

    pub(super) fn insert(&mut self, binding: &Arc<Binding<Q>>) {
        self.root.insert(words(&binding.key), binding);
    }

    pub(super) fn remove(&mut self, binding: &Arc<Binding<Q>>) {
        self.root.remove(words(&binding.key), binding);
    }

    pub(super) fn route(&self, key: &[u8], out: &mut Routes<Q>) {
        out.start_walk();
        Walk { out }.visit(&self.root, words(key), false);
    }

    /// Whether nothing is left of the trie but its root.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.root.is_bare()
    }
}

impl<Q: Target> Node<Q> {
    fn new() -> Self {
        Node {
            here: BindingSet::default(),
            words: HashMap::new(),
            star: None,
            hash: None,
        }
    }

    fn is_bare(&self) -> bool {
        self.here.is_empty() && self.words.is_empty() && self.star.is_none() && self.hash.is_none()
    }

    fn insert(&mut self, pattern: Option<&[u8]>, binding: &Arc<Binding<Q>>) {
        let Some(pattern) = pattern else {
            self.here.insert(Arc::clone(binding));
            return;
        };
        let (word, rest) = split(pattern);
        let new = || Arc::new(Node::new());
        let child = match word {
            b"*" => self.star.get_or_insert_with(new),
            b"#" => self.hash.get_or_insert_with(new),
            _ => {
                let word = binding.key.slice_ref(word);
                self.words.entry(word).or_insert_with(new)
            }
        };
        Arc::make_mut(child).insert(rest, binding);
    }

    /// Takes the binding out and prunes the nodes that led only to it.
    fn remove(&mut self, pattern: Option<&[u8]>, binding: &Arc<Binding<Q>>) {
        let Some(pattern) = pattern else {
            self.here.remove(binding);
            return;
        };
        let (word, rest) = split(pattern);
        match word {
            b"*" => remove_below(&mut self.star, rest, binding),
            b"#" => remove_below(&mut self.hash, rest, binding),
            _ => {
                let Some(child) = self.words.get_mut(word) else {
                    return;
                };
                let child = Arc::make_mut(child);
                child.remove(rest, binding);
                if child.is_bare() {
                    self.words.remove(word);
                }
            }
        }
    }
}

fn remove_below<Q: Target>(
    slot: &mut Option<Arc<Node<Q>>>,
    rest: Option<&[u8]>,
    binding: &Arc<Binding<Q>>,
) {
    let Some(child) = slot else { return };
    let child = Arc::make_mut(child);
    child.remove(rest, binding);
    if child.is_bare() {
        *slot = None;
    }
}

/// One key's way through the trie.
///
/// A state of the match is a node and the words left. A node that no `#` leads to is visited at most once,
/// since the trie leads to it in one way and each of its words takes one word of the key. Below a `#` a node
/// can be visited once for each place in the key. Patterns with several `#` would multiply that, once for
/// each choice of what each `#` takes, so a `#` node below another is walked only the first time it is
/// reached. That is enough: the outer `#` gives up words from left to right, so the first time leaves the
/// inner one the most words, and its own walk then covers every shorter rest. All in all the work is bounded
/// by (nodes that can match) × (words of the key + 1).
struct Walk<'a, Q> {
    out: &'a mut Routes<Q>,
}

impl<Q: Target> Walk<'_, Q> {
    fn visit(&mut self, node: &Node<Q>, words: Option<&[u8]>, below_hash: bool) {
        match words {
            None => self.out.take_set(&node.here),
            Some(words) => self.step(node, words, below_hash),
        }
        if let Some(hash) = &node.hash {
            self.expand(hash, words, below_hash);
        }
    }

    /// Takes the next word along a literal edge and along `*`.
    fn step(&mut self, node: &Node<Q>, words: &[u8], below_hash: bool) {
        let (word, rest) = split(words);
        if let Some(child) = node.words.get(word) {
            self.visit(child, rest, below_hash);
        }
        if let Some(star) = &node.star {
            self.visit(star, rest, below_hash);
        }
    }

    /// Lets a `#` take none of the words, then one, and so on to all of them.
    fn expand(&mut self, node: &Arc<Node<Q>>, words: Option<&[u8]>, below_hash: bool) {
        if below_hash && !self.out.first_time(Arc::as_ptr(node) as usize) {
            return;
        }
        self.out.take_set(&node.here);
        if let Some(inner) = &node.hash {
            self.expand(inner, words, true);
        }
        if node.words.is_empty() && node.star.is_none() {
            return;
        }
        let mut left = words;
        while let Some(words) = left {
            self.step(node, words, true);
            left = split(words).1;
        }
    }
}
