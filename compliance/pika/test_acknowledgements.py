"""Acks, rejects, recovery and basic.get: where a message goes when it is not wanted."""

from client import Consumer, answered, check, drain, equal, fill, get, main, refused, temporary


def holding(channel, count):
    """A queue with five messages, of which the first `count` are got and unacked."""
    queue = temporary(channel)
    fill(channel, queue, b"0", b"1", b"2", b"3", b"4")
    return queue, [get(channel, queue) for _ in range(count)]


@check("A6.9 get: counts what is left, tells redelivered, None when empty")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    equal(get(channel, queue), None)
    fill(channel, queue, b"1", b"2", b"3")
    for left in [2, 1, 0]:
        method, _, _ = channel.basic_get(queue)
        equal((method.message_count, method.redelivered, method.exchange, method.routing_key), (left, False, "", queue))
    equal(get(channel, queue), None)
    channel.basic_nack(0, multiple=True)
    method, _, body = channel.basic_get(queue)
    equal((method.message_count, method.redelivered, body), (2, True, b"1"))


@check("A6.9 get with auto_ack leaves nothing to ack")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    fill(channel, queue, b"1")
    tag = get(channel, queue, auto_ack=True).tag
    with refused(406, f"PRECONDITION_FAILED - unknown delivery tag {tag}"):
        channel.basic_ack(tag)
        answered(channel, queue)


@check("delivery tags count up a channel, over get and consume")
def _(client):
    channel = client.channel()
    queue, held = holding(channel, 2)
    equal([message.tag for message in held], [1, 2])
    consumer = Consumer(channel, queue)
    equal([message.tag for message in consumer.take(3)], [3, 4, 5])


@check("A6.10 ack multiple takes all up to its tag")
def _(client):
    channel = client.channel()
    queue, held = holding(channel, 5)
    channel.basic_ack(held[1].tag)
    channel.basic_ack(held[2].tag, multiple=True)
    channel.basic_nack(0, multiple=True)
    equal(drain(channel, queue), [b"3", b"4"])


@check("A6.10 tag 0 with multiple takes all, be there none")
def _(client):
    channel = client.channel()
    channel.basic_ack(0, multiple=True)
    queue, _ = holding(channel, 4)
    channel.basic_ack(0, multiple=True)
    channel.basic_ack(0, multiple=True)
    channel.basic_recover(requeue=True)
    equal(drain(channel, queue), [b"4"])


@check("A4.12 reject puts a message back where it was, marked redelivered")
def _(client):
    channel = client.channel()
    queue, held = holding(channel, 3)
    channel.basic_reject(held[1].tag)
    back = get(channel, queue)
    equal((back.body, back.redelivered), (b"1", True))
    channel.basic_reject(back.tag)
    channel.basic_reject(held[0].tag)
    got = [get(channel, queue, auto_ack=True) for _ in range(4)]
    flags = [(message.body, message.redelivered) for message in got]
    equal(flags, [(b"0", True), (b"1", True), (b"3", False), (b"4", False)])


@check("A4.12 nack multiple requeues in the old order")
def _(client):
    channel = client.channel()
    queue, held = holding(channel, 4)
    channel.basic_nack(held[2].tag, multiple=True)
    equal(drain(channel, queue), [b"0", b"1", b"2", b"4"])


@check("A4.12 requeued in any order, back in the first order")
def _(client):
    channel = client.channel()
    queue, held = holding(channel, 5)
    for index in [3, 0, 4, 2, 1]:
        channel.basic_nack(held[index].tag)
    equal(drain(channel, queue), [b"0", b"1", b"2", b"3", b"4"])


@check("A4.12 requeued before what was published since")
def _(client):
    channel = client.channel()
    queue, _ = holding(channel, 5)
    fill(channel, queue, b"new")
    channel.basic_nack(0, multiple=True)
    equal(drain(channel, queue), [b"0", b"1", b"2", b"3", b"4", b"new"])


@check("A6.15 reject and nack without requeue drop")
def _(client):
    channel = client.channel()
    queue, held = holding(channel, 3)
    channel.basic_reject(held[0].tag, requeue=False)
    channel.basic_nack(held[2].tag, multiple=True, requeue=False)
    equal(drain(channel, queue), [b"3", b"4"])


@check("A6.11 recover requeues all that is unacked")
def _(client):
    channel = client.channel()
    queue, held = holding(channel, 3)
    channel.basic_ack(held[0].tag)
    channel.basic_recover(requeue=True)
    got = [get(channel, queue, auto_ack=True) for _ in range(4)]
    flags = [(message.body, message.redelivered) for message in got]
    equal(flags, [(b"1", True), (b"2", True), (b"3", False), (b"4", False)])
    equal(get(channel, queue), None)


@check("A6.11 recover delivers to the consumer again, with new tags")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    fill(channel, queue, b"0", b"1")
    consumer = Consumer(channel, queue)
    equal([(message.body, message.tag) for message in consumer.take(2)], [(b"0", 1), (b"1", 2)])
    channel.basic_recover(requeue=True)
    again = [(message.body, message.tag, message.redelivered) for message in consumer.take(2)]
    equal(again, [(b"0", 3, True), (b"1", 4, True)])


@check("A4.12 a rejected message goes to the next consumer")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    channel.basic_qos(prefetch_count=1)
    first, second = Consumer(channel, queue), Consumer(channel, queue)
    fill(channel, queue, b"m")
    [message] = first.take()
    for consumer in [second, first, second]:
        channel.basic_reject(message.tag)
        [message] = consumer.take()
        equal((message.body, message.redelivered), (b"m", True))


@check("tags are a channel's own")
def _(client):
    connection = client.connect()
    channel = connection.channel()
    queue, _ = holding(channel, 2)
    with refused(406, "PRECONDITION_FAILED - unknown delivery tag 2"):
        other = connection.channel()
        other.basic_ack(2)
        answered(other, queue)
    channel.basic_ack(2)
    channel.basic_nack(0, multiple=True)
    equal(drain(channel, queue), [b"0", b"2", b"3", b"4"])


main()
