"""The source of a strategy without what does not change its decisions: to know it again.

Comments, docstrings, annotations, names of the class and of local variables, the order and aliases
of imports, the bounds of parameters, and whatever else is in the file and not used, make no other
strategy. Another formula does. Nobody is stopped who wants to hide that two sources are the same.
"""

import ast
import hashlib
import json
import linecache
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

from penstock.core.strategy import Strategy

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
#: Nobody can write it in a name, so what is renamed meets no other name.
_MARK = "§"


def configuration_of(strategy: Strategy) -> str:
    """Return 32 hexadecimal digits that name what a strategy decides with: source and parameters.

    >>> from strategies.momentum import Momentum
    >>> configuration_of(Momentum()) == configuration_of(Momentum.from_params({"lookback_bars": 9}))
    False
    """
    params = json.dumps(strategy.params.model_dump(mode="json"), sort_keys=True)
    text = f"{canonical_source(type(strategy))}\n{params}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@lru_cache(maxsize=256)
def canonical_source(thing: type | Callable[..., Any]) -> str:
    """Return the text that two sources share which decide the same way.

    `thing` is a class or a function, of a file or of a notebook's cell. One whose text is not to be
    found is taken by its compiled code.
    """
    if not isinstance(thing, type):
        return _of_one(thing, _code_of(thing))
    kinds = [kind for kind in thing.__mro__ if _is_own(kind)]
    texts = [_of_one(kind, next(_codes(kind), None)) for kind in kinds]
    return "\n".join(text for text in texts if text)


def _is_own(kind: type) -> bool:
    return kind.__module__.split(".")[0] not in (
        "builtins",
        "abc",
        "typing",
        "pydantic",
        "penstock",
    )


def _codes(kind: type) -> Iterator[CodeType]:
    for value in vars(kind).values():
        code = _code_of(getattr(value, "fget", None) or getattr(value, "__func__", value))
        if code is not None:
            yield code


def _code_of(value: object) -> CodeType | None:
    return value.__code__ if isinstance(value, FunctionType) else None


def _of_one(thing: Any, code: CodeType | None) -> str:
    if code is None:  # a class without methods of its own: what it sets
        own = {key: value for key, value in vars(thing).items() if key[:1] != "_"}
        return " ".join(f"{key}={own[key]!r}" for key in sorted(own.keys() - {"name", "Params"}))
    text = "".join(linecache.getlines(code.co_filename))
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return _compiled(thing)
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.ClassDef, *_FUNCTIONS))
        and node.name == thing.__name__
        and min([node.lineno, *(each.lineno for each in node.decorator_list)])
        <= code.co_firstlineno
        <= (node.end_lineno or 0)
    ]
    return _SourceReader(tree).text(found[0]) if found else _compiled(thing)


def _compiled(thing: Any) -> str:
    codes = list(_codes(thing)) if isinstance(thing, type) else [_code_of(thing)]
    return "\n".join(_instructions(code) for code in codes if code is not None)


def _instructions(code: CodeType) -> str:
    docstring = code.co_consts[0] if code.co_consts and isinstance(code.co_consts[0], str) else None
    constants = [
        _instructions(each) if isinstance(each, CodeType) else repr(each)
        for each in code.co_consts
        if each is not docstring
    ]
    return f"{code.co_code.hex()} {code.co_names} {constants}"


