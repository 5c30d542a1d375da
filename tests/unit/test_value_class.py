"""Value classes behave as the standard library's frozen, slotted dataclasses do: all of the package are held to it."""

import copy
import dataclasses
import importlib
import inspect
import pickle
import pkgutil
from typing import Any

import pytest

import junkie_cli
from junkie_cli.core.value_class import as_document, field, frozen, is_value


@frozen
class Base:
    """With a default."""

    name: str
    many: tuple[int, ...] = ()


@frozen
class Value(Base):
    """With all that `field` can say."""

    made: list[int] = field(default_factory=list)
    secret: str = field(default="s", repr=False)
    remark: str = field(default="", compare=False)

    @property
    def total(self) -> int:
        """A method among the fields."""
        return sum(self.many)


@dataclasses.dataclass(frozen=True, slots=True)
class StandardBase:
    name: str
    many: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Standard(StandardBase):
    made: list[int] = dataclasses.field(default_factory=list)
    secret: str = dataclasses.field(default="s", repr=False)
    remark: str = dataclasses.field(default="", compare=False)


BOTH = pytest.mark.parametrize("kind", [Value, Standard])


@BOTH
def test_a_value_has_its_fields_and_their_defaults(kind: Any) -> None:
    one, other = kind("a", (1, 2)), kind(name="a", made=[3])
    assert (one.name, one.many, one.made, one.secret, one.remark) == ("a", (1, 2), [], "s", "")
    assert other.made == [3]
    assert one.made is not kind("a").made
    for wrong in ((), ("a", (), [], "", "", "one too many")):
        with pytest.raises(TypeError):
            kind(*wrong)


@BOTH
def test_a_value_is_shown_without_what_is_not_to_be_shown(kind: Any) -> None:
    assert repr(kind("a")) == f"{kind.__qualname__}(name='a', many=(), made=[], remark='')"


@BOTH
def test_values_are_equal_by_what_is_compared(kind: Any) -> None:
    assert kind("a", remark="x") == kind("a", remark="y")
    assert kind("a") != kind("b")
    assert kind("a") != ("a", (), [], "s", "")
    assert kind("a") != StandardBase("a")
    assert hash(kind("a", made=())) == hash(kind("a", made=(), remark="y"))


@BOTH
def test_a_value_cannot_be_changed(kind: Any) -> None:
    value = kind("a")
    with pytest.raises(AttributeError):
        value.name = "b"
    with pytest.raises(AttributeError):
        del value.name
    with pytest.raises((AttributeError, TypeError)):  # TypeError: the standard library's, of a slotted subclass
        value.unknown = 1
    assert not hasattr(value, "__dict__")


@BOTH
def test_a_value_is_copied_pickled_replaced_and_matched(kind: Any) -> None:
    value = kind("a", (1,), [2], "t", "r")
    for twin in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert dataclasses.astuple(twin) == ("a", (1,), [2], "t", "r")
    assert dataclasses.replace(value, name="b") == kind("b", (1,), [2], "t")
    assert [each.name for each in dataclasses.fields(kind)] == ["name", "many", "made", "secret", "remark"]
    match value:
        case kind(name, many):
            assert (name, many) == ("a", (1,))


def test_a_document_is_the_fields_as_they_are() -> None:
    value = Value("a", made=[1])
    assert as_document(value) == {"name": "a", "many": (), "made": [1], "secret": "s", "remark": ""}
    assert as_document(value)["made"] is value.made
    assert is_value(value)
    assert not is_value(Standard("a"))
    assert value.total == 0


def _of_the_package() -> list[type]:
    modules = [
        importlib.import_module(each.name)
        for each in pkgutil.walk_packages(junkie_cli.__path__, "junkie_cli.")
        if not each.name.endswith("__main__")
    ]
    found = {each for module in modules for each in vars(module).values() if isinstance(each, type)}
    return [each for each in found if "__value_fields__" in vars(each) and each.__module__.startswith("junkie_cli.")]


def test_every_value_class_of_the_package_is_made_as_the_standard_library_would() -> None:
    classes = _of_the_package()
    assert len(classes) > 100
    for each in classes:
        fields = dataclasses.fields(each)
        standard = dataclasses.make_dataclass(
            each.__name__, [(one.name, one.type, _again(one)) for one in fields], frozen=True, slots=True
        )
        ours, theirs = (inspect.signature(kind).parameters.values() for kind in (each, standard))
        assert [one.name for one in ours] == [one.name for one in theirs], each
        assert [one.default is one.empty for one in ours] == [one.default is one.empty for one in theirs], each
        assert each.__match_args__ == standard.__match_args__, each


def _again(one: Any) -> Any:
    return dataclasses.field(
        default=one.default, default_factory=one.default_factory, repr=one.repr, compare=one.compare
    )
