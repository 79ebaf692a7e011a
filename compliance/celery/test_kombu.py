"""What kombu makes of a broker: entities, serialised messages, simple queues, mailboxes, delays built of queues."""

import contextlib
import socket
import threading
import time

import kombu
from check import URI, check as frame_check, equal, main, unique
from kombu.common import Broadcast, send_reply, uuid
from kombu.exceptions import InconsistencyError
from kombu.mixins import ConsumerMixin
from kombu.pidbox import Mailbox
from kombu.pools import producers
from kombu.transport import native_delayed_delivery as delayed

# Long for what must come, short for what must not.
LIMIT = 30
QUIET = 0.3
# A string goes as plain text.
ACCEPT = ["json", "pickle", "text/plain"]


def check(name):
    """Registers a check that is given a `Client`."""

    def register(function):
        @frame_check(name)
        def run():
            with contextlib.closing(Client()) as client:
                function(client)

        return function

    return register


class Client:
    """Connections, and the names of what is to be deleted at the end of a check."""

    def __init__(self):
        self._connections = []
        self._exchanges = []
        self._queues = []
        self.connection = self.connect()

    def connect(self, **options):
        connection = kombu.Connection(URI, connect_timeout=LIMIT, **options)
        self._connections.append(connection)
        return connection

    def exchange(self, stem, kind, **options):
        exchange = kombu.Exchange(unique(stem), kind, **options)
        self._exchanges.append(exchange.name)
        return exchange

    def queue(self, stem, exchange=None, routing_key="", **options):
        name = unique(stem)
        self._queues.append(name)
        return kombu.Queue(name, exchange, routing_key, **options)

    def forget(self, exchanges=(), queues=()):
        """Has these names deleted too."""
        self._exchanges += exchanges
        self._queues += queues

    def close(self):
        for connection in self._connections:
            connection.release()
        with kombu.Connection(URI, connect_timeout=LIMIT) as connection:
            channel = connection.channel()
            for queue in self._queues:
                channel.queue_delete(queue)
            for exchange in self._exchanges:
                channel.exchange_delete(exchange)


def receive(connection, queues, count, **options):
    """The next `count` messages of these queues, acknowledged, in order of arrival."""
    got = []

    def on_message(body, message):
        got.append((body, message))
        if not options.get("no_ack"):
            message.ack()

    end = time.monotonic() + LIMIT
    with connection.Consumer(queues, callbacks=[on_message], accept=ACCEPT, **options):
        while len(got) < count:
            connection.drain_events(timeout=max(0.01, end - time.monotonic()))
    return got


def bodies(connection, queues, count, **options):
    return [body for body, _ in receive(connection, queues, count, **options)]


def nothing(connection):
    """Nothing comes for a moment."""
    with contextlib.suppress(socket.timeout):
        connection.drain_events(timeout=QUIET)
        raise AssertionError("something came")


def eventually(holds, what):
    end = time.monotonic() + LIMIT
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"never: {what}")
        time.sleep(0.02)


@check("kombu: a producer declares what a message needs")
def declares(client):
    exchange = client.exchange("orders", "direct")
    queue = client.queue("orders", exchange, "new")
    producer = client.connection.Producer()
    producer.publish({"n": 1}, exchange=exchange, routing_key="new", declare=[queue], retry=True)
    body, message = receive(client.connection, [queue], 1)[0]
    equal(body, {"n": 1})
    equal(message.content_type, "application/json")
    equal(message.content_encoding, "utf-8")
    equal(message.properties["delivery_mode"], 2)
    equal(message.delivery_info["exchange"], exchange.name)
    equal(message.delivery_info["routing_key"], "new")
    equal(message.delivery_info["redelivered"], False)


@check("kombu: direct exchange")
def direct(client):
    exchange = client.exchange("direct", "direct")
    red = client.queue("red", exchange, "red")
    both = client.queue("both", bindings=[kombu.binding(exchange, "red"), kombu.binding(exchange, "blue")])
    for queue in (red, both):
        queue(client.connection.default_channel).declare()
    producer = client.connection.Producer(exchange=exchange)
    for key in ("red", "blue", "green"):
        producer.publish(key, routing_key=key)
    equal(bodies(client.connection, [red], 1), ["red"])
    equal(bodies(client.connection, [both], 2), ["red", "blue"])


