"""What the checks of both rabbitmqadmins share: a run of a command, and the account of all commands."""

import os
import re
import subprocess
import time

from check import check

HOST, PORT = os.environ["WARREN_HTTP"].rsplit(":", 1)


# RabbitMQ collects its statistics every five seconds.
LATE_S = 20


def eventually(is_true):
    """Whether it is, now or soon."""
    deadline = time.monotonic() + LATE_S
    while True:
        try:
            if is_true():
                return True
        except (KeyError, IndexError, TypeError):
            pass
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)


class Commands:
    """The commands of one program, in the order they are checked."""

    def __init__(self, program, version, options):
        self.program = program
        self.version = version
        self.options = options
        self.accounted = set()

    def run(self, words, before=()):
        done = subprocess.run(
            [self.program, *self.options, *before, *words], capture_output=True, text=True, timeout=50, stdin=subprocess.DEVNULL
        )
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    def works(self, command, *words, vhost=None, shows="", then=None):
        """The command succeeds, prints what the pattern `shows` finds, and then `then()` is true."""
        self.accounted.add(command)

        @check(f"{self.version} {command}")
        def _():
            given = [word() if callable(word) else word for word in words]
            looks = command.split()[0] in ("list", "show") or command.endswith(" list")
            output = ""

            def shown():
                nonlocal output
                code, output = self.run([*command.split(), *given], ["--vhost", vhost] if vhost else [])
                assert code == 0, f"exit code {code}: {output}"
                return re.search(shows, output)

            # What is looked at may be learnt of late; what changes something is not said twice.
            assert eventually(shown) if looks else shown(), f"no {shows!r} in {output}"
            assert then is None or eventually(then), f"it had no effect: {output}"

    def refused(self, command, *words, vhost=None, because, says):
        """The command fails with what `says` finds, for a reason: once it works, this list is wrong."""
        self.accounted.add(command)

        @check(f"{self.version} {command}: {because}")
        def _():
            code, output = self.run([*command.split(), *words], ["--vhost", vhost] if vhost else [])
            assert code != 0, f"it works now: {output}"
            assert re.search(says, output), f"no {says!r} in {output}"

    def account_for(self, commands):
        """Every command of the program stands in one of the two lists above."""

        @check(f"{self.version} every command is accounted for")
        def _():
            there = set(commands())
            assert there - self.accounted == set(), f"not checked: {sorted(there - self.accounted)}"
            assert self.accounted - there == set(), f"no such command: {sorted(self.accounted - there)}"

