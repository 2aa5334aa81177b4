"""grpcio, with C-core below it, as client of the case list: `client.py HOST:PORT CASE[=SIZE]...`.

Each case has a channel of its own. A line a case: its name and `ok`, `partly` or what went wrong.
"""

import sys
import traceback

import basic
import compression
import load
import streaming
from contract import Partly

CASES = {**basic.CASES, **streaming.CASES, **compression.CASES}
SIZED = load.CASES


def run(address, case, size):
    try:
        if case in SIZED:
            SIZED[case](address, int(size))
        else:
            CASES[case](address)
    except Partly:
        return "partly"
    except Exception:
        return traceback.format_exc().strip().replace("\n", " | ")
    return "ok"


if __name__ == "__main__":
    address, *cases = sys.argv[1:]
    for argument in cases:
        case, _, size = argument.partition("=")
        print(case, run(address, case, size), flush=True)
