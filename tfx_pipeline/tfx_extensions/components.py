"""Components and steps of TFX whose settings are dataclasses.

TFX records parameters as strings and numbers. So settings travel as JSON, written by their type where the pipeline is
built and read by it where the component runs. A fingerprint of the code goes with them, because TFX's cache knows a
component by its parameters alone.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tfx import v1 as tfx

from tfx_pipeline.runtime.fingerprint import code_fingerprint
from tfx_pipeline.runtime.settings_codec import from_json, to_json

T = TypeVar("T")

#: The parameter that holds the fingerprint.
_CODE = "code"
_SETTINGS = "settings"
_TEXT = tfx.dsl.components.Parameter[str]
_OF_TFX = (
    tfx.dsl.components.InputArtifact,
    tfx.dsl.components.OutputArtifact,
    tfx.dsl.components.Parameter,
    tfx.dsl.components.BeamComponentParameter,
)


def component(function: Callable[..., None] | None = None, *, use_beam: bool = False) -> Any:
    """Makes a component of a function, as TFX's decorator of this name does, whose arguments may be settings.

    An argument that is annotated with none of TFX's generics is a setting. Its annotation is a dataclass, or any other
    type that `runtime.settings_codec` writes and reads. The function and whoever makes the component see its value.
    The component has one more parameter, the fingerprint of the function's module, which nobody has to give.

    Args:
        function: A function at the top level of a module of this project.
        use_beam: Whether it has an argument for the Beam pipeline.

    Returns:
        The class of the component, named as the function. Its `test_call` is the function.
    """
    if function is None:
        return functools.partial(component, use_beam=use_beam)
    annotations = inspect.get_annotations(function, eval_str=True)
    kinds = {name: kind for name, kind in annotations.items() if name != "return" and not isinstance(kind, _OF_TFX)}
    made = tfx.dsl.components.component(_reading_settings(function, annotations, kinds), use_beam=use_beam)

    def construct(self: Any, **arguments: Any) -> None:
        written = {name: to_json(arguments[name], kind) for name, kind in kinds.items() if name in arguments}
        made.__init__(self, **arguments | written, **{_CODE: code_fingerprint(function.__module__)})

    members = {"__init__": construct, "__module__": function.__module__, "__doc__": function.__doc__}
    return type(function.__name__, (made,), members | {"test_call": staticmethod(function)})


def _reading_settings(
    function: Callable[..., None], annotations: Mapping[str, Any], kinds: Mapping[str, Any]
) -> Callable[..., None]:
    """Returns the function as TFX's decorator takes it: its settings are strings, and there is a fingerprint."""

    @functools.wraps(function)
    def run(**arguments: Any) -> None:
        del arguments[_CODE]
        for name in kinds.keys() & arguments.keys():  # TFX leaves out what is not given
            arguments[name] = from_json(kinds[name], arguments[name], f"{function.__name__}, parameter `{name}`")
        function(**arguments)

    parameters = [
        _as_text(parameter) if name in kinds else parameter.replace(annotation=annotations[name])
        for name, parameter in inspect.signature(function).parameters.items()
    ]
    with_default = [parameter.default is not parameter.empty for parameter in parameters]
    fingerprint = inspect.Parameter(_CODE, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=_TEXT)
    parameters.insert([*with_default, True].index(True), fingerprint)
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": None}
    return run


def _as_text(parameter: inspect.Parameter) -> inspect.Parameter:
    """Returns the parameter as text, which may be absent where its setting has a default."""
    default = parameter.empty if parameter.default is parameter.empty else None
    return parameter.replace(annotation=_TEXT, default=default)


def custom_config(module: str, settings: Any) -> dict[str, str]:
    """Returns the `custom_config` of a step of TFX that calls a function of ours.

    Args:
        module: The dotted name of the function's module, whose fingerprint goes with the settings.
        settings: A dataclass. The function gets it by `settings_of`.
    """
    return {_SETTINGS: to_json(settings), _CODE: code_fingerprint(module)}


def settings_of(kind: type[T], config: Mapping[str, Any]) -> T:
    """Returns the settings in the `custom_config` of a step of TFX.

    Args:
        kind: The dataclass of the settings.
        config: What `custom_config` returned.
    """
    return from_json(kind, config[_SETTINGS], "custom_config")
