"""A caller of the HTTP/2 server that breaks off: `negative_client.py HOST:PORT CASE` prints the code of each of its calls.

`interop-python` of `tests/tools` has the messages on its path. The calls are those of gRPC's own clients of this server: a large unary
one; after it another one for `goaway`, fifteen at once for `max_streams`. An answer that is not whole is printed as `cut`.
"""

import sys
from concurrent import futures

import grpc
from src.proto.grpc.testing import messages_pb2, test_pb2_grpc

REQUEST = 271828
RESPONSE = 314159
SECONDS = 60


def call(stub):
    request = messages_pb2.SimpleRequest(
        response_size=RESPONSE, payload=messages_pb2.Payload(body=b"\0" * REQUEST)
    )
    try:
        answer = stub.UnaryCall(request, timeout=SECONDS)
    except grpc.RpcError as error:
        return error.code().name
    # OK without a message is no answer either.
    return "OK" if answer and len(answer.payload.body) == RESPONSE else "cut"


def run(address, case):
    more = {"goaway": 1, "max_streams": 15}.get(case, 0)
    with grpc.insecure_channel(address) as channel:
        stub = test_pb2_grpc.TestServiceStub(channel)
        codes = [call(stub)]
        with futures.ThreadPoolExecutor(max(more, 1)) as pool:
            codes += pool.map(call, [stub] * more)
    return " ".join(codes)


if __name__ == "__main__":
    print(run(*sys.argv[1:]))
