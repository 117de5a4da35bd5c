"""Drivers of rules that ask questions: generators, which yield a question and are sent its answer.

A rule is written once, and runs in sync and async code with one of the two drivers.
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
