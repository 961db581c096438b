"""A tool as this server offers it: closed schemas, read-only, errors with a code, and never a traceback."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import PrivateAttr, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from vaultembed.errors import TimedOutError, VaultembedError
from vaultembed.service.display import one_line, shown
from vaultembed.serving.time_limited import Calls

logger: Final = logging.getLogger(__name__)
READ_ONLY: Final = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
_MOST_PROBLEMS: Final = 5


class ArchiveTool(Tool):
    """Calls a function in a thread, and turns whatever it raises into an answer that an assistant can act on."""

    _calls: Calls = PrivateAttr()

    async def run(
        self,
        arguments: dict[str, Any],
        context: Context[Any, Any],  # noqa: ARG002
        convert_result: bool = False,
    ) -> Any:
        metadata = self.fn_metadata
        try:
            given = metadata.arg_model.model_validate(metadata.pre_parse_json(arguments))
        except ValidationError as error:
            return failure("invalid_request", problems(error), "See the tool's input schema.")
        try:
            found = shown(await self._calls.run(partial(self.fn, given)))
        except VaultembedError as error:
            if isinstance(error, TimedOutError):
                logger.warning("%s took too long and was stopped", self.name)
            return failure(error.code, error.message, error.hint)
        except Exception as error:
            # where, and not what: the text of an exception may be text of a message
            place = traceback.extract_tb(error.__traceback__)[-1]
            logger.error("%s: %s at %s:%s", self.name, type(error).__name__, place.filename, place.lineno)
            return failure("internal_error", f"internal error ({type(error).__name__}); this is a bug of vaultembed")
        return metadata.convert_result(found) if convert_result else found


A = TypeVar("A", bound=ArgModelBase)
R = TypeVar("R")


def archive_tool(
    function: Callable[[A], R],
    arguments: type[A],
    result: type[R],
    title: str,
    description: str,
    calls: Calls,
) -> ArchiveTool:
    tool = ArchiveTool(
        fn=function,
        name=function.__name__,
        title=title,
        description=description,
        parameters=_required_first(arguments.model_json_schema(schema_generator=_PlainSchema)),
        fn_metadata=FuncMetadata(
            arg_model=arguments,
            output_model=result,
            output_schema=_without_formats(
                TypeAdapter(result).json_schema(schema_generator=_PlainSchema, mode="serialization")
            ),
        ),
        is_async=False,
        context_kwarg=None,
        annotations=READ_ONLY,
    )
    tool._calls = calls
    return tool


class _PlainSchema(GenerateJsonSchema):
    """Without a title beside every name: an assistant reads, and pays for, every word."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


def _without_formats(schema: Any) -> Any:
    """`format: path` is pydantic's own, and validators warn of it."""
    if isinstance(schema, dict):
        return {name: _without_formats(value) for name, value in schema.items() if (name, value) != ("format", "path")}
    return [_without_formats(one) for one in schema] if isinstance(schema, list) else schema


def _required_first(schema: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = schema.get("properties", {})
    required = [name for name in properties if name in schema.get("required", [])]
    names = [*required, *(name for name in properties if name not in required)]
    return {**schema, "properties": {name: properties[name] for name in names}}


def failure(code: str, message: str, hint: str | None = None) -> CallToolResult:
    document = shown({"error": {"code": code, "message": message, "hint": hint}}, one_line)
    return CallToolResult(content=[TextContent(type="text", text=json.dumps(document))], is_error=True)


def problems(error: ValidationError) -> str:
    """In a line, without the values: which argument, and what is wrong with it."""
    found = [
        f"{'.'.join(str(part) for part in problem['loc'])[:80] or 'arguments'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    more = f"; and {len(found) - _MOST_PROBLEMS} more" if len(found) > _MOST_PROBLEMS else ""
    return "; ".join(found[:_MOST_PROBLEMS]) + more
