"""Publishing: returns, confirms, sizes, and properties that come out as they went in."""

import datetime
import decimal

from client import Consumer, bound, check, drain, equal, fill, get, holds, main, ready, temporary, wait
from pika import BasicProperties
from pika.exceptions import UnroutableError

MIB = 1024 * 1024


@check("A2 mandatory and unroutable: returned with 312 and everything it had")
def _(client):
    channel = client.channel()
    returned = []
    channel.add_on_return_callback(lambda _, *message: returned.append(message))
    exchange = client.name("x")
    channel.exchange_declare(exchange, "direct")
    sent = BasicProperties(message_id="7", headers={"a": 1})
    channel.basic_publish(exchange, "nobody", b"body", sent, mandatory=True)
    wait(channel.connection, lambda: returned, "return")
    [(method, properties, body)] = returned
    equal((method.reply_code, method.reply_text), (312, "NO_ROUTE"))
    equal((method.exchange, method.routing_key), (exchange, "nobody"))
    equal((properties.message_id, properties.headers, body), ("7", {"a": 1}, b"body"))


@check("A2 mandatory and routable, or unroutable and not mandatory: no return")
def _(client):
    channel = client.channel(confirms=True)
    returned = []
    channel.add_on_return_callback(lambda *message: returned.append(message))
    queue = temporary(channel)
    channel.basic_publish("", queue, b"m", mandatory=True)
    channel.basic_publish("", "compliance-none", b"m")
    equal(returned, [])
    equal(drain(channel, queue), [b"m"])


@check("A5.2 confirm mode: an unroutable message is returned, then acked")
def _(client):
    channel = client.channel(confirms=True)
    for _ in range(3):
        try:
            # pika raises at the ack, if a return came before it.
            channel.basic_publish("", "compliance-none", b"m", mandatory=True)
        except UnroutableError as error:
            equal([message.body for message in error.messages], [b"m"])
        else:
            raise AssertionError("acked without a return")


@check("A5.2 a confirmed message is in its queue")
def _(client):
    publisher, other = client.channel(confirms=True), client.channel()
    queue = client.name("q")
    publisher.queue_declare(queue)
    for count in range(1, 101):
        publisher.basic_publish("", queue, b"m")
        equal(ready(other, queue), count)


@check("A5.2 confirms from many queues, of every durability")
def _(client):
    channel = client.channel(confirms=True)
    exchange = client.name("x")
    channel.exchange_declare(exchange, "fanout")
    queues = [client.name("q") for _ in range(20)]
    for number, queue in enumerate(queues):
        channel.queue_declare(queue, durable=number % 2 == 0)
        channel.queue_bind(queue, exchange, "")
    for mode in (1, 2):
        for _ in range(5):
            channel.basic_publish(exchange, "", b"m", BasicProperties(delivery_mode=mode), mandatory=True)
    equal([ready(channel, queue) for queue in queues], [10] * 20)


@check("A1.8 bodies of every size, whole and in order")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    # Around the edges of a frame of 131,072 octets, of which 8 are not body.
    sizes = [0, 1, 4095, 4096, 131063, 131064, 131065, 262128, 262129, MIB, 10 * MIB, 0]
    for size in sizes:
        fill(channel, queue, pattern(size))
    consumer = Consumer(channel, queue, auto_ack=True)
    for size in sizes:
        [body] = consumer.bodies()
        equal(len(body), size)
        assert body == pattern(size), f"the body of {size} octets differs"


@check("A1.8 bodies cut to small frames")
def _(client):
    connection = client.connect(frame_max=8192)
    channel = connection.channel()
    queue = temporary(channel)
    for size in [8183, 8184, 8185, MIB]:
        fill(channel, queue, pattern(size))
        assert drain(channel, queue) == [pattern(size)], f"the body of {size} octets differs"


