"""Dataclasses with slots, as `dataclasses` makes them, for a tenth of what making one costs there.

`dataclasses` compiles six methods for each class when a module is imported: a third of the time of a command that shows
one record. Here what all classes have in common is shared, and `__init__` is compiled when the first object is made. Of
a frozen class it sets the fields of an object whose class has the same slots and is not frozen, which then becomes one
of the class: a third of the time of as many calls of `object.__setattr__`. To everybody else they are dataclasses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass

    __all__ = ["dataclass", "thawed"]
else:

    def dataclass(**wanted):
        """`dataclasses.dataclass`; with `slots=True`, frozen or not, and nothing else, what this module is for."""
        plain = dataclasses.dataclass(**wanted)
        frozen = wanted.get("frozen", False)
        if wanted | {"frozen": True} != {"frozen": True, "slots": True}:
            return plain
        return lambda cls: _made(cls, frozen=frozen) if _is_simple(cls) else plain(cls)


def thawed(record: type) -> Any:
    """A class with the slots of a frozen one, whose objects can be told that they are of that one."""
    slots = vars(record)["__slots__"]
    return type(record.__name__, record.__bases__, {"__slots__": slots, "__setattr__": object.__setattr__})


def _is_simple(cls: type) -> bool:
    """Whether nothing is asked for but fields with or without a default, in a class that extends no dataclass."""
    if any("__dataclass_fields__" in vars(base) for base in cls.__mro__[1:]):
        return False
    said = [one for one in vars(cls).values() if isinstance(one, dataclasses.Field)]
    return all(f.init and f.repr and f.compare and f.hash is None and f.kw_only is dataclasses.MISSING for f in said)


def _made(cls: type, *, frozen: bool) -> type:
    plain: Any = dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
    names = tuple(field.name for field in dataclasses.fields(plain))
    body = {name: one for name, one in vars(plain).items() if name not in (*names, "__dict__", "__weakref__")}
    if "__eq__" in body and body.get("__hash__") is None:  # what Python itself writes beside an `__eq__`
        body.pop("__hash__", None)
    methods = _methods(names) | (_frozen_methods(names) if frozen else {"__hash__": None})
    body = methods | body | {"__slots__": names, "__signature__": _Signature()}
    made = type(cls)(cls.__name__, cls.__bases__, body)
    made.__qualname__ = cls.__qualname__
    if "__init__" not in vars(plain):
        made.__init__ = _compiled_later(made)  # type: ignore[misc]
    said = made.__dataclass_params__  # type: ignore[attr-defined]
    said.init = said.repr = said.eq = True
    said.frozen = frozen
    return made


def _cells(names: tuple[str, ...]) -> Callable[[Any], Any]:
    return attrgetter(*names) if len(names) > 1 else lambda one: [*map(one.__getattribute__, names)]


def _methods(names: tuple[str, ...]) -> dict[str, Any]:
    """What is the same for all classes but for the names of the fields."""
    cells = _cells(names)

    def show(self: Any) -> str:
        said = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{self.__class__.__qualname__}({said})"

    def equal(self: Any, other: object) -> bool:
        return cells(self) == cells(other) if other.__class__ is self.__class__ else NotImplemented

    return {"__repr__": show, "__eq__": equal}


def _frozen_methods(names: tuple[str, ...]) -> dict[str, Any]:
    """What frozen ones have besides."""
    fields, cells = frozenset(names), _cells(names)

    def number(self: Any) -> int:
        return hash(tuple(cells(self)))

    def refuse_to_set(self: Any, name: str, value: object) -> None:
        if name in fields or "__dict__" not in dir(self):
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        object.__setattr__(self, name, value)

    def refuse_to_delete(self: Any, name: str) -> None:
        if name in fields or "__dict__" not in dir(self):
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        object.__delattr__(self, name)

    def state_of(self: Any) -> list[Any]:
        return [getattr(self, name) for name in names]

    def put_back(self: Any, state: list[Any]) -> None:
        for name, value in zip(names, state, strict=False):
            object.__setattr__(self, name, value)

    return {
        "__hash__": number, "__setattr__": refuse_to_set, "__delattr__": refuse_to_delete,
        "__getstate__": state_of, "__setstate__": put_back,
    }  # fmt: skip


def _compiled_later(cls: Any) -> Callable[..., None]:
    def compile_first(self: Any, *args: Any, **said: Any) -> None:
        _compile(cls)(self, *args, **said)

    compile_first.__name__ = _compiled_later.__name__
    return compile_first


def _compile(cls: Any) -> Callable[..., None]:
    """The `__init__` of a class, from now on."""
    fields = dataclasses.fields(cls)
    known: dict[str, Any] = {"_cls_": cls, "_set_": object.__setattr__, "_unset_": object()}
    head, made = [], []
    for field in fields:
        name, text = field.name, field.name
        if field.default is not dataclasses.MISSING:
            known[f"_{name}_"], text = field.default, f"{name}=_{name}_"
        elif field.default_factory is not dataclasses.MISSING:
            known[f"_{name}_"], text = field.default_factory, f"{name}=_unset_"
            made.append(f"  if {name} is _unset_: {name} = _{name}_()")
        head.append(text)
    slowly = [f"_set_(self, {field.name!r}, {field.name})" for field in fields] or ["pass"]
    lines = [f"def __init__({', '.join(['self', *head])}):", *made]
    plainly = [f"self.{field.name} = {field.name}" for field in fields] or ["pass"]
    if not cls.__dataclass_params__.frozen:
        lines += [f"  {line}" for line in plainly]
    else:
        try:
            known["_thawed_"] = thawed(cls)
        except TypeError:  # a generic class cannot be extended so
            lines += [f"  {line}" for line in slowly]
        else:
            quickly = ["_set_(self, '__class__', _thawed_)", *plainly, "self.__class__ = _cls_"]
            lines += ["  if self.__class__ is _cls_:", *(f"    {line}" for line in quickly)]
            lines += ["  else:", *(f"    {line}" for line in slowly)]
    lines.append("  self.__post_init__()" if hasattr(cls, "__post_init__") else "  return")
    # Compiled apart: after Ctrl-C within `exec` of a text Python ends by that signal, whatever was made of it.
    exec(compile("\n".join(lines), "<made>", "exec"), known)  # noqa: S102 - as `dataclasses` does, of identifiers
    init: Callable[..., None] = known["__init__"]
    init.__qualname__, init.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
    init.__annotations__ = {field.name: field.type for field in fields} | {"return": None}
    cls.__init__ = init
    return init


class _Signature:
    """What `inspect.signature` says of a class, without compiling it before somebody asks."""

    def __get__(self, _: object, owner: Any) -> Any:
        import inspect  # noqa: PLC0415 - start-up time

        base = next(one for one in owner.__mro__ if "__init__" in vars(one))
        if vars(base)["__init__"].__name__ == _compiled_later.__name__:
            _compile(base)
        found = inspect.signature(owner.__init__)
        return found.replace(parameters=[*found.parameters.values()][1:])
