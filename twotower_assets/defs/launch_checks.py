"""Run configuration that is refused before a run starts.

Dagster itself checks names and types while they are typed, but ranges and what spans settings only in the step, when
the run has begun. Here an asset is `configured`: Dagster calls the function that maps its configuration when a run is
launched, and that function refuses. What is asked of a configuration is decided by its asset.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg
from pydantic import ValidationError

CHOICES = "choices"
"""In `json_schema_extra` of a field: the values it, or each of its members, may take."""

Check = Callable[[Mapping[str, Any]], None]


class RefusedConfigurationError(dg.DagsterError):
    """A run was asked for with a configuration that it cannot have; the message says which setting and why."""


def checked_at_launch(
    asset: dg.AssetsDefinition,
    config: type[dg.Config],
    check: Check = lambda _: None,
    choices: Mapping[str, Sequence[str]] | None = None,
    shown: Mapping[str, Any] | None = None,
) -> dg.AssetsDefinition:
    """The asset, of which a run with a wrong configuration is not started.

    Args:
        asset: takes `config`.
        config: its fields, with defaults and descriptions; their ranges are checked.
        check: raises `ValueError` (or Pydantic's `ValidationError`) for a configuration that cannot be run; it gets
            every field, those that are not set with their defaults.
        choices: values of fields that are known only here, beside those that `config` declares.
        shown: what the launchpad starts with, and what a run without any configuration gets. Default: the fields that
            have a default other than None.
    """
    schema = config.to_config_schema().as_field()
    fields: dict[str, Any] = dict(schema.config_type.fields)  # type: ignore[attr-defined]
    for name, values in {**_declared_choices(config), **(choices or {})}.items():
        fields[name] = _with_choices(name, fields[name], values)

    def checked(asked: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            config(**asked)
            check(asked)
        except ValidationError as error:
            raise _refused(asset.op.name, "; ".join(_reason(problem) for problem in error.errors())) from None
        except ValueError as error:
            raise _refused(asset.op.name, str(error)) from None
        return asked

    defaults: dict[str, Any] = {} if shown is None else {"default_value": dict(shown)}
    field = dg.Field(dg.Shape(fields), description=schema.description, **defaults)  # type: ignore[no-untyped-call]
    specs = {spec.key: spec for spec in asset.specs}
    return dg.AssetsDefinition.from_op(
        asset.op.configured(checked, asset.op.name, field),
        keys_by_input_name=asset.keys_by_input_name,
        keys_by_output_name=asset.keys_by_output_name,
        partitions_def=asset.partitions_def,
        backfill_policy=asset.backfill_policy,
        can_subset=asset.can_subset,
    ).map_asset_specs(lambda spec: specs[spec.key])


def _refused(step: str, why: str) -> RefusedConfigurationError:
    return RefusedConfigurationError(f"{step} cannot be run with this configuration. {why}")


def _declared_choices(config: type[dg.Config]) -> dict[str, Any]:
    extras = {name: field.json_schema_extra for name, field in config.model_fields.items()}
    return {name: extra[CHOICES] for name, extra in extras.items() if isinstance(extra, dict) and CHOICES in extra}


def _with_choices(name: str, field: Any, values: Sequence[Any]) -> dg.Field:
    one_of: Any = dg.Enum(name, [dg.EnumValue(str(value)) for value in values])
    optional = field.config_type
    if optional.inner_type.kind == dg.Array(str).kind:
        one_of = dg.Array(one_of)
    # Dagster makes one `Shape` of fields of the same words, which would bring the recipes of another platform.
    described = f"{field.description} One of: {', '.join(map(str, values))}."
    return dg.Field(dg.Noneable(one_of), description=described, default_value=field.default_value)


def _reason(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    said = str(problem["msg"]).removeprefix("Value error, ")
    return f"{where}: {said} (found: {problem['input']!r})" if where else said
