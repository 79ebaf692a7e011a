//! What the parts of the hot path cost, each by itself: `cargo bench --profile quick --bench micro`.
//!
//! Add words to run only the benches with them in their names, `-- topic` for example.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a bench that cannot go on says so by panicking"
)]

mod codec;
mod log;
mod queue;
mod router;

// As the broker itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

criterion::criterion_group!(
    benches,
    codec::benches,
    router::benches,
    queue::benches,
    log::benches
);
criterion::criterion_main!(benches);
