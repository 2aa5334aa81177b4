"""The HTTP/2 server of gRPC's sources that breaks off, each of its cases on a port nobody chose: `negative_server.py`.

`interop-python` of `tests/tools` has the cases on its path. The first line of stdout names the ports as JSON; what goes wrong in the
server, a failed assertion of its own above all, is a traceback on stderr.
"""

import json
import logging

import http2_test_server
from twisted.internet import defer, endpoints, reactor
from twisted.python import log


def listen():
    cases = sorted(http2_test_server._TEST_CASE_MAPPING)
    listening = [
        endpoints.TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(http2_test_server.H2Factory(case))
        for case in cases
    ]
    bound = defer.gatherResults(listening, consumeErrors=True)
    bound.addCallback(lambda ports: print(json.dumps(dict(zip(cases, (port.getHost().port for port in ports)))), flush=True))
    bound.addErrback(log.err)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    # Twisted's own errors, exceptions of a case among them, go there too.
    log.PythonLoggingObserver().start()
    reactor.callWhenRunning(listen)
    reactor.run()
