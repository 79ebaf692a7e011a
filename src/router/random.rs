//! `x-random` and `x-local-random`: any one of the bindings (A3.8, A3.10).
//!
//! Owns the draw, not the chance: that comes with the message. Never looks at keys, arguments or headers. Every
//! queue is local, so the two kinds differ only in the bindings they take.

use std::sync::Arc;

use super::Target;
use super::binding::{Binding, Destination};
use super::graph::BindError;
use super::lineup::Lineup;
use super::message::{Asked, MessageView};
use super::routes::Routes;

#[derive(Clone)]
pub(super) struct RandomTable<Q> {
    line: Lineup<Q, ()>,
}

impl<Q: Target> RandomTable<Q> {
    pub(super) fn new() -> Self {
        RandomTable {
            line: Lineup::new(),
        }
    }

    pub(super) fn insert(&mut self, binding: &Arc<Binding<Q>>) {
        self.line.insert(binding, |_, _| ());
    }

    pub(super) fn remove(&mut self, binding: &Arc<Binding<Q>>) {
        self.line.remove(binding);
    }

    pub(super) fn route<M: MessageView>(&self, message: &Asked<'_, M>, out: &mut Routes<Q>) {
        let count = self.line.len();
        let number = match count {
            0 | 1 => 0,
            _ => {
                out.note_uncacheable();
                message.random_below(count)
            }
        };
        if let Some(binding) = self.line.get(number) {
            out.take(binding);
        }
    }

    /// Whether nothing is left in the table.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.line.len() == 0
    }
}

/// Whether an `x-local-random` exchange takes a binding: of a queue, by the empty key.
pub(super) fn check_local<Q>(destination: &Destination<Q>, key: &[u8]) -> Result<(), BindError> {
    match destination {
        _ if !key.is_empty() => Err(BindError::KeyNotEmpty),
        Destination::Exchange(_) => Err(BindError::NotAQueue),
        Destination::Queue(_) => Ok(()),
    }
}
