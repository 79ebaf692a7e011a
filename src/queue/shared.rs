//! The handle by which the broker shares a queue: identity, what it was declared as, its lock, and its levels, which
//! can be read without the lock.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::levels::Levels;
use super::{Queue, QueueKind, QueueOptions};
use crate::base::{ConnectionId, Durability, Name, QueueId, Quota};
use crate::message::Message;

/// What a queue was declared as. Nothing in it changes while the queue exists.
#[derive(Debug, Clone)]
pub struct QueueSpec {
    /// Its identity, also in the log.
    pub id: QueueId,
    /// The vhost it is in.
    pub vhost: Name,
    /// Its name.
    pub name: Name,
    /// Survives a restart, with its persistent messages.
    pub durable: bool,
    /// The only connection that may use it (A4.3).
    pub exclusive_to: Option<ConnectionId>,
    /// Deleted with its last consumer (A4.4).
    pub auto_delete: bool,
    /// Its type.
    pub kind: QueueKind,
    /// Whether it is an exchange's store, by whose name it goes (A3.10, A3.11). No client sees it, and in a
    /// durable one every message is on disk.
    pub is_store: bool,
}

/// What can change while a queue exists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The arguments table as the client sent it, or as an operator has changed it since.
    pub arguments: Bytes,
    /// What arguments and policies together make of it.
    pub options: Arc<QueueOptions>,
    /// The policy in force.
    pub policy: Option<Name>,
    /// The operator policy in force.
    pub operator_policy: Option<Name>,
}

/// The settings last seen: queues that are declared alike, as most are, have one copy together.
static LAST: Mutex<Weak<Settings>> = Mutex::new(Weak::new());

impl Settings {
    fn shared(self) -> Arc<Settings> {
        let mut last = LAST.lock();
        match last.upgrade() {
            Some(last) if *last == self => last,
            _ => {
                let new = Arc::new(self);
                *last = Arc::downgrade(&new);
                new
            }
        }
    }
}

impl QueueSpec {
    /// Whether a message goes to disk for this queue: if both are to last, and in a quorum queue (A8)
    /// and an exchange's store always.
    pub fn keeps(&self, message: &Message) -> bool {
        self.durable && (message.persistent() || self.kind == QueueKind::Quorum || self.is_store)
    }
}

/// The place of a durability among all, from 1; 0 for none.
fn place(durability: Option<Durability>) -> u8 {
    durability.map_or(0, |durability| durability as u8 + 1)
}

struct SharedQueue {
    spec: QueueSpec,
    settings: ArcSwap<Settings>,
    /// The rates of its options.
    quota: Quota,
    /// The durability of its options: its place among all, from 1; 0 if there is none.
    durability: AtomicU8,
    /// What [`Queue::spills`] said last.
    spills: AtomicBool,
    levels: Levels,
    state: Mutex<Queue>,
}

/// A queue, shared. Compared, ordered and hashed by identity.
#[derive(Clone)]
pub struct QueueRef(Arc<SharedQueue>);

impl QueueRef {
    /// A new, empty queue.
    pub fn new(spec: QueueSpec, settings: Settings) -> Self {
        let settings = settings.shared();
        let mut state = Queue::new(Arc::clone(&settings.options));
        if spec.is_store && !settings.options.delays {
            // A history is read as a whole at each binding.
            state.keep_whole();
        }
        let options = &settings.options;
        let quota = Quota::new(options.messages_per_s, options.bytes_per_s);
        QueueRef(Arc::new(SharedQueue {
            spec,
            quota,
            durability: place(options.durability).into(),
            spills: false.into(),
            settings: ArcSwap::new(settings),
            levels: Levels::default(),
            state: Mutex::new(state),
        }))
    }

    /// Its arguments and what they and policies make of it, as they are now.
    pub fn settings(&self) -> Arc<Settings> {
        self.0.settings.load_full()
    }

    /// Shows other settings. What they change in the queue, [`Queue::set_options`] does.
    pub fn set_settings(&self, settings: Settings) {
        let options = &settings.options;
        let quota = &self.0.quota;
        quota.set(options.messages_per_s, options.bytes_per_s);
        let durability = place(options.durability);
        self.0.durability.store(durability, Relaxed);
        self.0.settings.store(settings.shared());
    }

    /// The rates that its publishers are held to.
    pub fn quota(&self) -> &Quota {
        &self.0.quota
    }

    /// When a message in it is safe enough, if not by the broker's setting.
    pub fn durability(&self) -> Option<Durability> {
        let place = usize::from(self.0.durability.load(Relaxed));
        Durability::ALL.get(place.wrapping_sub(1)).copied()
    }

    /// Whether transient messages for it should have a record in the spill: what [`Queue::spills`] said when that
    /// was shown last.
    pub fn spills(&self) -> bool {
        self.0.spills.load(Relaxed)
    }

    /// Shows what [`Queue::spills`] says now. Only the owner of the lock calls it.
    pub fn show_spills(&self, spills: bool) {
        self.0.spills.store(spills, Relaxed);
    }

    /// A handle that does not keep the queue.
    pub fn downgrade(&self) -> WeakQueue {
        WeakQueue(Arc::downgrade(&self.0))
    }

    /// Owns the queue until the guard is dropped. Hold it for one batch, never over an await.
    pub fn lock(&self) -> QueueGuard<'_> {
        QueueGuard {
            state: self.0.state.lock(),
            levels: &self.0.levels,
        }
    }

    /// How it stands, as it was when the lock was last given back. For whoever looks at very many queues.
    pub fn levels(&self) -> &Levels {
        &self.0.levels
    }
}

/// A queue, owned. When it is given back its levels are shown.
pub struct QueueGuard<'q> {
    state: MutexGuard<'q, Queue>,
    levels: &'q Levels,
}

impl Deref for QueueGuard<'_> {
    type Target = Queue;
    fn deref(&self) -> &Queue {
        &self.state
    }
}

impl DerefMut for QueueGuard<'_> {
    fn deref_mut(&mut self) -> &mut Queue {
        &mut self.state
    }
}

impl Drop for QueueGuard<'_> {
    fn drop(&mut self) {
        self.levels.show(&self.state);
    }
}

/// A queue as long as somebody else keeps it.
#[derive(Clone)]
pub struct WeakQueue(Weak<SharedQueue>);

impl WeakQueue {
    /// The queue, if it is still there.
    pub fn upgrade(&self) -> Option<QueueRef> {
        self.0.upgrade().map(QueueRef)
    }
}

impl Deref for QueueRef {
    type Target = QueueSpec;
    fn deref(&self) -> &QueueSpec {
        &self.0.spec
    }
}

impl PartialEq for QueueRef {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for QueueRef {}

impl Hash for QueueRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl PartialOrd for QueueRef {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for QueueRef {
    fn cmp(&self, other: &Self) -> Ordering {
        self.id.cmp(&other.id)
    }
}

impl std::fmt::Debug for QueueRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.spec.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_that_are_declared_alike_share_their_settings() {
        let settings = |max_len| Settings {
            options: Arc::new(QueueOptions {
                max_len,
                ..QueueOptions::default()
            }),
            ..Settings::default()
        };
        // Other tests make queues meanwhile, so that it may be another's turn: not time after time.
        let shared = |_| Arc::ptr_eq(&settings(Some(7)).shared(), &settings(Some(7)).shared());
        assert!((0..1000).any(shared));
        let kept = settings(Some(7)).shared();
        assert!(!Arc::ptr_eq(&kept, &settings(Some(8)).shared()));
        assert_eq!(*kept, settings(Some(7)));
    }
}
