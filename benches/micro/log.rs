//! The commit log's producer side: records encoded, checksummed and appended, without the sync.

use criterion::{Criterion, Throughput};
use warren::base::QueueId;
use warren::message::Message;
use warren::store::{Durability, Options, Store};

/// As many messages as a batch often has.
const RUN: usize = 100;

pub(crate) fn benches(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        durability: Durability::Os,
        ..Options::default()
    };
    let (store, _) =
        Store::open(&dir.path().join("data"), options, Message::describe_logged).unwrap();
    let log = store.log();
    let mut group = criterion.benchmark_group("log append, each message");
    group.throughput(Throughput::Elements(RUN as u64));
    for size in [16, 1024] {
        let body = vec![7; size];
        group.bench_function(format!("{size} octets"), |bench| {
            bench.iter(|| {
                // The disk is not what is measured: let it catch up, and get rid of what was written.
                while !log.has_room() {
                    log.begin_checkpoint().finish().unwrap();
                }
                let mut batch = log.batch();
                let records: Vec<_> = (0..RUN)
                    .map(|_| batch.publish(0, &[QueueId(1)], &[&[0; 8], b"key", &body]))
                    .collect();
                let appended = log.append(batch).unwrap();
                log.release_all(records.into_iter().map(|record| appended.position(record)));
            });
        });
    }
    group.finish();
    store.close(Vec::new()).unwrap();
}
