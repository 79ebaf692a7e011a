"""RabbitMQ's HTTP client in Rust, every function of its blocking API: src/main.rs calls them, this opens what they look at."""

import glob
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from api import api  # noqa: E402
from check import unique  # noqa: E402
from clients import Clients  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
BINARY = os.path.join(HERE, "../../target/compliance/cargo/debug/http-client-check")

# Of the client itself, not calls of the API.
BUILDING = {"new", "builder", "build", "from_http_client", "from_http_client_with_retry"}


def functions():
    """The names of the client's functions, from its source as cargo has it."""
    home = os.environ.get("CARGO_HOME", os.path.expanduser("~/.cargo"))
    with open(os.path.join(HERE, "Cargo.toml")) as file:
        version = re.search(r'rabbitmq_http_client = \{ version = "=([\d.]+)"', file.read()).group(1)
    found = set()
    for path in glob.glob(f"{home}/registry/src/*/rabbitmq_http_client-{version}/src/blocking_api/*.rs"):
        with open(path) as file:
            found |= set(re.findall(r"^    pub fn (\w+)", file.read(), re.M))
    return {name for name in found if name not in BUILDING and not name.startswith("with_")}


def accounted():
    with open(os.path.join(HERE, "src/main.rs")) as file:
        called = set(re.findall(r"client\.(\w+)\(", file.read()))
    left = functions() - called
    if not functions() or left:
        print(f"not ok every function is called: {sorted(left)} are not", flush=True)
        return False
    print("ok every function is called", flush=True)
    return True


def main():
    stem = unique("client")
    leaving = f"{stem}-leaving"
    api(f"/users/{leaving}", "PUT", {"password": "secret", "tags": ""})
    api(f"/permissions/%2F/{leaving}", "PUT", {"configure": ".*", "write": ".*", "read": ".*"})
    clients = Clients()
    names = {"CHECK_STEM": stem, "CHECK_LEAVING": leaving}
    for variable in ("CHECK_CLOSING", "CHECK_STAYING"):
        names[variable] = clients.name()
    clients.consume()
    clients.open(leaving, "secret", "/")
    done = subprocess.run([BINARY], env={**os.environ, **names}, timeout=150)
    sys.exit(0 if accounted() and done.returncode == 0 else 1)


main()
