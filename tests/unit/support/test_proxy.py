"""The proxy of the tests: whatever moment it is ended in, it leaves no socket open."""

import gc
import socket
import warnings

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from tests.support.proxy import Proxy


@pytest.mark.parametrize("ending", ["cut", "refuse", "stall", "leave"])
def test_no_socket_outlives_it(ending: str) -> None:
    clients = []
    with socket.create_server(("127.0.0.1", 0)) as server, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        port = server.getsockname()[1]
        with Proxy(DatabaseUrl.parse(f"postgresql://u@127.0.0.1:{port}/d")) as proxy:
            for number in range(50):
                clients.append(socket.create_connection(("127.0.0.1", proxy.port)))
                clients[-1].sendall(b"x" * 100_000)  # more than is taken: nobody reads
                if number == 25 and ending != "leave":
                    getattr(proxy, ending)()
                    if ending == "refuse":
                        break
        del proxy
        for client in clients:
            client.close()
        gc.collect()
    assert not [str(warning.message) for warning in caught]
