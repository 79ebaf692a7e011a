//! The clock stamped into message bodies: monotonic nanoseconds, the same for every process of a host.

use rustix::time::{ClockId, clock_gettime};
use std::num::NonZeroU64;
use std::thread;
use std::time::Duration;

/// Nanoseconds on the host's monotonic clock.
pub(crate) fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * 1_000_000_000 + nanos
}

/// Sleeps until `deadline`, or returns at once when it has passed.
pub(crate) fn sleep_until(deadline: u64) {
    let now = now_ns();
    if deadline > now {
        thread::sleep(Duration::from_nanos(deadline - now));
    }
}

/// Makes this thread's sleeps end on time: by default Linux may add 50 µs to each.
pub(crate) fn tighten_sleep() {
    // A refusal only costs precision.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
}
