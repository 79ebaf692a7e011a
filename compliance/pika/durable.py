"""What must outlive the broker: `durable.py fill`, then a restart, then `durable.py verify stopped|killed`."""

import sys

import check as frame
import pika
from asyncio_client import Publisher, connect, open_channel
from client import Consumer, check, drain, equal, fill, gone, main, ready

QUEUE = "compliance-durable"
EXCHANGE = "compliance-durable-topic"
MIXED = "compliance-durable-mixed"
TRANSIENT = "compliance-transient"
COUNT = 10_000
PERSISTENT = pika.BasicProperties(delivery_mode=2, headers={"kept": True})


def key(number):
    return f"kept.{number}"


def body(number):
    return b"%d:" % number + b"x" * (number % 1000)


def fill():
    @check("durable: declared afresh")
    def _(client):
        channel = client.channel()
        for name in (QUEUE, MIXED, TRANSIENT):
            channel.queue_delete(name)
        channel.exchange_delete(EXCHANGE)
        channel.queue_declare(QUEUE, durable=True, arguments={"x-max-priority": 3})
        channel.exchange_declare(EXCHANGE, "topic", durable=True)
        channel.queue_bind(QUEUE, EXCHANGE, "kept.#")

    @frame.check("durable: 10,000 persistent messages are confirmed")
    async def _():
        async with connect() as connection:
            publisher = Publisher(await open_channel(connection))
            await publisher.select()
            for number in range(COUNT):
                publisher.publish(EXCHANGE, key(number), body(number), PERSISTENT, mandatory=True)
            await publisher.settled()
            equal((publisher.nacked, len(publisher.events)), (set(), COUNT))

    @check("durable: acked, transient and persistent messages beside each other")
    def _(client):
        channel = client.channel(confirms=True)
        channel.queue_declare(MIXED, durable=True)
        channel.queue_declare(TRANSIENT)
        for text, properties in [(b"acked", PERSISTENT), (b"kept", PERSISTENT), (b"transient", None)]:
            channel.basic_publish("", MIXED, text, properties)
        channel.basic_publish("", TRANSIENT, b"m", PERSISTENT)
        method, _, taken = channel.basic_get(MIXED)
        equal(taken, b"acked")
        channel.basic_ack(method.delivery_tag)
        # An ack has no answer; the close of its channel has one, and comes after it.
        channel.close()


def verify(how):
    @check("A3.17 durable queue, exchange and binding are there, equal to what was declared")
    def _(client):
        channel = client.channel()
        channel.queue_declare(QUEUE, durable=True, arguments={"x-max-priority": 3})
        channel.exchange_declare(EXCHANGE, "topic", durable=True)
        channel.basic_publish(EXCHANGE, key(COUNT), body(COUNT), PERSISTENT)

    @check("durable: 10,000 persistent messages are there, in order")
    def _(client):
        channel = client.channel()
        equal(ready(channel, QUEUE), COUNT + 1)
        channel.basic_qos(prefetch_count=1000)
        consumer = Consumer(channel, QUEUE)
        for number in range(COUNT + 1):
            [delivery] = consumer.take()
            equal((delivery.routing_key, delivery.body), (key(number), body(number)))
            equal((delivery.properties.delivery_mode, delivery.properties.headers), (2, {"kept": True}))
            if number % 500 == 0 or number == COUNT:
                channel.basic_ack(delivery.tag, multiple=True)

    @check("A5.4 acked and transient messages and the transient queue are gone")
    def _(client):
        channel = client.channel()
        bodies = drain(channel, MIXED)
        # An ack is not confirmed, so a kill may overtake it; an orderly end may not.
        if how == "killed" and bodies[:1] == [b"acked"]:
            bodies.pop(0)
        equal(bodies, [b"kept"])
        gone(client, queue=TRANSIENT)
        channel.queue_delete(MIXED)
        channel.queue_delete(QUEUE)
        channel.exchange_delete(EXCHANGE)


match sys.argv[1:]:
    case ["fill"]:
        fill()
    case ["verify", ("stopped" | "killed") as how]:
        verify(how)
    case _:
        sys.exit(__doc__)
main()
