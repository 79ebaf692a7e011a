//! The topic exchange: patterns of words, `*` for one word and `#` for any number of them (A3.4).
//!
//! Owns the trie of patterns. Never looks at arguments or headers.
//!
//! Words are parted by dots. The empty key has no words, so `#` matches it and `*` does not; `.` has two
//! empty words. `*` and `#` are special only as whole words of a binding's key.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use imbl::HashMap;

use super::Target;
use super::binding::{Binding, BindingSet};
use super::routes::Routes;

/// With more children than this a node looks them up in a hash map.
const FEW: usize = 16;

#[derive(Clone)]
pub(super) struct TopicTable<Q> {
    root: Node<Q>,
}

/// A place in the trie: what the words so far lead to.
#[derive(Clone)]
struct Node<Q> {
    /// The bindings whose pattern ends here.
    here: BindingSet<Q>,
    words: Children<Q>,
    star: Option<Arc<Node<Q>>>,
    hash: Option<Arc<Node<Q>>>,
}

/// A node's children by literal word. Most nodes have few, and those need neither hashing nor much room.
#[derive(Clone)]
enum Children<Q> {
    Few(Vec<(Word, Arc<Node<Q>>)>),
    // The default hasher is keyed at random: clients choose the words.
    Many(HashMap<Word, Arc<Node<Q>>>),
}

/// A literal word of a pattern. One of usual length is held in place, because in a large trie it is waiting
/// for memory that costs time, and a word on the heap would be one more wait.
#[derive(Clone)]
enum Word {
    Short(u8, [u8; SHORT]),
    Long(Arc<[u8]>),
}

/// What fits in place without making a [`Word`] larger than its other form needs.
const SHORT: usize = 22;

impl Word {
    fn new(word: &[u8]) -> Self {
        let mut octets = [0; SHORT];
        match (octets.get_mut(..word.len()), u8::try_from(word.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(word);
                Word::Short(length, octets)
            }
            _ => Word::Long(word.into()),
        }
    }

    fn octets(&self) -> &[u8] {
        match self {
            Word::Short(length, octets) => octets.get(..usize::from(*length)).unwrap_or_default(),
            Word::Long(octets) => octets,
        }
    }
}

impl PartialEq for Word {
    fn eq(&self, other: &Self) -> bool {
        self.octets() == other.octets()
    }
}

impl Eq for Word {}

// As octets hash, so that it agrees with `Borrow<[u8]>`.
impl Hash for Word {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.octets().hash(state);
    }
}

impl Borrow<[u8]> for Word {
    fn borrow(&self) -> &[u8] {
        self.octets()
    }
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

impl<Q: Target> TopicTable<Q> {
    pub(super) fn new() -> Self {
        TopicTable { root: Node::new() }
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
            words: Children::Few(Vec::new()),
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
        let slot = match word {
            b"*" => &mut self.star,
            b"#" => &mut self.hash,
            _ => {
                return self.words.change(word, |child| child.insert(rest, binding));
            }
        };
        let child = slot.get_or_insert_with(|| Arc::new(Node::new()));
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

impl<Q: Target> Children<Q> {
    fn is_empty(&self) -> bool {
        match self {
            Children::Few(list) => list.is_empty(),
            Children::Many(map) => map.is_empty(),
        }
    }

    fn get(&self, word: &[u8]) -> Option<&Node<Q>> {
        match self {
            Children::Few(list) => list
                .iter()
                .find(|(name, _)| name.octets() == word)
                .map(|(_, node)| &**node),
            Children::Many(map) => map.get(word).map(|node| &**node),
        }
    }

    fn get_mut(&mut self, word: &[u8]) -> Option<&mut Arc<Node<Q>>> {
        match self {
            Children::Few(list) => list
                .iter_mut()
                .find(|(name, _)| name.octets() == word)
                .map(|(_, node)| node),
            Children::Many(map) => map.get_mut(word),
        }
    }

    /// Changes the child for a word, and makes it first if need be.
    fn change(&mut self, word: &[u8], change: impl FnOnce(&mut Node<Q>)) {
        if let Some(child) = self.get_mut(word) {
            return change(Arc::make_mut(child));
        }
        let mut child = Node::new();
        change(&mut child);
        let child = (Word::new(word), Arc::new(child));
        match self {
            Children::Few(list) if list.len() < FEW => list.push(child),
            Children::Few(list) => *self = Children::Many(list.drain(..).chain([child]).collect()),
            Children::Many(map) => {
                map.insert(child.0, child.1);
            }
        }
    }

    fn remove(&mut self, word: &[u8]) {
        match self {
            Children::Few(list) => list.retain(|(name, _)| name.octets() != word),
            Children::Many(map) => {
                map.remove(word);
            }
        }
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
