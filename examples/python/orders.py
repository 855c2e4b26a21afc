"""Ship an order under a lock, and show that a second process is kept out meanwhile.

    go run ./cmd/holdfast dev           # in another terminal
    python3 examples/python/orders.py
"""

import os

from holdfast import Lock, LockHeld

URL = os.environ.get("LOCKD_URL", "http://127.0.0.1:7080")

with Lock(URL, "orders/42", owner="python") as lock:
    try:
        with Lock(URL, "orders/42", wait=0.2):
            print("two holders: this must not happen")
    except LockHeld as held:
        print("refused:", held)
    lock.check()
    print("shipped with a fencing token:", lock.token > 0)

with Lock(URL, "orders/42", owner="python") as again:
    print("the next token is higher:", again.token > lock.token)
