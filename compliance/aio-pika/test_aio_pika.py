"""aio-pika: robust connections, concurrent confirms, calls and their answers."""

import asyncio
import contextlib
import logging
import os

import aio_pika
from aio_pika.abc import DeliveryMode
from aio_pika.exceptions import ChannelInvalidStateError, ChannelNotFoundEntity, DeliveryError
from check import URI, check, equal, main, unique
from yarl import URL

TIMEOUT = 30

# The libraries tell at length of the line that is cut below.
logging.disable(logging.CRITICAL)


def robust(uri=URI, **options):
    return aio_pika.connect_robust(uri, timeout=TIMEOUT, **options)


def message(body, **properties):
    return aio_pika.Message(body, **properties)


async def within(awaitable):
    return await asyncio.wait_for(awaitable, TIMEOUT)


@contextlib.asynccontextmanager
async def queue_in(channel, **options):
    """A queue that is deleted afterwards."""
    queue = await channel.declare_queue(unique("q"), timeout=TIMEOUT, **options)
    try:
        yield queue
    finally:
        await queue.delete(if_unused=False, if_empty=False)


@check("declare, bind, publish, get, ack")
async def _():
    async with await robust() as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(unique("x"), "topic", auto_delete=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "a.*")
        await exchange.publish(message(b"m", headers={"n": 1, "s": "t"}), "a.b", timeout=TIMEOUT)
        got = await queue.get(timeout=TIMEOUT)
        equal((got.body, got.routing_key, got.headers), (b"m", "a.b", {"n": 1, "s": "t"}))
        await got.ack()
        equal(await queue.get(fail=False, timeout=TIMEOUT), None)


@check("A5.2 2,000 publishes at once, each confirmed, each there once")
async def _():
    async with await robust() as connection:
        channel = await connection.channel()
        async with queue_in(channel, durable=True) as queue:
            bodies = {b"%d" % number for number in range(2000)}

            def publish(body):
                persistent = message(body, delivery_mode=DeliveryMode.PERSISTENT)
                return channel.default_exchange.publish(persistent, queue.name, timeout=TIMEOUT)

            await asyncio.gather(*map(publish, bodies))
            received = []
            async with queue.iterator(timeout=TIMEOUT) as messages:
                async for got in messages:
                    received.append(got.body)
                    await got.ack()
                    if len(received) == len(bodies):
                        break
            equal((len(received), set(received) == bodies), (2000, True))


@check("A5.2 an unroutable mandatory message fails alone")
async def _():
    async with await robust() as connection:
        channel = await connection.channel()
        async with queue_in(channel) as queue:
            keys = [queue.name, "compliance-none"] * 50
            publish = channel.default_exchange.publish
            results = await asyncio.gather(
                *(publish(message(b"m"), key, mandatory=True, timeout=TIMEOUT) for key in keys), return_exceptions=True
            )
            failed = {key for key, result in zip(keys, results) if isinstance(result, DeliveryError)}
            # Without on_return_raises aio-pika hands the returned message back as the result.
            returned = [key for key, result in zip(keys, results) if getattr(result, "delivery", None)]
            equal((failed, set(returned), len(returned)), (set(), {"compliance-none"}, 50))


@check("calls and answers through an exclusive reply queue")
async def _():
    async with await robust() as server, await robust() as client:
        requests = await (await server.channel()).declare_queue(unique("rpc"), auto_delete=True)

        async def answer(request):
            async with request.process():
                reply = message(request.body[::-1], correlation_id=request.correlation_id)
                await server_channel.default_exchange.publish(reply, request.reply_to)

        server_channel = requests.channel
        await requests.consume(answer)
        channel = await client.channel()
        replies = await channel.declare_queue(exclusive=True)
        waiting = {}
        await replies.consume(lambda reply: resolve(waiting, reply), no_ack=True)

        async def call(number):
            waiting[str(number)] = asyncio.get_running_loop().create_future()
            request = message(b"call %d" % number, correlation_id=str(number), reply_to=replies.name)
            await channel.default_exchange.publish(request, requests.name)
            return await within(waiting[str(number)])

        answers = await asyncio.gather(*(call(number) for number in range(200)))
        equal(answers, [(b"call %d" % number)[::-1] for number in range(200)])