@check("kombu: topic exchange")
def topic(client):
    exchange = client.exchange("topic", "topic", durable=False)
    queues = {key: client.queue("topic", exchange, key) for key in ("stock.*.nyse", "stock.#", "#", "*.usd")}
    for queue in queues.values():
        queue(client.connection.default_channel).declare()
    producer = client.connection.Producer(exchange=exchange)
    for key in ("stock.usd.nyse", "stock", "eur.usd", "stock.usd"):
        producer.publish(key, routing_key=key)
    equal(bodies(client.connection, [queues["stock.*.nyse"]], 1), ["stock.usd.nyse"])
    equal(bodies(client.connection, [queues["stock.#"]], 3), ["stock.usd.nyse", "stock", "stock.usd"])
    equal(bodies(client.connection, [queues["#"]], 4), ["stock.usd.nyse", "stock", "eur.usd", "stock.usd"])
    equal(bodies(client.connection, [queues["*.usd"]], 2), ["eur.usd", "stock.usd"])


@check("kombu: fanout exchange, and a broadcast queue per consumer")
def fanout(client):
    exchange = client.exchange("fanout", "fanout", auto_delete=True)
    inboxes = [Broadcast(unique("fanout"), exchange=exchange, unique=True) for _ in range(2)]
    other = client.connect()
    got = []
    consumers = [
        connection.Consumer([inbox], callbacks=[lambda body, message: got.append(body)], no_ack=True)
        for connection, inbox in ((client.connection, inboxes[0]), (other, inboxes[1]))
    ]
    for consumer in consumers:
        consumer.consume()
    client.connection.Producer(exchange=exchange).publish("all", routing_key="ignored")
    client.connection.drain_events(timeout=LIMIT)
    other.drain_events(timeout=LIMIT)
    equal(got, ["all", "all"])
    for consumer in consumers:
        consumer.cancel()

    def gone():
        with kombu.Connection(URI, connect_timeout=LIMIT) as connection:
            try:
                connection.channel().exchange_declare(exchange.name, "fanout", passive=True)
            except connection.channel_errors as error:
                return error.code == 404
            return False

    eventually(gone, "the exchange goes with its last queue")


@check("kombu: headers exchange")
def headers(client):
    exchange = client.exchange("headers", "headers")
    every = client.queue("every", exchange, binding_arguments={"x-match": "all", "kind": "pdf", "pages": 2})
    some = client.queue("some", exchange, binding_arguments={"x-match": "any", "kind": "pdf", "pages": 2})
    for queue in (every, some):
        queue(client.connection.default_channel).declare()
    producer = client.connection.Producer(exchange=exchange)
    producer.publish(1, headers={"kind": "pdf", "pages": 2})
    producer.publish(2, headers={"kind": "pdf", "pages": 3})
    producer.publish(3, headers={"kind": "doc"})
    equal(bodies(client.connection, [every], 1), [1])
    equal(bodies(client.connection, [some], 2), [1, 2])


@check("kombu: exchanges bound to exchanges, and unbound")
def chained(client):
    source = client.exchange("source", "topic")(client.connection.default_channel)
    target = client.exchange("target", "fanout")(client.connection.default_channel)
    source.declare()
    target.declare()
    target.bind_to(source.name, routing_key="news.#")
    queue = client.queue("chained", target)
    queue(client.connection.default_channel).declare()
    producer = client.connection.Producer(exchange=source)
    producer.publish("in", routing_key="news.today")
    producer.publish("out", routing_key="weather")
    target.unbind_from(source.name, routing_key="news.#")
    producer.publish("late", routing_key="news.today")
    producer.publish("end", exchange=target)
    equal(bodies(client.connection, [queue], 2), ["in", "end"])


