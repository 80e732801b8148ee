"""Confidential inference: a service that proves itself, and a client that demands it.

The service opens sealed models in memory and answers over TLS with a key that lives as long as its
process; evidence binds that key. The client judges the evidence before it sends anything. Both
halves, and the words between them, are specified in ``docs/spec/confidential-inference.md``.

``binding``     what evidence is bound to
``statement``   the evidence as it travels
``tensors``     tensors as the Open Inference Protocol writes them
``models``      an opened sealed model: its inputs and outputs, and what fits them
``batching``    questions of several callers, answered in one run
``proving``     the TLS key, and evidence for it
``app``         the calls, as an ASGI application
``service``     sockets, TLS, a graceful stop
``calling``     the client
"""
