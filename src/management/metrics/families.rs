//! The families that `/metrics/detailed` can be asked for.

/// Which groups of metrics a scrape shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Families {
    pub(super) queue_lengths: bool,
    pub(super) queues: bool,
    pub(super) queue_deliveries: bool,
    pub(super) queue_consumers: bool,
    pub(super) channels: bool,
    pub(super) connections: bool,
    pub(super) connection_traffic: bool,
    pub(super) churn: bool,
    pub(super) exchanges: bool,
}

impl Families {
    /// All.
    pub(super) const ALL: Families = Families {
        queue_lengths: true,
        queues: true,
        queue_deliveries: true,
        queue_consumers: true,
        channels: true,
        connections: true,
        connection_traffic: true,
        churn: false,
        exchanges: false,
    };

    /// None: who asks for nothing gets nothing, as it may be much.
    const NONE: Families = Families {
        queue_lengths: false,
        queues: false,
        queue_deliveries: false,
        queue_consumers: false,
        channels: false,
        connections: false,
        connection_traffic: false,
        churn: false,
        exchanges: false,
    };

    /// Those of RabbitMQ's names. Others are passed over: they may be of things Warren has not.
    pub(super) fn named<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        names.fold(Families::NONE, |mut families, name| {
            match name {
                "queue_coarse_metrics" => families.queue_lengths = true,
                "queue_metrics" => families.queues = true,
                "queue_delivery_metrics" => families.queue_deliveries = true,
                "queue_consumer_count" => families.queue_consumers = true,
                "channel_metrics" | "channel_queue_exchange_metrics" => families.channels = true,
                "connection_metrics" => families.connections = true,
                "connection_coarse_metrics" => families.connection_traffic = true,
                "connection_churn_metrics" => families.churn = true,
                "exchange_metrics" => families.exchanges = true,
                _ => {}
            }
            families
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a14_families_are_chosen_by_name() {
        let named = |names: &[&str]| Families::named(names.iter().copied());
        assert_eq!(named(&[]), Families::NONE);
        assert_eq!(named(&["nonsense"]), Families::NONE);
        let two = named(&["queue_coarse_metrics", "connection_churn_metrics"]);
        assert!(two.queue_lengths && two.churn && !two.queues && !two.channels);
    }
}
