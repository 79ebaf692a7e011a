//! When a publish is safe enough, queue by queue.

use serde_json::json;

use super::policies::policy;
use super::*;
use crate::broker::policies::PolicyKind;
use crate::store::Durability;

impl Bench {
    /// Syncs until a persistent message to an exchange counts as durable.
    fn syncs_for(&self, exchange: &str, key: &str) -> u64 {
        let log = self.broker.log();
        log.sync().unwrap();
        let syncs = || log.figures().syncs.iter().sum::<u64>();
        let before = syncs();
        let mut publisher = Publisher::new(self.vhost.clone());
        publisher.check_exchange(exchange.as_bytes()).unwrap();
        publisher.publish(message(exchange, key, b"body", true), &[]);
        let end = publisher.flush().unwrap();
        assert!(end.is_some());
        while log.durable() < end {
            std::thread::yield_now();
        }
        syncs() - before
    }
}

#[test]
fn a_queue_may_wait_for_less_and_the_strongest_counts() {
    let bench = Bench::new();
    let table = |durability: &[u8]| {
        let mut table = TableBuilder::new();
        table.insert("x-durability", Value::LongStr(durability));
        table.finish()
    };
    let declare = |name: &str, arguments| {
        bench.declare(name, |queue| {
            queue.durable = true;
            queue.arguments = arguments;
        })
    };
    let weak = declare("weak", table(b"os"));
    let strong = declare("strong", table(b"fsync"));
    let plain = declare("plain", RawTable::default());
    assert_eq!(weak.durability(), Some(Durability::Os));
    assert_eq!(plain.durability(), None);
    assert_eq!(bench.syncs_for("", "weak"), 0);
    assert_eq!(bench.syncs_for("", "strong"), 1);
    assert_eq!(bench.syncs_for("", "plain"), 1);
    bench.bind("amq.fanout", &weak);
    assert_eq!(bench.syncs_for("amq.fanout", ""), 0);
    bench.bind("amq.fanout", &strong);
    assert_eq!(bench.syncs_for("amq.fanout", ""), 1);
    let weaker = policy("p", "", 0, json!({ "durability": "os" }));
    assert!(
        bench
            .vhost
            .set_policy(PolicyKind::User, &weaker, BY)
            .is_ok()
    );
    assert_eq!(bench.syncs_for("", "plain"), 0, "by its policy");
    assert_eq!(
        bench.syncs_for("", "strong"),
        1,
        "its argument counts first"
    );
    let odd = policy("p", "", 0, json!({ "durability": "none" }));
    assert!(bench.vhost.set_policy(PolicyKind::User, &odd, BY).is_err());
    // Also after a restart, which syncs all.
    let bench = bench.restart();
    assert_eq!(bench.syncs_for("", "weak"), 0);
    assert_eq!(bench.queue("weak").lock().ready_len(), 4);
}
