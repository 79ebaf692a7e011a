//! A user of the HTTP server, logged in.
//!
//! Owns the questions that checks had no answer to, and the answers until the check is made again.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeFlavor};
use tracing::warn;

use super::{Deed, HttpAuth, Question};
use crate::base::Name;

/// See the module.
pub struct HttpUser {
    server: Arc<HttpAuth>,
    name: Name,
    /// With blanks between them.
    tags: Name,
    peer: IpAddr,
    /// A check may stand still until it has its answer.
    waits: bool,
    asking: Mutex<Asking>,
}

#[derive(Default)]
struct Asking {
    open: Vec<Question>,
    answered: Vec<(Question, bool)>,
}

impl HttpUser {
    pub(super) fn new(server: Arc<HttpAuth>, name: Name, tags: &[Name], peer: IpAddr) -> Self {
        let tags: Vec<&str> = tags.iter().map(Name::as_str).collect();
        HttpUser {
            server,
            name,
            tags: tags.join(" ").into(),
            peer,
            waits: false,
            asking: Mutex::default(),
        }
    }

    /// The same user where a check may stand still until it has its answer.
    pub(in crate::auth) fn waiting(&self) -> Self {
        HttpUser {
            server: Arc::clone(&self.server),
            name: self.name.clone(),
            tags: self.tags.clone(),
            peer: self.peer,
            waits: true,
            asking: Mutex::default(),
        }
    }

    /// Whether it may enter a vhost. For as long as that is not known it may not, and the question is
    /// noted.
    pub(in crate::auth) fn may_enter(&self, vhost: &Name) -> bool {
        self.may(Deed::Enter {
            vhost: vhost.clone(),
            peer: self.peer.to_canonical(),
        })
    }

    /// The same of anything else.
    pub(in crate::auth) fn may(&self, deed: Deed) -> bool {
        let question = Question {
            user: self.name.clone(),
            tags: self.tags.clone(),
            deed,
        };
        let mut asking = self.asking.lock();
        let mut answered = asking.answered.iter();
        if let Some((_, may)) = answered.find(|(asked, _)| *asked == question) {
            return *may;
        }
        if let Some(may) = self.server.checks.get(&question) {
            return may;
        }
        if self.waits {
            drop(asking);
            return self.wait_for(&question);
        }
        asking.open.push(question);
        false
    }

    /// Whether a check had no answer.
    pub fn has_questions(&self) -> bool {
        !self.asking.lock().open.is_empty()
    }

    /// Has the open questions answered. The answers hold until [`HttpUser::forget`], however short they
    /// are remembered otherwise: the check that asked can be made again.
    pub async fn ask(&self) {
        let open = std::mem::take(&mut self.asking.lock().open);
        for question in open {
            let may = self.server.check(&question).await;
            self.asking.lock().answered.push((question, may));
        }
    }

    /// What was asked for has been done, or refused.
    pub fn forget(&self) {
        let mut asking = self.asking.lock();
        asking.open.clear();
        asking.answered.clear();
    }

    /// Stands still, and lets the runtime's other tasks have another thread meanwhile. Those are
    /// bounded: one too many is refused.
    fn wait_for(&self, question: &Question) -> bool {
        let runtime = Handle::try_current().ok();
        let runtime = runtime.filter(|r| r.runtime_flavor() == RuntimeFlavor::MultiThread);
        let place = self.server.waiting.try_acquire();
        let (Some(runtime), Ok(_place)) = (runtime, place) else {
            warn!(user = %self.name, "too many wait for the HTTP server, which refuses");
            return false;
        };
        tokio::task::block_in_place(|| runtime.block_on(self.server.check(question)))
    }
}

// What it says of itself is its name: never whom it may ask, or where.
impl fmt::Debug for HttpUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpUser")
            .field("name", &self.name)
            .field("tags", &self.tags)
            .finish_non_exhaustive()
    }
}
