"""A look at the broker by its HTTP API."""

import json
import os
import urllib.error
import urllib.request

LOGIN = "Basic Z3Vlc3Q6Z3Vlc3Q="


def api(path, method="GET", body=None):
    """What it answers to guest; None for a 404."""
    request = urllib.request.Request(f"http://{os.environ['WARREN_HTTP']}/api{path}", method=method)
    request.add_header("Authorization", LOGIN)
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            octets = answer.read()
            return json.loads(octets) if octets else {}
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise
