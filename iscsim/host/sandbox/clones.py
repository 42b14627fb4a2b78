"""Private copies of modules: the same source, run again with other modules in the place of those it imports.

So blocking code gets an operating system, a clock and threads of its own, and nobody else notices.
"""

from __future__ import annotations

import builtins
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

__all__ = ["Clones", "Rebinding"]


class Clones:
    """``replaced`` says what each module is in here, by its name; `clone` adds to it.

    ``open`` is the built-in function of that name in here.
    """

    def __init__(self, open: Callable[..., Any]) -> None:
        self.replaced: dict[str, ModuleType] = {}
        self._reserved: dict[str, ModuleType] = {}
        self.builtins = dict(vars(builtins)) | {"open": open, "__import__": self._import}

    def reserve(self, name: str) -> None:
        """Module ``name`` is to be cloned; others may import it before, and use it afterwards."""
        self.replaced[name] = self._reserved[name] = ModuleType(name)

    def add(self, name: str, module: ModuleType) -> None:
        """``module`` is what ``name`` is in here."""
        self.replaced[name] = module

    def clone(self, name: str, prepare: Callable[[ModuleType], None] | None = None) -> ModuleType:
        """Run the source of module ``name`` again, with what is replaced so far; ``prepare`` may add to it.

        Its exceptions are those of the original: who catches them outside need not know of the copy.

        Raises:
            ImportError: there is no such module, or it has no Python source.
        """
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None or not hasattr(spec.loader, "get_code"):
            raise ImportError(f"no source of module {name}")
        code: CodeType | None = spec.loader.get_code(name)
        if code is None:
            raise ImportError(f"no source of module {name}")
        module = self._reserved.pop(name, None) or ModuleType(name)
        module.__dict__.update(
            __builtins__=self.builtins, __file__=spec.origin, __package__=spec.parent, __spec__=spec
        )
        self.replaced[name] = module
        known = dict(sys.modules)
        exec(code, module.__dict__)
        for changed in [each for each in sys.modules if sys.modules[each] is not known.get(each)]:
            if changed in known:  # os puts os.path there
                sys.modules[changed] = known[changed]
        _keep_exceptions(module, sys.modules.get(name))
        if prepare is not None:
            prepare(module)
        return module

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: tuple[str, ...] = (),
        level: int = 0,
    ) -> Any:
        found = __import__(name, globals, locals, fromlist, level)
        if level:
            return found
        if not fromlist:
            return self.replaced.get(name.partition(".")[0], found)
        if name in self.replaced:
            return self.replaced[name]
        swapped = {
            each: self.replaced[f"{name}.{each}"] for each in fromlist if f"{name}.{each}" in self.replaced
        }
        if not swapped:
            return found
        view = ModuleType(name)
        view.__dict__.update(vars(found) | swapped)
        return view

    def pairs(self) -> Iterator[tuple[ModuleType, ModuleType]]:
        """Each original that is loaded, with its replacement."""
        for name, module in self.replaced.items():
            original = sys.modules.get(name)
            if original is not None:
                yield original, module


def _keep_exceptions(module: ModuleType, original: ModuleType | None) -> None:
    for name, value in vars(original).items() if original else ():
        if isinstance(value, type) and issubclass(value, BaseException) and name in vars(module):
            setattr(module, name, value)


class Rebinding:
    """Puts what `Clones` has into the modules of blocking code, and takes it out again.

    Done are: modules and functions among their globals; base classes; functions of replaced modules that
    decorate theirs, however deep; and ``open``.
    """

    def __init__(self, clones: Clones) -> None:
        self._clones = clones
        self._undo: list[Callable[[], None]] = []
        self._values: dict[int, Any] = {}
        self._globals: dict[int, dict[str, Any]] = {}
        self._kept: list[Any] = []  # what is known by its id must stay
        self._seen: set[int] = set()
        for original, module in clones.pairs():
            self._know(original, module)
            self._globals[id(vars(original))] = vars(module)
            for name, value in vars(original).items():
                if callable(value) and name in vars(module) and vars(module)[name] is not value:
                    self._know(value, vars(module)[name])

    def _know(self, original: Any, replacement: Any) -> None:
        self._kept.append(original)
        self._values[id(original)] = replacement

    def bind(self, module: ModuleType) -> None:
        """Change one module."""
        for name, value in list(vars(module).items()):
            self._bind_global(module, name, value)
        vars(module)["open"] = self._clones.builtins["open"]
        self._undo.append(lambda: vars(module).pop("open", None))

    def _bind_global(self, module: ModuleType, name: str, value: Any) -> None:
        if id(value) in self._values:
            vars(module)[name] = self._values[id(value)]
            self._undo.append(lambda: vars(module).__setitem__(name, value))
        elif isinstance(value, BuiltinFunctionType) and (builtin := self._builtin(value)) is not value:
            vars(module)[name] = builtin
            self._undo.append(lambda: vars(module).__setitem__(name, value))
        elif isinstance(value, FunctionType):
            self._bind_function(value, lambda new: vars(module).__setitem__(name, new))
        elif isinstance(value, type) and value.__module__ == module.__name__:
            self._bind_class(value)

    def _builtin(self, value: BuiltinFunctionType) -> Any:
        """What is in the place of a function like ``time.sleep`` that was kept under another name."""
        module = self._clones.replaced.get(value.__module__ or "")
        return value if module is None else vars(module).get(value.__name__, value)

    def _bind_class(self, cls: type) -> None:
        bases = cls.__bases__
        if any(id(base) in self._values for base in bases):
            cls.__bases__ = tuple(self._values.get(id(base), base) for base in bases)
            self._undo.append(lambda: setattr(cls, "__bases__", bases))
        for name, value in list(vars(cls).items()):
            function = value.__func__ if isinstance(value, staticmethod | classmethod) else value
            if isinstance(function, FunctionType):
                wrap: Callable[[Any], Any] = type(value) if function is not value else _same
                self._bind_function(function, _setter(cls, name, wrap))

    def _bind_function(self, function: FunctionType, put: Callable[[Any], None]) -> None:
        """Give ``function`` the globals of the clone, or its closure what it should have."""
        if id(function) in self._seen:
            return
        self._seen.add(id(function))
        self._kept.append(function)
        for cell in function.__closure__ or ():
            try:
                inner = cell.cell_contents
            except ValueError:  # it is not filled yet
                continue
            if id(inner) in self._values:
                cell.cell_contents = self._values[id(inner)]
                self._undo.append(_cell_setter(cell, inner))
            elif isinstance(inner, FunctionType):
                self._bind_function(inner, lambda new, cell=cell: setattr(cell, "cell_contents", new))  # type: ignore[misc]
        other = self._globals.get(id(function.__globals__))
        if other is not None:
            new = FunctionType(
                function.__code__, other, function.__name__, function.__defaults__, function.__closure__
            )
            new.__kwdefaults__, new.__dict__ = function.__kwdefaults__, function.__dict__
            new.__qualname__, new.__doc__, new.__module__ = (
                function.__qualname__,
                function.__doc__,
                function.__module__,
            )
            put(new)
            self._undo.append(lambda: put(function))

    def undo(self) -> None:
        """Make everything as it was."""
        while self._undo:
            self._undo.pop()()


def _same(value: Any) -> Any:
    return value


def _setter(cls: type, name: str, wrap: Callable[[Any], Any]) -> Callable[[Any], None]:
    return lambda new: setattr(cls, name, wrap(new))


def _cell_setter(cell: Any, value: Any) -> Callable[[], None]:
    return lambda: setattr(cell, "cell_contents", value)
