"""RabbitMQ's own rabbitmqadmin v2, the one in Rust, through its whole command set."""

import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from api import api  # noqa: E402
from check import main, unique  # noqa: E402
from clients import Clients  # noqa: E402
from commands import HOST, PORT, Commands  # noqa: E402

BINARY = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "../../target/compliance/rabbitmqadmin/bin/rabbitmqadmin"
)
# Its files, so that no check reads or writes those of the user who runs it.
FILES = tempfile.TemporaryDirectory()
os.environ["HOME"] = FILES.name
DEFINITIONS = os.path.join(FILES.name, "definitions.json")
VHOST_DEFINITIONS = os.path.join(FILES.name, "vhost.json")

OPTIONS = ["--host", HOST, "--port", PORT, "--username", "guest", "--password", "guest", "--non-interactive"]
admin = Commands(BINARY, "v2", OPTIONS)
works, refused = admin.works, admin.refused

V, USER, GLOBAL = unique("v"), unique("u"), unique("g")
BULK = unique("bulk")
NODE = api("/overview")["node"]


def there(path):
    return lambda: api(path) is not None


def gone(path):
    return lambda: api(path) is None


def field(path, name, value):
    return lambda: api(path)[name] == value


def policy(name, kind="policies"):
    return api(f"/{kind}/{V}/{name}")["definition"]


def exported(path, key):
    def holds():
        with open(path) as file:
            return key in json.load(file)

    return holds


# --- vhosts, users, permissions
for form, name in (("declare vhost", V), ("vhosts declare", V + "-2")):
    works(form, "--name", name, "--description", "of a check", then=field(f"/vhosts/{name}", "description", "of a check"))
for form, name in (("declare user", USER), ("users declare", USER + "-2")):
    works(form, "--name", name, "--password", "secret", "--tags", "management", then=there(f"/users/{name}"))
for form in ("declare permissions", "permissions declare"):
    words = ["--username", USER, "--configure", ".*", "--read", ".*", "--write", form]
    works(form, *words, vhost=V, then=field(f"/permissions/{V}/{USER}", "write", form))
for form in ("list vhosts", "vhosts list"):
    works(form, shows=V)
for form in ("list users", "users list"):
    works(form, shows=USER)
for form in ("list permissions", "permissions list", "users permissions"):
    works(form, shows=USER)
works("vhosts enable_deletion_protection", "--name", V + "-2", then=lambda: "metadata" in api(f"/vhosts/{V}-2"))
works("vhosts disable_deletion_protection", "--name", V + "-2")
works("passwords salt_and_hash", "secret", shows="[A-Za-z0-9+/=]{20}")

# --- limits
for form, name in (("declare vhost_limit", "max-queues"), ("vhost_limits declare", "max-connections")):
    works(form, "--name", name, "--value", "90", vhost=V, then=lambda name=name: api(f"/vhost-limits/{V}")[0]["value"][name] == 90)
for form in ("list vhost_limits", "vhost_limits list"):
    works(form, vhost=V, shows="max-queues")
for form, name in (("delete vhost_limit", "max-queues"), ("vhost_limits delete", "max-connections")):
    works(form, "--name", name, vhost=V)
for form, name in (("declare user_limit", "max-channels"), ("user_limits declare", "max-connections")):
    works(form, "--username", USER, "--name", name, "--value", "90", then=lambda name=name: api(f"/user-limits/{USER}")[0]["value"][name] == 90)
for form in ("list user_limits", "user_limits list", "users limits"):
    works(form, "--username", USER, shows="max-channels")
for form, name in (("delete user_limit", "max-channels"), ("user_limits delete", "max-connections")):
    works(form, "--username", USER, "--name", name)

# --- exchanges, queues, bindings, messages
for form, name in (("declare exchange", "x"), ("exchanges declare", "x2")):
    works(form, "--name", name, "--type", "topic", "--durable", "true", vhost=V, then=field(f"/exchanges/{V}/{name}", "type", "topic"))
for form, name, kind in (("declare queue", "q", "classic"), ("queues declare", "q2", "quorum")):
    words = ["--name", name, "--type", kind, "--durable", "true", "--arguments", '{"x-max-length": 9}']
    works(form, *words, vhost=V, then=lambda name=name, kind=kind: (q := api(f"/queues/{V}/{name}"))["type"] == kind and q["arguments"]["x-max-length"] == 9)
