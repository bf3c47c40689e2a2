"""The reference store: everything in dictionaries, every question answered by the language's own matcher."""

from __future__ import annotations


class MemoryStore:
    """A `port.Store` that keeps nothing beyond the process. What the other stores must agree with."""

    def __init__(self) -> None:
        raise NotImplementedError
