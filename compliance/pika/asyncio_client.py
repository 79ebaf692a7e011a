"""The asyncio adapter with awaits in place of its callbacks."""

import asyncio
import contextlib

import check as frame
import pika
from pika.adapters.asyncio_connection import AsyncioConnection

TIMEOUT = 30


async def call(method, *arguments, **options):
    """Calls a method that takes a `callback` for its answer, and waits for the answer."""
    answer = asyncio.get_running_loop().create_future()
    method(*arguments, callback=answer.set_result, **options)
    return await asyncio.wait_for(answer, TIMEOUT)


@contextlib.asynccontextmanager
async def connect():
    opened, closed = (asyncio.get_running_loop().create_future() for _ in range(2))
    connection = AsyncioConnection(
        pika.URLParameters(frame.URI),
        on_open_callback=opened.set_result,
        on_open_error_callback=lambda _connection, error: opened.set_exception(error),
        on_close_callback=lambda _connection, reason: closed.set_result(reason),
    )
    await asyncio.wait_for(opened, TIMEOUT)
    try:
        yield connection
    finally:
        if connection.is_open:
            connection.close()
        await asyncio.wait_for(closed, TIMEOUT)


async def open_channel(connection):
    opened = asyncio.get_running_loop().create_future()
    connection.channel(on_open_callback=opened.set_result)
    return await asyncio.wait_for(opened, TIMEOUT)


class Publisher:
    """Publishes in confirm mode without waiting, and keeps account of what is confirmed."""

    def __init__(self, channel):
        self._channel = channel
        self._published = 0
        self._open = set()
        self._settled = asyncio.Event()
        self.nacked = set()
        # What happened, in order: ("return", body), ("ack", tag).
        self.events = []
        channel.add_on_return_callback(self._on_return)

    async def select(self):
        await call(self._channel.confirm_delivery, self._on_confirm)

    def publish(self, exchange, key, body, properties=None, mandatory=False):
        self._published += 1
        self._open.add(self._published)
        self._settled.clear()
        self._channel.basic_publish(exchange, key, body, properties, mandatory)

    async def settled(self):
        """Waits until every message is acked or nacked."""
        await asyncio.wait_for(self._settled.wait(), TIMEOUT)

    def _on_return(self, _channel, _method, _properties, body):
        self.events.append(("return", body))

    def _on_confirm(self, confirm):
        method = confirm.method
        tags = {method.delivery_tag}
        if method.multiple:
            tags = {tag for tag in self._open if tag <= method.delivery_tag}
        if not tags <= self._open or not tags:
            raise AssertionError(f"confirm of {method.delivery_tag}, which is not open")
        self._open -= tags
        if isinstance(method, pika.spec.Basic.Nack):
            self.nacked |= tags
        self.events += [("ack", tag) for tag in sorted(tags)]
        if not self._open:
            self._settled.set()