NO_STREAMS = "Warren has no streams"
for form in ("declare stream", "streams declare"):
    refused(form, "--name", "s", "--expiration", "1D", vhost=V, because=NO_STREAMS, says="stream")
for form in ("list exchanges", "exchanges list"):
    works(form, vhost=V, shows="x2")
for form in ("list queues", "queues list"):
    works(form, vhost=V, shows="q2")
works("streams list", vhost=V)
works("queues show", "--name", "q", vhost=V, shows="x-max-length")
refused("streams show", "--name", "s", vhost=V, because=NO_STREAMS, says="ot found|404")

bindings = [
    ("declare binding", "queue", "q", "a.#"), ("bindings declare", "queue", "q2", "b.#"), ("exchanges bind", "exchange", "x2", "c.#"),
]


def bound(key):
    return any(binding["routing_key"] == key for binding in api(f"/bindings/{V}"))


for form, kind, name, key in bindings:
    words = ["--source", "x", "--destination-type", kind, "--destination", name, "--routing-key", key]
    works(form, *words, vhost=V, then=lambda key=key: bound(key))
for form in ("list bindings", "bindings list"):
    works(form, vhost=V, shows="c\\.#")
works("publish message", "--exchange", "x", "--routing-key", "a.b", "--payload", "hello", "--properties", '{"priority": 3}', vhost=V, shows="routed")
works("get messages", "--queue", "q", "--count", "1", "--ack-mode", "ack_requeue_true", vhost=V, shows="hello")
works("purge queue", "--name", "q", vhost=V, then=field(f"/queues/{V}/q", "messages", 0))
works("queues purge", "--name", "q2", vhost=V)
for form in ("rebalance queues", "queues rebalance"):
    works(form)
unbindings = [("delete binding", *bindings[0][1:]), ("bindings delete", *bindings[1][1:]), ("exchanges unbind", *bindings[2][1:])]
for form, kind, name, key in unbindings:
    words = ["--source", "x", "--destination-type", kind, "--destination", name, "--routing-key", key]
    works(form, *words, vhost=V, then=lambda key=key: not bound(key))

# --- policies
for kind, one, many in (("policies", "declare policy", "policies"), ("operator-policies", "declare operator_policy", "operator_policies")):

    def length(name, value, kind=kind):
        return lambda: policy(name, kind)["max-length"] == value

    for form, name in ((one, "p"), (f"{many} declare", "p2")):
        words = ["--name", name, "--pattern", "^q", "--apply-to", "queues", "--priority", "1"]
        works(form, *words, "--definition", '{"max-length": 5, "expires": 600000}', vhost=V, then=length(name, 5))
    for form in (f"list {many}", f"{many} list", f"{many} list_in"):
        works(form, vhost=V, shows="max-length")
    works(f"{many} list_matching_object", "--name", "q", "--type", "queues", vhost=V, shows="p")
    works(f"{many} patch", "--name", "p", "--definition", '{"max-length": 6}', vhost=V, then=length("p", 6))
    works(f"{many} update_definition", "--name", "p", "--definition-key", "max-length", "--new-value", "7", vhost=V, then=length("p", 7))
    works(f"{many} update_definitions_of_all_in", "--definition-key", "max-length", "--new-value", "8", vhost=V, then=length("p2", 8))
    works(f"{many} delete_definition_keys", "--name", "p", "--definition-keys", "expires", vhost=V,
          then=lambda kind=kind: "expires" not in policy("p", kind))
    works(f"{many} delete_definition_keys_from_all_in", "--definition-keys", "expires", vhost=V,
          then=lambda kind=kind: "expires" not in policy("p2", kind))
works("policies declare_override", "--name", "p", "--override-name", "p-over", "--definition", '{"max-length": 2}', vhost=V,
      then=lambda: policy("p-over")["max-length"] == 2)
works("policies declare_blanket", "--name", "blanket", "--apply-to", "queues", "--definition", '{"max-length": 1}', vhost=V,
      then=lambda: policy("blanket")["max-length"] == 1)
works("policies list_conflicting")
works("policies list_conflicting_in", vhost=V)
works("policies update_definitions_of_all", "--definition-key", "max-length", "--new-value", "3", then=lambda: policy("p")["max-length"] == 3)
works("policies delete_definition_keys_from_all", "--definition-keys", "no-such-key")
for form, name in (("delete policy", "p"), ("policies delete", "p2")):
    works(form, "--name", name, vhost=V, then=gone(f"/policies/{V}/{name}"))