def pattern(size):
    unit = bytes(range(251))
    return (unit * (size // len(unit) + 1))[:size]


@check("A1.10 all properties")
def _(client):
    properties = {
        "content_type": "text/plain",
        "content_encoding": "utf-8",
        "headers": {"a": "b"},
        "delivery_mode": 2,
        "priority": 255,
        "correlation_id": "correlation",
        "reply_to": "reply",
        "expiration": "600000",
        "message_id": "message",
        "timestamp": 1234567890,
        "type": "type",
        "user_id": "guest",
        "app_id": "app",
        "cluster_id": "cluster",
    }
    channel = client.channel()
    queue = temporary(channel)
    fill(channel, queue, b"m", **properties)
    equal(vars(get(channel, queue).properties), properties)


@check("A1.10 no properties, and each alone")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    alone = [{"headers": {}}, {"cluster_id": "c"}, {"content_type": ""}, {"priority": 0}, {"timestamp": 0}]
    for properties in [{}, *alone]:
        fill(channel, queue, b"m", **properties)
        got = vars(get(channel, queue).properties)
        equal({name: value for name, value in got.items() if value is not None}, properties)


@check("A1.10 headers of every type, nested")
def _(client):
    flat = {
        "text": "text äöü ☃",
        "empty": "",
        "long text": "x" * 30000,
        "octets": bytes([0xFF, 0x00, 0xFE]),
        "true": True,
        "false": False,
        "small": -1,
        "int": 2**31 - 1,
        "negative": -(2**31),
        "wide": 2**63 - 1,
        "wide negative": -(2**63),
        "decimal": decimal.Decimal("3.14"),
        "timestamp": datetime.datetime(2020, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc),
        "void": None,
        "empty table": {},
        "empty array": [],
    }
    headers = {**flat, "table": {**flat, "deeper": {"deepest": {"array": [1, [2, [3, {"end": None}]]]}}}}
    headers["array"] = [*flat.values(), flat]
    channel = client.channel()
    queue = temporary(channel)
    fill(channel, queue, b"m", headers=headers)
    got = get(channel, queue).properties.headers
    equal({name: got[name] for name in flat if got[name] != flat[name]}, {})
    equal(got, headers)
    equal(list(got), list(headers))


@check("A1.10 property strings of 255 octets")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    fill(channel, queue, b"m", message_id="ä" * 127 + "x", headers={"k" * 128: 1})
    got = get(channel, queue).properties
    equal((got.message_id, got.headers), ("ä" * 127 + "x", {"k" * 128: 1}))


@check("names of 255 octets")
def _(client):
    channel = client.channel()
    name = client.name("long", length=255)
    channel.queue_declare(name)
    channel.exchange_declare(name, "direct")
    channel.queue_bind(name, name, "k" * 255)
    channel.basic_publish(name, "k" * 255, b"m")
    got = get(channel, name)
    equal((got.exchange, got.routing_key, got.body), (name, "k" * 255, b"m"))


@check("names and keys beyond ASCII")
def _(client):
    channel = client.channel()
    name = client.name("schlüssel ☃ 'x' %s")
    channel.queue_declare(name)
    channel.exchange_declare(name, "topic")
    channel.queue_bind(name, name, "größe.*")
    channel.basic_publish(name, "größe.☃", b"m")
    got = get(channel, name)
    equal((got.exchange, got.routing_key, got.body), (name, "größe.☃", b"m"))


@check("20,000 small messages to 100 queues")
def _(client):
    channel = client.channel()
    queues = [bound(channel, "amq.direct", f"compliance-{number}") for number in range(100)]
    for number in range(20_000):
        channel.basic_publish("amq.direct", f"compliance-{number % 100}", b"%d" % number)
    for queue in queues:
        holds(channel, queue, 200)
    consumer = Consumer(channel, queues[42], auto_ack=True)
    equal(consumer.bodies(200), [b"%d" % number for number in range(42, 20_000, 100)])


main()
