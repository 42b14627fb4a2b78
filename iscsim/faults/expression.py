"""The closed language of ``expr`` in rules: comparisons and sums of what an occasion knows, nothing else.

``cdb.op == 0x2a and lba in range(0, 64)``. It is parsed by Python's own parser and walked by a table; there
is no eval, no attribute but those listed, no call but ``range``, ``len``, ``min`` and ``max``. Nothing in it
takes longer than its text is long: ranges are never walked, texts never formatted or added up.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable
from typing import Any

from iscsim.errors import ConfigError
from iscsim.faults.names import checked_name
from iscsim.faults.occasion import Occasion

__all__ = ["VARIABLES", "compile_expression"]

MAXIMUM_LENGTH = 500
MAXIMUM_DEPTH = 40
_Node = Callable[[Occasion], Any]

VARIABLES: dict[str, _Node] = {
    "now": lambda occasion: occasion.now,
    "portal": lambda occasion: occasion.portal,
    "initiator": lambda occasion: occasion.initiator,
    "target": lambda occasion: occasion.target,
    "src": lambda occasion: occasion.src,
    "dst": lambda occasion: occasion.dst,
    "port": lambda occasion: -1 if occasion.port is None else occasion.port,
    "unit": lambda occasion: occasion.unit,
    "host": lambda occasion: occasion.host,
    "opcode": lambda occasion: occasion.opcode,
    "stage": lambda occasion: occasion.stage,
    "direction": lambda occasion: occasion.direction,
    "command": lambda occasion: occasion.command,
    "operation": lambda occasion: occasion.operation,
    "connection": lambda occasion: occasion.connection,
    "length": lambda occasion: occasion.length,
    "lun": lambda occasion: -1 if occasion.lun is None else occasion.lun,
    "lba": lambda occasion: -1 if occasion.lba is None else occasion.lba,
    "blocks": lambda occasion: occasion.blocks,
    "cdb.op": lambda occasion: occasion.cdb[0] if occasion.cdb else -1,
    "cdb.lba": lambda occasion: -1 if occasion.lba is None else occasion.lba,
    "cdb.blocks": lambda occasion: occasion.blocks,
}


def _contains(right: Any, left: Any) -> bool:
    """A range is asked by arithmetic: Python would walk it for what is no int."""
    if not isinstance(right, range):
        return left in right
    if isinstance(left, str) or left != int(left):
        return False
    return int(left) in right


def _no_range(call: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*arguments: Any) -> Any:
        if any(isinstance(each, range) for each in arguments):
            raise TypeError("a range is for `in`")
        return call(*arguments)

    return checked


def _of_numbers(operate: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def checked(left: Any, right: Any) -> Any:
        if not (isinstance(left, int | float) and isinstance(right, int | float)):
            raise TypeError("sums are of numbers")
        return operate(left, right)

    return checked


_CALLS: dict[str, Callable[..., Any]] = {
    "len": _no_range(len),
    "min": _no_range(min),
    "max": _no_range(max),
    "range": range,
}
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: _of_numbers(operator.add),
    ast.Sub: _of_numbers(operator.sub),
    ast.Mod: _of_numbers(operator.mod),
    ast.FloorDiv: _of_numbers(operator.floordiv),
    ast.BitAnd: _of_numbers(operator.and_),
    ast.BitOr: _of_numbers(operator.or_),
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: _contains(right, left),
    ast.NotIn: lambda left, right: not _contains(right, left),
}


def compile_expression(text: str) -> Callable[[Occasion], bool]:
    """What says whether ``text`` holds on an occasion. Raises `ConfigError` for what is not in the language.

    On an occasion where the types do not fit (a text compared with a number) it does not hold.
    """
    if not isinstance(text, str):
        raise ConfigError(f"an expression is a text, not {str(text)[:60]!r}")
    if len(text) > MAXIMUM_LENGTH:
        raise ConfigError(f"an expression of {len(text)} characters, at most {MAXIMUM_LENGTH} are taken")
    node = _compile(_parse(text))

    def holds(occasion: Occasion) -> bool:
        try:
            return bool(node(occasion))
        except (TypeError, ValueError, ArithmeticError):
            return False

    return holds


def _parse(text: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd in it is refused or harmless
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"not an expression: {text!r} ({getattr(error, 'msg', error)})") from None
    level: list[ast.AST] = [tree]
    for _ in range(MAXIMUM_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return tree
    raise ConfigError(f"not an expression: {text!r} (nested more than {MAXIMUM_DEPTH} deep)")


def _compile(node: ast.expr) -> _Node:
    maker = _NODES.get(type(node))
    if maker is None:
        raise ConfigError(f"an expression cannot have {ast.unparse(node)!r}")
    return maker(node)


def _constant(node: Any) -> _Node:
    value = node.value
    if not isinstance(value, int | float | str):
        raise ConfigError(f"an expression cannot have the constant {value!r}")
    return lambda occasion: value


def _variable(node: Any) -> _Node:
    name = ast.unparse(node)
    return VARIABLES[checked_name("name in an expression", name, VARIABLES)]


def _logic(node: Any) -> _Node:
    parts, all_of = [_compile(each) for each in node.values], isinstance(node.op, ast.And)
    if all_of:
        return lambda occasion: all(part(occasion) for part in parts)
    return lambda occasion: any(part(occasion) for part in parts)


def _unary(node: Any) -> _Node:
    part = _compile(node.operand)
    if isinstance(node.op, ast.Not):
        return lambda occasion: not part(occasion)
    if isinstance(node.op, ast.USub):
        return lambda occasion: -part(occasion)
    raise ConfigError(f"an expression cannot have {ast.unparse(node)!r}")


def _binary(node: Any) -> _Node:
    operate = _BINARY.get(type(node.op))
    if operate is None:
        raise ConfigError(f"an expression cannot have {ast.unparse(node)!r}")
    left, right = _compile(node.left), _compile(node.right)
    return lambda occasion: operate(left(occasion), right(occasion))


def _comparison(node: Any) -> _Node:
    operations = [_COMPARE.get(type(each)) for each in node.ops]
    if None in operations:
        raise ConfigError(f"an expression cannot have {ast.unparse(node)!r}")
    operands = [_compile(each) for each in (node.left, *node.comparators)]

    def compare(occasion: Occasion) -> bool:
        values = [operand(occasion) for operand in operands]
        pairs = zip(operations, values, values[1:], strict=False)
        return all(operation(left, right) for operation, left, right in pairs)  # type: ignore[misc]

    return compare


def _call(node: Any) -> _Node:
    name = ast.unparse(node.func)
    if name not in _CALLS or node.keywords:
        raise ConfigError(f"an expression can call {', '.join(_CALLS)}, not {name}")
    call, arguments = _CALLS[name], [_compile(each) for each in node.args]
    return lambda occasion: call(*(argument(occasion) for argument in arguments))


def _sequence(node: Any) -> _Node:
    parts = [_compile(each) for each in node.elts]
    return lambda occasion: tuple(part(occasion) for part in parts)


_NODES: dict[type[ast.expr], Callable[[Any], _Node]] = {
    ast.Constant: _constant,
    ast.Name: _variable,
    ast.Attribute: _variable,
    ast.BoolOp: _logic,
    ast.UnaryOp: _unary,
    ast.BinOp: _binary,
    ast.Compare: _comparison,
    ast.Call: _call,
    ast.Tuple: _sequence,
    ast.List: _sequence,
    ast.Set: _sequence,
}
