"""A tiny frame for checks: a check is a function with a name and a time limit, and prints one line of result."""

import asyncio
import inspect
import os
import signal
import sys
import uuid

URI = os.environ["WARREN_URI"]
LIMIT = 60

_checks = []


def check(name):
    """Registers a function, plain or async, to be run by `main` under this name."""

    def register(function):
        _checks.append((name, function))
        return function

    return register


def equal(actual, expected):
    if actual != expected:
        raise AssertionError(f"got {actual!r}, expected {expected!r}")


def unique(stem):
    """A name no other check uses, so that a broker in use serves as well as a fresh one."""
    return f"compliance-{uuid.uuid4().hex[:8]}-{stem}"


def main():
    """Runs the registered checks in order and ends the program."""
    failures = sum(not _passes(name, function) for name, function in _checks)
    sys.exit(1 if failures else 0)


def _passes(name, function):
    signal.signal(signal.SIGALRM, _expired)
    # Again and again after the limit: what cleans up may wait for the same thing as the check.
    signal.setitimer(signal.ITIMER_REAL, LIMIT, 5)
    try:
        if inspect.iscoroutinefunction(function):
            asyncio.run(function())
        else:
            function()
    except Exception as error:
        print(f"not ok {name}: {_why(error)}", flush=True)
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    print(f"ok {name}", flush=True)
    return True


def _expired(_signal, _frame):
    raise TimeoutError(f"no end after {LIMIT} s")


def _why(error):
    program = os.path.abspath(sys.argv[0])
    here = trace = error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == program:
            here = trace
        trace = trace.tb_next
    text = " ".join(f"{type(error).__name__} {error}".split())
    return f"{text[:600]} (line {here.tb_lineno})"
