//! Lifecycle events on the exchange for them.

use super::*;

/// The value of a change that is taken.
fn done<T, E: std::fmt::Debug>(change: Result<Durably<T>, E>) -> T {
    change.unwrap().value
}

impl Bench {
    fn with_events() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = crate::config::Config {
            data_dir: dir.path().join("data"),
            ..Default::default()
        };
        config.events.exchange = true;
        let broker = Broker::open(&config).unwrap();
        let vhost = broker.vhost(DEFAULT_VHOST).unwrap();
        Bench { broker, vhost, dir }
    }

    /// What has been told, by name, with its headers as text. Waits for `len` of them.
    async fn told(&self, queue: &QueueRef, len: usize) -> Vec<(String, String)> {
        let mut told = Vec::new();
        let publishing = self.broker.publish_events();
        let arrive = async {
            while queue.lock().ready_len() < len {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = publishing => panic!("the task has ended"),
            () = arrive => {}
        }
        for message in queue.lock().peek_all() {
            let properties = crate::codec::Properties::trusted(message.properties_bytes());
            let headers = properties.headers().unwrap().to_json();
            let key = String::from_utf8(message.routing_key().to_vec()).unwrap();
            told.push((key, serde_json::Value::Object(headers).to_string()));
        }
        told
    }
}

#[tokio::test]
async fn a3_1_what_begins_and_ends_is_told() {
    let bench = Bench::with_events();
    let here = bench.declare("events", |_| ());
    let all = BindingSpec {
        key: Bytes::from_static(b"#"),
        ..binding("amq.rabbitmq.event")
    };
    done(bench.vhost.bind_queue(&here, &all));
    let queue = bench.declare("q", |wanted| wanted.durable = true);
    bench.declare_exchange("x", |_| ());
    bench.bind("x", &queue);
    let (key, _) = bench.consume(&queue, true);
    done(bench.vhost.unsubscribe(&queue, key));
    // A change that fails tells nothing.
    bench
        .vhost
        .bind_queue(&queue, &binding("none"))
        .unwrap_err();
    let none = DeleteIf::default();
    done(bench.vhost.delete_queue(&"q".into(), none, HERE));
    let name: Name = "v".into();
    done(
        bench
            .broker
            .put_vhost(&name, VhostSettings::default(), "guest"),
    );
    done(bench.broker.delete_vhost(&name, "guest"));
    let expected = [
        ("queue.created", r#""name":"q""#),
        ("exchange.created", r#""type":"fanout""#),
        ("binding.created", r#""source_name":"x""#),
        ("consumer.created", r#""consumer_tag":"tag""#),
        ("consumer.deleted", r#""queue":"q""#),
        ("queue.deleted", r#""vhost":"/""#),
        ("binding.deleted", r#""destination_name":"q""#),
        ("vhost.created", r#""name":"v""#),
        ("exchange.created", r#""vhost":"v""#),
    ];
    // Six exchanges come and go with the vhost.
    let told = bench.told(&here, expected.len() + 5 + 6 + 1).await;
    for ((event, part), (name, headers)) in expected.into_iter().zip(&told) {
        assert_eq!(event, name, "{told:?}");
        assert!(headers.contains(part), "{name}: {headers}");
        assert!(headers.contains("timestamp_in_ms"));
    }
    assert_eq!(told.last().unwrap().0, "vhost.deleted");
}

#[tokio::test]
async fn a3_1_nothing_is_told_to_nobody() {
    let bench = Bench::with_events();
    let here = bench.declare("events", |_| ());
    let all = BindingSpec {
        key: Bytes::from_static(b"queue.*"),
        ..binding("amq.rabbitmq.event")
    };
    bench.declare("before", |_| ());
    done(bench.vhost.bind_queue(&here, &all));
    bench.declare("while", |_| ());
    let told = bench.told(&here, 1).await;
    assert!(told[0].1.contains("while"), "{told:?}");
    done(bench.vhost.unbind_queue(&here, &all, HERE));
    assert!(!bench.broker.events.are_wanted());
    let plain = Bench::new();
    assert!(
        !plain.has_exchange("amq.rabbitmq.event"),
        "it is off by default"
    );
}