for form, name in (("delete operator_policy", "p"), ("operator_policies delete", "p2")):
    works(form, "--name", name, vhost=V, then=gone(f"/operator-policies/{V}/{name}"))

# --- parameters
UPSTREAM = '{"uri": "amqp://"}'
for form, name in (("declare parameter", "u"), ("parameters set", "u2")):
    works(form, "--component", "federation-upstream", "--name", name, "--value", UPSTREAM, vhost=V,
          then=there(f"/parameters/federation-upstream/{V}/{name}"))
works("list parameters", "--component", "federation-upstream", vhost=V, shows="u2")
works("parameters list", "--component", "federation-upstream", vhost=V, shows="u2")
works("parameters list_in", "--component", "federation-upstream", vhost=V, shows="u2")
works("parameters list_all", shows="u2")
for form, name in (("delete parameter", "u"), ("parameters clear", "u2")):
    works(form, "--component", "federation-upstream", "--name", name, vhost=V, then=gone(f"/parameters/federation-upstream/{V}/{name}"))
works("global_parameters set", "--name", GLOBAL, "--value", '{"a": 1}', then=there(f"/global-parameters/{GLOBAL}"))
works("global_parameters list", shows=GLOBAL)
works("global_parameters clear", "--name", GLOBAL, then=gone(f"/global-parameters/{GLOBAL}"))

# --- definitions
works("definitions export", "--file", DEFINITIONS, then=exported(DEFINITIONS, "users"))
works("definitions import", "--file", DEFINITIONS)
works("definitions export_from_vhost", "--file", VHOST_DEFINITIONS, vhost=V, then=exported(VHOST_DEFINITIONS, "queues"))
works("definitions import_into_vhost", "--file", VHOST_DEFINITIONS, vhost=V + "-2", then=there(f"/queues/{V}-2/q"))
works("export definitions", "--file", DEFINITIONS, then=exported(DEFINITIONS, "users"))
# It reads an option that it does not declare (2.35.0).
refused("import definitions", "--file", DEFINITIONS, because="a fault of its own: it panics", says="stdin")

# --- the node
for form in ("list nodes", "nodes list"):
    works(form, shows=re.escape(NODE))
works("show overview", shows="[Vv]ersion")
works("show churn", shows="[Qq]ueue")
works("show endpoint", shows=PORT)
NO_ERLANG = "the memory of Erlang's processes; Warren has none"
for form in ("show", "nodes"):
    for unit in ("bytes", "percent"):
        refused(f"{form} memory_breakdown_in_{unit}", "--node", NODE, because=NO_ERLANG, says="404|ot found|memory")
works("auth_attempts stats", "--node", NODE)
works("plugins list_all")
works("plugins list_on_node", "--node", NODE)
for form in ("list feature_flags", "feature_flags list"):
    works(form, shows="quorum_queue")
works("feature_flags enable", "--name", "quorum_queue")
works("feature_flags enable_all")
for form in ("list deprecated_features", "deprecated_features list", "list deprecated_features_in_use", "deprecated_features list_used"):
    works(form)
for name in ("local_alarms", "cluster_wide_alarms", "node_is_quorum_critical"):
    works(f"health_check {name}")
refused("health_check deprecated_features_in_use", because="a fault of its own: help shows it, nothing runs it", says="unknown command")
works("health_check port_listener", "--port", PORT)
works("health_check protocol_listener", "--protocol", "amqp")

# --- connections
clients = Clients()


def of_user():
    clients.open(USER, "secret", V)
    return USER


for form in ("list connections", "connections list"):
    works(form, then=clients.open)
for form in ("list channels", "channels list"):
    works(form, shows="127\\.0\\.0\\.1")
works("list consumers")
for form in ("list user_connections", "connections list_of_user", "users connections"):
    works(form, "--username", "guest", shows="guest")
for form in ("close connection", "connections close"):
    works(form, "--name", clients.name, then=clients.closed)
for form in ("close user_connections", "connections close_of_user"):
    works(form, "--username", of_user, then=clients.closed)

# --- shovels and federation
NO_SHOVELS = "Warren has no shovels yet"
SHOVEL = ["--name", "sh", "--source-uri", "amqp://", "--destination-uri", "amqp://"]
TLS = [word for part in ("ca-certificate-bundle", "client-certificate-file", "client-private-key-file")
       for word in (f"--node-local-{part}-path", "/tmp/x")]
# What it declares is kept as a parameter, for the day it means something.
works("shovels declare_amqp091", *SHOVEL, "--source-queue", "q", "--destination-queue", "q2", vhost=V,
      then=there(f"/parameters/shovel/{V}/sh"))
