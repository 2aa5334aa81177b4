"""Official cases of gRPC interop against one server, in one process: `interop_client.py HOST:PORT CASE...`.

The cases are those of gRPC's own sources (`interop-python` of `tests/tools` has them on its path); each gets a channel of its own.
A line a case: its name and `ok`, or what went wrong. The exit code is the number of cases that failed.
"""

import sys
import traceback

from tests.interop import client


def run(host, port, case):
    sys.argv = ["client", f"--server_host={host}", f"--server_port={port}", f"--test_case={case}"]
    try:
        client.test_interoperability()
    except Exception:
        print(case, traceback.format_exc().strip().replace("\n", " | "), flush=True)
        return 1
    print(case, "ok", flush=True)
    return 0


if __name__ == "__main__":
    host, port = sys.argv[1].rsplit(":", 1)
    sys.exit(sum(run(host, port, case) for case in sys.argv[2:]))