@check("kombu: serialisers, compression, headers and properties arrive as sent")
def serialised(client):
    queue = client.queue("serialised")
    producer = client.connection.Producer()
    body = {"text": "naïve ☃", "list": [1, 2.5, None, True], "long": "x" * 300_000}
    table = {"n": -(2**40), "deep": {"list": ["a", 1, {"b": False}]}, "none": None, "float": 1.5}
    for serializer, compression in (("json", None), ("json", "gzip"), ("pickle", "bzip2"), ("json", "zlib")):
        producer.publish(
            body,
            routing_key=queue.name,
            declare=[queue],
            serializer=serializer,
            compression=compression,
            headers=dict(table),
            priority=3,
            expiration=60,
            correlation_id="c",
            reply_to="r",
            message_id="m",
            type="t",
            app_id="a",
            timestamp=1_700_000_000,
            delivery_mode=1,
        )
    for got, message in receive(client.connection, [queue], 4):
        equal(got, body)
        sent = {key: message.headers[key] for key in table}
        equal(sent, table)
        properties = dict(message.properties)
        properties.pop("application_headers", None)
        wanted = dict(correlation_id="c", reply_to="r", message_id="m", type="t", app_id="a", priority=3)
        equal({key: properties[key] for key in wanted}, wanted)
        equal(properties["expiration"], "60000")
        equal(properties["delivery_mode"], 1)


@check("kombu: SimpleQueue")
def simple_queue(client):
    name = unique("simple")
    client.forget([name], [name])
    with client.connection.SimpleQueue(name) as queue:
        for n in range(5):
            queue.put({"n": n}, headers={"n": n})
        eventually(lambda: queue.qsize() == 5, "five messages are ready")
        equal(queue.get_nowait().payload, {"n": 0})
        message = queue.get(timeout=LIMIT)
        equal((message.payload, message.headers["n"]), ({"n": 1}, 1))
        message.requeue()
    # What was got and not acknowledged, and what was ahead of it, waits for the next one.
    client.connection.release()
    with client.connect().SimpleQueue(name) as queue:
        eventually(lambda: queue.qsize() == 5, "five messages are back")
        equal([queue.get(timeout=LIMIT).payload["n"] for _ in range(5)], [0, 1, 2, 3, 4])
        try:
            queue.get(timeout=QUIET)
        except queue.Empty:
            return
        raise AssertionError("an empty queue had one more")


@check("kombu: SimpleBuffer goes with its connection")
def simple_buffer(client):
    name = unique("buffer")
    with client.connection.SimpleBuffer(name) as queue:
        queue.put("passing")
        equal(queue.get(timeout=LIMIT).payload, "passing")
        queue.put("lost")
        eventually(lambda: queue.qsize() in (0, 1), "it is declared")
    client.connection.release()

    def gone():
        channel = client.connect().channel()
        try:
            channel.queue_declare(name, passive=True)
        except channel.connection.channel_errors as error:
            return error.code == 404
        return False

    eventually(gone, "the queue is gone")
    client.forget([name])


@check("kombu: a mailbox broadcasts, calls and collects replies")
def mailbox(client):
    box = Mailbox(unique("box"), type="fanout")
    client.forget([box.exchange.name, box.reply_exchange.name])
    stop = threading.Event()
    cast = []
    ready = []
    failed = []

    def serve(hostname):
        try:
            with kombu.Connection(URI, connect_timeout=LIMIT) as connection:
                node = box(connection).Node(hostname, state={"name": hostname}, channel=connection.channel())
                node.handler(who)
                node.handler(note)
                with node.listen():
                    ready.append(hostname)
                    while not stop.is_set():
                        with contextlib.suppress(socket.timeout):
                            connection.drain_events(timeout=0.1)
        except Exception as error:
            failed.append(error)

    def who(state, greeting=None):
        return f"{greeting} {state['name']}"

    def note(state, what=None):
        cast.append((state["name"], what))

    threads = [threading.Thread(target=serve, args=(f"node{n}",), daemon=True) for n in range(3)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: len(ready) == 3 or failed, "three nodes listen")
        equal(failed, [])
        bound = box(client.connection)
        replies = bound.multi_call("who", {"greeting": "hi"}, timeout=LIMIT, limit=3)
        equal(sorted(str(reply) for reply in replies), [f"{{'node{n}': 'hi node{n}'}}" for n in range(3)])
        equal(bound.call(["node1"], "who", {"greeting": "ho"}, timeout=LIMIT), [{"node1": "ho node1"}])
        bound.abcast("note", {"what": 7})
        eventually(lambda: len(cast) == 3, "three nodes take the cast")
        bound.cast(["node2"], "note", {"what": 8})
        eventually(lambda: len(cast) == 4, "one node takes the cast")
        equal(sorted(cast), [("node0", 7), ("node1", 7), ("node2", 7), ("node2", 8)])
    finally:
        stop.set()
        for thread in threads:
            thread.join(LIMIT)


