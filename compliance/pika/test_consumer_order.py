"""Who of several consumers gets a message: single active consumers, priorities."""

from client import Consumer, check, equal, fill, get, holds, main, refused


def single(client, channel, **options):
    queue = client.name("q")
    channel.queue_declare(queue, arguments={"x-single-active-consumer": True}, **options)
    return queue


def ranked(channel, queue, priority, **options):
    return Consumer(channel, queue, arguments={"x-priority": priority}, **options)


@check("A6.5 single active consumer: the first gets all")
def _(client):
    channel = client.channel(confirms=True)
    queue = single(client, channel)
    first, second = (Consumer(client.channel(), queue) for _ in range(2))
    fill(channel, queue, *[b"%d" % number for number in range(10)])
    equal(first.bodies(10), [b"%d" % number for number in range(10)])
    second.nothing()


@check("A6.5 single active consumer: after its cancel the next that came")
def _(client):
    channel = client.channel(confirms=True)
    queue = single(client, channel)
    channels = [client.channel() for _ in range(4)]
    consumers = [Consumer(channel, queue, auto_ack=True) for channel in channels]
    for number, consumer in enumerate(consumers):
        fill(channel, queue, b"%d" % number)
        equal(consumer.bodies(), [b"%d" % number])
        for later in consumers[number + 1 :]:
            later.nothing()
        channels[number].basic_cancel(consumer.tag)


@check("A6.5 single active consumer: its channel's or its connection's end makes way")
def _(client):
    for end in [lambda channel: channel.close(), lambda channel: channel.connection.close()]:
        channel = client.channel(confirms=True)
        queue = single(client, channel)
        held, other = client.channel(), client.channel()
        first = Consumer(held, queue)
        second = Consumer(other, queue)
        fill(channel, queue, b"1", b"2")
        equal(first.bodies(2), [b"1", b"2"])
        end(held)
        deliveries = second.take(2)
        equal([(d.body, d.redelivered) for d in deliveries], [(b"1", True), (b"2", True)])


@check("A6.5 single active consumer: after a cancel what was delivered stays, the rest goes on")
def _(client):
    channel = client.channel(confirms=True)
    queue = single(client, channel)
    held = client.channel()
    first, second = Consumer(held, queue), Consumer(client.channel(), queue)
    fill(channel, queue, b"1")
    delivery = first.take(1)[0]
    held.basic_cancel(first.tag)
    second.nothing()
    fill(channel, queue, b"2")
    equal(second.bodies(), [b"2"])
    held.basic_reject(delivery.tag, requeue=True)
    equal(second.bodies(), [b"1"])


@check("A6.5 single active consumer: one that is full does not make way")
def _(client):
    channel = client.channel(confirms=True)
    queue = single(client, channel)
    full = client.channel()
    full.basic_qos(prefetch_count=1)
    first, second = Consumer(full, queue), Consumer(client.channel(), queue)
    fill(channel, queue, b"1", b"2", b"3")
    delivery = first.take(1)[0]
    second.nothing()
    full.basic_ack(delivery.tag)
    equal(first.bodies(), [b"2"])


@check("A6.5 single active consumer: the cancel of one that waits changes nothing")
def _(client):
    channel = client.channel(confirms=True)
    queue = single(client, channel)
    first, waiting = Consumer(client.channel(), queue), client.channel()
    second = Consumer(waiting, queue)
    waiting.basic_cancel(second.tag)
    fill(channel, queue, b"1")
    equal(first.bodies(), [b"1"])


@check("A6.5 single active consumer: of those that wait the one of highest priority is next")
def _(client):
    channel = client.channel(confirms=True)
    queue = single(client, channel)
    active = client.channel()
    first = Consumer(active, queue)
    low, high, late = (ranked(client.channel(), queue, priority) for priority in (1, 5, 5))
    # The active one stays, whoever comes.
    fill(channel, queue, b"1")
    delivery = first.take(1)[0]
    equal(delivery.body, b"1")
    active.basic_ack(delivery.tag)
    active.basic_cancel(first.tag)
    fill(channel, queue, b"2")
    equal(high.bodies(), [b"2"])
    low.nothing()
    late.nothing()


