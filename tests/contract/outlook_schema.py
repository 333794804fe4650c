"""JSON schemas of Graph's resources, derived from the models of Microsoft's own client library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def schema_of(model: type[Any]) -> dict[str, Any]:
    """A JSON schema from what a generated model reads of each field."""
    definitions: dict[str, Any] = {}
    return {**_reference(model, definitions), "$defs": definitions}


def _reference(model: type[Any], definitions: dict[str, Any]) -> dict[str, Any]:
    name = model.__name__
    if name not in definitions:
        definitions[name] = {}
        properties = {}
        for field, read in model().get_field_deserializers().items():
            probe = _Probe(definitions)
            read(probe)
            properties[field] = {"anyOf": [probe.schema, {"type": "null"}]}
        definitions[name] = {
            "type": "object", "properties": properties, "patternProperties": {"^@": {}}, "additionalProperties": False
        }  # fmt: skip
    return {"$ref": f"#/$defs/{name}"}


class _Probe:
    """Stands in for kiota's ParseNode and writes down which reading of a field the model asks for."""

    def __init__(self, definitions: dict[str, Any]) -> None:
        self.schema: dict[str, Any] = {}
        self._definitions = definitions

    def get_object_value(self, model: type[Any]) -> None:
        self.schema = _reference(model, self._definitions)

    def get_collection_of_object_values(self, model: type[Any]) -> None:
        self.schema = {"type": "array", "items": _reference(model, self._definitions)}

    def get_enum_value(self, values: Any) -> None:  # noqa: ANN401 - a generated enum
        self.schema = {"enum": [each.value for each in values]}

    def get_collection_of_enum_values(self, values: Any) -> None:  # noqa: ANN401 - a generated enum
        self.schema = {"type": "array", "items": {"enum": [each.value for each in values]}}

    def __getattr__(self, reader: str) -> Callable[..., None]:
        kinds = {"bool": "boolean", "int": "integer", "float": "number", "collection": "array"}
        kind = kinds.get(reader.split("_")[1], "string")

        def write_down(*_: object) -> None:
            self.schema = {"type": kind}

        return write_down
