"""Connections and channels: what the server says of itself, heartbeats, numbers, many of them."""

import threading
import time

import pika
from client import check, drain, equal, fill, gone, holds, main, temporary
from pika.exceptions import AMQPConnectionError, ConnectionClosedByBroker


@check("A1.4 the server's capabilities")
def _(client):
    capabilities = client.connect()._impl.server_capabilities
    # A broker may leave out connection.blocked, consumer_priorities and direct_reply_to as long as it lacks them.
    expected = [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "authentication_failure_close",
        "per_consumer_qos",
    ]
    equal({name: capabilities.get(name) for name in expected}, dict.fromkeys(expected, True))


@check("A1.5 what the server proposes")
def _(client):
    parameters = client.connect()._impl.params
    equal((parameters.channel_max, parameters.frame_max, parameters.heartbeat), (2047, 131072, 60))


@check("A1.8 a frame larger than was agreed is 501")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    try:
        # Headers are one frame, whatever they hold.
        fill(channel, queue, b"m", headers={"large": "x" * 131072})
        drain(channel, queue)
    except ConnectionClosedByBroker as closed:
        equal((closed.reply_code, closed.reply_text.split(" - ")[0]), (501, "FRAME_ERROR"))
    else:
        raise AssertionError("accepted")


@check("A1.12 an idle connection lives on heartbeats, a silent one is ended")
def _(client):
    idle = client.connect(heartbeat=2)
    silent = client.connect(heartbeat=1)
    silent_channel, channel = silent.channel(), idle.channel()
    queue = temporary(channel)
    # Serves the idle connection alone.
    idle.sleep(8)
    fill(channel, queue, b"m")
    equal(drain(channel, queue), [b"m"])
    try:
        silent_channel.queue_declare("", exclusive=True)
    except AMQPConnectionError:
        return
    raise AssertionError("the silent connection was not ended")


@check("A1.12 heartbeat 0 is none")
def _(client):
    connection = client.connect(heartbeat=0)
    channel = connection.channel()
    time.sleep(1)
    temporary(channel)


@check("A1.18 200 channels, each at work")
def _(client):
    connection = client.connect()
    channels = [connection.channel() for _ in range(200)]
    queues = [temporary(channel) for channel in channels]
    for channel, queue in zip(channels, queues):
        fill(channel, queue, b"m")
    equal([drain(channel, queue) for channel, queue in zip(channels, queues)], [[b"m"]] * 200)


@check("A1.18 all 2047 channels")
def _(client):
    connection = client.connect()
    channels = [connection.channel() for _ in range(2047)]
    equal({channel.channel_number for channel in channels}, set(range(1, 2048)))
    temporary(channels[-1])


@check("A1.18 a channel's number is free after its close, and starts afresh")
def _(client):
    connection = client.connect()
    queue = temporary(connection.channel(9))
    for _ in range(50):
        channel = connection.channel(5)
        fill(channel, queue, b"m")
        method, _, _ = channel.basic_get(queue, auto_ack=True)
        equal(method.delivery_tag, 1)
        channel.close()


@check("A1.18 a channel's number is free after its failure")
def _(client):
    connection = client.connect()
    for _ in range(50):
        channel = connection.channel(5)
        try:
            channel.queue_declare("compliance-none", passive=True)
        except pika.exceptions.ChannelClosedByBroker as closed:
            equal(closed.reply_code, 404)


@check("A1.13 a close that comes right after publishing loses nothing")
def _(client):
    watch = client.channel()
    queue = client.name("q")
    watch.queue_declare(queue)
    for _ in range(10):
        connection = client.connect()
        fill(connection.channel(), queue, *[b"m"] * 100)
        connection.close()
    holds(watch, queue, 1000)


@check("A1.22 100 connections at once")
def _(client):
    connections = [client.connect(client_properties={"connection_name": f"compliance {n}"}) for n in range(100)]
    queues = [temporary(connection.channel()) for connection in connections]
    equal(len(set(queues)), 100)
    for connection in connections:
        connection.close()
    gone(client, queue=queues[0])


@check("A1.7 connections opened and closed by 8 threads")
def _(client):
    failures = []

    def churn():
        try:
            for _ in range(20):
                connection = client.connect()
                channel = connection.channel()
                queue = temporary(channel)
                fill(channel, queue, b"m")
                equal(drain(channel, queue), [b"m"])
                connection.close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=churn) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(failures, [])


main()
