"""Consumers: who gets what, how much at a time, and how it ends."""

import os

from client import (
    QUIET,
    Client,
    Consumer,
    answered,
    check,
    consumers,
    drain,
    equal,
    fill,
    get,
    holds,
    main,
    refused,
    temporary,
    wait,
)


def bodies(count, first=0):
    return [b"%d" % number for number in range(first, first + count)]


@check("A6.1 prefetch holds back a consumer, and an ack lets one more go")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    fill(channel, queue, *bodies(10))
    channel.basic_qos(prefetch_count=3)
    consumer = Consumer(channel, queue)
    first = consumer.take(3)
    consumer.nothing()
    holds(channel, queue, 7)
    channel.basic_ack(first[1].tag)
    equal(consumer.bodies(), [b"3"])
    consumer.nothing()
    channel.basic_nack(first[0].tag, requeue=False)
    equal(consumer.bodies(), [b"4"])


@check("A6.1 prefetch is a consumer's own, and for later consumers")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    channel.basic_qos(prefetch_count=1)
    narrow = Consumer(channel, queue)
    channel.basic_qos(prefetch_count=2)
    wide = Consumer(channel, queue)
    fill(channel, queue, *bodies(10))
    narrow.take(1)
    wide.take(2)
    narrow.nothing()
    wide.nothing()
    holds(channel, queue, 7)


@check("A6.2 global prefetch is shared by the channel")
def _(client):
    channel = client.channel()
    queue, other = temporary(channel), temporary(channel)
    channel.basic_qos(prefetch_count=3, global_qos=True)
    first, second = Consumer(channel, queue), Consumer(channel, other)
    fill(channel, queue, *bodies(3))
    got = first.take(3)
    fill(channel, other, *bodies(3))
    second.nothing()
    channel.basic_ack(got[1].tag, multiple=True)
    equal(second.bodies(2), [b"0", b"1"])
    second.nothing()
    # A wider limit acts at once.
    channel.basic_qos(prefetch_count=10, global_qos=True)
    equal(second.bodies(), [b"2"])


@check("A6.2 both limits hold")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    channel.basic_qos(prefetch_count=2)
    channel.basic_qos(prefetch_count=3, global_qos=True)
    first, second = Consumer(channel, queue), Consumer(channel, queue)
    fill(channel, queue, *bodies(10))
    holds(channel, queue, 7)
    first.take(1)
    second.take(1)
    channel.connection.sleep(QUIET)
    holds(channel, queue, 7)


@check("A6.3 no_ack is not held back by prefetch, and leaves nothing")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    fill(channel, queue, *bodies(50))
    channel.basic_qos(prefetch_count=1)
    consumer = Consumer(channel, queue, auto_ack=True)
    equal(consumer.bodies(50), bodies(50))
    channel.basic_cancel(consumer.tag)
    holds(channel, queue, 0)
    with refused(406, "PRECONDITION_FAILED - unknown delivery tag 1"):
        channel.basic_ack(1)
        answered(channel, queue)


@check("A6.4 consumers take turns")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    three = [Consumer(channel, queue, auto_ack=True) for _ in range(3)]
    for number in range(30):
        fill(channel, queue, b"%d" % number)
    taken = [[int(body) for body in consumer.bodies(10)] for consumer in three]
    for consumer, numbers in zip(three, taken):
        equal(numbers, sorted(numbers))
        consumer.nothing()
    equal(sorted(sum(taken, [])), list(range(30)))


@check("A6.4 a consumer that is full leaves its turn to the others")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    channel.basic_qos(prefetch_count=1)
    slow = Consumer(channel, queue)
    channel.basic_qos(prefetch_count=0)
    quick = Consumer(channel, queue)
    fill(channel, queue, *bodies(20))
    quick.take(19)
    slow.take(1)


@check("A6.6 an exclusive consumer is alone")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    text = f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"
    channel.queue_declare(queue)
    alone = Consumer(channel, queue, exclusive=True)
    with refused(403, text):
        Consumer(client.channel(), queue)
    channel.basic_cancel(alone.tag)
    Consumer(channel, queue)
    with refused(403, text):
        Consumer(client.channel(), queue, exclusive=True)


@check("A6.7 consumers are told when their queue is deleted")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue)
    cancelled = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    tags = {Consumer(channel, queue).tag, Consumer(channel, queue).tag}
    client.channel().queue_delete(queue)
    wait(channel.connection, lambda: len(cancelled) == 2, "cancel of both consumers")
    equal(set(cancelled), tags)
    # The channel goes on.
    other = temporary(channel)
    fill(channel, other, b"m")
    equal(drain(channel, other), [b"m"])