@check("kombu: a mailbox's queue is its node's alone")
def mailbox_exclusive(client):
    box = Mailbox(unique("box"), type="fanout")
    client.forget([box.exchange.name])
    box(client.connection).Node("one", channel=client.connection.channel()).listen()
    other = client.connect()
    try:
        box(other).Node("one", channel=other.channel()).listen()
    except InconsistencyError as error:
        equal(error.__cause__.code, 405)
        return
    raise AssertionError("a second connection shares the queue")


@check("kombu: priorities order what waits")
def priorities(client):
    queue = client.queue("priorities", max_priority=10)
    queue(client.connection.default_channel).declare()
    producer = client.connection.Producer()
    for n, priority in enumerate((0, 5, 10, 5, None, 99, 1)):
        producer.publish(n, routing_key=queue.name, priority=priority)
    eventually(lambda: client.connection.default_channel.queue_declare(queue.name, passive=True)[1] == 7, "all wait")
    equal(bodies(client.connection, [queue], 7, prefetch_count=1), [2, 5, 1, 3, 6, 0, 4])


@check("kombu: lengths, lives and dead letters by a queue's options")
def options(client):
    dead = client.queue("dead")
    dead(client.connection.default_channel).declare()
    letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead.name}
    full = client.queue("full", max_length=2, queue_arguments=letters)
    brief = client.queue("brief", message_ttl=0.05, expires=60, queue_arguments=letters)
    picky = client.queue("picky", queue_arguments=letters)
    for queue in (full, brief, picky):
        queue(client.connection.default_channel).declare()
    producer = client.connection.Producer()
    reasons = []

    def reason():
        body, message = receive(client.connection, [dead], 1)[0]
        death = message.headers["x-death"][0]
        reasons.append((body, death["reason"], death["count"], message.headers["x-first-death-queue"] == death["queue"]))

    for n in range(3):
        producer.publish(n, routing_key=full.name)
    reason()
    producer.publish("old", routing_key=brief.name)
    reason()
    producer.publish("bad", routing_key=picky.name)
    with client.connection.Consumer([picky], on_message=lambda message: message.reject()):
        client.connection.drain_events(timeout=LIMIT)
    reason()
    equal(reasons, [(0, "maxlen", 1, True), ("old", "expired", 1, True), ("bad", "rejected", 1, True)])


@check("kombu: a queue with other options is refused, and the connection goes on")
def refused(client):
    queue = client.queue("refused", max_length=2)
    queue(client.connection.default_channel).declare()
    channel = client.connection.channel()
    try:
        kombu.Queue(queue.name, max_length=3)(channel).declare()
    except client.connection.channel_errors as error:
        equal(error.code, 406)
    else:
        raise AssertionError("it was not refused")
    client.connection.Producer().publish("still", routing_key=queue.name)
    equal(bodies(client.connection, [queue], 1), ["still"])


@check("kombu: confirmed publishing, mandatory returns")
def confirmed(client):
    connection = client.connect(transport_options={"confirm_publish": True})
    queue = client.queue("confirmed")
    queue(connection.default_channel).declare()
    returned = []
    producer = kombu.Producer(
        connection.channel(), on_return=lambda error, exchange, key, message: returned.append((error.reply_code, key))
    )
    for n in range(20):
        producer.publish(n, routing_key=queue.name)
    equal(connection.default_channel.queue_declare(queue.name, passive=True)[1], 20)
    nowhere = unique("nowhere")
    producer.publish("lost", routing_key=nowhere, mandatory=True)
    equal(returned, [(312, nowhere)])


@check("kombu: a full queue refuses a confirmed message")
def nacked(client):
    connection = client.connect(transport_options={"confirm_publish": True})
    queue = client.queue("nacked", max_length=1, queue_arguments={"x-overflow": "reject-publish"})
    queue(connection.default_channel).declare()
    producer = kombu.Producer(connection.channel())
    producer.publish(1, routing_key=queue.name)
    try:
        producer.publish(2, routing_key=queue.name)
    except Exception as error:
        equal(type(error).__name__, "MessageNacked")
    else:
        raise AssertionError("the second message was confirmed")


