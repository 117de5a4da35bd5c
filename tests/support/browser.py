"""A real browser for tests: Debian's Chromium (or Chrome), headless, driven by the DevTools protocol.

Things are found as a person who cannot see finds them: by role and name, in the browser's own accessibility tree.
They are clicked where they are on the screen, and keys are pressed on the keyboard: what is covered is not reached.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

PATIENCE = 120.0  # seconds after which a test that hangs is ended
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    *("--disable-extensions", "--remote-debugging-port=0", "--hide-scrollbars", "--font-render-hinting=none"),
)
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "Space": 32, "ArrowUp": 38, "ArrowDown": 40}


def find_browser() -> str:
    """The program, or a skipped test where there is none."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium and no Chrome on this machine")


class Page:
    """A tab. `complaints` holds every error that its console has shown, a breach of its content policy included."""

    def __init__(self, socket: ClientConnection) -> None:
        self.complaints: list[str] = []
        self._socket = socket
        self._asked = 0
        for domain in ("Page", "Runtime", "Log", "Audits", "Accessibility", "DOM"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One request of the DevTools protocol, and its result."""
        self._asked += 1
        self._socket.send(json.dumps({"id": self._asked, "method": method, "params": parameters}))
        while True:
            said = json.loads(self._socket.recv(timeout=PATIENCE))
            if said.get("id") == self._asked:
                assert "error" not in said, f"{method}: {said['error']}"
                return dict(said["result"])
            self._checkpoint(said.get("method"), said.get("params", {}))

    def open(self, url: str) -> None:
        """Go to an address, and wait until it has been loaded."""
        assert "errorText" not in self.ask("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete'")

    def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        """Give the page a screen of this size, light or dark."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme, still])

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript, as JSON has it."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> Any:
        """The value of an expression as soon as it is true."""
        end = time.monotonic() + PATIENCE
        while not (value := self.evaluate(condition)):
            if time.monotonic() > end:
                raise AssertionError(f"never true: {condition}\n{self.evaluate('document.body.innerText')}")
            time.sleep(0.02)
        return value

    def text(self, selector: str = "body") -> str:
        """What can be read in the first element of a selector."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def wait_for_text(self, text: str, selector: str = "body") -> None:
        """Wait until a text can be read there."""
        self.wait_for(f"document.querySelector({json.dumps(selector)})?.innerText.includes({json.dumps(text)})")

    def click(self, role: str, name: str) -> None:
        """Click the middle of what has this role and this name, once it is there and nothing covers it."""
        node = self._find(role, name)
        self.ask("DOM.scrollIntoViewIfNeeded", backendNodeId=node)
        corners = self.ask("DOM.getContentQuads", backendNodeId=node)["quads"][0]
        x, y = sum(corners[0::2]) / 4, sum(corners[1::2]) / 4
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def focus(self, role: str, name: str) -> None:
        """Put the focus on it."""
        self.ask("DOM.focus", backendNodeId=self._find(role, name))

    def fill(self, name: str, text: str) -> None:
        """Replace what stands in a text field."""
        self.focus("textbox", name)
        self.evaluate("document.activeElement.select()")
        self.type(text)

    def type(self, text: str) -> None:
        """Type a text into what has the focus."""
        self.ask("Input.insertText", text=text)

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key of the keyboard."""
        text = {"Enter": "\r", "Space": " "}.get(key, "")
        pressed: dict[str, Any] = {
            "key": " " if key == "Space" else key,
            "code": key,
            "windowsVirtualKeyCode": KEYS[key],
        }
        pressed["modifiers"] = 8 if shift else 0
        self.ask("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **pressed)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def has(self, role: str, name: str) -> bool:
        """Whether there is such a thing now."""
        return bool(self._all(role, name))

    def _find(self, role: str, name: str) -> int:
        end = time.monotonic() + PATIENCE
        while not (found := self._all(role, name)):
            if time.monotonic() > end:
                raise AssertionError(f"no {role} is called {name!r}\n{self.evaluate('document.body.innerText')}")
            time.sleep(0.02)
        return found[0]

    def _all(self, role: str, name: str) -> list[int]:
        root = self.ask("DOM.getDocument", depth=0)["root"]["backendNodeId"]
        tree = self.ask("Accessibility.queryAXTree", backendNodeId=root, accessibleName=name, role=role)["nodes"]
        return [int(node["backendDOMNodeId"]) for node in tree if not node["ignored"] and not _is_disabled(node)]

    def _checkpoint(self, method: str | None, said: dict[str, Any]) -> None:
        match method:
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(said["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if said["type"] in ("error", "warning", "assert"):
                self.complaints.append(json.dumps(said["args"]))
            case "Log.entryAdded" if said["entry"]["level"] in ("error", "warning"):
                self.complaints.append(f"{said['entry']['source']}: {said['entry']['text']}")
            case "Audits.issueAdded" if said["issue"]["code"] == "ContentSecurityPolicyIssue":
                self.complaints.append(json.dumps(said["issue"]))
            case _:
                pass


def _is_disabled(node: dict[str, Any]) -> bool:
    return any(each["name"] == "disabled" and each["value"].get("value") for each in node.get("properties", []))


class Browser:
    """A running browser with an empty profile of its own; it ends with the block. Without `cookies` it keeps none."""

    def __init__(self, *, cookies: bool = True) -> None:
        program = find_browser()
        self._folder = tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True)
        if not cookies:
            (Path(self._folder.name) / "Default").mkdir()
            blocked = {"profile": {"default_content_setting_values": {"cookies": 2}}}
            (Path(self._folder.name) / "Default" / "Preferences").write_text(json.dumps(blocked))
        command = [program, *FLAGS, f"--user-data-dir={self._folder.name}", "about:blank"]
        # What it puts among temporary files goes with its profile.
        environment = {**os.environ, "TMPDIR": self._folder.name}
        nothing = subprocess.DEVNULL
        self._process = subprocess.Popen(command, env=environment, stdin=nothing, stdout=nothing, stderr=nothing)
        try:
            self._port = self._wait_for_port()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    @contextmanager
    def page(
        self, url: str, width: int = 1440, height: int = 900, *, dark: bool = False, errors: bool = False
    ) -> Generator[Page]:
        """A new tab, with an address opened in it. Unless `errors` may come, its console must show none."""
        made = httpx.put(f"http://127.0.0.1:{self._port}/json/new?about:blank", timeout=PATIENCE).json()
        with connect(made["webSocketDebuggerUrl"], max_size=None, proxy=None) as socket:
            page = Page(socket)
            page.resize(width, height, dark=dark)
            page.open(url)
            yield page
            page.evaluate("1")  # whatever was said before this has been heard after it
            assert errors or page.complaints == []
            page.ask("Page.close")

    def _wait_for_port(self) -> int:
        told = Path(self._folder.name) / "DevToolsActivePort"
        end = time.monotonic() + PATIENCE
        while not (told.exists() and told.read_text().count("\n") >= 1):
            if self._process.poll() is not None:
                pytest.skip("the browser does not start on this machine")
            assert time.monotonic() < end, "the browser does not say where it listens"
            time.sleep(0.02)
        return int(told.read_text().splitlines()[0])
