"""Show the longest functions and files, for a person to look at: which of them does two things?"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("src", "tests", "bench", "demo", "tools")
SHOWN = 15
SHORT = 30


def python_files() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from sorted((ROOT / folder).rglob("*.py"))


def functions_in(path: Path) -> Iterator[tuple[int, str]]:
    """Each function's length in lines, its decorators left out, and where it is."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            yield length, f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"


def lines_of(path: Path) -> tuple[int, str]:
    return len(path.read_text(encoding="utf-8").splitlines()), str(path.relative_to(ROOT))


def show(title: str, sizes: list[tuple[int, str]]) -> None:
    print(f"\n{title}")
    for length, name in sorted(sizes, reverse=True)[:SHOWN]:
        print(f"  {length:5} {name}")


def main() -> None:
    files = list(python_files())
    functions = [found for path in files for found in functions_in(path)]
    lengths = [lines_of(path) for path in files]
    show("Longest functions", functions)
    show("Longest files", lengths)
    short = sum(length <= SHORT for length, _ in functions)
    code = sum(length for length, name in lengths if name.startswith("src"))
    tests = sum(length for length, name in lengths if name.startswith("tests"))
    print(
        f"\n{short} of {len(functions)} functions have at most {SHORT} lines; {tests} lines of tests for {code} of code"
    )


if __name__ == "__main__":
    main()
