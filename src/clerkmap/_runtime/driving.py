"""Drivers for rules. A rule is a generator that yields a question and receives the answer.

Each rule is written once. One of the two drivers runs it in sync code, the other in async code.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

Q = TypeVar("Q")
R = TypeVar("R")


def drive(steps: Generator[Q, Any, R], answer: Callable[[Q], Any]) -> R:
    """Run the steps to the end, and return their result."""
    reply = None
    while True:
        try:
            question = steps.send(reply)
        except StopIteration as done:
            result: R = done.value
            return result
        reply = answer(question)  # outside the try: a StopIteration from `answer` is not the end of the steps


async def adrive(steps: Generator[Q, Any, R], answer: Callable[[Q], Awaitable[Any]]) -> R:
    """Do the same as `drive`, and await each answer."""
    reply = None
    while True:
        try:
            question = steps.send(reply)
        except StopIteration as done:
            result: R = done.value
            return result
        reply = await answer(question)
