"""Dead letters: why messages die, where they go, what is written on them."""

import datetime

from client import Consumer, check, drain, equal, fill, get, holds, main, ready, refused


def grave(client, channel):
    """A queue for the dead, and the arguments of a queue whose dead go there."""
    dead = client.name("dead")
    channel.queue_declare(dead)
    return dead, {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}


def dying(client, channel, arguments, **options):
    queue = client.name("q")
    channel.queue_declare(queue, arguments=arguments, **options)
    return queue


def reject(channel, queue):
    """Has the first message of a queue die."""
    channel.basic_reject(get(channel, queue).tag, requeue=False)


def buried(channel, queue):
    """The next dead letter, once it is there."""
    consumer = Consumer(channel, queue, auto_ack=True)
    letter = consumer.take(1)[0]
    channel.basic_cancel(consumer.tag)
    return letter


def last_death(letter):
    """x-death's first line, but for the time."""
    death = dict(letter.properties.headers["x-death"][0])
    assert isinstance(death.pop("time"), datetime.datetime), "no time of death"
    return death


@check("A7.1 rejected: by reject, and by nack of several, in order")
def _(client):
    channel = client.channel(confirms=True)
    dead, arguments = grave(client, channel)
    queue = dying(client, channel, arguments)
    fill(channel, queue, b"1", b"2", b"3", b"4")
    reject(channel, queue)
    tags = [get(channel, queue).tag for _ in range(3)]
    channel.basic_nack(tags[-1], multiple=True, requeue=False)
    holds(channel, dead, 4)
    equal((ready(channel, queue), drain(channel, dead)), (0, [b"1", b"2", b"3", b"4"]))


@check("A7.1 rejected with requeue is not dead")
def _(client):
    channel = client.channel(confirms=True)
    dead, arguments = grave(client, channel)
    queue = dying(client, channel, arguments)
    fill(channel, queue, b"1")
    channel.basic_reject(get(channel, queue).tag, requeue=True)
    equal((drain(channel, queue), drain(channel, dead)), ([b"1"], []))


@check("A7.1 acked, purged and deleted are not dead")
def _(client):
    channel = client.channel(confirms=True)
    dead, arguments = grave(client, channel)
    queue = dying(client, channel, arguments)
    fill(channel, queue, b"1", b"2", b"3")
    channel.basic_ack(get(channel, queue).tag)
    equal(channel.queue_purge(queue).method.message_count, 2)
    fill(channel, queue, b"4")
    channel.queue_delete(queue)
    equal(drain(channel, dead), [])


@check("A7.2 x-death of a rejected message")
def _(client):
    channel = client.channel(confirms=True)
    dead, arguments = grave(client, channel)
    exchange = client.name("x")
    channel.exchange_declare(exchange, "direct")
    queue = dying(client, channel, arguments)
    channel.queue_bind(queue, exchange, "key")
    channel.basic_publish(exchange, "key", b"m")
    reject(channel, queue)
    letter = buried(channel, dead)
    expected = {"count": 1, "reason": "rejected", "queue": queue, "exchange": exchange, "routing-keys": ["key"]}
    equal(last_death(letter), expected)
    equal(len(letter.properties.headers["x-death"]), 1)
    equal((letter.exchange, letter.routing_key, letter.redelivered, letter.body), ("", dead, False, b"m"))


@check("A7.2 x-death of an expired message: original-expiration if it was its own")
def _(client):
    channel = client.channel(confirms=True)
    dead, arguments = grave(client, channel)
    queue = dying(client, channel, arguments)
    fill(channel, queue, b"m", expiration="100")
    letter = buried(channel, dead)
    expected = {"count": 1, "reason": "expired", "queue": queue, "exchange": "", "routing-keys": [queue]}
    equal(last_death(letter), expected | {"original-expiration": "100"})
    queue = dying(client, channel, arguments | {"x-message-ttl": 100})
    fill(channel, queue, b"m")
    equal(last_death(buried(channel, dead)), expected | {"queue": queue, "routing-keys": [queue]})


@check("A7.2 x-death of one that had to make room")
def _(client):
    channel = client.channel(confirms=True)
    dead, arguments = grave(client, channel)
    queue = dying(client, channel, arguments | {"x-max-length": 1})
    fill(channel, queue, b"1", b"2")
    letter = buried(channel, dead)
    expected = {"count": 1, "reason": "maxlen", "queue": queue, "exchange": "", "routing-keys": [queue]}
    equal((letter.body, last_death(letter)), (b"1", expected))
    equal(drain(channel, queue), [b"2"])


