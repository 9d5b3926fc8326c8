"""What `import holdfast` promises: its names, its errors, and that types are there for callers."""

from __future__ import annotations

import ast
import importlib
import inspect
import pickle
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast
from holdfast import errors
from holdfast.errors import HoldfastError

ROOT = Path(__file__).parents[2]
TREE = [c for c in vars(errors).values() if inspect.isclass(c) and issubclass(c, HoldfastError)]


def test_all_names_are_sorted_there_and_listed() -> None:
    assert holdfast.__all__ == sorted(holdfast.__all__)
    assert all(getattr(holdfast, name) is not None for name in holdfast.__all__)
    assert set(holdfast.__all__) <= set(dir(holdfast))


def test_the_stub_for_type_checkers_names_the_same_as_the_lazy_loader() -> None:
    tree = ast.parse(Path(holdfast.__file__).read_text("utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {a.asname or a.name for node in guarded.body if isinstance(node, ast.ImportFrom) for a in node.names}
    assert typed | {"__version__"} == set(holdfast.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        holdfast.nonsense  # noqa: B018


def test_no_name_that_a_package_loads_when_it_is_used_is_one_of_its_modules() -> None:
    """Importing such a module puts it where the name is looked for; whoever comes later would get the module."""
    lazy = 0
    for file in sorted(Path(holdfast.__file__).parent.rglob("__init__.py")):
        package = ".".join(file.relative_to(Path(holdfast.__file__).parents[1]).parent.parts)
        names = getattr(importlib.import_module(package), "_HOMES", {})
        lazy += bool(names)
        assert not set(names) & {module.name for module in pkgutil.iter_modules([str(file.parent)])}, package
    assert lazy >= 3


@pytest.mark.parametrize("module", ["holdfast", "holdfast.cli.main", "holdfast.store", "holdfast.testing"])
def test_it_imports_without_a_warning(module: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", f"import {module}"], check=True)


def test_importing_the_package_loads_no_database() -> None:
    code = "import sys, holdfast; sys.exit('peewee' in sys.modules or 'zstandard' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_error_tree_that_is_drawn_is_the_one_there_is() -> None:
    drawn = re.findall(r"(\w+Error)\b", (errors.__doc__ or "").split("Each class has")[0])
    assert sorted(name for name in drawn if name not in ("ValueError", "LookupError")) == sorted(
        c.__name__ for c in TREE
    )


def test_every_error_has_a_code_of_its_own_and_says_what_to_do() -> None:
    codes = [c.code for c in TREE]
    assert len(set(codes)) == len(codes)
    assert all(c.default_remedy for c in TREE)


@pytest.mark.parametrize("cls", TREE, ids=lambda c: c.__name__)
def test_an_error_survives_the_way_between_processes(cls: type[HoldfastError]) -> None:
    error = pickle.loads(pickle.dumps(cls("what", remedy="do this", field=1)))
    assert (type(error), error.message, error.remedy, error.fields) == (cls, "what", "do this", {"field": 1})


def test_the_package_is_typed() -> None:
    assert (Path(holdfast.__file__).parent / "py.typed").exists()