@check("A6.5 single active consumer: exclusive consumers are refused")
def _(client):
    queue = single(client, client.channel())
    with refused(403, f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"):
        Consumer(client.channel(), queue, exclusive=True)


@check("A6.5 single active consumer: get takes what is ready")
def _(client):
    channel = client.channel(confirms=True)
    queue = single(client, channel)
    fill(channel, queue, b"1")
    equal(get(channel, queue).body, b"1")


@check("A2 x-single-active-consumer is compared, and must be a flag")
def _(client):
    channel = client.channel()
    queue = single(client, channel)
    text = (
        f"PRECONDITION_FAILED - inequivalent arg 'x-single-active-consumer' for queue '{queue}' in vhost '/': "
        "received none but current is the value 'true' of type 'bool'"
    )
    with refused(406, text):
        client.channel().queue_declare(queue)


@check("A6.4 priority: the highest gets all while it can")
def _(client):
    channel = client.channel(confirms=True)
    queue = client.name("q")
    channel.queue_declare(queue)
    low, high = ranked(client.channel(), queue, 1), ranked(client.channel(), queue, 10)
    fill(channel, queue, *[b"%d" % number for number in range(10)])
    equal(high.bodies(10), [b"%d" % number for number in range(10)])
    low.nothing()


@check("A6.4 priority: a full one leaves the rest to lower ones, and takes over again")
def _(client):
    channel = client.channel(confirms=True)
    queue = client.name("q")
    channel.queue_declare(queue)
    busy = client.channel()
    busy.basic_qos(prefetch_count=2)
    high = ranked(busy, queue, 10)
    low = ranked(client.channel(), queue, -10, auto_ack=True)
    fill(channel, queue, b"1", b"2", b"3", b"4")
    held = high.take(2)
    equal([delivery.body for delivery in held], [b"1", b"2"])
    equal(low.bodies(2), [b"3", b"4"])
    busy.basic_ack(held[-1].tag, multiple=True)
    holds(busy, queue, 0)
    fill(channel, queue, b"5", b"6", b"7")
    equal((high.bodies(2), low.bodies(1)), ([b"5", b"6"], [b"7"]))


@check("A6.4 priority: 0 if not given, and may be negative")
def _(client):
    channel = client.channel(confirms=True)
    queue = client.name("q")
    channel.queue_declare(queue)
    below = ranked(client.channel(), queue, -1)
    plain = Consumer(client.channel(), queue)
    fill(channel, queue, b"1")
    equal(plain.bodies(), [b"1"])
    above = ranked(client.channel(), queue, 1)
    fill(channel, queue, b"2")
    equal(above.bodies(), [b"2"])
    below.nothing()


@check("A6.4 priority: equal ones take turns")
def _(client):
    channel = client.channel(confirms=True)
    queue = client.name("q")
    channel.queue_declare(queue)
    ranked(client.channel(), queue, 1)
    pair = [ranked(client.channel(), queue, 5) for _ in range(2)]
    fill(channel, queue, *[b"%d" % number for number in range(10)])
    equal([len(consumer.bodies(5)) for consumer in pair], [5, 5])


@check("A6.4 priority: the highest one's end leaves all to the next, what it held first")
def _(client):
    channel = client.channel(confirms=True)
    queue = client.name("q")
    channel.queue_declare(queue)
    top = client.channel()
    high, low = ranked(top, queue, 10), ranked(client.channel(), queue, 1)
    fill(channel, queue, b"1", b"2")
    equal(high.bodies(2), [b"1", b"2"])
    top.connection.close()
    fill(channel, queue, b"3")
    equal(low.bodies(3), [b"1", b"2", b"3"])


@check("A2 a consumer's priority must be a number")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue)
    text = f"PRECONDITION_FAILED - invalid arg 'x-priority' for queue '{queue}' in vhost '/': "
    with refused(406, text + "{unacceptable_type,longstr}", text + '"expected integer, got longstr"'):
        ranked(channel, queue, "high")


main()
