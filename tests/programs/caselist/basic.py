"""Unary calls, statuses and metadata."""

import grpc

from contract import INITIAL, SLOWEST, TRAILING, channel, equal, has_size, large_request, messages, services, turn
from contract import DOWNLOADS, RESPONSE, UPLOADS

PLAIN = "test status message"
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"
METADATA = ((INITIAL, "test_initial_metadata_value"), (TRAILING, b"\xab\xab\xab"))


def empty_unary(stub):
    equal("answer", stub.EmptyCall(messages.Empty(), timeout=SLOWEST), messages.Empty())


def large_unary(stub):
    has_size(stub.UnaryCall(large_request(), timeout=SLOWEST), RESPONSE)


def ended(call, code, details=None):
    equal("code", call.code(), code)
    if details is not None:
        equal("details", call.details(), details)


def unary_status(stub, message):
    wanted = messages.EchoStatus(code=grpc.StatusCode.UNKNOWN.value[0], message=message)
    ended(
        stub.UnaryCall.future(messages.SimpleRequest(response_status=wanted), timeout=SLOWEST),
        grpc.StatusCode.UNKNOWN,
        message,
    )


def status_code_and_message(stub):
    unary_status(stub, PLAIN)
    wanted = messages.EchoStatus(code=grpc.StatusCode.UNKNOWN.value[0], message=PLAIN)
    request = messages.StreamingOutputCallRequest(response_status=wanted)
    call = stub.FullDuplexCall(iter([request]), timeout=SLOWEST)
    try:
        equal("answers", list(call), [])
    except grpc.RpcError:
        pass
    ended(call, grpc.StatusCode.UNKNOWN, PLAIN)


def special_status_message(stub):
    unary_status(stub, SPECIAL)


def sent_back(call):
    equal("initial", dict(call.initial_metadata()).get(INITIAL), METADATA[0][1])
    equal("trailing", dict(call.trailing_metadata()).get(TRAILING), METADATA[1][1])


def custom_metadata(stub):
    call = stub.UnaryCall.future(large_request(), metadata=METADATA, timeout=SLOWEST)
    has_size(call.result(), RESPONSE)
    sent_back(call)
    call = stub.FullDuplexCall(iter([turn(UPLOADS[0], DOWNLOADS[0])]), metadata=METADATA, timeout=SLOWEST)
    for answer in call:
        has_size(answer, DOWNLOADS[0])
    sent_back(call)


def unimplemented_method(stub):
    ended(stub.UnimplementedCall.future(messages.Empty(), timeout=SLOWEST), grpc.StatusCode.UNIMPLEMENTED)


def on_stub(case, stub=services.TestServiceStub):
    def run(address):
        with channel(address) as opened:
            case(stub(opened))

    return run


CASES = {
    "empty_unary": on_stub(empty_unary),
    "large_unary": on_stub(large_unary),
    "status_code_and_message": on_stub(status_code_and_message),
    "special_status_message": on_stub(special_status_message),
    "custom_metadata": on_stub(custom_metadata),
    "unimplemented_method": on_stub(unimplemented_method),
    "unimplemented_service": on_stub(unimplemented_method, services.UnimplementedServiceStub),
}
