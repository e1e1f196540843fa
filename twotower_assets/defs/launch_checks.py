"""Run configuration that is refused before a run starts.

Dagster itself checks names and types while they are typed, but ranges and what spans settings only in the step, when
the run has begun. Here a schema is made of a `dg.Config` that offers choices by name, and is checked as a whole when a
run is launched. What is asked of a configuration is decided by its asset.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import dagster as dg
from dagster._core.definitions.definition_config_schema import convert_user_facing_definition_config_schema
from pydantic import ValidationError

CHOICES = "choices"
"""In `json_schema_extra` of a field: the values it, or each of its members, may take."""

_made = itertools.count()
Check = Callable[[Mapping[str, Any]], None]


class RefusedConfigurationError(dg.DagsterError):
    """A run was asked for with a configuration that it cannot have; the message says which setting and why."""


class _CheckedShape(dg.Shape):
    """A shape whose value is checked as a whole once its fields are of their types and have their defaults."""

    def __new__(cls, *_args: Any) -> "_CheckedShape":
        made = object.__new__(cls)  # `dg.Shape` gives the same object for the same fields, whatever their check
        made._initialized = False
        return made

    def __init__(self, of: str, fields: Mapping[str, dg.Field], check: Check) -> None:
        super().__init__(dict(fields))  # type: ignore[no-untyped-call]
        self.key = f"{self.key}.{next(_made)}"  # what holds it is shared by key, and would bring another's check
        self._of, self._check = of, check

    def post_process(self, value: Any) -> Any:
        """The value as it is. Raises `RefusedConfigurationError`."""
        try:
            self._check(value)
        except ValidationError as error:
            self._refuse("; ".join(_told(one) for one in error.errors()))
        except ValueError as error:
            self._refuse(str(error))
        return value

    def _refuse(self, why: str) -> NoReturn:
        raise RefusedConfigurationError(f"{self._of} cannot be run with this configuration. {why}") from None


def checked_at_launch(
    asset: dg.AssetsDefinition,
    config: type[dg.Config],
    check: Check = lambda _: None,
    choices: Mapping[str, Sequence[str]] | None = None,
) -> dg.AssetsDefinition:
    """The asset, of which a run with a wrong configuration is not started.

    Args:
        asset: takes `config`.
        config: its fields, with defaults and descriptions; their ranges are checked.
        check: raises `ValueError` (or Pydantic's `ValidationError`) for a configuration that cannot be run; it gets
            every field, those that are not set with their defaults.
        choices: values of fields that are known only here, beside those that `config` declares.
    """
    schema = config.to_config_schema().as_field()
    shape: Any = schema.config_type
    fields = dict(shape.fields)
    for name, values in {**_declared_choices(config), **(choices or {})}.items():
        fields[name] = _with_choices(name, fields[name], values)

    def in_range_and(asked: Mapping[str, Any]) -> None:
        config(**asked)
        check(asked)

    field = dg.Field(_CheckedShape(asset.op.name, fields, in_range_and), description=schema.description)
    # An asset takes its schema only as a class or a mapping, neither of which can be checked as a whole.
    asset.op._config_schema = convert_user_facing_definition_config_schema(field)
    return asset


def _declared_choices(config: type[dg.Config]) -> dict[str, Any]:
    extras = {name: field.json_schema_extra for name, field in config.model_fields.items()}
    return {name: extra[CHOICES] for name, extra in extras.items() if isinstance(extra, dict) and CHOICES in extra}


def _with_choices(name: str, field: Any, values: Sequence[Any]) -> dg.Field:
    one_of: Any = dg.Enum(name, [dg.EnumValue(str(value)) for value in values])
    optional = field.config_type
    if optional.inner_type.kind == dg.Array(str).kind:
        one_of = dg.Array(one_of)
    return dg.Field(dg.Noneable(one_of), description=field.description, default_value=field.default_value)


def _told(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    said = str(problem["msg"]).removeprefix("Value error, ")
    return f"{where}: {said} (found: {problem['input']!r})" if where else said
