"""Validation of run configuration before a run starts.

Dagster checks names and types in the launchpad, but ranges and constraints across settings only in the step, after the
run has started. Here an asset is `configured`: Dagster calls the function that maps its configuration when a run is
launched, and that function raises. The rules themselves come from each asset.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg
from pydantic import ValidationError

CHOICES = "choices"
"""In `json_schema_extra` of a field: the allowed values of the field, or of each of its members."""

Check = Callable[[Mapping[str, Any]], None]


class InvalidRunConfigError(dg.DagsterError):
    """The configuration of a requested run is invalid; the message names the setting and the reason."""


def checked_at_launch(
    asset: dg.AssetsDefinition,
    config: type[dg.Config],
    check: Check = lambda _: None,
    choices: Mapping[str, Sequence[str]] | None = None,
    shown: Mapping[str, Any] | None = None,
) -> dg.AssetsDefinition:
    """The asset with its configuration validated at launch: a run with an invalid one does not start.

    Args:
        asset: an asset that takes `config`.
        config: its fields with defaults and descriptions; their ranges are checked.
        check: raises `ValueError` (or Pydantic's `ValidationError`) for an invalid configuration. It gets every
            field; unset fields have their defaults.
        choices: allowed values by field, in addition to those that `config` declares.
        shown: what the launchpad starts with, and the configuration of a run without any. Default: the fields whose
            default is not None.
    """
    schema = config.to_config_schema().as_field()
    fields: dict[str, Any] = dict(schema.config_type.fields)  # type: ignore[attr-defined]
    for name, values in {**_declared_choices(config), **(choices or {})}.items():
        fields[name] = _with_choices(name, fields[name], values)

    def checked(requested: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            config(**requested)
            check(requested)
        except ValidationError as error:
            raise _invalid(asset.op.name, "; ".join(_reason(problem) for problem in error.errors())) from None
        except ValueError as error:
            raise _invalid(asset.op.name, str(error)) from None
        return requested

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


def _invalid(step: str, why: str) -> InvalidRunConfigError:
    return InvalidRunConfigError(f"{step} cannot be run with this configuration. {why}")


def _declared_choices(config: type[dg.Config]) -> dict[str, Any]:
    extras = {name: field.json_schema_extra for name, field in config.model_fields.items()}
    return {name: extra[CHOICES] for name, extra in extras.items() if isinstance(extra, dict) and CHOICES in extra}


def _with_choices(name: str, field: Any, values: Sequence[Any]) -> dg.Field:
    choice: Any = dg.Enum(name, [dg.EnumValue(str(value)) for value in values])
    optional = field.config_type
    if optional.inner_type.kind == dg.Array(str).kind:
        choice = dg.Array(choice)
    # Dagster shares one `Shape` between fields with equal text, which would show the recipes of another platform; so
    # the choices are part of the description.
    described = f"{field.description} One of: {', '.join(map(str, values))}."
    return dg.Field(dg.Noneable(choice), description=described, default_value=field.default_value)


def _reason(problem: Any) -> str:
    field = ".".join(map(str, problem["loc"]))
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{field}: {message} (found: {problem['input']!r})" if field else message
