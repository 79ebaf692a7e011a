"""Queues: names, counts, whose they are, when they go."""

from client import (
    Consumer,
    bound,
    check,
    consumers,
    drain,
    equal,
    fill,
    get,
    gone,
    holds,
    main,
    missing_queue,
    ready,
    refused,
    temporary,
)


def locked(queue):
    return refused(
        405,
        f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. It could be "
        "originally declared on another connection or the exclusive property value does not match that of the "
        "original declaration.",
    )


@check("A4.1 declare-ok counts what is ready and who consumes")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    equal(channel.queue_declare(queue).method.message_count, 0)
    fill(channel, queue, b"1", b"2", b"3")
    get(channel, queue)
    holds(channel, queue, 2)
    declared = channel.queue_declare(queue).method
    equal((declared.queue, declared.message_count, declared.consumer_count), (queue, 2, 0))
    other = client.channel()
    other.basic_qos(prefetch_count=1)
    Consumer(other, queue).take(1)
    holds(channel, queue, 1)
    declared = channel.queue_declare(queue, passive=True).method
    equal((declared.queue, declared.message_count, declared.consumer_count), (queue, 1, 1))


@check("A4.2 the server names queues")
def _(client):
    channel = client.channel()
    first, second = temporary(channel), temporary(channel)
    equal([name.startswith("amq.gen-") for name in (first, second)], [True, True])
    assert first != second, "one name for two queues"


@check("A4.2 an empty name means the last declared queue")
def _(client):
    channel = client.channel()
    temporary(channel)
    last = temporary(channel)
    fill(channel, last, b"1", b"2")
    equal(get(channel, "", auto_ack=True).body, b"1")
    equal(channel.queue_purge("").method.message_count, 1)
    fill(channel, last, b"3")
    equal(Consumer(channel, "").bodies(), [b"3"])
    channel.queue_delete("")
    gone(client, queue=last)
    # Not so for a passive declare: it looks for a queue of that very name.
    with missing_queue(""):
        channel.queue_declare("", passive=True)


@check("A2 an empty name before any declare is 404")
def _(client):
    with refused(404, "NOT_FOUND - no previously declared queue"):
        client.channel().basic_get("")


@check("A2 reserved queue names")
def _(client):
    channel = client.channel()
    for name in ["amq.mine", "amq."]:
        with refused(403, f"ACCESS_REFUSED - queue name '{name}' contains reserved prefix 'amq.*'"):
            client.channel().queue_declare(name)
    # A name the server gave cannot be declared by the client, but it can be asked for.
    named = temporary(channel)
    channel.queue_declare(named, passive=True)
    with refused(403, f"ACCESS_REFUSED - queue name '{named}' contains reserved prefix 'amq.*'"):
        channel.queue_declare(named, exclusive=True)


@check("A4.3 exclusive: 405 on every other connection, whatever it asks")
def _(client):
    owner = client.channel()
    queue = client.name("q")
    owner.queue_declare(queue, exclusive=True)
    # The binding must be there: RabbitMQ does not look at the queue to undo one that is not.
    owner.queue_bind(queue, "amq.direct", "k")
    other = client.connect()
    uses = {
        "declare": lambda channel: channel.queue_declare(queue, exclusive=True),
        "declare it shared": lambda channel: channel.queue_declare(queue),
        "passive": lambda channel: channel.queue_declare(queue, passive=True),
        "bind": lambda channel: channel.queue_bind(queue, "amq.fanout"),
        "unbind": lambda channel: channel.queue_unbind(queue, "amq.direct", "k"),
        "consume": lambda channel: channel.basic_consume(queue, print),
        "get": lambda channel: channel.basic_get(queue),
        "purge": lambda channel: channel.queue_purge(queue),
        "delete": lambda channel: channel.queue_delete(queue),
    }
    for name, use in uses.items():
        try:
            with locked(queue):
                use(other.channel())
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
    # Publishing to it is everybody's right.
    sender = other.channel()
    sender.confirm_delivery()
    sender.basic_publish("", queue, b"m", mandatory=True)
    equal(drain(owner, queue), [b"m"])


@check("A4.3 exclusive: other channels of its connection may use it")
def _(client):
    connection = client.connect()
    queue = temporary(connection.channel())
    second = connection.channel()
    fill(second, queue, b"m")
    equal(drain(second, queue), [b"m"])


@check("A4.3 exclusive: the flag cannot change")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue, exclusive=True)
    with locked(queue):
        channel.queue_declare(queue)
    channel = client.channel()
    shared = client.name("q")
    channel.queue_declare(shared)
    with locked(shared):
        channel.queue_declare(shared, exclusive=True)


@check("A4.3 exclusive: durable means nothing")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue, exclusive=True, durable=True)
    channel.queue_declare(queue, exclusive=True)


@check("A4.3 exclusive: gone when close-ok arrives")
def _(client):
    queue = client.name("q")
    for _ in range(20):
        owner = client.connect()
        owner.channel().queue_declare(queue, exclusive=True)
        owner.close()
        gone(client, queue=queue)


@check("A4.4 auto-delete: with the last consumer's cancel")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue, auto_delete=True)
    first, second = Consumer(channel, queue), Consumer(channel, queue)
    channel.basic_cancel(first.tag)
    equal(consumers(channel, queue), 1)
    channel.basic_cancel(second.tag)
    gone(client, queue=queue)


