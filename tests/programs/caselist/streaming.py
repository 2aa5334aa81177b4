"""Streams, and calls that end before they are answered."""

import queue

import grpc

from basic import on_stub
from contract import DOWNLOADS, SLOWEST, UPLOADS, equal, has_size, messages, payload, turn


class Requests:
    """Requests of a stream that stays open until they are closed."""

    def __init__(self):
        self.queue = queue.SimpleQueue()

    def __iter__(self):
        return iter(self.queue.get, None)

    def send(self, request):
        self.queue.put(request)

    def close(self):
        self.queue.put(None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def ends_with(call, code):
    try:
        next(call)
    except grpc.RpcError as error:
        equal("code", error.code(), code)
    else:
        raise AssertionError("an answer instead of an end")


def client_streaming(stub):
    requests = (messages.StreamingInputCallRequest(payload=payload(size)) for size in UPLOADS)
    answer = stub.StreamingInputCall(requests, timeout=SLOWEST)
    equal("sum", answer.aggregated_payload_size, 74922)


def server_streaming(stub):
    wanted = [messages.ResponseParameters(size=size) for size in DOWNLOADS]
    request = messages.StreamingOutputCallRequest(response_parameters=wanted)
    answers = stub.StreamingOutputCall(request, timeout=SLOWEST)
    equal("sizes", [len(answer.payload.body) for answer in answers], list(DOWNLOADS))


def ping_pong(stub):
    with Requests() as requests:
        answers = stub.FullDuplexCall(iter(requests), timeout=SLOWEST)
        for upload, download in zip(UPLOADS, DOWNLOADS):
            requests.send(turn(upload, download))
            has_size(next(answers), download)
        requests.close()
        equal("answers more", list(answers), [])


def empty_stream(stub):
    equal("answers", list(stub.FullDuplexCall(iter([]), timeout=SLOWEST)), [])


def timeout_on_sleeping_server(stub):
    with Requests() as requests:
        call = stub.FullDuplexCall(iter(requests), timeout=0.001)
        requests.send(messages.StreamingOutputCallRequest(payload=payload(UPLOADS[0])))
        ends_with(call, grpc.StatusCode.DEADLINE_EXCEEDED)


def cancel_after_begin(stub):
    with Requests() as requests:
        call = stub.StreamingInputCall.future(iter(requests), timeout=SLOWEST)
        call.cancel()
        equal("cancelled", call.cancelled(), True)
        equal("code", call.code(), grpc.StatusCode.CANCELLED)


def cancel_after_first_response(stub):
    with Requests() as requests:
        call = stub.FullDuplexCall(iter(requests), timeout=SLOWEST)
        requests.send(turn(UPLOADS[0], DOWNLOADS[0]))
        has_size(next(call), DOWNLOADS[0])
        call.cancel()
        ends_with(call, grpc.StatusCode.CANCELLED)


CASES = {
    case.__name__: on_stub(case)
    for case in (
        client_streaming,
        server_streaming,
        ping_pong,
        empty_stream,
        timeout_on_sleeping_server,
        cancel_after_begin,
        cancel_after_first_response,
    )
}