async def resolve(waiting, reply):
    waiting.pop(reply.correlation_id).set_result(reply.body)


@check("A6.1 prefetch: as many at work as it allows, no more")
async def _():
    async with await robust() as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=5)
        queue = await channel.declare_queue(exclusive=True)
        for _ in range(50):
            await channel.default_exchange.publish(message(b"m"), queue.name)
        at_work, most, done = 0, 0, asyncio.Event()
        count = 0

        async def work(got):
            nonlocal at_work, most, count
            at_work += 1
            most = max(most, at_work)
            await asyncio.sleep(0.02)
            at_work -= 1
            count += 1
            await got.ack()
            if count == 50:
                done.set()

        await queue.consume(work)
        await within(done.wait())
        equal(most, 5)


@check("A2 a failed channel is the connection's only loss")
async def _():
    async with await robust() as connection:
        failed = await connection.channel()
        try:
            await failed.declare_queue("compliance-none", passive=True, timeout=TIMEOUT)
        except ChannelNotFoundEntity as error:
            assert "NOT_FOUND - no queue 'compliance-none' in vhost '/'" in str(error), str(error)
        else:
            raise AssertionError("accepted")
        channel = await connection.channel()
        await channel.declare_queue(exclusive=True)


@check("process(): rejected once, then acked when it comes again")
async def _():
    async with await robust() as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await channel.default_exchange.publish(message(b"m"), queue.name)
        seen = []
        done = asyncio.Event()

        async def work(got):
            with contextlib.suppress(ZeroDivisionError):
                async with got.process(requeue=True):
                    seen.append(got.redelivered)
                    if not got.redelivered:
                        raise ZeroDivisionError
                    done.set()

        await queue.consume(work)
        await within(done.wait())
        equal(seen, [False, True])


@check("a robust connection comes back with its channel, binding and consumer")
async def _():
    async with Line() as line, await robust(line.uri, reconnect_interval=0.2) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(unique("x"), "fanout", auto_delete=True)
        # Neither exclusive nor auto-delete: the broker may see the new connection before it sees the old one's end.
        async with queue_in(channel) as queue:
            await queue.bind(exchange)
            received = asyncio.Queue()
            await queue.consume(received.put, no_ack=True)
            restored = asyncio.Event()
            connection.reconnect_callbacks.add(lambda *_: restored.set())
            line.cut()
            await within(restored.wait())
            await within(publish_when_open(exchange, message(b"again")))
            equal((await within(received.get())).body, b"again")


class Line:
    """A wire to the broker that can be cut."""

    async def __aenter__(self):
        self._ends = []
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.uri = str(URL(URI).with_host("127.0.0.1").with_port(port))
        return self

    async def __aexit__(self, *_):
        self._server.close()
        self.cut()

    def cut(self):
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()

    async def _join(self, reader, writer):
        broker = URL(URI)
        there_reader, there_writer = await asyncio.open_connection(broker.host, broker.port)
        self._ends += [writer, there_writer]
        await asyncio.gather(self._copy(reader, there_writer), self._copy(there_reader, writer))

    @staticmethod
    async def _copy(reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


async def publish_when_open(exchange, what):
    """Publishes as soon as the channel is restored, which may be after the connection is."""
    while True:
        try:
            return await exchange.publish(what, "")
        except (ChannelInvalidStateError, ConnectionError):
            await asyncio.sleep(0.1)


@check("large messages")
async def _():
    async with await robust() as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        for size in (0, 1024 * 1024, 5 * 1024 * 1024):
            body = os.urandom(size)
            await channel.default_exchange.publish(message(body), queue.name, timeout=TIMEOUT)
            got = await queue.get(no_ack=True, timeout=TIMEOUT)
            assert got.body == body, f"{size} octets differ"


@check("20 connections at work at once")
async def _():
    async def one(number):
        async with await robust() as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True)
            for part in range(20):
                await channel.default_exchange.publish(message(b"%d.%d" % (number, part)), queue.name)
            got = [(await queue.get(no_ack=True, timeout=TIMEOUT)).body for _ in range(20)]
            equal(got, [b"%d.%d" % (number, part) for part in range(20)])

    await asyncio.gather(*(one(number) for number in range(20)))


main()
