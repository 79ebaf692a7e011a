//! Work that is slow by intention, on threads that give way to all others.
//!
//! Owns the threads' priority. The runtime's own blocking threads compete with its workers as equals: a
//! stream of logins, each with a hash to compute, would cost every other client milliseconds. How many run
//! at a time is the caller's to bound.

use std::io;

use tokio::sync::oneshot;
use tracing::warn;

/// How far below the others. A tenth of their share is left when they take all there is, so that logins
/// go on.
const NICE: i32 = 10;

/// Does `work` on a thread of its own, which ends with it.
///
/// # Errors
/// There is no thread to be had, or it panicked.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (tell, told) = oneshot::channel();
    let thread = std::thread::Builder::new().name("warren-aside".to_owned());
    thread.spawn(move || {
        give_way();
        // Whoever asked may have gone.
        let _ = tell.send(work());
    })?;
    told.await.map_err(io::Error::other)
}

/// On Linux a priority is a thread's. Elsewhere it would be the process's: then it stays.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(fault) = rustix::process::setpriority_process(None, NICE) {
        warn!(%fault, "the priority of a thread cannot be lowered");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[tokio::test]
    async fn it_gives_way_and_others_do_not() {
        let before = getpriority_process(None).unwrap();
        let there = aside(|| getpriority_process(None).unwrap()).await.unwrap();
        assert_eq!(there, NICE.max(before));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }

    #[tokio::test]
    async fn a_panic_is_a_fault() {
        let panicked = aside(|| panic!("as the test wants")).await;
        assert!(panicked.map(|(): ()| ()).is_err());
    }
}