works("shovels declare_amqp10", *SHOVEL, "--source-address", "q", "--destination-address", "q2", vhost=V,
      then=there(f"/parameters/shovel/{V}/sh"))
for form in ("shovels list", "shovels list_all"):
    refused(form, vhost=V, because=NO_SHOVELS, says="404|ot found|shovel")
works("delete shovel", "--name", "sh", vhost=V, then=gone(f"/parameters/shovel/{V}/sh"))
works("shovels delete", "--name", "sh", "--idempotently", vhost=V)
for side in ("source", "destination"):
    works(f"shovels disable_tls_peer_verification_for_all_{side}_uris")
    works(f"shovels enable_tls_peer_verification_for_all_{side}_uris", *TLS)
for suffix, words in (("", ["--queue-name", "q"]), ("_for_queues", ["--queue-name", "q"]), ("_for_exchanges", ["--exchange-name", "x"])):
    works(f"federation declare_upstream{suffix}", "--name", "up", "--uri", "amqp://", *words, vhost=V)
works("federation list_all_upstreams", shows="up")
refused("federation list_all_links", because="Warren has no federation yet", says="404|ot found|federation")
works("federation disable_tls_peer_verification_for_all_upstreams")
works("federation enable_tls_peer_verification_for_all_upstreams", *TLS)
works("federation delete_upstream", "--name", "up", vhost=V, then=gone(f"/parameters/federation-upstream/{V}/up"))

# --- what it does by itself
TANZU = "of a commercial edition"
works("config_file add_node", "--node", "mine", "--host", HOST, "--port", PORT, "--create-file-if-missing")
works("config_file update_node", "--node", "mine", "--vhost", V)
works("config_file show", shows=V)
works("config_file show_path", shows="rabbitmqadmin")
works("config_file delete_node", "--node", "mine")
for command in ("status_on_node", "disable_on_node", "enable_on_node", "disable_cluster_wide", "enable_cluster_wide"):
    refused(f"tanzu sds {command}", *(["--node", NODE] if "on_node" in command else []), because=TANZU, says="404|ot found")
refused("tanzu wsr status", because=TANZU, says="404|ot found")
works("shell completions", "--shell", "bash", shows="rabbitmqadmin")

# --- the end


def three(path):
    def made():
        for number in range(3):
            api(f"{path}/{BULK}-{number}", "PUT", {})
        return f"^{BULK}"

    return made


works("queues delete_multiple", "--name-pattern", three(f"/queues/{V}"), "--approve", vhost=V, then=gone(f"/queues/{V}/{BULK}-1"))
works("vhosts delete_multiple", "--name-pattern", three("/vhosts"), "--approve", then=gone(f"/vhosts/{BULK}-1"))
for form, name in (("delete queue", "q"), ("queues delete", "q2")):
    works(form, "--name", name, vhost=V, then=gone(f"/queues/{V}/{name}"))
for form in ("delete stream", "streams delete"):
    refused(form, "--name", "s", vhost=V, because=NO_STREAMS, says="ot found|404")
for form, name in (("delete exchange", "x"), ("exchanges delete", "x2")):
    works(form, "--name", name, vhost=V, then=gone(f"/exchanges/{V}/{name}"))
works("delete permissions", "--username", USER, vhost=V, then=gone(f"/permissions/{V}/{USER}"))
works("permissions delete", "--username", USER, "--idempotently", vhost=V)
for form, name in (("delete user", USER), ("users delete", USER + "-2")):
    works(form, "--name", name, then=gone(f"/users/{name}"))
for form, name in (("delete vhost", V), ("vhosts delete", V + "-2")):
    works(form, "--name", name, then=gone(f"/vhosts/{name}"))


def commands():
    """All of them, as its help lists them."""

    def listed(*group):
        text = subprocess.run([BINARY, *group, "--help"], capture_output=True, text=True, timeout=30).stdout
        section = re.search(r"^(?:Commands|Subcommands):\n(.*?)(?:\n\n|\Z)", text, re.S | re.M)
        names = re.findall(r"^  (\w+)", section.group(1), re.M) if section else []
        return [name for name in names if name != "help"]

    groups = [(group,) for group in listed() if group != "tanzu"] + [("tanzu", group) for group in listed("tanzu")]
    return [" ".join((*group, name)) for group in groups for name in listed(*group)]


admin.account_for(commands)
main()
