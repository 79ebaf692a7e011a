"""Queues with a most: of messages, of octets, of deliveries."""

import pika
from asyncio_client import Publisher, call, connect, open_channel
from check import check as asyncio_check
from client import Consumer, check, drain, equal, fill, get, holds, main, ready, refused
from pika.exceptions import ChannelClosedByBroker, NackError


def limited(client, channel, dead=False, **arguments):
    """A queue with limits, and the queue of its dead if it has one."""
    queue = client.name("q")
    arguments = {"x-" + name.replace("_", "-"): value for name, value in arguments.items()}
    if dead:
        dead = client.name("dead")
        channel.queue_declare(dead)
        arguments |= {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    channel.queue_declare(queue, arguments=arguments)
    return (queue, dead) if dead else queue


def nacked(channel, queue, body, **properties):
    """Publishes in confirm mode what the queue must refuse."""
    try:
        fill(channel, queue, body, **properties)
    except NackError:
        return
    raise AssertionError(f"{body[:20]!r} was accepted")


def reason(letter):
    return letter.properties.headers["x-death"][0]["reason"]


@check("A7.10 x-max-length: the oldest make room")
def _(client):
    channel = client.channel(confirms=True)
    queue = limited(client, channel, max_length=3)
    fill(channel, queue, *[b"%d" % number for number in range(10)])
    equal((ready(channel, queue), drain(channel, queue)), (3, [b"7", b"8", b"9"]))


@check("A7.10 x-max-length 0 holds nothing, and serves a consumer")
def _(client):
    channel = client.channel(confirms=True)
    queue = limited(client, channel, max_length=0)
    fill(channel, queue, b"1")
    equal(ready(channel, queue), 0)
    consumer = Consumer(channel, queue)
    fill(channel, queue, b"2")
    equal(consumer.bodies(), [b"2"])


@check("A7.10 x-max-length-bytes: octets of bodies")
def _(client):
    channel = client.channel(confirms=True)
    queue = limited(client, channel, max_length_bytes=10)
    fill(channel, queue, b"aaaa", b"bbbb", b"cc", headers={"many": "octets" * 10})
    equal(ready(channel, queue), 3)
    fill(channel, queue, b"d")
    equal(drain(channel, queue), [b"bbbb", b"cc", b"d"])
    # One that is too large alone does not stay either.
    fill(channel, queue, b"1", b"e" * 11)
    equal(drain(channel, queue), [])
    fill(channel, queue, b"f" * 10)
    equal(drain(channel, queue), [b"f" * 10])


@check("A7.10 both limits hold")
def _(client):
    channel = client.channel(confirms=True)
    queue = limited(client, channel, max_length=3, max_length_bytes=10)
    fill(channel, queue, b"1", b"2", b"3", b"4")
    equal(ready(channel, queue), 3)
    fill(channel, queue, b"5" * 9)
    equal(drain(channel, queue), [b"4", b"5" * 9])


@check("A7.10 only what is ready counts, and what comes back overflows")
def _(client):
    channel = client.channel(confirms=True)
    queue = limited(client, channel, max_length=2)
    fill(channel, queue, b"1", b"2")
    held = [get(channel, queue) for _ in range(2)]
    fill(channel, queue, b"3", b"4")
    equal(ready(channel, queue), 2)
    channel.basic_nack(held[-1].tag, multiple=True, requeue=True)
    holds(channel, queue, 2)
    # 1 and 2 came back to the head, where they are the oldest.
    equal(drain(channel, queue), [b"3", b"4"])


@check("A7.10 drop-head: the dead are letters, reason maxlen, in order")
def _(client):
    for limits in [{"max_length": 2}, {"max_length_bytes": 2}]:
        channel = client.channel(confirms=True)
        queue, dead = limited(client, channel, dead=True, **limits)
        fill(channel, queue, b"1", b"2", b"3", b"4")
        holds(channel, dead, 2)
        letter = get(channel, dead)
        equal((letter.body, reason(letter)), (b"1", "maxlen"))
        equal((drain(channel, dead), drain(channel, queue)), ([b"2"], [b"3", b"4"]))


@check("A7.10 drop-head with priorities: from the highest down")
def _(client):
    channel = client.channel(confirms=True)
    queue = limited(client, channel, max_length=2, max_priority=5)
    fill(channel, queue, b"high", priority=5)
    fill(channel, queue, b"low", priority=1)
    fill(channel, queue, b"none")
    equal(drain(channel, queue), [b"low", b"none"])


@check("A7.10 reject-publish: refused with basic.nack, until there is room")
def _(client):
    channel = client.channel(confirms=True)
    queue = limited(client, channel, max_length=2, overflow="reject-publish")
    fill(channel, queue, b"1", b"2")
    nacked(channel, queue, b"3")
    nacked(channel, queue, b"4", delivery_mode=2)
    channel.basic_ack(get(channel, queue).tag)
    fill(channel, queue, b"5")
    nacked(channel, queue, b"6")
    equal(drain(channel, queue), [b"2", b"5"])


@check("A7.10 reject-publish: octets")
def _(client):
    channel = client.channel(confirms=True)
    queue = limited(client, channel, max_length_bytes=10, overflow="reject-publish")
    nacked(channel, queue, b"x" * 11)
    fill(channel, queue, b"12345678", b"90")
    nacked(channel, queue, b"x")
    # Nothing is more than there is room for.
    fill(channel, queue, b"")
    equal(drain(channel, queue), [b"12345678", b"90", b""])


@check("A7.10 reject-publish: without confirms the message is gone")
def _(client):
    channel = client.channel()
    queue, dead = limited(client, channel, dead=True, max_length=1, overflow="reject-publish")
    fill(channel, queue, b"1", b"2")
    holds(channel, queue, 1)
    channel.connection.sleep(0.2)
    equal((drain(channel, queue), drain(channel, dead)), ([b"1"], []))


@check("A7.10 reject-publish: what was refused before confirm.select is not nacked after it")
def _(client):
    channel = client.channel()
    queue, free = limited(client, channel, max_length=1, overflow="reject-publish"), limited(client, channel)
    fill(channel, queue, b"1", b"2", b"3")
    holds(channel, queue, 1)
    channel.confirm_delivery()
    fill(channel, free, b"4")
    fill(channel, free, b"5")
    nacked(channel, queue, b"6")
    fill(channel, free, b"7")
    equal(drain(channel, free), [b"4", b"5", b"7"])


@check("A7.10 reject-publish-dlx: refused, and dead-lettered")
def _(client):
    channel = client.channel(confirms=True)
    queue, dead = limited(client, channel, dead=True, max_length=1, overflow="reject-publish-dlx")
    fill(channel, queue, b"1")
    nacked(channel, queue, b"2")
    nacked(channel, queue, b"3", delivery_mode=2)
    holds(channel, dead, 2)
    letter = get(channel, dead)
    equal((letter.body, reason(letter)), (b"2", "maxlen"))
    equal((drain(channel, queue), drain(channel, dead)), ([b"1"], [b"3"]))


@check("A7.10 one of two queues refuses: nacked, and in the other")
def _(client):
    channel = client.channel(confirms=True)
    full = limited(client, channel, max_length=0, overflow="reject-publish")
    other, exchange = limited(client, channel), client.name("x")
    channel.exchange_declare(exchange, "fanout")
    channel.queue_bind(full, exchange)
    channel.queue_bind(other, exchange)
    try:
        channel.basic_publish(exchange, "", b"m")
    except NackError:
        equal(drain(channel, other), [b"m"])
    else:
        raise AssertionError("accepted")


@check("A7.10 reject-publish: a mandatory message that is refused is not returned")
def _(client):
    channel = client.channel(confirms=True)
    queue = limited(client, channel, max_length=0, overflow="reject-publish")
    try:
        channel.basic_publish("", queue, b"m", mandatory=True)
    except NackError as nack:
        equal(list(nack.messages), [])
    else:
        raise AssertionError("accepted")


@asyncio_check("A7.10 reject-publish: of many at once those that fit are acked, the others nacked")
async def _():
    async with connect() as connection:
        channel = await open_channel(connection)
        declared = await call(
            channel.queue_declare, "", exclusive=True, arguments={"x-max-length": 100, "x-overflow": "reject-publish"}
        )
        queue = declared.method.queue
        publisher = Publisher(channel)
        await publisher.select()
        for number in range(1000):
            mode = pika.BasicProperties(delivery_mode=1 + number % 2)
            publisher.publish("", queue, b"%d" % number, mode)
        await publisher.settled()
        equal(publisher.nacked, set(range(101, 1001)))


@asyncio_check("A7.10 reject-publish: a consumer that keeps up leaves room")
async def _():
    async with connect() as connection:
        channel = await open_channel(connection)
        declared = await call(
            channel.queue_declare, "", exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
        )
        queue = declared.method.queue
        got = []
        await call(
            lambda callback: channel.basic_consume(
                queue, lambda _channel, _method, _properties, body: got.append(body), auto_ack=True, callback=callback
            )
        )
        publisher = Publisher(channel)
        await publisher.select()
        for number in range(50):
            publisher.publish("", queue, b"%d" % number)
        await publisher.settled()
        equal(publisher.nacked, set())


@check("A6.14 x-delivery-limit: delivered once more than the limit says, then dead")
def _(client):
    channel = client.channel(confirms=True)
    queue, dead = client.name("q"), client.name("dead")
    channel.queue_declare(dead)
    arguments = {"x-delivery-limit": 2, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    # In RabbitMQ only quorum queues have the limit. A broker without those has it on every queue.
    try:
        quorum = client.channel()
        quorum.queue_declare(queue, durable=True, arguments=arguments | {"x-queue-type": "quorum"})
    except ChannelClosedByBroker:
        channel.queue_declare(queue, durable=True, arguments=arguments)
    consumer = Consumer(channel, queue)
    fill(channel, queue, b"m")
    for turn in range(3):
        delivery = consumer.take(1)[0]
        equal((delivery.body, delivery.redelivered), (b"m", turn > 0))
        channel.basic_reject(delivery.tag, requeue=True)
    holds(channel, dead, 1)
    letter = get(channel, dead)
    equal((letter.body, reason(letter)), (b"m", "delivery_limit"))
    consumer.nothing()


@check("A2 invalid limits")
def _(client):
    queue = client.name("q")
    for arguments, why in [
        ({"x-max-length": -1}, "{value_negative,-1}"),
        ({"x-max-length-bytes": -1}, "{value_negative,-1}"),
        ({"x-max-length": "1"}, '"expected integer, got longstr"'),
        ({"x-overflow": "drop-tail"}, "invalid_overflow"),
    ]:
        name = next(iter(arguments))
        with refused(406, f"PRECONDITION_FAILED - invalid arg '{name}' for queue '{queue}' in vhost '/': {why}"):
            client.channel().queue_declare(queue, arguments=arguments)


@check("A2 limits are compared when redeclared")
def _(client):
    channel = client.channel()
    queue = limited(client, channel, max_length=1)
    text = (
        f"PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '{queue}' in vhost '/': "
        "received '2' but current is '1'"
    )
    with refused(406, text):
        channel.queue_declare(queue, arguments={"x-max-length": 2})


main()
