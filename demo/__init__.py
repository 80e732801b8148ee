"""The story that `make demo` tells: a face-fusion program, protected, attacked and revoked."""