class _SourceReader:
    """One module's text: a definition of it, and what that uses, in the order of use."""

    def __init__(self, tree: ast.Module) -> None:
        self._imports = _imported(tree)
        self._definitions: dict[str, ast.stmt] = {}
        self._loose: list[ast.stmt] = []
        for node in tree.body:
            name = _defined(node)
            if name is not None:
                self._definitions[name] = node
            elif not isinstance(node, ast.Import | ast.ImportFrom) and not _does_nothing(node):
                self._loose.append(node)
        self._used: dict[str, str] = {}

    def text(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
        self._used = {node.name: f"{_MARK}0"}
        parts = [self._canonical(each) for each in (node, *self._loose)]
        read = 1
        while read < len(self._used):
            name = list(self._used)[read]
            parts.append(self._canonical(self._definitions[name]))
            read += 1
        return "\n".join(parts)

    def name(self, name: str) -> str:
        """Return what a name of the module stands for."""
        if name in self._definitions:
            return self._used.setdefault(name, f"{_MARK}{len(self._used)}")
        return self._used.get(name) or self._imports.get(name, name)

    def _canonical(self, node: ast.stmt) -> str:
        copy = ast.parse(ast.unparse(node)).body[0]
        return ast.dump(_Canonical(self).visit(copy))


class _Canonical(ast.NodeTransformer):
    """Drops what does not decide, and renames what may have any name."""

    def __init__(self, source: _SourceReader) -> None:
        self._source = source
        self._local: dict[str, str] = {}

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        body = [each for each in node.body if not _is_label(each)]
        if node.name == "Params":  # the values of a look are known: its bounds do not matter
            body = [_field(each) for each in body]
        elif not self._local:
            node.name = self._source.name(node.name)
        node.body = body
        return self._with_body(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def _function(self, node: Any) -> ast.AST:
        node.returns = None
        node.name = self._source.name(node.name) if not self._local else node.name
        outer = self._local
        if not outer:
            names = dict.fromkeys(_bound(node))
            self._local = {name: f"{_MARK}v{k}" for k, name in enumerate(names)}
        else:
            node.name = outer.get(node.name, node.name)
        made = self._with_body(node)
        self._local = outer
        return made

    def _with_body(self, node: Any) -> ast.AST:
        node.body = [each for each in node.body if not _does_nothing(each)]
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node  # type: ignore[no-any-return]  # a definition, of any of three kinds

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return self.visit(ast.Assign([node.target], node.value))  # type: ignore[no-any-return]

    def visit_Import(self, _node: ast.Import) -> None:
        return None

    def visit_ImportFrom(self, _node: ast.ImportFrom) -> None:
        return None

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(self._local.get(node.arg, node.arg))

    def visit_Name(self, node: ast.Name) -> ast.AST:
        known = self._local.get(node.id)
        return ast.Name(known if known is not None else self._source.name(node.id), node.ctx)


def _imported(tree: ast.Module) -> dict[str, str]:
    """Return what imported names stand for, at any depth of the module."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                found[each.asname or each.name.split(".")[0]] = (
                    each.name if each.asname else each.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            found |= {each.asname or each.name: f"{origin}.{each.name}" for each in node.names}
    return found


def _defined(node: ast.stmt) -> str | None:
    """Return the one name that a statement defines."""
    if isinstance(node, (ast.ClassDef, *_FUNCTIONS)):
        return node.name
    targets = (
        node.targets
        if isinstance(node, ast.Assign)
        else [node.target]
        if isinstance(node, ast.AnnAssign) and node.value is not None
        else []
    )
    target = targets[0] if len(targets) == 1 else None
    return target.id if isinstance(target, ast.Name) else None


def _does_nothing(node: ast.stmt) -> bool:
    """Return whether a statement is a docstring, or is not run where a strategy is used."""
    if isinstance(node, ast.If):
        test = ast.unparse(node.test)
        return test.endswith("TYPE_CHECKING") or test.startswith("__name__ ==")
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_label(node: ast.stmt) -> bool:
    """Return whether a statement of a class is the strategy's name in configs and reports."""
    return _defined(node) == "name" and isinstance(getattr(node, "value", None), ast.Constant)


def _field(node: ast.stmt) -> ast.stmt:
    """Return a parameter without type, default and bounds."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return ast.Assign([ast.Name(node.target.id, ast.Store())], ast.Constant(None))
    return node


def _bound(function: Any) -> Iterator[str]:
    """Yield the names that a function binds, those of functions in it included."""
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, _FUNCTIONS) and node is not function:
            yield node.name
