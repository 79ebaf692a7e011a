"""RabbitMQ's own rabbitmqadmin v1, the one in Python that Debian has, through its whole command set."""

import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from api import api  # noqa: E402
from check import check, main, unique  # noqa: E402
from clients import Clients  # noqa: E402
from commands import HOST, PORT, Commands  # noqa: E402

FILES = tempfile.TemporaryDirectory()
DEFINITIONS = os.path.join(FILES.name, "definitions.json")
# Without a file of its own it would read the user's.
os.environ["HOME"] = FILES.name

admin = Commands("rabbitmqadmin", "v1", ["--host", HOST, "--port", PORT])
works = admin.works

V, USER = unique("v"), unique("u")
clients = Clients()


def there(path):
    return lambda: api(path) is not None


def gone(path):
    return lambda: api(path) is None


works("show overview", shows="3\\.|4\\.")
works("declare vhost", f"name={V}", shows="vhost declared", then=there(f"/vhosts/{V}"))
works("declare user", f"name={USER}", "password=secret", "tags=management", shows="user declared", then=there(f"/users/{USER}"))
works("declare permission", f"vhost={V}", f"user={USER}", "configure=.*", "write=.*", "read=.*", shows="permission declared")
works("declare queue", "name=q", "durable=true", 'arguments={"x-max-length":9}', vhost=V, shows="queue declared",
      then=lambda: api(f"/queues/{V}/q")["arguments"] == {"x-max-length": 9})
works("declare exchange", "name=x", "type=topic", vhost=V, shows="exchange declared", then=there(f"/exchanges/{V}/x"))
works("declare binding", "source=x", "destination=q", "routing_key=a.#", 'arguments={"n":1}', vhost=V, shows="binding declared")
works("declare policy", "name=p", "pattern=^q", 'definition={"max-length":5}', "apply-to=queues", vhost=V, shows="policy declared")
works("declare operator_policy", "name=o", "pattern=^q", 'definition={"max-length":4}', "apply-to=queues", vhost=V,
      shows="operator_policy declared", then=lambda: api(f"/queues/{V}/q")["operator_policy"] == "o")
works("declare vhost_limit", f"vhost={V}", "name=max-queues", "value=10", shows="vhost_limit declared")
works("declare parameter", "component=federation-upstream", "name=u", 'value={"uri":"amqp://"}', vhost=V, shows="parameter declared",
      then=there(f"/parameters/federation-upstream/{V}/u"))

works("list users", shows=USER)
works("list vhosts", shows=V)
works("list permissions", shows=USER)
works("list exchanges", vhost=V, shows="topic")
works("list queues", "name", "arguments", vhost=V, shows="q")
works("list bindings", "source", "destination", "routing_key", vhost=V, shows="a\\.#")
works("list policies", vhost=V, shows="max-length")
works("list operator_policies", vhost=V, shows="max-length")
works("list vhost_limits", shows="max-queues")
works("list parameters", shows="federation-upstream")
works("list nodes", shows="@|warren")

works("publish", "exchange=x", "routing_key=a.b", "payload=hello", vhost=V, shows="Message published$")
works("publish", "exchange=x", "routing_key=none", "payload=hello", vhost=V, shows="NOT routed")
works("publish", "exchange=x", "routing_key=a.b", "payload=aGVsbG8=", "payload_encoding=base64", 'properties={"priority":1}', vhost=V)
works("get", "queue=q", "ackmode=ack_requeue_false", vhost=V, shows="hello")
works("get", "queue=q", "count=5", "ackmode=ack_requeue_true", vhost=V, shows="hello")
works("purge queue", "name=q", vhost=V, shows="queue purged", then=lambda: "hello" not in json.dumps(api(f"/queues/{V}/q")))


@check("v1 formats, sorting and columns")
def formats():
    for words, shows in (
        (("--format", "raw_json"), '"name": *"q"'),
        (("--format", "pretty_json"), '"name": "q"'),
        (("--format", "tsv"), "q"),
        (("--format", "long"), "name: q"),
        (("--format", "kvp"), 'name="q"'),
        (("--format", "bash"), "q"),
        (("--sort", "messages", "--sort-reverse"), "q"),
        (("--depth", "3"), "q"),
    ):
        code, output = admin.run(["list", "queues", "name"], ["--vhost", V, *words])
        assert code == 0 and re.search(shows, output), (words, code, output)


@check("v1 a wrong password is refused")
def wrong():
    code, output = admin.run(["list", "queues"], ["-u", "guest", "-p", "wrong"])
    assert code != 0 and "Access refused" in output, output


works("list connections", "name", "user", then=clients.open)
works("list channels", shows="guest")
works("list consumers")
works("close connection", clients.named, shows="connection closed", then=clients.closed)

works("export", DEFINITIONS, shows="Exported definitions", then=lambda: "users" in json.load(open(DEFINITIONS)))
works("import", DEFINITIONS, shows="[Uu]ploaded|[Ii]mported")


def properties_key():
    bindings = api(f"/bindings/{V}/e/x/q/q")
    return f"properties_key={bindings[0]['properties_key']}"


works("delete binding", "source=x", "destination_type=queue", "destination=q", properties_key, vhost=V, shows="binding deleted")
works("delete parameter", "component=federation-upstream", "name=u", vhost=V, shows="parameter deleted")
works("delete vhost_limit", f"vhost={V}", "name=max-queues", shows="vhost_limit deleted")
works("delete policy", "name=p", vhost=V, shows="policy deleted", then=gone(f"/policies/{V}/p"))
works("delete operator_policy", "name=o", vhost=V, shows="operator_policy deleted")
works("delete queue", "name=q", vhost=V, shows="queue deleted", then=gone(f"/queues/{V}/q"))
works("delete exchange", "name=x", vhost=V, shows="exchange deleted", then=gone(f"/exchanges/{V}/x"))
works("delete permission", f"vhost={V}", f"user={USER}", shows="permission deleted")
works("delete user", f"name={USER}", shows="user deleted", then=gone(f"/users/{USER}"))
works("delete vhost", f"name={V}", shows="vhost deleted", then=gone(f"/vhosts/{V}"))


def commands():
    """All of them, as its help lists them."""
    text = subprocess.run(["rabbitmqadmin", "help", "subcommands"], capture_output=True, text=True, timeout=30).stdout
    two = re.findall(r"^  (list|show|declare|delete|close|purge) (\w+)", text, re.M)
    one = re.findall(r"^  (export|import|publish|get) ", text, re.M)
    return [" ".join(words) for words in two] + one


admin.account_for(commands)
main()
