"""Exchanges: the four types, what is there from the start, life and death."""

from client import bound, check, drain, equal, fill, gone, main, missing_exchange, refused, temporary
from pika import BasicProperties


def declare(client, channel, kind, **options):
    name = client.name(kind)
    channel.exchange_declare(name, kind, **options)
    return name


def reached(channel, queues, exchange, key, headers=None):
    """The names, in `queues`, of those that get a message published so; each may get it once only."""
    channel.basic_publish(exchange, key, b"m", BasicProperties(headers=headers))
    counts = {name: len(drain(channel, queue)) for name, queue in queues.items()}
    equal([name for name, count in counts.items() if count > 1], [])
    return {name for name, count in counts.items() if count}


@check("A3.1 the predeclared exchanges")
def _(client):
    channel = client.channel()
    kinds = {
        "amq.direct": "direct",
        "amq.fanout": "fanout",
        "amq.topic": "topic",
        "amq.headers": "headers",
        "amq.match": "headers",
    }
    for name, kind in kinds.items():
        channel.exchange_declare(name, kind, passive=True)
        channel.exchange_declare(name, kind, durable=True)
    channel.exchange_declare("amq.rabbitmq.trace", "topic", durable=True, internal=True)


@check("A3.2 direct: the key must be equal")
def _(client):
    channel = client.channel()
    exchange = declare(client, channel, "direct")
    queues = {"red": bound(channel, exchange, "red"), "blue": bound(channel, exchange, "blue")}
    queues["also red"] = bound(channel, exchange, "red")
    equal(reached(channel, queues, exchange, "red"), {"red", "also red"})
    equal(reached(channel, queues, exchange, "blue"), {"blue"})
    equal(reached(channel, queues, exchange, "Red"), set())
    equal(reached(channel, queues, exchange, ""), set())


@check("A3.2 direct: two bindings to one queue deliver one copy")
def _(client):
    channel = client.channel()
    exchange = declare(client, channel, "direct")
    queue = bound(channel, exchange, "k")
    channel.queue_bind(queue, exchange, "k")
    channel.queue_bind(queue, exchange, "k", {"other": "binding"})
    channel.basic_publish(exchange, "k", b"once")
    equal(drain(channel, queue), [b"once"])


@check("A3.3 fanout ignores the key")
def _(client):
    channel = client.channel()
    exchange = declare(client, channel, "fanout")
    queues = {"a": bound(channel, exchange, "x"), "b": bound(channel, exchange)}
    equal(reached(channel, queues, exchange, ""), {"a", "b"})
    equal(reached(channel, queues, exchange, "nobody.bound.this"), {"a", "b"})


@check("A3.4 topic: words and wildcards")
def _(client):
    channel = client.channel()
    exchange = declare(client, channel, "topic")
    patterns = ["#", "*", "*.*", "a.*", "a.#", "#.b", "*.b.#", "a.b", "a.*.c", "a.#.c", "#.b.#", "a..c", "*.#", "#.*"]
    queues = {pattern: bound(channel, exchange, pattern) for pattern in patterns}
    expected = {
        "a": {"#", "*", "a.#", "*.#", "#.*"},
        "b": {"#", "*", "#.b", "#.b.#", "*.#", "#.*"},
        "a.b": {"#", "*.*", "a.*", "a.#", "#.b", "*.b.#", "a.b", "#.b.#", "*.#", "#.*"},
        "a.c": {"#", "*.*", "a.*", "a.#", "a.#.c", "*.#", "#.*"},
        "a.b.c": {"#", "a.#", "*.b.#", "a.*.c", "a.#.c", "#.b.#", "*.#", "#.*"},
        "a..c": {"#", "a.#", "a.*.c", "a.#.c", "a..c", "*.#", "#.*"},
        "a.x.y.c": {"#", "a.#", "a.#.c", "*.#", "#.*"},
        ".": {"#", "*.*", "*.#", "#.*"},
    }
    for key, patterns in expected.items():
        try:
            equal(reached(channel, queues, exchange, key), patterns)
        except AssertionError as error:
            raise AssertionError(f"key {key!r}: {error}") from error


