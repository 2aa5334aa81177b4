"""grpcio, with C-core below it, as server of the case list: `server.py` prints where it listens."""

from concurrent import futures

import grpc

from contract import FLAGS_VISIBLE, INITIAL, TRAILING, flagged, messages, payload

# A dialogue that waits for its client holds one.
WORKERS = 32

# An `abort` needs a code of the enumeration.
CODES = {code.value[0]: code for code in grpc.StatusCode}


def send_back(context):
    metadata = dict(context.invocation_metadata())
    if INITIAL in metadata:
        context.send_initial_metadata(((INITIAL, metadata[INITIAL]),))
    if TRAILING in metadata:
        context.set_trailing_metadata(((TRAILING, metadata[TRAILING]),))


def came_as_expected(compressed, request, context):
    if request.HasField("expect_compressed") and request.expect_compressed.value != compressed:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"compressed: {compressed}")


def end_as_wanted(request, context):
    if request.response_status.code:
        context.abort(CODES[request.response_status.code], request.response_status.message)


def empty_call(request, context):
    return messages.Empty()


def unary_call(flagged_request, context):
    compressed, request = flagged_request
    came_as_expected(compressed, request, context)
    if request.response_compressed.value:
        context.set_compression(grpc.Compression.Gzip)
    send_back(context)
    end_as_wanted(request, context)
    return messages.SimpleResponse(payload=payload(request.response_size))


def answers(request, context):
    for wanted in request.response_parameters:
        if not wanted.compressed.value:
            context.disable_next_message_compression()
        yield messages.StreamingOutputCallResponse(payload=payload(wanted.size))


def streaming_output_call(flagged_request, context):
    _, request = flagged_request
    if any(wanted.compressed.value for wanted in request.response_parameters):
        context.set_compression(grpc.Compression.Gzip)
    yield from answers(request, context)


def streaming_input_call(requests, context):
    size = 0
    for compressed, request in requests:
        came_as_expected(compressed, request, context)
        size += len(request.payload.body)
    return messages.StreamingInputCallResponse(aggregated_payload_size=size)


def full_duplex_call(requests, context):
    send_back(context)
    for _, request in requests:
        end_as_wanted(request, context)
        yield from answers(request, context)


def method(kind, behaviour, request):
    return kind(behaviour, request_deserializer=flagged(request), response_serializer=lambda answer: answer.SerializeToString())


METHODS = {
    "EmptyCall": method(grpc.unary_unary_rpc_method_handler, empty_call, messages.Empty),
    "UnaryCall": method(grpc.unary_unary_rpc_method_handler, unary_call, messages.SimpleRequest),
    "StreamingOutputCall": method(
        grpc.unary_stream_rpc_method_handler, streaming_output_call, messages.StreamingOutputCallRequest
    ),
    "StreamingInputCall": method(
        grpc.stream_unary_rpc_method_handler, streaming_input_call, messages.StreamingInputCallRequest
    ),
    "FullDuplexCall": method(
        grpc.stream_stream_rpc_method_handler, full_duplex_call, messages.StreamingOutputCallRequest
    ),
}


def main():
    server = grpc.server(futures.ThreadPoolExecutor(WORKERS), options=FLAGS_VISIBLE)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.testing.TestService", METHODS),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


main()
