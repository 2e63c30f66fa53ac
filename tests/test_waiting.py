"""A reserved port is the server's that it is meant for, before it starts and between its starts."""

from __future__ import annotations

import socket

from tests.waiting import eventually, reserved_port


def test_a_server_starts_again_on_a_reserved_port_that_nobody_else_is_given() -> None:
    with reserved_port() as port:
        for _ in range(2):
            with socket.create_server(("127.0.0.1", port)) as server, socket.create_connection(("127.0.0.1", port)):
                assert server.accept()[1][0] == "127.0.0.1"
            given = set()
            for _ in range(3000):
                with socket.socket() as other:
                    other.bind(("127.0.0.1", 0))
                    given.add(other.getsockname()[1])
            assert len(given) > 1000 and port not in given


def test_what_comes_true_later_is_waited_for() -> None:
    answers = iter([0, "", None, "there"])
    assert eventually(lambda: next(answers)) == "there"