@check("A3.4 topic: an empty key has no words")
def _(client):
    channel = client.channel()
    exchange = declare(client, channel, "topic")
    queues = {pattern: bound(channel, exchange, pattern) for pattern in ["#", "*", "#.#", "*.#"]}
    equal(reached(channel, queues, exchange, ""), {"#", "#.#"})


@check("A3.4 topic: unbinding one pattern leaves the others")
def _(client):
    channel = client.channel()
    exchange = declare(client, channel, "topic")
    queues = {pattern: bound(channel, exchange, pattern) for pattern in ["a.#", "a.*", "a.b"]}
    channel.queue_unbind(queues["a.*"], exchange, "a.*")
    equal(reached(channel, queues, exchange, "a.b"), {"a.#", "a.b"})
    channel.queue_unbind(queues["a.#"], exchange, "a.#")
    equal(reached(channel, queues, exchange, "a.b"), {"a.b"})


@check("A3.5 headers: all and any")
def _(client):
    channel = client.channel()
    exchange = declare(client, channel, "headers")
    queues = {
        "all": bound(channel, exchange, "", {"x-match": "all", "a": 1, "b": "two"}),
        "any": bound(channel, exchange, "", {"x-match": "any", "a": 1, "b": "two"}),
        "default": bound(channel, exchange, "", {"a": 1, "b": "two"}),
    }
    equal(reached(channel, queues, exchange, "", {"a": 1, "b": "two"}), {"all", "any", "default"})
    equal(reached(channel, queues, exchange, "", {"a": 1, "b": "two", "c": 3}), {"all", "any", "default"})
    equal(reached(channel, queues, exchange, "", {"a": 1}), {"any"})
    equal(reached(channel, queues, exchange, "", {"a": 2, "b": "two"}), {"any"})
    equal(reached(channel, queues, exchange, "", {"a": 2}), set())
    equal(reached(channel, queues, exchange, "", {}), set())
    equal(reached(channel, queues, exchange, "", None), set())


@check("A3.5 headers: bindings without pairs")
def _(client):
    channel = client.channel()
    exchange = declare(client, channel, "headers")
    queues = {
        "all": bound(channel, exchange, "", {"x-match": "all"}),
        "any": bound(channel, exchange, "", {"x-match": "any"}),
        "none": bound(channel, exchange),
    }
    equal(reached(channel, queues, exchange, "", {"a": 1}), {"all", "none"})
    equal(reached(channel, queues, exchange, ""), {"all", "none"})


@check("A3.5 headers: a void asks for the key alone")
def _(client):
    channel = client.channel()
    exchange = declare(client, channel, "headers")
    queues = {"void": bound(channel, exchange, "", {"a": None})}
    equal(reached(channel, queues, exchange, "", {"a": 5}), {"void"})
    equal(reached(channel, queues, exchange, "", {"a": "text"}), {"void"})
    equal(reached(channel, queues, exchange, "", {"b": 5}), set())


@check("A3.5 headers: pairs that start with x- are left out")
def _(client):
    channel = client.channel()
    exchange = declare(client, channel, "headers")
    queues = {"all": bound(channel, exchange, "", {"x-match": "all", "a": 1, "x-b": 2})}
    equal(reached(channel, queues, exchange, "", {"a": 1}), {"all"})


@check("A3.5 headers: an invalid x-match is 406")
def _(client):
    exchange = declare(client, client.channel(), "headers", auto_delete=True)
    cases = [
        ("foo", 'value <<"foo">>; expected all, any, all-with-x, or any-with-x'),
        (1, "type signedint (value 1); expected longstr"),
    ]
    for value, reason in cases:
        with refused(406, f"PRECONDITION_FAILED - Invalid x-match field {reason}"):
            bound(client.channel(), exchange, "", {"x-match": value})


@check("A3.5 headers: all-with-x and any-with-x look at pairs that start with x-")
def _(client):
    channel = client.channel()
    exchange = declare(client, channel, "headers")
    queues = {
        kind: bound(channel, exchange, "", {"x-match": kind, "a": 1, "x-b": 2}) for kind in ["all-with-x", "any-with-x"]
    }
    equal(reached(channel, queues, exchange, "", {"a": 1}), {"any-with-x"})
    equal(reached(channel, queues, exchange, "", {"x-b": 2}), {"any-with-x"})
    equal(reached(channel, queues, exchange, "", {"a": 1, "x-b": 2}), {"all-with-x", "any-with-x"})


