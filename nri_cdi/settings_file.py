"""Read a settings file: `python -m nri_cdi.settings_file FILE` prints its keys, values and lines as JSON.

A program of its own, so that the process that serves containers never loads a YAML parser.
"""

from __future__ import annotations

import json
import pathlib
import sys

import yaml


def read(path: str) -> dict[str, tuple[object, int]]:
    """Values and line numbers by key. Raises ValueError with a text for people, and OSError."""
    try:
        node = yaml.compose(pathlib.Path(path).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"{path}:{line}: not YAML: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML: {error}") from error
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise ValueError(f"{path}:{node.start_mark.line + 1}: a settings file is a list of `key: value` lines")
    found: dict[str, tuple[object, int]] = {}
    for key, value in node.value:
        line, name = key.start_mark.line + 1, str(key.value)
        if name in found:
            raise ValueError(f'{path}:{line}: "{name}" is there twice, first in line {found[name][1]}')
        found[name] = (_value(value), line)
    return found


def _value(node: yaml.Node) -> object:
    """Texts as they are written (an index 05 stays 05), lists of them."""
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    return node.value if isinstance(node, yaml.ScalarNode) else None


def main() -> int:
    """Exit status 1 if the file is wrong, 3 if it cannot be read, each with a text on stderr."""
    path = sys.argv[1]
    try:
        json.dump(read(path), sys.stdout)
    except ValueError as error:
        return _failed(str(error), 1)
    except RecursionError:
        return _failed(f"{path}: a list that contains itself", 1)
    except OSError as error:
        return _failed(f"{path}: {error.strerror or error}", 3)
    return 0


def _failed(text: str, status: int) -> int:
    print(text, file=sys.stderr)  # noqa: T201  # a program
    return status


if __name__ == "__main__":
    sys.exit(main())
