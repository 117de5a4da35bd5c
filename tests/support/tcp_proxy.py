"""A network that a test may cut: a TCP proxy to a port of this machine, with two threads for each connection."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

COMMIT = b"COMMIT\0"  # as a client sends it, and not the words READ COMMITTED


class TcpProxy:
    """Listens on `port`, and passes on what comes to another port, and what that answers, as long as it is told to."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()  # both ends of each connection
        self._refuses = self._closed = False
        self._last_words: bytes | None = None
        self.answers_lost = 0
        self.has_lost = threading.Event()  # an answer, since `cut_at`
        self.accepted = 0  # connections, those that were refused included
        self._to_lose: tuple[bytes, Callable[[], object]] | None = None
        self._losing: dict[socket.socket, Callable[[], object]] = {}  # by the server's end of a connection
        self._asking, self._answering = threading.Event(), threading.Event()
        self._threads: set[threading.Thread] = set()
        self.heal()
        self._accepting = threading.Thread(target=self._accept, name="proxy")
        self._accepting.start()

    def cut(self) -> int:
        """Break all connections and refuse new ones. What was on its way is lost. It tells how many were broken."""
        with self._lock:
            self._refuses = True
            broken = list(self._open)
            for end in broken:
                _shut(end)
        self._pass()  # nothing is left to pass on, and who waits to do so finds that out
        return len(broken) // 2

    def stall(self, *, answers_only: bool = False) -> None:
        """Pass nothing on, and keep the connections open; or pass on what is asked, and not what is answered."""
        self._answering.clear()
        if not answers_only:
            self._asking.clear()

    def cut_at(self, words: bytes) -> None:
        """Break each connection on which these words come, before an answer: of two, one behind and one before them."""
        self.has_lost.clear()
        self._last_words = words

    def lose_answer(self, words: bytes, meanwhile: Callable[[], object]) -> None:
        """Pass on the next message with these words, and drop its answer. The connection breaks after `meanwhile`."""
        self._to_lose = words, meanwhile

    def heal(self) -> None:
        """Accept again, and pass on again."""
        with self._lock:
            self._refuses = False
        self._last_words = None
        self._pass()

    def close(self) -> None:
        self._closed = True
        self.cut()
        with suppress(OSError):  # wakes who accepts
            socket.create_connection(("127.0.0.1", self.port)).close()
        self._accepting.join()
        self._listener.close()
        for thread in list(self._threads):
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _pass(self) -> None:
        self._asking.set()
        self._answering.set()

    def _accept(self) -> None:
        while not self._closed:
            client, _ = self._listener.accept()
            self.accepted += 1
            thread = threading.Thread(target=self._serve, args=(client,), name="proxied")
            self._threads = {each for each in self._threads if each.is_alive()} | {thread}
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:  # it is down
                return
            with server:
                ends = {client, server}
                for end in ends:
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    if self._refuses:
                        return
                    self._open |= ends
                back = threading.Thread(target=self._pump, args=(server, client, self._answering), name="proxied back")
                back.start()
                self._pump(client, server, self._asking)
                back.join()
                with self._lock:
                    self._open -= ends

    def _pump(self, source: socket.socket, sink: socket.socket, passing: threading.Event) -> None:
        with suppress(OSError):
            while said := source.recv(65536):
                passing.wait()
                last_words = self._last_words
                is_last = last_words is not None and passing is self._asking and last_words in said
                self.answers_lost += is_last
                if is_last:
                    self.has_lost.set()
                if passing is self._asking and self._to_lose is not None and self._to_lose[0] in said:
                    self._losing[sink], self._to_lose = self._to_lose[1], None
                elif source in self._losing:
                    self.answers_lost += 1
                    self._losing.pop(source)()
                    break
                if not is_last or self.answers_lost % 2:
                    sink.sendall(said)
                if is_last:
                    break
        # An end passes through a stall no more than anything else does.
        passing.wait()
        for end in (source, sink):
            _shut(end)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):  # it is shut
        end.shutdown(socket.SHUT_RDWR)
