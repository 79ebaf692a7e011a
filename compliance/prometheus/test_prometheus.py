"""Prometheus' own parser reads the metrics, and finds RabbitMQ's names (A14). WARREN_METRICS is HOST:PORT."""

import os
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from check import check, equal, main  # noqa: E402
from prometheus_client import openmetrics, parser  # noqa: E402
import prometheus_client.openmetrics.parser  # noqa: E402,F401

# Names of RabbitMQ 3.10 that its dashboards draw and that mean something here.
NAMES = """
build_info identity_info connections channels consumers queues
connections_opened_total connections_closed_total channels_opened_total channels_closed_total
queues_declared_total queues_created_total queues_deleted_total
auth_attempts_total auth_attempts_succeeded_total auth_attempts_failed_total
global_messages_received_total global_messages_received_confirm_total global_messages_confirmed_total
global_messages_routed_total global_messages_unroutable_dropped_total global_messages_unroutable_returned_total
global_messages_delivered_total global_messages_delivered_consume_auto_ack_total
global_messages_delivered_consume_manual_ack_total global_messages_delivered_get_auto_ack_total
global_messages_delivered_get_manual_ack_total global_messages_get_empty_total global_messages_redelivered_total
global_messages_acknowledged_total global_messages_dead_lettered_rejected_total
global_messages_dead_lettered_expired_total global_messages_dead_lettered_maxlen_total
global_messages_dead_lettered_delivery_limit_total global_publishers global_consumers
queue_messages queue_messages_ready queue_messages_unacked queue_messages_bytes queue_messages_ready_bytes
queue_messages_unacked_bytes queue_messages_published_total queue_consumers
channel_consumers channel_messages_unacked channel_messages_unconfirmed channel_messages_published_total
channel_messages_confirmed_total channel_messages_delivered_total channel_messages_delivered_ack_total
channel_messages_redelivered_total channel_messages_acked_total channel_get_total channel_get_ack_total
channel_get_empty_total connection_incoming_bytes_total connection_outgoing_bytes_total connection_channels
process_open_fds process_max_fds process_resident_memory_bytes resident_memory_limit_bytes
disk_space_available_bytes disk_space_available_limit_bytes alarms_memory_used_watermark
alarms_free_disk_space_watermark erlang_uptime_seconds
""".split()


def samples(path):
    with urllib.request.urlopen(f"http://{os.environ['WARREN_METRICS']}{path}", timeout=30) as answer:
        text = answer.read().decode()
        kind = answer.headers["Content-Type"]
    read = openmetrics.parser if "openmetrics" in kind else parser
    return [sample for family in read.text_string_to_metric_families(text) for sample in family.samples]


@check("A14 sums are parsed and have RabbitMQ's names")
def sums():
    found = {sample.name for sample in samples("/metrics")}
    equal([name for name in NAMES if f"rabbitmq_{name}" not in found], [])


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