@check("kombu: a consumer's requeue, recover and flow of two at a time")
def consumers(client):
    queue = client.queue("consumers")
    queue(client.connection.default_channel).declare()
    producer = client.connection.Producer()
    for n in range(4):
        producer.publish(n, routing_key=queue.name)
    got = []
    consumer = client.connection.Consumer([queue], callbacks=[lambda body, message: got.append(message)])
    consumer.qos(prefetch_count=2)
    consumer.consume()
    while len(got) < 2:
        client.connection.drain_events(timeout=LIMIT)
    nothing(client.connection)
    got[0].ack()
    got[1].requeue()
    got.clear()
    while len(got) < 2:
        client.connection.drain_events(timeout=LIMIT)
    equal([(message.payload, message.delivery_info["redelivered"]) for message in got], [(2, False), (1, True)])
    got.clear()
    consumer.recover(requeue=True)
    while len(got) < 2:
        client.connection.drain_events(timeout=LIMIT)
    equal([(message.payload, message.delivery_info["redelivered"]) for message in got], [(1, True), (2, True)])
    got[1].ack(multiple=True)
    while len(got) < 3:
        client.connection.drain_events(timeout=LIMIT)
    equal(got[2].payload, 3)
    got[2].ack()
    consumer.cancel()
    equal(queue(client.connection.default_channel).purge(), 0)


@check("kombu: a consumer in a thread answers requests")
def service(client):
    class Service(ConsumerMixin):
        def __init__(self, connection, queue):
            self.connection = connection
            self.queue = queue

        def get_consumers(self, Consumer, channel):
            self.producer = kombu.Producer(channel)
            return [Consumer([self.queue], callbacks=[self.answer], prefetch_count=10)]

        def answer(self, body, message):
            send_reply(kombu.Exchange(""), message, body * 2, self.producer)
            message.ack()

    requests = client.queue("requests")
    replies = client.queue("replies", exclusive=True, auto_delete=True)
    requests(client.connection.default_channel).declare()
    worker = Service(kombu.Connection(URI, connect_timeout=LIMIT), requests)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        replies(client.connection.default_channel).declare()
        asked = {uuid(): n for n in range(20)}
        with producers[client.connect()].acquire(block=True, timeout=LIMIT) as producer:
            for correlation_id, n in asked.items():
                producer.publish(n, routing_key=requests.name, reply_to=replies.name, correlation_id=correlation_id)
        got = receive(client.connection, [replies], 20)
        equal({message.properties["correlation_id"]: body for body, message in got}, {k: 2 * n for k, n in asked.items()})
    finally:
        worker.should_stop = True
        thread.join(LIMIT)
        worker.connection.release()


@check("kombu: a client that sends no heartbeat is dropped")
def heartbeats(client):
    connection = client.connect(heartbeat=1)
    connection.connect()
    equal(connection.get_heartbeat_interval(), 1)
    try:
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            with contextlib.suppress(socket.timeout):
                connection.drain_events(timeout=0.5)
    except connection.connection_errors:
        return
    raise AssertionError("the broker waits for a silent client")


@check("kombu: delays of any length out of 28 queues")
def delays(client):
    prefix = unique("delays")
    levels = [delayed.level_name(n, prefix) for n in range(28)]
    delivery = f"{prefix}_celery_delayed_delivery"
    client.forget(levels + [delivery], levels)
    delayed.declare_native_delayed_delivery_exchanges_and_queues(client.connection, "classic", prefix)
    queue = client.queue("delayed", client.exchange("delayed", "topic"), "job")
    queue(client.connection.default_channel).declare()
    delayed.bind_queue_to_native_delayed_delivery_exchange(client.connection, queue, prefix)
    producer = client.connection.Producer()
    begun = time.monotonic()
    for seconds in (3, 1, 2, 100_000_000):
        producer.publish(
            seconds, exchange=levels[27], routing_key=delayed.calculate_routing_key(seconds, "job"), delivery_mode=2
        )
    got = []

    def on_message(body, message):
        got.append((body, time.monotonic() - begun))
        equal(sum(death["count"] for death in message.headers["x-death"]), bin(body).count("1"))
        message.ack()

    with client.connection.Consumer([queue], callbacks=[on_message]):
        while len(got) < 3:
            client.connection.drain_events(timeout=LIMIT)
    equal([seconds for seconds, _ in got], [1, 2, 3])
    for seconds, after in got:
        if after < seconds - 0.1:
            raise AssertionError(f"{seconds} s were over after {after:.2f} s")


main()