@check("A3.5 headers: how values compare")
def _(client):
    channel = client.channel()
    exchange = declare(client, channel, "headers")
    queues = {
        "int": bound(channel, exchange, "", {"n": 1}),
        "text": bound(channel, exchange, "", {"n": "1"}),
        "bool": bound(channel, exchange, "", {"n": True}),
        "wide": bound(channel, exchange, "", {"n": 2**40}),
    }
    equal(reached(channel, queues, exchange, "", {"n": 1}), {"int"})
    equal(reached(channel, queues, exchange, "", {"n": "1"}), {"text"})
    equal(reached(channel, queues, exchange, "", {"n": True}), {"bool"})
    equal(reached(channel, queues, exchange, "", {"n": 2**40}), {"wide"})


@check("A3.6 default exchange reaches every queue by its name")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue)
    fill(channel, queue, b"m")
    equal(drain(channel, queue), [b"m"])


@check("A3.13 exchange to exchange")
def _(client):
    channel = client.channel()
    source = declare(client, channel, "topic")
    target = declare(client, channel, "fanout")
    channel.exchange_bind(target, source, "a.#")
    queue = bound(channel, target)
    channel.basic_publish(source, "a.b", b"1")
    channel.basic_publish(source, "b", b"2")
    channel.exchange_unbind(target, source, "a.#")
    channel.basic_publish(source, "a.b", b"3")
    equal(drain(channel, queue), [b"1"])


@check("A3.13 many ways and a circle deliver one copy")
def _(client):
    channel = client.channel()
    first, second, third = (declare(client, channel, "fanout") for _ in range(3))
    for target, source in [(second, first), (third, first), (third, second), (first, third)]:
        channel.exchange_bind(target, source)
    queue = bound(channel, third)
    channel.queue_bind(queue, second)
    channel.queue_bind(queue, first)
    channel.basic_publish(first, "", b"m")
    equal(drain(channel, queue), [b"m"])


@check("A3.13 internal exchange: by binding only")
def _(client):
    channel = client.channel()
    inner = declare(client, channel, "fanout", internal=True)
    outer = declare(client, channel, "fanout")
    channel.exchange_bind(inner, outer)
    queue = bound(channel, inner)
    channel.basic_publish(outer, "", b"m")
    equal(drain(channel, queue), [b"m"])
    text = f"ACCESS_REFUSED - cannot publish to internal exchange '{inner}' in vhost '/'"
    with refused(403, text):
        channel.basic_publish(inner, "", b"m")
        channel.queue_declare(queue, passive=True)


@check("A3.14 auto-delete exchange goes with its last binding")
def _(client):
    channel = client.channel()
    exchange = declare(client, channel, "direct", auto_delete=True)
    first, second = bound(channel, exchange, "1"), bound(channel, exchange, "2")
    channel.queue_unbind(first, exchange, "1")
    channel.exchange_declare(exchange, passive=True)
    channel.queue_delete(second)
    gone(client, exchange=exchange)


@check("A3.14 auto-delete exchange that was never bound stays")
def _(client):
    channel = client.channel()
    exchange = declare(client, channel, "direct", auto_delete=True)
    other = declare(client, channel, "fanout")
    # As a destination it does not count.
    channel.exchange_bind(exchange, other)
    channel.exchange_unbind(exchange, other)
    channel.exchange_declare(exchange, passive=True)


@check("A3.14 auto-delete goes up the chain")
def _(client):
    channel = client.channel()
    outer = declare(client, channel, "fanout", auto_delete=True)
    inner = declare(client, channel, "fanout", auto_delete=True)
    channel.exchange_bind(inner, outer)
    queue = bound(channel, inner)
    channel.queue_delete(queue)
    gone(client, exchange=inner)
    gone(client, exchange=outer)


@check("A3.15 bindings are told apart by key and arguments")
def _(client):
    channel = client.channel()
    exchange = declare(client, channel, "direct")
    queue = bound(channel, exchange, "k")
    channel.queue_bind(queue, exchange, "k", {"a": 1})
    channel.queue_unbind(queue, exchange, "k")
    channel.basic_publish(exchange, "k", b"1")
    channel.queue_unbind(queue, exchange, "k", {"a": 2})
    channel.basic_publish(exchange, "k", b"2")
    channel.queue_unbind(queue, exchange, "k", {"a": 1})
    channel.basic_publish(exchange, "k", b"3")
    equal(drain(channel, queue), [b"1", b"2"])


