"""`calculate`: arithmetic. Python's grammar parses the expression, and this module evaluates it node by node. Nothing
in it runs as code.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from realtime.ports.tools import ServerTool
from realtime.tools.registry import BuiltinTool, ToolError, schema

MAX_CHARS = 500
MAX_DEPTH = 50
MAX_BITS = 4096
"""Limit of an integer: more digits than anybody wants to hear, few enough to compute fast."""

Number = int | float

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_NAMES: dict[str, Number] = {"pi": math.pi, "e": math.e, "tau": math.tau}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "round": round,
    "min": min,
    "max": max,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "log2": math.log2,
    "log10": math.log10,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
    "degrees": math.degrees,
    "radians": math.radians,
    "floor": math.floor,
    "ceil": math.ceil,
}
_SPELLINGS = str.maketrans({"×": "*", "÷": "/", "−": "-", "–": "-", "^": "**", "，": ",", "（": "(", "）": ")"})


def calculate() -> BuiltinTool:
    declaration = ServerTool(
        "calculate",
        "Evaluate an arithmetic expression.",
        schema(
            required=["expression"],
            expression={
                "type": "string",
                "description": "Numbers, + - * / // % ** and parentheses; sqrt, log, sin, round and the like; pi, e.",
            },
        ),
        read_only=True,
    )

    async def run(arguments: Mapping[str, Any]) -> str:
        expression = str(arguments.get("expression", ""))
        return f"{expression.strip()} = {shown(evaluate(expression))}"

    return BuiltinTool(declaration, run)


def evaluate(expression: str) -> Number:
    """The value of an expression. Raises `ToolError` that says what is wrong."""
    if len(expression) > MAX_CHARS:
        raise ToolError(f"The expression has {len(expression)} characters; the most are {MAX_CHARS}.")
    try:
        tree = ast.parse(expression.translate(_SPELLINGS).strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ToolError(f"{expression[:80]!r} is no arithmetic expression.") from None
    try:
        return _checked(_value(tree.body, 0))
    except ZeroDivisionError:
        raise ToolError("The expression divides by zero.") from None
    except OverflowError:
        raise ToolError("The result is too large.") from None
    except (ValueError, TypeError) as error:
        raise ToolError(f"The expression has no value: {error}.") from None


def shown(value: Number) -> str:
    """In usual notation: without ".0", twelve significant digits."""
    if isinstance(value, int):
        return str(value)
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.12g}"


def _value(node: ast.expr, depth: int) -> Number:
    if depth > MAX_DEPTH:
        raise ToolError("The expression is nested too deeply.")
    match node:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float() as number):
            return _checked(number)
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _SIGNS:
            return _checked(_SIGNS[type(sign)](_value(operand, depth + 1)))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _apply(op, _value(left, depth + 1), _value(right, depth + 1))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _checked(_FUNCTIONS[name](*(_value(argument, depth + 1) for argument in arguments)))
    raise ToolError(f"{ast.unparse(node)[:60]!r} is no number, operation or function that this calculator knows.")


def _apply(op: ast.operator, left: Number, right: Number) -> Number:
    if isinstance(op, ast.Pow) and isinstance(left, int) and isinstance(right, int):
        if left.bit_length() * abs(right) > MAX_BITS:
            raise OverflowError
    return _checked(_OPERATORS[type(op)](left, right))


def _checked(value: Any) -> Number:
    if isinstance(value, complex) or not isinstance(value, (int, float)):
        raise ToolError("The result is no real number.")
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise OverflowError
    if isinstance(value, float) and not math.isfinite(value):
        raise OverflowError
    return value
