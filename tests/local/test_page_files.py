"""The files of the page, read as they are: nothing from elsewhere, nothing inline, no text that could become HTML."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "src" / "clerkmap" / "local" / "page"
FILES = sorted(PAGE.iterdir())
SCRIPTS = [path for path in FILES if path.suffix == ".js"]
IMPORTED = re.compile(r'from "\./([a-z]+\.js)"')
LONGEST = 250

# Ways to make HTML or code of a text, or to be where the content policy does not let one be.
FORBIDDEN = (
    *("innerHTML", "outerHTML", "insertAdjacentHTML", "setHTML", "createContextualFragment", "DOMParser", "srcdoc"),
    *("document.write", "eval(", "new Function", "javascript:"),
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_makes_html_of_a_text(path: Path) -> None:
    """What people are called can be put on the page in no other way than as text."""
    assert [word for word in FORBIDDEN if word in path.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    """No address but that of the standard of SVG; each file can be read at one sitting, in lines that fit."""
    text = path.read_text(encoding="utf-8")
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text))
    assert addresses <= {"http://www.w3.org"}
    assert max(map(len, text.splitlines())) <= 120
    assert len(text.splitlines()) <= LONGEST


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_every_module_says_what_it_is(path: Path) -> None:
    """A module opens with what lives in it, and whatever others may use of it is described."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("// ")
    exported = re.findall(r"^(.*)\nexport (?:async )?(?:function|class|const) (\w+)", text, re.MULTILINE)
    assert [name for before, name in exported if not before.endswith("*/")] == []


def test_every_file_is_used() -> None:
    """From the page all files are reached, and no other."""
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    reached: set[str] = set()
    waiting = re.findall(r'(?:href|src)="/page/([\w.]+)"', html)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += IMPORTED.findall((PAGE / name).read_text(encoding="utf-8")) if name.endswith(".js") else []
    assert reached | {"index.html"} == {path.name for path in FILES}


def test_nothing_is_inline() -> None:
    """The content policy allows neither scripts nor styles nor handlers in the page itself."""
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)", html)
