"""Compressed messages, and whether they came compressed."""

import os

import grpc

from contract import FLAGS_VISIBLE, RESPONSE, SLOWEST, Partly
from contract import channel, equal, flagged, has_size, large_request, messages, payload, services, wish

UPLOADS = (27182, 45904)
DOWNLOADS = (31415, 92653)
BOTH = (True, False)


def compression(wanted):
    return grpc.Compression.Gzip if wanted else grpc.Compression.NoCompression


def refused(call):
    equal("code", call.code(), grpc.StatusCode.INVALID_ARGUMENT)


def client_unary(address):
    with channel(address) as opened:
        stub = services.TestServiceStub(opened)
        refused(stub.UnaryCall.future(large_request(expect_compressed=wish(True)), timeout=SLOWEST))
        for wanted in BOTH:
            request = large_request(expect_compressed=wish(wanted))
            has_size(stub.UnaryCall(request, compression=compression(wanted), timeout=SLOWEST), RESPONSE)


def upload(index, compressed):
    # What gets no smaller is sent as it is: C-core's only way to leave one message of a call alone.
    body = messages.Payload(body=os.urandom(UPLOADS[index])) if not compressed else payload(UPLOADS[index])
    return messages.StreamingInputCallRequest(payload=body, expect_compressed=wish(compressed))


def client_streaming(address):
    with channel(address) as opened:
        stub = services.TestServiceStub(opened)
        refused(stub.StreamingInputCall.future(iter([upload(0, True)]), timeout=SLOWEST))
        requests = (upload(index, wanted) for index, wanted in enumerate(BOTH))
        answer = stub.StreamingInputCall(requests, compression=grpc.Compression.Gzip, timeout=SLOWEST)
        equal("sum", answer.aggregated_payload_size, 73086)


def server_unary(address):
    with channel(address, *FLAGS_VISIBLE) as opened:
        call = opened.unary_unary(
            "/grpc.testing.TestService/UnaryCall",
            request_serializer=messages.SimpleRequest.SerializeToString,
            response_deserializer=flagged(messages.SimpleResponse),
        )
        for wanted in BOTH:
            compressed, answer = call(large_request(response_compressed=wish(wanted)), timeout=SLOWEST)
            equal("flag", compressed, wanted)
            has_size(answer, RESPONSE)


def downloads(opened, flags):
    call = opened.unary_stream(
        "/grpc.testing.TestService/StreamingOutputCall",
        request_serializer=messages.StreamingOutputCallRequest.SerializeToString,
        response_deserializer=flagged(messages.StreamingOutputCallResponse),
    )
    wanted = [messages.ResponseParameters(size=size, compressed=wish(flag)) for size, flag in zip(DOWNLOADS, flags)]
    answers = call(messages.StreamingOutputCallRequest(response_parameters=wanted), timeout=SLOWEST)
    seen = [(compressed, len(answer.payload.body)) for compressed, answer in answers]
    equal("flags and sizes", seen, list(zip(flags, DOWNLOADS)))


def server_streaming(address):
    with channel(address, *FLAGS_VISIBLE) as opened:
        try:
            downloads(opened, BOTH)
        except grpc.RpcError as error:
            # A server that cannot leave a message of a stream alone says so, and is asked for compressed ones.
            if error.code() != grpc.StatusCode.UNIMPLEMENTED:
                raise
            downloads(opened, (True, True))
            raise Partly from None


CASES = {
    "client_compressed_unary": client_unary,
    "client_compressed_streaming": client_streaming,
    "server_compressed_unary": server_unary,
    "server_compressed_streaming": server_streaming,
}
