"""Messages and queues that expire.

A time to live that must pass is short; one that must not pass within the check is an hour.
"""

import time

from client import Consumer, check, drain, equal, fill, get, gone, holds, main, ready, refused

HOUR = 3_600_000


def expiring(client, channel, ttl=None, **options):
    """A queue whose messages expire."""
    queue = client.name("q")
    arguments = {} if ttl is None else {"x-message-ttl": ttl}
    channel.queue_declare(queue, arguments=arguments | options.pop("arguments", {}), **options)
    return queue


@check("A7.9 x-message-ttl: messages are gone after their time")
def _(client):
    channel = client.channel(confirms=True)
    queue = expiring(client, channel, 300)
    fill(channel, queue, b"1", b"2", b"3")
    equal(ready(channel, queue), 3)
    holds(channel, queue, 0)
    equal(get(channel, queue), None)


@check("A7.9 x-message-ttl: not before their time")
def _(client):
    channel = client.channel(confirms=True)
    queue, dead = expiring(client, channel), client.name("dead")
    channel.queue_declare(dead)
    slow = client.name("slow")
    arguments = {"x-message-ttl": 700, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    channel.queue_declare(slow, arguments=arguments)
    consumer = Consumer(channel, dead)
    start = time.monotonic()
    fill(channel, slow, b"m")
    consumer.take(1)
    # A little less: the broker's clock may be read in whole milliseconds, and before the client's.
    assert time.monotonic() - start >= 0.65, "dead too soon"
    equal(drain(channel, queue), [])


@check("A7.9 expiration: a message's own time to live")
def _(client):
    channel = client.channel(confirms=True)
    queue = expiring(client, channel)
    fill(channel, queue, b"short", expiration="200")
    fill(channel, queue, b"long", expiration=str(HOUR))
    fill(channel, queue, b"ever")
    holds(channel, queue, 2)
    message = get(channel, queue, auto_ack=True)
    equal((message.body, message.properties.expiration), (b"long", str(HOUR)))
    equal(drain(channel, queue), [b"ever"])


@check("A7.9 the shorter of the message's and the queue's time counts")
def _(client):
    channel = client.channel(confirms=True)
    short, long = expiring(client, channel, 200), expiring(client, channel, HOUR)
    fill(channel, short, b"queue's", expiration=str(HOUR))
    fill(channel, long, b"message's", expiration="200")
    holds(channel, short, 0)
    holds(channel, long, 0)


@check("A7.9 x-message-ttl 0: delivered to a consumer that is ready")
def _(client):
    channel = client.channel(confirms=True)
    queue = expiring(client, channel, 0)
    consumer = Consumer(channel, queue, auto_ack=True)
    for number in range(20):
        fill(channel, queue, b"%d" % number)
    equal(consumer.bodies(20), [b"%d" % number for number in range(20)])


@check("A7.9 x-message-ttl 0: gone without a consumer")
def _(client):
    channel = client.channel(confirms=True)
    queue = expiring(client, channel, 0)
    fill(channel, queue, b"m")
    holds(channel, queue, 0)
    Consumer(channel, queue).nothing()


@check("A7.9 expiration 0: delivered to a consumer that is ready, else gone")
def _(client):
    channel = client.channel(confirms=True)
    queue = expiring(client, channel)
    fill(channel, queue, b"1", expiration="0")
    holds(channel, queue, 0)
    consumer = Consumer(channel, queue)
    fill(channel, queue, b"2", expiration="0")
    equal(consumer.bodies(), [b"2"])


@check("A7.9 expiration 0: a consumer that is full is not ready")
def _(client):
    channel = client.channel(confirms=True)
    queue = expiring(client, channel)
    channel.basic_qos(prefetch_count=1)
    consumer = Consumer(channel, queue)
    fill(channel, queue, b"1", b"2", expiration="0")
    held = consumer.take(1)[0]
    equal(held.body, b"1")
    holds(channel, queue, 0)
    channel.basic_ack(held.tag)
    consumer.nothing()


@check("A7.9 what is unacked does not expire")
def _(client):
    channel = client.channel(confirms=True)
    queue = expiring(client, channel, 200)
    fill(channel, queue, b"1", b"2")
    held = get(channel, queue)
    holds(channel, queue, 0)
    client.channel().connection.sleep(0.2)
    channel.basic_ack(held.tag)
    holds(channel, queue, 0)


@check("A7.9 what comes back after its time is gone at once")
def _(client):
    channel = client.channel(confirms=True)
    queue = expiring(client, channel, 200)
    fill(channel, queue, b"1")
    held = get(channel, queue)
    channel.connection.sleep(0.5)
    channel.basic_reject(held.tag, requeue=True)
    holds(channel, queue, 0)
    equal(get(channel, queue), None)


@check("A7.9 what comes back keeps its time")
def _(client):
    channel = client.channel(confirms=True)
    queue = expiring(client, channel, 1500)
    start = time.monotonic()
    fill(channel, queue, b"1")
    held = get(channel, queue)
    channel.connection.sleep(0.5)
    channel.basic_reject(held.tag, requeue=True)
    holds(channel, queue, 1)
    holds(channel, queue, 0)
    # Were the time given anew, it would be 2 s at least.
    took = time.monotonic() - start
    assert took >= 1.4, f"gone after {took}"


@check("A7.9 the queue's time holds for each queue alone")
def _(client):
    channel = client.channel(confirms=True)
    short, long, ever = expiring(client, channel, 200), expiring(client, channel, HOUR), expiring(client, channel)
    exchange = client.name("x")
    channel.exchange_declare(exchange, "fanout")
    for queue in (short, long, ever):
        channel.queue_bind(queue, exchange)
    channel.basic_publish(exchange, "", b"m")
    holds(channel, short, 0)
    equal((ready(channel, long), ready(channel, ever)), (1, 1))


@check("A7.9 5,000 messages expire, and leave the queue usable")
def _(client):
    channel = client.channel()
    queue = expiring(client, channel, 400)
    fill(channel, queue, *[b"m"] * 5000, delivery_mode=2)
    holds(channel, queue, 0)
    consumer = Consumer(channel, queue)
    fill(channel, queue, b"after")
    equal(consumer.bodies(), [b"after"])


@check("A5.7 expiration is a count of milliseconds")
def _(client):
    queue = expiring(client, client.channel())
    about = "PRECONDITION_FAILED - invalid expiration"
    for text, why in [
        ("abc", "no_integer"),
        ("", "no_integer"),
        ("-1", "{value_negative,-1}"),
        ("1.5", '{leftover_string,".5"}'),
        ("315360000001", "{value_too_large,315360000001}"),
    ]:
        with refused(406, f"{about} '{text}': {why}"):
            channel = client.channel()
            fill(channel, queue, b"m", expiration=text)
            ready(channel, queue)
    channel = client.channel(confirms=True)
    fill(channel, queue, b"1", expiration="315360000000")
    fill(channel, queue, b"2", expiration="+60000")
    equal(drain(channel, queue), [b"1", b"2"])


@check("A4.10 x-expires: a queue nobody uses is deleted")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue, arguments={"x-expires": 300})
    fill(channel, queue, b"m")
    channel.connection.sleep(1.5)
    gone(client, queue=queue)


