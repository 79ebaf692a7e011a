"""What the blocking checks share: connections that are closed for them, deliveries as values, expected refusals."""

import collections
import contextlib
import time

import check as frame
import pika
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker

equal = frame.equal
main = frame.main

TIMEOUT = 30
# Long enough for what must not come to come; a broker that is slower than this is never blamed for it.
QUIET = 0.3


def check(name):
    """Registers a check that is given a `Client`."""

    def register(function):
        @frame.check(name)
        def run():
            with contextlib.closing(Client()) as client:
                function(client)

        return function

    return register


class Client:
    """Opens connections and names things; closes and deletes all of them at the end of a check."""

    def __init__(self):
        self._connections = []
        self._names = []

    def connect(self, **changes):
        parameters = pika.URLParameters(frame.URI)
        parameters.socket_timeout = parameters.stack_timeout = TIMEOUT
        parameters.blocked_connection_timeout = TIMEOUT
        for name, value in changes.items():
            setattr(parameters, name, value)
        connection = pika.BlockingConnection(parameters)
        self._connections.append(connection)
        return connection

    def channel(self, confirms=False):
        """A channel on a connection of its own."""
        channel = self.connect().channel()
        if confirms:
            channel.confirm_delivery()
        return channel

    def name(self, stem, length=0):
        """A name for a queue or an exchange, deleted afterwards."""
        name = frame.unique(stem).ljust(length, "x")
        self._names.append(name)
        return name

    def close(self):
        for connection in self._connections:
            # A connection that a check broke cannot be closed; the check has already said so where it matters.
            with contextlib.suppress(Exception):
                connection.close()
        if self._names:
            connection = pika.BlockingConnection(pika.URLParameters(frame.URI))
            channel = connection.channel()
            for name in self._names:
                channel.queue_delete(name)
                channel.exchange_delete(name)
            connection.close()


Delivery = collections.namedtuple("Delivery", "tag redelivered exchange routing_key properties body")


class Consumer:
    """A consumer that keeps what it is given until somebody takes it."""

    def __init__(self, channel, queue, **options):
        self._connection = channel.connection
        self._kept = collections.deque()
        self.tag = channel.basic_consume(queue, self._keep, **options)

    def _keep(self, _channel, method, properties, body):
        self._kept.append(
            Delivery(method.delivery_tag, method.redelivered, method.exchange, method.routing_key, properties, body)
        )

    def take(self, count=1):
        """The next `count` deliveries."""
        deadline = time.monotonic() + TIMEOUT
        while len(self._kept) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self._kept)} of {count} deliveries after {TIMEOUT} s")
            self._connection.process_data_events(time_limit=0.1)
        return [self._kept.popleft() for _ in range(count)]

    def bodies(self, count=1):
        return [delivery.body for delivery in self.take(count)]

    def nothing(self):
        """Fails if anything comes."""
        self._connection.sleep(QUIET)
        equal([delivery.body for delivery in self._kept], [])


def wait(connection, condition, what):
    """Serves the connection until the condition holds."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} after {TIMEOUT} s")
        connection.process_data_events(time_limit=0.1)


def temporary(channel, **options):
    """An exclusive queue with a name from the server."""
    return channel.queue_declare("", exclusive=True, **options).method.queue


def bound(channel, exchange, key="", arguments=None):
    """A temporary queue bound to an exchange."""
    queue = temporary(channel)
    channel.queue_bind(queue, exchange, key, arguments)
    return queue


def fill(channel, queue, *bodies, **properties):
    """Publishes bodies to a queue."""
    for body in bodies:
        channel.basic_publish("", queue, body, pika.BasicProperties(**properties))


def get(channel, queue, auto_ack=False):
    """One message, or None."""
    method, properties, body = channel.basic_get(queue, auto_ack)
    if method is None:
        return None
    return Delivery(method.delivery_tag, method.redelivered, method.exchange, method.routing_key, properties, body)


def drain(channel, queue):
    """The bodies of all messages that are ready, which are gone then."""
    bodies = []
    while message := get(channel, queue, auto_ack=True):
        bodies.append(message.body)
    return bodies


def ready(channel, queue):
    """How many messages are ready, exact where all that was published is confirmed."""
    return channel.queue_declare(queue, passive=True).method.message_count


def holds(channel, queue, count):
    """Waits until so many messages are ready.

    RabbitMQ's count overtakes unconfirmed messages and acks of the same channel, so it is not to be asked once.
    """
    wait(channel.connection, lambda: ready(channel, queue) == count, f"count of {count} messages in {queue}")


def answered(channel, queue):
    """Returns when the broker has seen what was sent before, or raises what it has against it."""
    ready(channel, queue)


def consumers(channel, queue):
    return channel.queue_declare(queue, passive=True).method.consumer_count


@contextlib.contextmanager
def refused(code, *texts, error=ChannelClosedByBroker):
    """Expects the broker to close the channel with this code and one of these texts."""
    try:
        yield
    except error as closed:
        if closed.reply_code != code or closed.reply_text not in texts:
            raise AssertionError(f"refused with {closed.reply_code} {closed.reply_text!r}, expected {code} {texts!r}")
    else:
        raise AssertionError(f"accepted, expected {code} {texts!r}")


def disconnected(code, *texts):
    """Expects the broker to close the whole connection with this code and one of these texts."""
    return refused(code, *texts, error=ConnectionClosedByBroker)


def missing_queue(name):
    return refused(404, f"NOT_FOUND - no queue '{name}' in vhost '/'")


def missing_exchange(name):
    return refused(404, f"NOT_FOUND - no exchange '{name}' in vhost '/'")


def gone(client, *, queue=None, exchange=None):
    """Expects that a queue or an exchange does not exist."""
    if queue:
        with missing_queue(queue):
            client.channel().queue_declare(queue, passive=True)
    if exchange:
        with missing_exchange(exchange):
            client.channel().exchange_declare(exchange, passive=True)
