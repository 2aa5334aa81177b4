"""A gRPC program as its authors would write it: grpcio, a port, addresses of others in the environment."""

import os
import signal
import sys
from concurrent import futures
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).parent))
messages, services = grpc.protos_and_services("greeter.proto")


def stub(name):
    address = os.environ[f"OUTRIGGER_UPSTREAM_{name.upper()}_ADDR"]
    return services.GreeterStub(grpc.insecure_channel(address))


STUBS = {}


class Greeter(services.GreeterServicer):
    def Greet(self, request, context):
        if not request.via:
            return messages.GreetResponse(text=f"python(hello {request.name})")
        first, *rest = request.via
        if first not in STUBS:
            STUBS[first] = stub(first)
        answer = STUBS[first].Greet(
            messages.GreetRequest(name=request.name, via=rest),
            # A call without a deadline has "about 292 billion years left", which grpcio does not take back.
            timeout=min(context.time_remaining(), 3600),
            metadata=[pair for pair in context.invocation_metadata() if pair[0] == "traceparent"],
        )
        return messages.GreetResponse(text=f"python({answer.text})")

    def Chat(self, requests, context):
        for request in requests:
            yield messages.GreetResponse(text=f"python(hello {request.name})")

    def Refuse(self, request, context):
        context.set_trailing_metadata((("x-why", request.name),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: é")


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    services.add_GreeterServicer_to_server(Greeter(), server)
    server.add_insecure_port(f"127.0.0.1:{os.environ['PORT']}")
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: server.stop(grace=2))
    server.wait_for_termination()


main()
