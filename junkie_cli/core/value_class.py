"""Frozen, slotted value classes, like `dataclass(frozen=True, slots=True)` at a third of the cost.

The standard library compiles eight methods for each class at start-up: 0.7 ms for each of two dozen classes in
`memories list`. Here only `__init__` is compiled; the other methods are shared. `dataclasses.replace`, `fields` and
`asdict` work as usual. `dataclasses` is imported only when needed.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

if TYPE_CHECKING:
    import dataclasses

_Class = TypeVar("_Class", bound=type)
_UNSET: Any = object()


class _Field:
    """The arguments of `field`."""

    __slots__ = ("compare", "default", "default_factory", "repr")

    def __init__(self, default: Any, default_factory: Any, repr: bool, compare: bool) -> None:
        self.default = default
        self.default_factory = default_factory
        self.repr = repr
        self.compare = compare


def field(
    *, default: Any = _UNSET, default_factory: Callable[[], Any] = _UNSET, repr: bool = True, compare: bool = True
) -> Any:
    """As `dataclasses.field`: default or factory, and whether the field is in `repr` and compared."""
    return _Field(default, default_factory, repr, compare)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: _Class) -> _Class:
    """Make `cls` a frozen, slotted value class of its annotated fields, base fields first."""
    own = {name: _as_field(vars(cls).get(name, _UNSET)) for name in vars(cls).get("__annotations__", {})}
    fields: dict[str, _Field] = {}
    for base in reversed(cls.__mro__[1:]):
        fields |= vars(base).get("__value_fields__", {})
    fields |= own
    namespace = {name: each for name, each in vars(cls).items() if name not in own and name not in _MADE_ANEW}
    namespace |= {
        "__slots__": tuple(own),
        "__match_args__": tuple(fields),
        "__value_fields__": fields,
        "__dataclass_fields__": _DATACLASS_FIELDS,
        "__init__": _init(cls, fields),
        **{method.__name__: method for method in _SHARED if method.__name__ not in vars(cls)},
    }
    made: _Class = type(cls)(cls.__name__, cls.__bases__, namespace)
    return made


def is_value(candidate: object) -> bool:
    """Return whether the class of `candidate` was made by `frozen`."""
    return hasattr(type(candidate), "__value_fields__")


def as_document(value: Any) -> dict[str, Any]:
    """Return the fields of a value by name, without copying (`dataclasses.asdict` copies)."""
    return {name: getattr(value, name) for name in value.__value_fields__}


_MADE_ANEW = frozenset({"__dict__", "__weakref__"})


def _as_field(default: Any) -> _Field:
    return default if isinstance(default, _Field) else _Field(default, _UNSET, True, True)


def _init(cls: type, fields: Mapping[str, _Field]) -> Callable[..., None]:
    names: dict[str, Any] = {"_set": object.__setattr__, "_UNSET": _UNSET}
    parameters, lines = [], []
    for name, each in fields.items():
        has_default, made = each.default is not _UNSET, each.default_factory is not _UNSET
        parameters.append(f"{name}=_default_{name}" if has_default or made else name)
        given = f"_make_{name}() if {name} is _UNSET else {name}" if made else name
        lines.append(f"    _set(self, {name!r}, {given})")
        names |= {f"_default_{name}": each.default, f"_make_{name}": each.default_factory}
    exec(f"def __init__(self, {', '.join(parameters)}):\n" + "\n".join(lines or ["    pass"]), names)  # noqa: S102
    made_init: Callable[..., None] = names["__init__"]
    made_init.__qualname__ = f"{cls.__qualname__}.__init__"
    made_init.__annotations__ = {**_annotations(cls), "return": None}
    return made_init


def _annotations(cls: type) -> dict[str, Any]:
    return {
        name: kind for base in reversed(cls.__mro__) for name, kind in vars(base).get("__annotations__", {}).items()
    }


# --- shared methods ---------------------------------------------------------------------------------------------------


def _compared(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, name) for name, each in self.__value_fields__.items() if each.compare)


def __repr__(self: Any) -> str:
    shown = (f"{name}={getattr(self, name)!r}" for name, each in self.__value_fields__.items() if each.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def __eq__(self: Any, other: object) -> bool:
    return _compared(self) == _compared(other) if type(other) is type(self) else NotImplemented


def __hash__(self: Any) -> int:
    return hash(_compared(self))


def __setattr__(self: Any, name: str, _: Any) -> None:
    raise AttributeError(f"cannot assign to field {name!r}")


def __delattr__(self: Any, name: str) -> None:
    raise AttributeError(f"cannot delete field {name!r}")


def __getstate__(self: Any) -> list[Any]:
    return [getattr(self, name) for name in self.__value_fields__]


def __setstate__(self: Any, state: list[Any]) -> None:
    for name, each in zip(self.__value_fields__, state, strict=True):
        object.__setattr__(self, name, each)


_SHARED = (__repr__, __eq__, __hash__, __setattr__, __delattr__, __getstate__, __setstate__)


class _DataclassFields:
    """The attribute that `dataclasses.fields`, `replace` and `asdict` use, created on access."""

    def __get__(self, instance: object, owner: type) -> "dict[str, dataclasses.Field[Any]]":
        import dataclasses

        kinds = _annotations(owner)
        fields = [(name, kinds[name], _standard(each)) for name, each in vars(owner)["__value_fields__"].items()]
        made = dataclasses.make_dataclass(owner.__name__, fields, frozen=True)
        found = {each.name: each for each in dataclasses.fields(made)}
        type.__setattr__(owner, "__dataclass_fields__", found)
        return found


def _standard(each: _Field) -> Any:
    import dataclasses

    arguments = {"default": each.default, "default_factory": each.default_factory}
    defaults: dict[str, Any] = {name: what for name, what in arguments.items() if what is not _UNSET}
    return dataclasses.field(**defaults, repr=each.repr, compare=each.compare)


_DATACLASS_FIELDS = _DataclassFields()
