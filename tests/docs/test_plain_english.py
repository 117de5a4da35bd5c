"""The text of the project is plain technical English: it names things, and rarely says "who" or "what"."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "clerkmap"
# Words of which a text may have fewer than so many in 1,000.
LIMITS = {
    1: re.compile(
        r"\b(who|whom|whose|whoever|(?:no|some|any|every)body|(?:some|any|every)one|no one)\b", re.IGNORECASE
    ),
    2: re.compile(r"\bwhat(?:ever)?\b", re.IGNORECASE),
}
FOLDERS = sorted(path for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__")
TEXTS = {
    **{name: [ROOT / name] for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")},
    "docs": sorted((ROOT / "docs").glob("*.md")),
    "src/clerkmap/*.py": sorted(SOURCE.glob("*.py")),
    **{f"src/clerkmap/{folder.name}": sorted(folder.rglob("*.py")) for folder in FOLDERS},
}
# Texts that wait for a rewrite. Take a name out once its text is plain; add none.
PENDING: set[str] = set()


def of_markdown(text: str) -> Iterator[str]:
    """Yield the text outside code."""
    yield re.sub(r"`[^`\n]*`", "code", re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL))


def of_python(text: str) -> Iterator[str]:
    """Yield the docstrings, the comments and the help texts of the command line, without code in backticks."""
    found: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(ast.get_docstring(node) or "")
        elif isinstance(node, ast.keyword) and node.arg == "help" and isinstance(node.value, ast.Constant):
            found.append(str(node.value.value))
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    found += [token.string for token in tokens if token.type == tokenize.COMMENT]
    for each in found:
        yield re.sub(r"`+[^`\n]*`+", "code", each)


def excess(paths: list[Path]) -> dict[str, list[str]]:
    """Return the words of each group that is too frequent in these files, with the number of words in between."""
    texts: list[str] = []
    for path in paths:
        texts += (of_markdown if path.suffix == ".md" else of_python)(path.read_text(encoding="utf-8"))
    words = sum(len(re.findall(r"[A-Za-z']+", text)) for text in texts)
    found = {limit: [word.lower() for text in texts for word in each.findall(text)] for limit, each in LIMITS.items()}
    return {
        f"{1000 * len(said) / words:.1f} in 1,000 words, and fewer than {limit} are allowed": sorted(set(said))
        for limit, said in found.items()
        if len(said) * 1000 >= limit * words > 0
    }


def test_the_words_are_found() -> None:
    """A text with such a word in it is found out; code is not text."""
    assert list(of_markdown("Ask `who`.\n```python\nwhat\n```\n")) == ["Ask code.\n\n"]
    assert list(of_python('"""One `what`."""\n\nx = 1  # whose\n')) == ["One code.", "# whose"]
    assert LIMITS[1].findall("Who? Nobody, somebody, everyone. The wholesaler.") == [
        *("Who", "Nobody", "somebody", "everyone")
    ]


def test_what_is_pending_is_there() -> None:
    """Each name of the list is one of the texts."""
    assert set(TEXTS) >= PENDING


@pytest.mark.parametrize("name", TEXTS)
def test_the_text_is_plain(name: str) -> None:
    """A text keeps to the limits, or waits in the list; one that keeps to them leaves the list."""
    found = excess(TEXTS[name])
    if name in PENDING:
        assert found, f"{name} is plain: take it out of PENDING"
    else:
        assert found == {}, "name the thing, then the verb"
