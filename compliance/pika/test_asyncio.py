"""pika's asyncio adapter: nothing waits for its answer before the next is sent."""

import asyncio

from asyncio_client import TIMEOUT, Publisher, call, connect, open_channel
from check import check, equal, main

COUNT = 5000


@check("asyncio: open, declare, publish, get, close")
async def _():
    async with connect() as connection:
        channel = await open_channel(connection)
        queue = (await call(channel.queue_declare, "", exclusive=True)).method.queue
        channel.basic_publish("", queue, b"m")
        got = asyncio.get_running_loop().create_future()
        channel.basic_get(queue, lambda *message: got.set_result(message), auto_ack=True)
        _, method, _, body = await asyncio.wait_for(got, TIMEOUT)
        equal((method.message_count, method.redelivered, body), (0, False, b"m"))


@check("A5.2 5,000 confirms without waiting, 5,000 deliveries in order")
async def _():
    async with connect() as connection:
        channel = await open_channel(connection)
        queue = (await call(channel.queue_declare, "", exclusive=True)).method.queue
        received = []
        done = asyncio.Event()

        def on_message(channel, method, _properties, body):
            received.append(int(body))
            if len(received) % 100 == 0:
                channel.basic_ack(method.delivery_tag, multiple=True)
            if len(received) == COUNT:
                done.set()

        consumer = await open_channel(connection)
        await call(consumer.basic_qos, prefetch_count=250)
        consumer.basic_consume(queue, on_message)
        publisher = Publisher(channel)
        await publisher.select()
        for number in range(COUNT):
            publisher.publish("", queue, b"%d" % number, mandatory=True)
        await publisher.settled()
        await asyncio.wait_for(done.wait(), TIMEOUT)
        equal(received, list(range(COUNT)))
        equal((publisher.nacked, len(publisher.events)), (set(), COUNT))


@check("A5.2 a return comes before the ack of its message")
async def _():
    async with connect() as connection:
        channel = await open_channel(connection)
        publisher = Publisher(channel)
        await publisher.select()
        for number in range(1, 201):
            publisher.publish("", "compliance-none", b"%d" % number, mandatory=True)
        await publisher.settled()
        events = publisher.events
        equal(len(events), 400)
        for number in range(1, 201):
            returned, acked = events.index(("return", b"%d" % number)), events.index(("ack", number))
            assert returned < acked, f"message {number} acked before it was returned"


@check("A5.2 confirms start at 1 when confirm.select comes late")
async def _():
    async with connect() as connection:
        channel = await open_channel(connection)
        queue = (await call(channel.queue_declare, "", exclusive=True)).method.queue
        for _ in range(3):
            channel.basic_publish("", queue, b"before")
        publisher = Publisher(channel)
        await publisher.select()
        publisher.publish("", queue, b"after")
        await publisher.settled()
        equal(publisher.events, [("ack", 1)])


@check("asyncio: 50 channels declare, publish and consume at once")
async def _():
    async with connect() as connection:

        async def one(number):
            channel = await open_channel(connection)
            queue = (await call(channel.queue_declare, "", exclusive=True)).method.queue
            received = asyncio.Queue()
            channel.basic_consume(queue, lambda *message: received.put_nowait(message[3]), auto_ack=True)
            bodies = [b"%d.%d" % (number, message) for message in range(20)]
            for body in bodies:
                channel.basic_publish("", queue, body)
            equal([await asyncio.wait_for(received.get(), TIMEOUT) for _ in bodies], bodies)

        await asyncio.gather(*(one(number) for number in range(50)))


main()
