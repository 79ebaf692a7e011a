//! Why a message goes where it goes: each exchange on its way, and what it does there.
//!
//! Owns the account of a route, for people; the route itself is the graph's, and this asks the very
//! exchanges that make it. Nothing on the way of a message uses it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::Target;
use super::binding::{Binding, Destination};
use super::exchange::{Exchange, ExchangeKind};
use super::graph::Graph;
use super::message::{Asked, MessageView};
use super::routes::Routes;
use crate::base::Name;

/// How a message came to an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameBy {
    /// It is published to it.
    Publish,
    /// A binding of another exchange leads there.
    Binding,
    /// No binding of another exchange took it, whose alternate exchange this is.
    Alternate,
}

/// A binding that takes the message.
#[derive(Debug)]
pub struct Passed<Q> {
    /// The binding.
    pub binding: Arc<Binding<Q>>,
    /// The keys of the message that match, by their number; all, if keys do not matter.
    pub keys: Vec<usize>,
}

/// What happens at one exchange.
#[derive(Debug)]
pub struct Step<Q> {
    /// Which exchange.
    pub exchange: Name,
    /// How the message came there.
    pub came_by: CameBy,
    /// The bindings that take it.
    pub passed: Vec<Passed<Q>>,
    /// How many bindings it has.
    pub bindings: usize,
    /// The exchange keeps it until its time comes; only then it goes on.
    pub held_back: bool,
    /// The choice is one of chance, and may be another the next time.
    pub by_chance: bool,
    /// Its alternate exchange, and whether that is taken and there.
    pub alternate: Option<(Name, Alternate)>,
}

/// What becomes of an alternate exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alternate {
    /// A binding took the message.
    NotNeeded,
    /// It takes the message.
    Taken,
    /// It is needed, but there is no such exchange.
    Missing,
}

impl<Q: Target> Graph<Q> {
    /// Every exchange that a message published to `exchange` comes to, in the order it does. Each once.
    pub fn explain<M: MessageView>(
        &self,
        exchange: &Exchange<Q>,
        keys: &[&[u8]],
        message: &M,
    ) -> Vec<Step<Q>> {
        let mut message = Asked::new(message);
        let mut steps = Vec::new();
        let first = exchange.name().clone();
        let mut reached = HashSet::from([first.clone()]);
        let mut ahead = VecDeque::from([(first, CameBy::Publish)]);
        while let Some((name, came_by)) = ahead.pop_front() {
            let Some(exchange) = self.get(name.as_bytes()) else {
                continue;
            };
            let (step, onward) = self.step(exchange, came_by, keys, &mut message);
            for next in onward {
                if reached.insert(next.0.clone()) {
                    ahead.push_back(next);
                }
            }
            steps.push(step);
        }
        steps
    }

    fn step<M: MessageView>(
        &self,
        exchange: &Exchange<Q>,
        came_by: CameBy,
        keys: &[&[u8]],
        message: &mut Asked<'_, M>,
    ) -> (Step<Q>, Vec<(Name, CameBy)>) {
        let mut routes = Routes::new();
        routes.start_exchange();
        exchange.route(keys, message, &mut routes);
        let matched = routes.matched();
        let store = exchange.store();
        let held_back = exchange.spec().delayed && store.is_some() && {
            let queues = routes.queues();
            queues.iter().any(|queue| Some(queue) == store)
        };
        let queues: HashSet<Q> = routes.queues().iter().cloned().collect();
        let onward: HashSet<Name> = std::iter::from_fn(|| routes.next_exchange()).collect();
        let is_taken = |binding: &Binding<Q>| match &binding.destination {
            Destination::Queue(queue) => queues.contains(queue),
            Destination::Exchange(name) => onward.contains(name),
        };
        let taken = exchange.bindings().filter(|binding| is_taken(binding));
        let passed = taken.filter_map(|binding| {
            let keys = keys_that_match(exchange, binding, keys, message);
            (!keys.is_empty()).then(|| Passed {
                binding: Arc::clone(binding),
                keys,
            })
        });
        let passed = passed.collect();
        let alternate = exchange.spec().alternate.clone().map(|name| {
            let becomes = match (matched, self.get(name.as_bytes()).is_some()) {
                (true, _) => Alternate::NotNeeded,
                (false, true) => Alternate::Taken,
                (false, false) => Alternate::Missing,
            };
            (name, becomes)
        });
        let mut next: Vec<(Name, CameBy)> = onward
            .into_iter()
            .map(|name| (name, CameBy::Binding))
            .collect();
        next.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        if let Some((name, Alternate::Taken)) = &alternate {
            next.push((name.clone(), CameBy::Alternate));
        }
        let step = Step {
            exchange: exchange.name().clone(),
            came_by,
            passed,
            bindings: exchange.binding_count(),
            held_back,
            by_chance: matches!(
                exchange.spec().kind,
                ExchangeKind::LocalRandom | ExchangeKind::Random
            ),
            alternate,
        };
        (step, next)
    }
}

/// Which keys a binding takes, as if the exchange had no other. What exchanges that choose one of many
/// take is in the route already.
fn keys_that_match<Q: Target, M: MessageView>(
    exchange: &Exchange<Q>,
    binding: &Arc<Binding<Q>>,
    keys: &[&[u8]],
    message: &mut Asked<'_, M>,
) -> Vec<usize> {
    let mut alone = Exchange::new(exchange.spec().clone());
    alone.insert(binding);
    let numbered = keys.iter().enumerate().filter(|(_, key)| {
        let mut routes = Routes::new();
        routes.start_exchange();
        alone.route(&[**key], message, &mut routes);
        routes.matched()
    });
    numbered.map(|(number, _)| number).collect()
}
