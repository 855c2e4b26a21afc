"""Locks from Python through lockd, with nothing but the standard library.

    with Lock("http://127.0.0.1:7080", "orders/42") as lock:
        write(..., token=lock.token)    # hand the token to whatever you write to
        lock.check()                    # raises LockLost if the lock is no longer ours

The lock is renewed in the background while the block runs. lockd renews it for nobody who does not ask: when
this process dies, the lock is free again after its ttl.
"""

import json
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request


class LockHeld(Exception):
    """Somebody else holds the lock, and the time to wait for it is over."""


class LockLost(Exception):
    """The lock ended before its block did. Whatever is written now may collide with the next holder."""


class Lock:
    """A lock that is held inside a with block. ttl and wait are in seconds."""

    def __init__(self, url, name, ttl=15.0, wait=30.0, owner=""):
        self._url, self._name, self._ttl, self._wait, self._owner = url.rstrip("/"), name, ttl, wait, owner
        self._done = threading.Event()
        self.token = None

    def __enter__(self):
        body = {"ttl": f"{self._ttl}s", "wait": f"{self._wait}s", "owner": self._owner}
        path = "/v1/locks/" + urllib.parse.quote(self._name, safe="")
        status, answer = self._call("POST", path, body, timeout=self._wait + 10)
        if status == 409:
            raise LockHeld(answer["detail"])
        if status != 200:
            raise RuntimeError(f"lockd: {answer.get('detail', status)}")
        self.token, self._lease = answer["token"], "/v1/leases/" + answer["lease"]
        self._until = time.monotonic() + seconds(answer["remaining"])
        self._heartbeat = threading.Thread(target=self._renew, daemon=True)
        self._heartbeat.start()
        return self

    def __exit__(self, kind, value, trace):
        self._done.set()
        self._heartbeat.join()
        status, answer = self._call("DELETE", self._lease)
        if status != 204 and kind is None:
            raise LockLost(f"{self._name}: {answer.get('detail', status)}")

    def check(self):
        """Raise LockLost unless the lock is still ours, as far as anybody can know now."""
        if time.monotonic() >= self._until:
            raise LockLost(self._name)

    def _renew(self):
        while not self._done.wait(self._ttl / 3):
            asked = time.monotonic()
            try:
                status, answer = self._call("PUT", self._lease)
            except OSError:
                continue  # lockd may come back before the lease is over
            if status == 200:
                # Counted from before the question, so that a slow answer makes nobody too sure.
                self._until = asked + seconds(answer["remaining"])
            elif status in (404, 410):
                self._until = 0.0
                return

    def _call(self, method, path, body=None, timeout=5.0):
        request = urllib.request.Request(self._url + path, method=method,
                                         data=None if body is None else json.dumps(body).encode(),
                                         headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return response.status, json.loads(response.read() or b"{}")
        except urllib.error.HTTPError as problem:
            return problem.code, json.loads(problem.read() or b"{}")


def seconds(duration):
    """Read a duration as lockd writes it: 15s, 1m2.5s, 250ms."""
    units = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
    return sum(float(n) * units[unit] for n, unit in re.findall(r"([\d.]+)(h|ms|us|µs|ns|m|s)", duration))