@check("A6.8 cancel keeps what was delivered")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    fill(channel, queue, *bodies(4))
    channel.basic_qos(prefetch_count=2)
    consumer = Consumer(channel, queue)
    first, second = consumer.take(2)
    # pika's own cancel of a consumer with manual acks rejects what it still holds; nothing is held here.
    channel.basic_cancel(consumer.tag)
    holds(channel, queue, 2)
    equal(consumers(channel, queue), 0)
    channel.basic_ack(first.tag)
    channel.basic_nack(second.tag)
    equal(drain(channel, queue), [b"1", b"2", b"3"])


@check("A6.8 a tag is free again after its cancel")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    for number in range(3):
        consumer = Consumer(channel, queue, consumer_tag="mine", auto_ack=True)
        equal(consumer.tag, "mine")
        fill(channel, queue, b"%d" % number)
        equal(consumer.bodies(), [b"%d" % number])
        channel.basic_cancel("mine")


@check("A6.18 one tag on two channels, names of both delivered")
def _(client):
    connection = client.connect()
    first, second = connection.channel(), connection.channel()
    queue, other = temporary(first), temporary(first)
    one, two = Consumer(first, queue, consumer_tag="t"), Consumer(second, other, consumer_tag="t")
    fill(first, queue, b"1")
    fill(first, other, b"2")
    equal((one.bodies(), two.bodies()), ([b"1"], [b"2"]))


@check("A6.8 a closed channel gives back what it held, and its consumers")
def _(client):
    connection = client.connect()
    watch = connection.channel()
    queue = temporary(watch)
    fill(watch, queue, *bodies(5))
    channel = connection.channel()
    held = Consumer(channel, queue).take(5)
    channel.basic_ack(held[1].tag)
    channel.close()
    equal(consumers(watch, queue), 0)
    back = [get(watch, queue) for _ in range(4)]
    flags = [(message.body, message.redelivered) for message in back]
    equal(flags, [(b"0", True), (b"2", True), (b"3", True), (b"4", True)])


@check("A4.12 a lost connection gives back what it held")
def _(client):
    watch = client.channel()
    queue = client.name("q")
    watch.queue_declare(queue)
    fill(watch, queue, *bodies(3))
    process = os.fork()
    if process == 0:
        Consumer(Client().channel(), queue).take(3)
        # The kernel closes the socket; nobody says goodbye.
        os._exit(0)
    os.waitpid(process, 0)
    holds(watch, queue, 3)
    equal(drain(watch, queue), bodies(3))


@check("A7.11 priorities: the highest first, in order within one")
def _(client):
    channel = client.channel()
    queue = temporary(channel, arguments={"x-max-priority": 5})
    for number, priority in enumerate([0, 5, 3, None, 9, 1, 3, 255, 5, 0]):
        fill(channel, queue, b"%d" % number, priority=priority)
    # None is 0; above the queue's highest is the highest.
    expected = [b"1", b"4", b"7", b"8", b"2", b"6", b"5", b"0", b"3", b"9"]
    got = [get(channel, queue) for _ in expected]
    equal([message.body for message in got], expected)
    # Each keeps the priority it was published with.
    equal(got[1].properties.priority, 9)
    channel.basic_nack(got[-1].tag, multiple=True)
    equal(drain(channel, queue), expected)


@check("A7.11 priorities: requeued goes to its place")
def _(client):
    channel = client.channel()
    queue = temporary(channel, arguments={"x-max-priority": 2})
    for body, priority in [(b"low", 0), (b"high", 2), (b"low again", 0)]:
        fill(channel, queue, body, priority=priority)
    high, low = get(channel, queue), get(channel, queue)
    fill(channel, queue, b"high again", priority=2)
    channel.basic_reject(low.tag)
    channel.basic_reject(high.tag)
    equal(drain(channel, queue), [b"high", b"high again", b"low", b"low again"])


@check("A6.19 consuming a long queue from its head, in order")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    fill(channel, queue, *bodies(5000))
    channel.basic_qos(prefetch_count=100)
    consumer = Consumer(channel, queue)
    for number in range(5000):
        [delivery] = consumer.take()
        equal((delivery.body, delivery.tag, delivery.redelivered), (b"%d" % number, number + 1, False))
        if number % 50 == 49:
            channel.basic_ack(delivery.tag, multiple=True)


main()
