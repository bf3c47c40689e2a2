"""`python -m bench NAME [options]`: one JSON object a line on stdout."""

from __future__ import annotations

import importlib
import sys

BENCHES = {
    "http": "create, patch, get, query, batch upsert through the API, beside a bare ASGI echo",
    "fanout": "notifications and server-sent events from one update to many listeners",
    "start": "time from start to ready on a store with many entities, and resident memory",
    "store": "the stores alone, without HTTP",
    "index": "the index engine",
}


def main() -> int:
    name = sys.argv[1] if len(sys.argv) > 1 else "list"
    if name in BENCHES:
        module = importlib.import_module(f"bench.{name}")
        return int(module.main(sys.argv[2:]) or 0)
    for known, meaning in BENCHES.items():
        print(f"{known:8} {meaning}", file=sys.stderr)
    return 0 if name == "list" else 2


if __name__ == "__main__":
    sys.exit(main())
