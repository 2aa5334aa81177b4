"""The contract `testing.proto`, and what the cases have in common."""

import gzip

import grpc

messages, services = grpc.protos_and_services("testing.proto")

# Bytes that the large calls and the streams carry there and back.
REQUEST = 271828
RESPONSE = 314159
UPLOADS = (27182, 8, 1828, 45904)
DOWNLOADS = (31415, 9, 2653, 58979)

INITIAL = "x-grpc-test-echo-initial"
TRAILING = "x-grpc-test-echo-trailing-bin"

# No call takes longer on a busy machine; one that hangs does.
SLOWEST = 60

# Without it a decoder gets a compressed message as it came, which is how it knows.
FLAGS_VISIBLE = (("grpc.per_message_decompression", 0),)
GZIP = b"\x1f\x8b"


class Partly(Exception):
    """Nothing is wrong with what this stack and the server can do of the case; the suite's table says what they cannot."""


def channel(address, *options):
    # Channels of a process would otherwise share a connection.
    return grpc.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1), *options))


def equal(what, seen, wanted):
    if seen != wanted:
        raise AssertionError(f"{what}: {seen!r} instead of {wanted!r}")


def payload(size):
    return messages.Payload(body=bytes(size))


def large_request(**more):
    return messages.SimpleRequest(response_size=RESPONSE, payload=payload(REQUEST), **more)


def has_size(answer, size):
    equal("size", len(answer.payload.body), size)


def turn(upload, download):
    return messages.StreamingOutputCallRequest(
        response_parameters=[messages.ResponseParameters(size=download)], payload=payload(upload)
    )


def wish(value):
    return messages.BoolValue(value=value)


def flagged(kind):
    """A decoder that says whether the message came compressed."""

    def decode(data):
        compressed = data.startswith(GZIP)
        return compressed, kind.FromString(gzip.decompress(data) if compressed else data)

    return decode
