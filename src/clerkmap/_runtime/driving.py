"""Rules that need answers from outside are generators: they yield what they want to know, and are sent the answer.

Written once, they run in synchronous and in asynchronous code; only who answers differs.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

Q = TypeVar("Q")
R = TypeVar("R")


def drive(steps: Generator[Q, Any, R], answer: Callable[[Q], Any]) -> R:
    """Run the steps to their end, and give their result."""
    reply = None
    while True:
        try:
            question = steps.send(reply)
        except StopIteration as done:
            result: R = done.value
            return result
        reply = answer(question)  # outside the try: a StopIteration of the answerer's is not the end of the steps


async def adrive(steps: Generator[Q, Any, R], answer: Callable[[Q], Awaitable[Any]]) -> R:
    """The same, awaiting each answer."""
    reply = None
    while True:
        try:
            question = steps.send(reply)
        except StopIteration as done:
            result: R = done.value
            return result
        reply = await answer(question)
