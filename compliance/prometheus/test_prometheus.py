"""Prometheus' own parser reads the metrics, and finds RabbitMQ's names (A14). WARREN_METRICS is HOST:PORT."""

import os
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from check import check, equal, main  # noqa: E402
from prometheus_client import openmetrics, parser  # noqa: E402
import prometheus_client.openmetrics.parser  # noqa: E402,F401

HERE = os.path.dirname(os.path.abspath(__file__))

# What Warren does not show, by the beginning of the name, and why.
PROCESSES = "of Erlang's processes and their memory"
MNESIA = "of Mnesia and its schema"
STORE = "of the message store and the queue index; Warren has a log (warren_log_…)"
MEMORY = "which messages are in memory is not counted"
NOT_YET = "not counted yet"
ABSENT = {
    "erlang_mnesia_": MNESIA,
    "erlang_vm_": "of Erlang's machine",
    "telemetry_": "of Erlang's exporter",
    "rabbitmq_schema_db_": MNESIA,
    "rabbitmq_raft_": "of Raft; a quorum queue has one member here",
    "rabbitmq_erlang_gc_": PROCESSES,
    "rabbitmq_erlang_net_ticktime_seconds": "of Erlang's distribution",
    "rabbitmq_erlang_processes_": PROCESSES,
    "rabbitmq_erlang_scheduler_": PROCESSES,
    "rabbitmq_channel_process_reductions_total": PROCESSES,
    "rabbitmq_connection_process_reductions_total": PROCESSES,
    "rabbitmq_queue_process_": PROCESSES,
    "rabbitmq_io_": STORE,
    "rabbitmq_msg_store_": STORE,
    "rabbitmq_queue_index_": STORE,
    "rabbitmq_queue_disk_": STORE,
    "rabbitmq_queue_messages_paged_out": MEMORY,
    "rabbitmq_queue_messages_ram": MEMORY,
    "rabbitmq_queue_messages_ready_ram": MEMORY,
    "rabbitmq_queue_messages_unacked_ram": MEMORY,
    "rabbitmq_queue_messages_persistent": NOT_YET,
    "rabbitmq_queue_head_message_timestamp": "reading it would bring messages in from the disk",
    "rabbitmq_queue_consumer_capacity": NOT_YET,
    "rabbitmq_queue_consumer_utilisation": NOT_YET,
    "rabbitmq_consumer_prefetch": NOT_YET,
    "rabbitmq_connection_pending_packets": "writes do not wait in packets",
    "rabbitmq_global_messages_dead_lettered_confirmed_total": "of the strategy at-least-once, where another queue confirms; here a dead letter is one record",
    "rabbitmq_alarms_file_descriptor_limit": "the limit of open files is no alarm",
    "rabbitmq_process_max_tcp_sockets": "sockets have no limit of their own",
    "process_start_time_seconds": "rabbitmq_erlang_uptime_seconds says it",
}


def reason(name):
    return next((why for start, why in ABSENT.items() if name.startswith(start)), None)


def names():
    """Of RabbitMQ, as recorded."""
    with open(os.path.join(HERE, "rabbitmq-3.10.8.names")) as file:
        return [line.strip() for line in file if not line.startswith("#")]


def samples(path):
    with urllib.request.urlopen(f"http://{os.environ['WARREN_METRICS']}{path}", timeout=30) as answer:
        text = answer.read().decode()
        kind = answer.headers["Content-Type"]
    read = openmetrics.parser if "openmetrics" in kind else parser
    return [sample for family in read.text_string_to_metric_families(text) for sample in family.samples]


@check("A14 sums are parsed and have RabbitMQ's names, or a reason why not")
def sums():
    read = samples("/metrics")
    found = {sample.name for sample in read}
    equal([name for name in names() if name not in found and not reason(name)], [])
    if any(sample.labels.get("product_name") == "Warren" for sample in read):
        equal([name for name in names() if name in found and reason(name)], [])
        equal([start for start in ABSENT if not any(name.startswith(start) for name in names())], [])


@check("A14 each object has its labels")
def each():
    for sample in samples("/metrics/per-object"):
        if sample.name == "rabbitmq_queue_messages_ready":
            equal(set(sample.labels), {"vhost", "queue"})


@check("A14 families are chosen")
def detailed():
    found = {s.name for s in samples("/metrics/detailed?family=connection_churn_metrics")}
    equal("rabbitmq_detailed_connections_opened_total" in found, True)
    equal(any("queue_messages" in name for name in found), False)


main()