@check("A4.10 x-expires: its messages are gone, not dead-lettered")
def _(client):
    channel = client.channel(confirms=True)
    queue, dead = client.name("q"), client.name("dead")
    channel.queue_declare(dead)
    arguments = {"x-expires": 300, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    channel.queue_declare(queue, arguments=arguments)
    fill(channel, queue, b"m")
    channel.connection.sleep(1.5)
    gone(client, queue=queue)
    equal(drain(channel, dead), [])


@check("A4.10 x-expires: its bindings are gone, and an exchange that lived by them")
def _(client):
    channel = client.channel()
    queue, exchange = client.name("q"), client.name("x")
    channel.exchange_declare(exchange, "fanout", auto_delete=True)
    channel.queue_declare(queue, arguments={"x-expires": 300})
    channel.queue_bind(queue, exchange)
    channel.connection.sleep(1.5)
    gone(client, queue=queue, exchange=exchange)


@check("A4.10 x-expires: not while it is consumed, then after its whole time")
def _(client):
    channel = client.channel(confirms=True)
    queue = client.name("q")
    channel.queue_declare(queue, arguments={"x-expires": 1000})
    consumer = Consumer(channel, queue)
    channel.connection.sleep(1.6)
    fill(channel, queue, b"m")
    equal(consumer.bodies(), [b"m"])
    channel.basic_cancel(consumer.tag)
    equal(ready(channel, queue), 0)
    channel.connection.sleep(2.5)
    gone(client, queue=queue)


@check("A4.10 x-expires: get and declare are use, publishing is not")
def _(client):
    channel = client.channel()
    for use, lives in [
        (lambda queue: get(channel, queue), True),
        (lambda queue: channel.queue_declare(queue, arguments={"x-expires": 1500}), True),
        (lambda queue: fill(channel, queue, b"m"), False),
    ]:
        queue = client.name("q")
        channel.queue_declare(queue, arguments={"x-expires": 1500})
        for _ in range(5):
            channel.connection.sleep(0.5)
            use(queue)
        if lives:
            equal(ready(channel, queue), 0)
        else:
            gone(client, queue=queue)


@check("A4.10 x-expires: a passive declare is use")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue, arguments={"x-expires": 1500})
    for _ in range(5):
        channel.connection.sleep(0.5)
        equal(ready(channel, queue), 0)


@check("A2 invalid times")
def _(client):
    for arguments, why in [
        ({"x-expires": 0}, "{value_zero,0}"),
        ({"x-expires": -1}, "{value_negative,-1}"),
        ({"x-expires": HOUR * 24 * 3651}, f"{{value_too_large,{HOUR * 24 * 3651}}}"),
        ({"x-message-ttl": -1}, "{value_negative,-1}"),
        ({"x-message-ttl": HOUR * 24 * 3651}, f"{{value_too_large,{HOUR * 24 * 3651}}}"),
    ]:
        queue = client.name("q")
        name = next(iter(arguments))
        text = f"PRECONDITION_FAILED - invalid arg '{name}' for queue '{queue}' in vhost '/': "
        # 3.10 says `value_zero` without the value.
        with refused(406, text + why, text + why.replace("{value_zero,0}", "value_zero")):
            client.channel().queue_declare(queue, arguments=arguments)


main()
