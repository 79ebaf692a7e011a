//! That a batch has passed a quota, and how long its publisher is to be quiet for it.
//!
//! Owns which of the quotas of vhost, user and queues counts, and when the wait is over. Whose socket is not read
//! meanwhile is the connection's.

use std::time::Duration;

use crate::base::quota::Excess;
use crate::base::{Name, Quota, clock, quota_reason};
use crate::queue::WeakQueue;

/// Whose quota it is.
#[derive(Clone)]
pub(super) enum QuotaOf {
    /// The vhost's.
    Vhost,
    /// The user's.
    User,
    /// A queue's.
    Queue(WeakQueue),
}

/// See the module.
#[derive(Clone)]
pub struct Pause {
    of: QuotaOf,
    excess: Excess,
    /// By [`clock::monotonic`].
    until: Duration,
}

impl Pause {
    /// From `now` on, for a quota that is passed.
    pub(super) fn new(of: QuotaOf, excess: Excess, now: Duration) -> Self {
        Pause {
            of,
            excess,
            until: now.saturating_add(excess.wait),
        }
    }

    /// The one of two that lasts longer.
    pub fn longer(a: Option<Pause>, b: Option<Pause>) -> Option<Pause> {
        match (a, b) {
            (Some(a), Some(b)) if a.until >= b.until => Some(a),
            (a, b) => b.or(a),
        }
    }

    /// How long it still lasts, with these quotas of vhost and user; zero when it is over. That others use the
    /// quota meanwhile makes it no longer; that the quota is changed, or its queue gone, ends it.
    pub fn left(&self, vhost: &Quota, user: &Quota) -> Duration {
        let now = clock::monotonic();
        let wait = match &self.of {
            QuotaOf::Vhost => vhost.wait(now),
            QuotaOf::User => user.wait(now),
            QuotaOf::Queue(queue) => match queue.upgrade() {
                Some(queue) if !queue.lock().is_gone() => queue.quota().wait(now),
                _ => Duration::ZERO,
            },
        };
        wait.min(self.until.saturating_sub(now))
    }

    /// Why, in the words that a client is told.
    pub fn reason(&self, vhost: &Name, user: &Name) -> String {
        match &self.of {
            QuotaOf::Vhost => quota_reason(format_args!("vhost '{vhost}'"), &self.excess),
            QuotaOf::User => quota_reason(format_args!("user '{user}'"), &self.excess),
            QuotaOf::Queue(queue) => {
                let queue = queue.upgrade();
                let name = queue.as_ref().map_or("", |queue| queue.name.as_str());
                let whose = format_args!("queue '{name}' in vhost '{vhost}'");
                quota_reason(whose, &self.excess)
            }
        }
    }
}