@check("A3.15 binding twice is binding once")
def _(client):
    channel = client.channel()
    exchange = declare(client, channel, "direct")
    queue = bound(channel, exchange, "k")
    channel.queue_bind(queue, exchange, "k")
    channel.queue_unbind(queue, exchange, "k")
    channel.basic_publish(exchange, "k", b"m")
    equal(drain(channel, queue), [])


@check("A3.16 empty queue and key mean the last declared queue and its name")
def _(client):
    channel = client.channel()
    exchange = declare(client, channel, "direct")
    queue = temporary(channel)
    channel.queue_bind("", exchange, "")
    channel.basic_publish(exchange, queue, b"by name")
    channel.basic_publish(exchange, "", b"by nothing")
    equal(drain(channel, queue), [b"by name"])


@check("A3.18 CC and BCC add routing keys")
def _(client):
    channel = client.channel()
    exchange = declare(client, channel, "direct")
    queues = {key: bound(channel, exchange, key) for key in ["to", "cc", "bcc"]}
    equal(reached(channel, queues, exchange, "to", {"CC": ["cc"], "BCC": ["bcc", "nobody"]}), {"to", "cc", "bcc"})
    channel.basic_publish(exchange, "to", b"m", BasicProperties(headers={"CC": ["cc"], "BCC": ["bcc"], "h": 1}))
    for queue in queues.values():
        _, properties, _ = channel.basic_get(queue, auto_ack=True)
        equal(properties.headers, {"CC": ["cc"], "h": 1})


@check("A3.18 what is no string in CC is passed over")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    channel.basic_publish("", "compliance-none", b"m", BasicProperties(headers={"CC": [1, None, queue]}))
    equal(drain(channel, queue), [b"m"])


@check("A3.18 a queue named twice gets one copy")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    fill(channel, queue, b"m", headers={"CC": [queue], "BCC": [queue]})
    equal(drain(channel, queue), [b"m"])


@check("A3.20 redeclared alike is ok, whatever unknown arguments")
def _(client):
    channel = client.channel()
    exchange = declare(client, channel, "direct", durable=True)
    channel.exchange_declare(exchange, "direct", durable=True)
    channel.exchange_declare(exchange, "direct", durable=True, arguments={"x-unknown": 1})


@check("A3.20 redeclared otherwise is 406")
def _(client):
    exchange = declare(client, client.channel(), "direct", durable=True)
    cases = [
        ("fanout", {"durable": True}, "type", "fanout", "direct"),
        ("direct", {}, "durable", "false", "true"),
        ("direct", {"durable": True, "auto_delete": True}, "auto_delete", "true", "false"),
        ("direct", {"durable": True, "internal": True}, "internal", "true", "false"),
    ]
    for kind, options, field, received, current in cases:
        text = (
            f"PRECONDITION_FAILED - inequivalent arg '{field}' for exchange '{exchange}' in vhost '/': "
            f"received '{received}' but current is '{current}'"
        )
        with refused(406, text):
            client.channel().exchange_declare(exchange, kind, **options)


@check("A2 passive declare of an exchange asks for the name alone")
def _(client):
    channel = client.channel()
    exchange = declare(client, channel, "topic", durable=True)
    channel.exchange_declare(exchange, "direct", passive=True, durable=False)


@check("A2 exchange delete: if-unused, deleted, deleted again")
def _(client):
    channel = client.channel()
    exchange = declare(client, channel, "direct")
    queue = bound(channel, exchange, "k")
    text = f"PRECONDITION_FAILED - exchange '{exchange}' in vhost '/' in use"
    with refused(406, text):
        client.channel().exchange_delete(exchange, if_unused=True)
    channel.queue_unbind(queue, exchange, "k")
    channel.exchange_delete(exchange, if_unused=True)
    channel.exchange_delete(exchange)
    with missing_exchange(exchange):
        channel.exchange_declare(exchange, passive=True)


main()