@check("A7.2 x-death counts deaths, the latest queue and reason come first")
def _(client):
    channel = client.channel(confirms=True)
    first, second = client.name("first"), client.name("second")
    channel.queue_declare(first, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": second})
    channel.queue_declare(second, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": first})
    fill(channel, first, b"m")
    for queue in [first, second, first, second, first]:
        holds(channel, queue, 1)
        reject(channel, queue)
    holds(channel, second, 1)
    deaths = get(channel, second).properties.headers["x-death"]
    lines = [(death["queue"], death["reason"], death["count"]) for death in deaths]
    equal(lines, [(first, "rejected", 3), (second, "rejected", 2)])


@check("A7.2 x-death has a line for each reason")
def _(client):
    channel = client.channel(confirms=True)
    queue = client.name("q")
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}
    channel.queue_declare(queue, arguments=arguments)
    dead, to_dead = grave(client, channel)
    other = dying(client, channel, to_dead)
    channel.queue_delete(queue)
    channel.queue_declare(queue, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": other})
    fill(channel, queue, b"m", expiration="100")
    holds(channel, other, 1)
    reject(channel, other)
    deaths = buried(channel, dead).properties.headers["x-death"]
    lines = [(death["queue"], death["reason"], death["count"]) for death in deaths]
    equal(lines, [(other, "rejected", 1), (queue, "expired", 1)])


@check("A7.3 x-first-death stays, x-last-death follows")
def _(client):
    channel = client.channel(confirms=True)
    dead, arguments = grave(client, channel)
    second = dying(client, channel, arguments)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": second, "x-message-ttl": 100}
    first = dying(client, channel, arguments)
    fill(channel, first, b"m")
    holds(channel, second, 1)
    reject(channel, second)
    headers = buried(channel, dead).properties.headers

    def of(which):
        return [headers.get(f"x-{which}-death-{what}") for what in ("reason", "queue", "exchange")]

    equal(of("first"), ["expired", first, ""])
    # Only 4.x tells of the last death.
    assert of("last") in (["rejected", second, ""], [None] * 3), of("last")


@check("A7.4 without a key of the queue's, the message's own")
def _(client):
    channel = client.channel(confirms=True)
    exchange, dead = client.name("dlx"), client.name("dead")
    channel.exchange_declare(exchange, "topic")
    channel.queue_declare(dead)
    queue = dying(client, channel, {"x-dead-letter-exchange": exchange})
    channel.queue_bind(dead, exchange, queue)
    channel.queue_bind(queue, "amq.direct", queue + "-key")
    fill(channel, queue, b"1")
    channel.basic_publish("amq.direct", queue + "-key", b"2")
    reject(channel, queue)
    reject(channel, queue)
    channel.queue_bind(dead, exchange, queue + "-key")
    letter = buried(channel, dead)
    equal((letter.body, letter.exchange, letter.routing_key), (b"1", exchange, queue))
    equal(drain(channel, dead), [])


@check("A7.4 CC and BCC are routing keys of the dead, too")
def _(client):
    channel = client.channel(confirms=True)
    exchange = client.name("dlx")
    channel.exchange_declare(exchange, "direct")
    queue = dying(client, channel, {"x-dead-letter-exchange": exchange})
    copies = [client.name(stem) for stem in ("own", "cc")]
    for name, key in zip(copies, [queue, "copy"]):
        channel.queue_declare(name)
        channel.queue_bind(name, exchange, key)
    fill(channel, queue, b"m", headers={"CC": ["copy"]})
    reject(channel, queue)
    for name in copies:
        letter = buried(channel, name)
        # Whether the exchange's delivery names the message's key or the copy's is up to the exchange.
        equal((letter.body, letter.properties.headers["CC"]), (b"m", ["copy"]))
        equal(sorted(last_death(letter)["routing-keys"]), sorted([queue, "copy"]))


@check("A7.4 a key of the queue's replaces CC")
def _(client):
    channel = client.channel(confirms=True)
    exchange, copy = client.name("dlx"), client.name("copy")
    channel.exchange_declare(exchange, "direct")
    dead = client.name("dead")
    for name, key in [(dead, "dead"), (copy, "copy")]:
        channel.queue_declare(name)
        channel.queue_bind(name, exchange, key)
    queue = dying(client, channel, {"x-dead-letter-exchange": exchange, "x-dead-letter-routing-key": "dead"})
    fill(channel, queue, b"m", headers={"CC": ["copy"]})
    reject(channel, queue)
    letter = buried(channel, dead)
    equal("CC" in letter.properties.headers, False)
    equal(drain(channel, copy), [])


@check("A7.4 BCC is not among the routing keys of x-death")
def _(client):
    channel = client.channel(confirms=True)
    dead, arguments = grave(client, channel)
    queue = dying(client, channel, arguments)
    fill(channel, queue, b"m", headers={"BCC": ["hidden"]})
    reject(channel, queue)
    letter = buried(channel, dead)
    equal("BCC" in letter.properties.headers, False)
    equal(last_death(letter)["routing-keys"], [queue])


@check("A7.4 BCC still is where the dead go without a key of the queue's")
def _(client):
    channel = client.channel(confirms=True)
    exchange, hidden = client.name("dlx"), client.name("hidden")
    channel.exchange_declare(exchange, "direct")
    channel.queue_declare(hidden)
    channel.queue_bind(hidden, exchange, "hidden")
    queue = dying(client, channel, {"x-dead-letter-exchange": exchange})
    fill(channel, queue, b"m", headers={"BCC": ["hidden"]})
    reject(channel, queue)
    equal(buried(channel, hidden).body, b"m")


@check("A7.4 one dead message, several queues")
def _(client):
    channel = client.channel(confirms=True)
    exchange = client.name("dlx")
    channel.exchange_declare(exchange, "fanout")
    names = [client.name("dead") for _ in range(5)]
    for name in names:
        channel.queue_declare(name, durable=True)
        channel.queue_bind(name, exchange)
    queue = dying(client, channel, {"x-dead-letter-exchange": exchange}, durable=True)
    fill(channel, queue, b"1", b"2", delivery_mode=2)
    reject(channel, queue)
    reject(channel, queue)
    for name in names:
        holds(channel, name, 2)
        equal(drain(channel, name), [b"1", b"2"])


@check("A7.4 no dead-letter exchange of that name: dropped")
def _(client):
    channel = client.channel(confirms=True)
    queue = dying(client, channel, {"x-dead-letter-exchange": client.name("none")})
    fill(channel, queue, b"1", b"2")
    reject(channel, queue)
    equal(drain(channel, queue), [b"2"])


@check("A7.4 the exchange may come later than the queue, and be internal")
def _(client):
    channel = client.channel(confirms=True)
    exchange, dead = client.name("dlx"), client.name("dead")
    queue = dying(client, channel, {"x-dead-letter-exchange": exchange})
    channel.exchange_declare(exchange, "fanout", internal=True)
    channel.queue_declare(dead)
    channel.queue_bind(dead, exchange)
    fill(channel, queue, b"1")
    reject(channel, queue)
    equal(buried(channel, dead).body, b"1")


@check("A7.4 an alternate exchange takes the dead that go nowhere")
def _(client):
    channel = client.channel(confirms=True)
    exchange, spare, dead = client.name("dlx"), client.name("spare"), client.name("dead")
    channel.exchange_declare(spare, "fanout")
    channel.exchange_declare(exchange, "direct", arguments={"alternate-exchange": spare})
    channel.queue_declare(dead)
    channel.queue_bind(dead, spare)
    queue = dying(client, channel, {"x-dead-letter-exchange": exchange})
    fill(channel, queue, b"1")
    reject(channel, queue)
    equal(buried(channel, dead).body, b"1")


@check("A7.5 the expiration is taken off, and the letter does not expire again")
def _(client):
    channel = client.channel(confirms=True)
    dead, arguments = grave(client, channel)
    queue = dying(client, channel, arguments)
    fill(channel, queue, b"m", expiration="200", delivery_mode=2, message_id="id", headers={"mine": 1})
    holds(channel, dead, 1)
    channel.connection.sleep(0.6)
    letter = get(channel, dead)
    properties = letter.properties
    equal(properties.expiration, None)
    equal((properties.delivery_mode, properties.message_id, properties.headers["mine"]), (2, "id", 1))


@check("A7.5 the next queue's own time to live holds for a letter")
def _(client):
    channel = client.channel(confirms=True)
    dead, arguments = grave(client, channel)
    second = dying(client, channel, arguments | {"x-message-ttl": 200})
    to_second = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": second}
    first = dying(client, channel, to_second | {"x-message-ttl": 200})
    fill(channel, first, b"m")
    letter = buried(channel, dead)
    equal([death["queue"] for death in letter.properties.headers["x-death"]], [second, first])


@check("A7.6 a circle without a rejection ends")
def _(client):
    channel = client.channel(confirms=True)
    queue = client.name("q")
    # Back to itself.
    arguments = {"x-dead-letter-exchange": "", "x-message-ttl": 100}
    channel.queue_declare(queue, arguments=arguments)
    fill(channel, queue, b"m")
    holds(channel, queue, 0)
    Consumer(channel, queue).nothing()


@check("A7.6 a circle of two queues without a rejection ends, other targets get it")
def _(client):
    channel = client.channel(confirms=True)
    exchange, other = client.name("x"), client.name("other")
    channel.exchange_declare(exchange, "fanout")
    second = client.name("second")
    to_second = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": second}
    first = dying(client, channel, to_second | {"x-message-ttl": 50})
    channel.queue_declare(second, arguments={"x-dead-letter-exchange": exchange, "x-message-ttl": 50})
    channel.queue_declare(other)
    channel.queue_bind(first, exchange)
    channel.queue_bind(other, exchange)
    fill(channel, first, b"m")
    equal(buried(channel, other).body, b"m")
    channel.connection.sleep(0.3)
    equal([ready(channel, name) for name in (first, second, other)], [0, 0, 0])


@check("A7.6 a circle with a rejection goes on: retry after a while")
def _(client):
    channel = client.channel(confirms=True)
    work, retry = client.name("work"), client.name("retry")
    channel.queue_declare(work, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": retry})
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": work, "x-message-ttl": 50}
    channel.queue_declare(retry, arguments=arguments)
    consumer = Consumer(channel, work)
    fill(channel, work, b"m")
    for turn in range(5):
        delivery = consumer.take(1)[0]
        deaths = (delivery.properties.headers or {}).get("x-death", [])
        lines = [(death["queue"], death["count"]) for death in deaths]
        equal(lines, [(retry, turn), (work, turn)] if turn else [])
        channel.basic_reject(delivery.tag, requeue=False)


@check("A7.1 500 rejected at once arrive in order, each once")
def _(client):
    channel = client.channel(confirms=True)
    dead, arguments = grave(client, channel)
    queue = dying(client, channel, arguments)
    bodies = [b"%d" % number for number in range(500)]
    fill(channel, queue, *bodies)
    consumer = Consumer(channel, queue)
    last = consumer.take(500)[-1]
    channel.basic_nack(last.tag, multiple=True, requeue=False)
    holds(channel, dead, 500)
    equal(drain(channel, dead), bodies)


@check("A7.10 letters make the next queue overflow, and its dead go on")
def _(client):
    channel = client.channel(confirms=True)
    dead, arguments = grave(client, channel)
    second = dying(client, channel, arguments | {"x-max-length": 1})
    to_second = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": second}
    first = dying(client, channel, to_second | {"x-max-length": 1})
    fill(channel, first, b"1", b"2", b"3", b"4")
    holds(channel, dead, 2)
    equal([drain(channel, name) for name in (first, second, dead)], [[b"4"], [b"3"], [b"1", b"2"]])


@check("A7.10 a full queue that rejects loses a letter")
def _(client):
    channel = client.channel(confirms=True)
    full = dying(client, channel, {"x-max-length": 1, "x-overflow": "reject-publish"})
    fill(channel, full, b"there")
    queue = dying(client, channel, {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": full})
    fill(channel, queue, b"m")
    reject(channel, queue)
    equal(drain(channel, queue), [])
    client.channel().connection.sleep(0.2)
    equal(drain(channel, full), [b"there"])


@check("A2 a dead-letter key without an exchange is 406, and what is no string")
def _(client):
    queue = client.name("q")
    about = f"PRECONDITION_FAILED - invalid arg 'x-dead-letter-{{}}' for queue '{queue}' in vhost '/': {{}}"
    with refused(406, about.format("routing-key", "routing_key_but_no_dlx_defined")):
        client.channel().queue_declare(queue, arguments={"x-dead-letter-routing-key": "k"})
    with refused(
        406,
        about.format("exchange", "{unacceptable_type,signedint}"),
        # 3.10
        "PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' "
        f"in queue '{queue}' in vhost '/'",
    ):
        client.channel().queue_declare(queue, arguments={"x-dead-letter-exchange": 1})



main()