@check("A4.4 auto-delete: with the channel, with the connection")
def _(client):
    for close in [lambda channel: channel.close(), lambda channel: channel.connection.close()]:
        queue = client.name("q")
        channel = client.channel()
        channel.queue_declare(queue, auto_delete=True)
        Consumer(channel, queue)
        close(channel)
        gone(client, queue=queue)


@check("A4.4 auto-delete: never consumed, never deleted")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue, auto_delete=True)
    fill(channel, queue, b"m")
    equal(drain(channel, queue), [b"m"])
    channel.connection.close()
    equal(ready(client.channel(), queue), 0)


@check("A4.8 purge takes what is ready and counts it")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    fill(channel, queue, b"1", b"2", b"3")
    held = get(channel, queue)
    equal(channel.queue_purge(queue).method.message_count, 2)
    equal(channel.queue_purge(queue).method.message_count, 0)
    channel.basic_nack(held.tag, requeue=True)
    equal(drain(channel, queue), [b"1"])


@check("A4.9 delete counts what is ready; deleting again is ok")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue)
    fill(channel, queue, b"1", b"2", b"3")
    get(channel, queue)
    equal(channel.queue_delete(queue).method.message_count, 2)
    equal(channel.queue_delete(queue).method.message_count, 0)


@check("A4.9 a deleted queue leaves no bindings behind")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue)
    channel.queue_bind(queue, "amq.direct", queue + "-key")
    channel.queue_delete(queue)
    channel.queue_declare(queue)
    channel.basic_publish("amq.direct", queue + "-key", b"m")
    equal(drain(channel, queue), [])


@check("A2 delete if-unused, if-empty")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue)
    consumer = Consumer(channel, queue)
    with refused(406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use"):
        client.channel().queue_delete(queue, if_unused=True)
    channel.basic_cancel(consumer.tag)
    fill(channel, queue, b"m")
    # From another channel the count would not be exact before the message is seen to be there.
    holds(channel, queue, 1)
    with refused(406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty"):
        client.channel().queue_delete(queue, if_empty=True)
    channel.queue_purge(queue)
    channel.queue_delete(queue, if_unused=True, if_empty=True)
    gone(client, queue=queue)


@check("A2 redeclared otherwise is 406")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue, durable=True, arguments={"x-max-priority": 5})
    channel.queue_declare(queue, durable=True, arguments={"x-max-priority": 5})
    # An argument the broker does not know is not compared.
    channel.queue_declare(queue, durable=True, arguments={"x-max-priority": 5, "x-unknown": 1})
    plain = client.name("q")
    channel.queue_declare(plain, durable=True)
    cases = [
        (queue, {"arguments": {"x-max-priority": 5}}, "durable", "received 'false' but current is 'true'"),
        (
            queue,
            {"durable": True, "auto_delete": True, "arguments": {"x-max-priority": 5}},
            "auto_delete",
            "received 'true' but current is 'false'",
        ),
        (
            queue,
            {"durable": True, "arguments": {"x-max-priority": 6}},
            "x-max-priority",
            "received '6' but current is '5'",
        ),
        (
            queue,
            {"durable": True},
            "x-max-priority",
            "received none but current is the value '5' of type 'signedint'",
        ),
        (
            plain,
            {"durable": True, "arguments": {"x-max-priority": 5}},
            "x-max-priority",
            "received the value '5' of type 'signedint' but current is none",
        ),
    ]
    for name, options, field, difference in cases:
        text = f"PRECONDITION_FAILED - inequivalent arg '{field}' for queue '{name}' in vhost '/': {difference}"
        with refused(406, text):
            client.channel().queue_declare(name, **options)


@check("A2 of several differences the first is told: exclusive, durable, auto-delete")
def _(client):
    queue = client.name("q")
    client.channel().queue_declare(queue)
    with locked(queue):
        client.channel().queue_declare(queue, exclusive=True, durable=True, auto_delete=True)
    text = (
        f"PRECONDITION_FAILED - inequivalent arg 'durable' for queue '{queue}' in vhost '/': "
        "received 'true' but current is 'false'"
    )
    with refused(406, text):
        client.channel().queue_declare(queue, durable=True, auto_delete=True, arguments={"x-max-priority": 1})


@check("A2 passive declare of a queue asks for the name alone")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue, durable=True)
    channel.queue_declare(queue, passive=True, durable=False, auto_delete=True)


@check("A2 what a missing queue answers")
def _(client):
    connection = client.connect()
    queue = client.name("q")
    for use in [
        lambda channel: channel.queue_declare(queue, passive=True),
        lambda channel: channel.queue_bind(queue, "amq.fanout"),
        lambda channel: channel.queue_purge(queue),
        lambda channel: channel.basic_get(queue),
        lambda channel: channel.basic_consume(queue, print),
    ]:
        with missing_queue(queue):
            use(connection.channel())
    # To undo what is not there is no error, be its name reserved.
    channel = connection.channel()
    channel.queue_delete("amq.compliance-none")
    channel.queue_unbind(queue, "amq.fanout")
    channel.queue_delete(queue)


@check("A4 one message to 200 queues, and 200 bindings undone")
def _(client):
    channel = client.channel()
    exchange = client.name("fanout")
    channel.exchange_declare(exchange, "fanout")
    queues = [bound(channel, exchange) for _ in range(200)]
    channel.basic_publish(exchange, "", b"m")
    equal([drain(channel, queue) for queue in queues], [[b"m"]] * 200)
    for queue in queues:
        channel.queue_unbind(queue, exchange, "")
    channel.exchange_delete(exchange, if_unused=True)


main()
