"""Regular expressions of queries (4.9, `idPattern`), matched in linear time whatever the pattern.

Python's `re` backtracks: `(a+)+b` or a row of `.*` costs it more than any query may. So a pattern is
compiled to an automaton (Thompson) whose deterministic states are made when first needed. What such an
automaton cannot do, back-references and look-around, is not in POSIX extended expressions either
(IEEE 1003.2, which the standard names) and is refused. The common escapes of Perl are understood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NoReturn

from autocity.errors import BadRequestData, TooComplexQuery

MAX_LENGTH = 1_000
MAX_NODES = 500
MAX_DEPTH = 30

MAX_WEIGHT = 100_000
"""How much of an automaton is remembered: edges, and the nodes of the states that they lead to."""

MAX_WORK = 1_000_000
"""How many nodes one search may visit while it makes new states: half a second."""

Test = Callable[[str], bool]


class Node:
    """A state of the nondeterministic automaton: consumes a character when it has a `test`, else
    stands for an assertion (`^`, `$`), a fork, or the end of the pattern (`out` empty)."""

    __slots__ = ("assertion", "out", "test")

    def __init__(self, test: Test | None = None, assertion: str = "", out: Iterable[Node] = ()) -> None:
        self.test = test
        self.assertion = assertion
        self.out = list(out)


Build = Callable[[Node], Node]
"""Makes the nodes of a part of the pattern, given the node that follows it."""


@lru_cache(maxsize=128)
def search(pattern: str) -> Callable[[str], bool]:
    """A function that tells whether the pattern is found anywhere in a text.

    Raises `errors.BadRequestData` when the pattern is none, or larger than the bounds.
    """
    return Automaton(Parser(pattern).whole()).search


class State:
    """A state of the deterministic automaton: the nodes that may consume the next character, and the
    states that characters lead to, as far as known. `verdict` is set once the answer is certain."""

    __slots__ = ("at_end", "edges", "nodes", "verdict")

    def __init__(self, nodes: tuple[Node, ...], verdict: bool | None, at_end: bool) -> None:
        self.nodes = nodes
        self.verdict = verdict
        self.at_end = at_end
        self.edges: dict[str, State] = {}


class Automaton:
    """A compiled pattern. Threads may share it: what they race for is only work done twice."""

    def __init__(self, start: Node) -> None:
        self._start = start
        self._states: dict[tuple[tuple[Node, ...], bool], State] = {}
        self._weight = 0
        self._first = self._state([start], at_start=True)

    def search(self, text: str) -> bool:
        """Whether the pattern is found in the text. Raises `errors.TooComplexQuery`."""
        state = self._first
        if state.verdict is not None:
            return state.verdict
        work = MAX_WORK
        for char in text:
            following = state.edges.get(char)
            if following is None:
                work -= len(state.nodes) + 1
                if work < 0:
                    raise TooComplexQuery("the regular expression is too complex for the texts it meets")
                following = self._follow(state, char)
            if following.verdict is not None:
                return following.verdict
            state = following
        return state.at_end

    def _follow(self, state: State, char: str) -> State:
        nodes = [node.out[0] for node in state.nodes if node.test is not None and node.test(char)]
        # A match may begin at every character: the start is always among the nodes.
        following = self._state([*nodes, self._start], at_start=False)
        self._weight += 1 + len(following.nodes)
        if self._weight > MAX_WEIGHT:
            self._states.clear()
            self._first.edges.clear()
            self._weight = 0
        state.edges[char] = following
        return following

    def _state(self, nodes: list[Node], *, at_start: bool) -> State:
        consuming, ended = _closure(nodes, at_start=at_start, at_end=False)
        if ended:
            return State(consuming, True, True)
        _, at_end = _closure(nodes, at_start=at_start, at_end=True)
        known = self._states.get((consuming, at_end))
        if known is not None:
            return known
        # Nothing can consume what comes: the answer is no, unless nothing comes.
        state = State(consuming, None if consuming or at_end else False, at_end)
        return self._states.setdefault((consuming, at_end), state)


def _closure(nodes: Iterable[Node], *, at_start: bool, at_end: bool) -> tuple[tuple[Node, ...], bool]:
    """The consuming nodes reachable without a character, and whether the end of the pattern is."""
    passable = {"", *("^" * at_start), *("$" * at_end)}
    stack, seen, ended = list(nodes), set[Node](), False
    consuming: list[Node] = []
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.test is not None:
            consuming.append(node)
        elif node.assertion in passable:
            ended = ended or not node.out
            stack += node.out
    return tuple(sorted(consuming, key=id)), ended


class Parser:
    """Reads a pattern by recursive descent; each part becomes a function that builds its nodes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.nodes = 0

    def whole(self) -> Node:
        if len(self.text) > MAX_LENGTH:
            raise BadRequestData(f"the pattern is longer than {MAX_LENGTH} characters; shorten it")
        build = self.alternatives()
        if self.at < len(self.text):
            self.fail("')' has no '('")
        return build(self.node())

    def fail(self, fault: str) -> NoReturn:
        raise BadRequestData(f"the regular expression {self.text!r:.80} fails at position {self.at}: {fault}")

    def node(self, test: Test | None = None, assertion: str = "", out: Iterable[Node] = ()) -> Node:
        self.grow()
        return Node(test, assertion, out)

    def grow(self) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise BadRequestData(f"the regular expression {self.text!r:.80} is too large; repeat less in it")

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self, expected: str = "") -> str:
        char = self.peek()
        if not char or (expected and char != expected):
            self.fail(f"{expected!r} is missing" if expected else "it ends too early")
        self.at += 1
        return char

    def alternatives(self) -> Build:
        choices = [self.sequence()]
        while self.peek() == "|":
            self.at += 1
            choices.append(self.sequence())
        if len(choices) == 1:
            return choices[0]
        return lambda after: self.node(out=[choice(after) for choice in choices])

    def sequence(self) -> Build:
        parts: list[Build] = []
        while self.peek() not in ("", "|", ")"):
            parts.append(self.repeated(*self.atom()))

        def build(after: Node) -> Node:
            for part in reversed(parts):
                after = part(after)
            return after

        return build

    def atom(self) -> tuple[Build, bool]:
        """One atom, and whether it may be repeated."""
        char = self.take()
        if char == "(":
            return self.group(), True
        if char == "[":
            return self.consumer(self.bracket()), True
        if char == ".":
            return self.consumer(lambda _: True), True
        if char in "^$":
            return (lambda after: self.node(assertion=char, out=[after])), False
        if char == "\\":
            return self.escape()
        if char in "*+?":
            self.fail(f"{char!r} follows nothing that could be repeated; write '\\{char}' for the character")
        return self.consumer(char.__eq__), True

    def consumer(self, test: Test) -> Build:
        return lambda after: self.node(test, out=[after])

    def group(self) -> Build:
        if self.peek() == "?":
            self.at += 1
            if self.peek() != ":":
                self.fail("only plain groups and (?:…) are regular; look-around and flags are not supported")
            self.at += 1
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(f"groups are nested deeper than {MAX_DEPTH}")
        inner = self.alternatives()
        self.take(")")
        self.depth -= 1
        return inner

    def escape(self) -> tuple[Build, bool]:
        char = self.take()
        if char in "123456789":
            self.fail("back-references are not regular")
        if char in "AZzbBG":
            if char in "Az":
                anchor = "^" if char == "A" else "$"
                return (lambda after: self.node(assertion=anchor, out=[after])), False
            self.fail(f"'\\{char}' is not supported")
        return self.consumer(self.class_of(char)), True

    def class_of(self, char: str) -> Test:
        """What the escape `\\char` stands for, outside and inside of brackets."""
        if char in _CLASSES:
            return _CLASSES[char]
        if char in _CONTROLS:
            return _CONTROLS[char].__eq__
        if char in "xu":
            digits = self.text[self.at : self.at + (2 if char == "x" else 4)]
            try:
                code = chr(int(digits, 16))
            except ValueError:
                self.fail(f"'\\{char}' needs hexadecimal digits")
            self.at += len(digits)
            return code.__eq__
        if char.isalnum():
            self.fail(f"'\\{char}' is not a known escape")
        return char.__eq__

    def bracket(self) -> Test:
        negated = self.peek() == "^"
        self.at += negated
        tests: list[Test] = []
        first = True
        while first or self.peek() != "]":
            first = False
            tests.append(self.bracket_item())
        self.at += 1
        if negated:
            return lambda char: not any(test(char) for test in tests)
        return tests[0] if len(tests) == 1 else lambda char: any(test(char) for test in tests)

    def bracket_item(self) -> Test:
        char = self.take()
        if char == "[" and self.peek() == ":":
            end = self.text.find(":]", self.at)
            test = _POSIX.get(self.text[self.at + 1 : end]) if end > 0 else None
            if test is None:
                self.fail("the character class in [: :] is not known")
            self.at = end + 2
            return test
        if char == "\\":
            char = self.take()
            if char in _CLASSES:
                return _CLASSES[char]
            char = _CONTROLS.get(char, char)
        if self.peek() != "-" or self.text[self.at + 1 : self.at + 2] in ("]", ""):
            return char.__eq__
        self.at += 1
        last = self.take()
        if last == "\\":
            last = self.take()
        if last < char:
            self.fail(f"the range {char}-{last} runs backwards")
        return lambda one: char <= one <= last

    def repeated(self, part: Build, repeatable: bool) -> Build:
        bounds = self.bounds()
        if bounds is None:
            return part
        if not repeatable:
            self.fail("an anchor cannot be repeated")
        if self.bounds() is not None:
            self.fail("what is repeated already cannot be repeated; group it")
        return self.repeat(part, *bounds)

    def bounds(self) -> tuple[int, int | None] | None:
        """The quantifier here, at least and at most how often; None when there is none."""
        char = self.peek()
        if char == "{":
            end = self.text.find("}", self.at)
            low, comma, high = self.text[self.at + 1 : max(end, self.at)].partition(",")
            if not _count(low) or not (_count(high) or (comma and not high) or not comma):
                self.fail("'{' begins a count like {2,5}; write '\\{' for the character")
            self.at = end + 1
            bounds = int(low), (int(high) if high else None) if comma else int(low)
            if bounds[1] is not None and bounds[1] < bounds[0]:
                self.fail("the count runs backwards")
        elif char and char in "*+?":
            self.at += 1
            bounds = {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        else:
            return None
        # Greedy or lazy makes no difference to whether a text matches.
        self.at += self.peek() == "?"
        return bounds

    def repeat(self, part: Build, low: int, high: int | None) -> Build:
        def build(after: Node) -> Node:
            if high is None:
                fork = self.node(out=[after])
                fork.out.append(part(fork))
                after = fork
            else:
                end = after
                for _ in range(high - low):
                    after = self.node(out=[part(after), end])
            for _ in range(low):
                self.grow()  # also when the part has no node
                after = part(after)
            return after

        return build


def _count(digits: str) -> bool:
    return digits.isascii() and digits.isdigit() and len(digits) <= 4


def _word(char: str) -> bool:
    return char.isalnum() or char == "_"


_CLASSES: dict[str, Test] = {
    "d": str.isdecimal,
    "D": lambda char: not char.isdecimal(),
    "w": _word,
    "W": lambda char: not _word(char),
    "s": str.isspace,
    "S": lambda char: not char.isspace(),
}
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "0": "\0"}
_POSIX: dict[str, Test] = {
    "alnum": str.isalnum,
    "alpha": str.isalpha,
    "blank": lambda char: char in " \t",
    "cntrl": lambda char: not char.isprintable() and not char.isspace(),
    "digit": str.isdecimal,
    "graph": lambda char: char.isprintable() and char != " ",
    "lower": str.islower,
    "print": str.isprintable,
    "punct": lambda char: char.isprintable() and not char.isalnum() and char != " ",
    "space": str.isspace,
    "upper": str.isupper,
    "xdigit": lambda char: char in "0123456789abcdefABCDEF",
}
