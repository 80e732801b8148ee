"""Coverage-guided fuzzing of everything that reads bytes from outside (`make fuzz`).

One file per parser in ``fuzz/parsers``: ``seeds()`` gives bytes to start from, ``check(data)``
reads ``data`` and asserts what holds of whatever was accepted (a round trip, mostly). A refusal
by an error of our tree is what bad input deserves; any other exception, ``Misuse`` and
``InternalError`` among them, an endless loop and a mountain of memory are findings. To add a
parser, add a file: it is found by its name.
"""
