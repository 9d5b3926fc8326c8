"""The house rules that a program can check: import directions, sizes, names, docstrings, where imports stand."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "holdfast"
MODULES = sorted(SOURCE.rglob("*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef

LONGER = {"errors.py": 500}  # a table: one place for every error, each with its fields and its cure
OPTIONAL = {"kinds/promises.py", "testing/homes.py", "testing/postgres.py"}  # libraries that need not be there
MODULE_LINES, CLASS_LINES, FUNCTION_LINES, PARAMETERS = 400, 300, 60, 10
FORBIDDEN = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager", "managers"}
# The command starts fast only if what a command needs is imported when it runs.
MAY_IMPORT_LATE = {"cli"}
# On the way of every command: what most commands do without is imported by those that need it.
AT_START_UP = {
    "__main__.py", "store.py", "engine/handle.py", "engine/open.py", "engine/parts.py", "engine/places.py",
    "engine/recover.py", "engine/served.py", "engine/settings.py", "exchange/folder.py", "exchange/hand.py",
    "exchange/hands.py", "exchange/prefetching.py",
    "index/sql.py", "index/tables.py", "kinds/artifacts.py", "kinds/clauses.py",
    "kinds/fetching.py", "kinds/media.py", "kinds/readings.py", "kinds/relationships.py", "kinds/revising.py",
    "kinds/writing.py", "stores.py", "tenants.py", "values/canon.py", "values/frozen.py", "values/vocabulary.py",
    "care/backup/calls.py", "engine/queueing.py", "engine/tenancy.py", "values/query.py",
}  # fmt: skip


@functools.cache
def trees() -> list[tuple[Path, ast.Module]]:
    return [(path.relative_to(SOURCE), ast.parse(path.read_text("utf-8"))) for path in MODULES]


def functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def lines(node: ast.AST) -> int:
    return getattr(node, "end_lineno", 0) - getattr(node, "lineno", 0) + 1


def test_imports_keep_the_direction_of_the_rooms() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_module_class_or_function_outgrows_its_reader() -> None:
    large = [
        f"{path}: {path_lines} lines"
        for path in MODULES
        if (path_lines := len(path.read_text().splitlines())) > LONGER.get(path.name, MODULE_LINES)
    ]
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and lines(node) > CLASS_LINES:
                large.append(f"{path}: class {node.name}, {lines(node)} lines")
        for node in functions(tree):
            if lines(node) > FUNCTION_LINES:
                large.append(f"{path}: {node.name}, {lines(node)} lines")
    assert large == []


def test_no_function_takes_many_parameters_and_none_a_boolean_by_position() -> None:
    found = []
    for path, tree in trees():
        if path.parts[0] == "cli" or path.parts[:2] == ("testing", "machine"):
            continue  # click and Hypothesis hand everything over by keyword
        for node in functions(tree):
            named = [*node.args.posonlyargs, *node.args.args]
            count = len([a for a in named if a.arg not in ("self", "cls")]) + len(node.args.kwonlyargs)
            if count > PARAMETERS:
                found.append(f"{path}: {node.name} takes {count}")
            booleans = [a.arg for a in named if isinstance(a.annotation, ast.Name) and a.annotation.id == "bool"]
            found += [f"{path}: {node.name} takes {name} by position" for name in booleans]
    assert found == []


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    assert [str(path) for path in MODULES if path.stem in FORBIDDEN or path.parent.name in FORBIDDEN] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_module_says_in_its_first_line_why_it_exists(path: Path) -> None:
    first = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n")[0]
    assert first.endswith((".", ":", "…")) or len(first) > 20, path


def test_what_is_public_says_what_it_does() -> None:
    silent = []
    for path, tree in trees():
        for node in tree.body:
            if not isinstance(node, (ast.ClassDef, *Function.__args__)) or node.name.startswith("_"):
                continue
            # The operations of a Disk are explained there, whoever stands in for it.
            stand_in = isinstance(node, ast.ClassDef) and any(getattr(b, "id", "") == "Disk" for b in node.bases)
            members = node.body if isinstance(node, ast.ClassDef) and not stand_in else []
            for one in [node, *members]:
                named = isinstance(one, (ast.ClassDef, *Function.__args__)) and not one.name.startswith("_")
                if named and not ast.get_docstring(one) and not _overrides(one):
                    silent.append(f"{path}: {one.name}")
    assert silent == []


def _overrides(node: ast.AST) -> bool:
    """Methods of the standard library's protocols, and overloads, are explained where they come from."""
    standard = {"readable", "seekable", "writable", "readinto", "read", "seek", "tell", "close", "list_commands",
                "get_command", "invoke", "convert", "format_help", "format_commands", "format_options", "parse_args",
                "main", "shell_complete", "get_help_record", "get_params", "make_context", "format_epilog"}  # fmt: skip
    return getattr(node, "name", "") in standard


def test_imports_stand_at_the_top() -> None:
    late = [
        f"{path}:{inner.lineno}"
        for path, tree in trees()
        if path.parts[0] not in MAY_IMPORT_LATE and str(path) not in AT_START_UP | OPTIONAL
        for node in functions(tree)
        for inner in ast.walk(node)
        if isinstance(inner, (ast.Import, ast.ImportFrom))
    ]
    assert late == []


def test_nothing_holds_the_path_of_the_checkout() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    files = [ROOT / name.decode() for name in listed if name]
    here = str(ROOT).encode() + b"/"
    assert [str(f) for f in files if f.is_file() and here in f.read_bytes()] == []
