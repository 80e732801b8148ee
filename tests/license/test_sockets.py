"""The law's tests cannot reach a network: what they prove holds without one."""

from __future__ import annotations

import socket

import pytest


def test_a_socket_in_a_test_of_the_law_fails_it():
    with pytest.raises(AssertionError, match="used the network"):
        socket.socket()
    with pytest.raises(AssertionError, match="used the network"):
        socket.getaddrinfo("localhost", 1)
