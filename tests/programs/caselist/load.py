"""Large unary calls: many one after the other, each on a channel of its own, at once, and with pauses between them."""

import time
from concurrent import futures

from contract import RESPONSE, SLOWEST, channel, has_size, large_request, services

# Calls that a soak has open at once.
WORKERS = 10

# Seconds of calls that are made at once: each may take as long as all of them together.
TOGETHER = 600

# Calls of the channel that lives long.
CALLS = 8


def large(opened):
    has_size(services.TestServiceStub(opened).UnaryCall(large_request(), timeout=SLOWEST), RESPONSE)


def rpc_soak(address, calls):
    with channel(address) as opened, futures.ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(large, [opened] * calls))


def on_its_own(address):
    with channel(address) as opened:
        large(opened)


def channel_soak(address, channels):
    with futures.ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(on_its_own, [address] * channels))


def concurrent_large_unary(address, calls):
    with channel(address) as opened:
        stub = services.TestServiceStub(opened)
        request = large_request()
        started = [stub.UnaryCall.future(request, timeout=TOGETHER) for _ in range(calls)]
        for call in started:
            has_size(call.result(), RESPONSE)


def long_lived_channel(address, millis):
    """`millis` from the end of a call to the next."""
    with channel(address) as opened:
        for index in range(CALLS):
            if index:
                time.sleep(millis / 1000)
            large(opened)


CASES = {case.__name__: case for case in (rpc_soak, channel_soak, concurrent_large_unary, long_lived_channel)}
