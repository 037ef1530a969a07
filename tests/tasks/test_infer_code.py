import ast

import pytest

from compress.core.registry import lookup, names
from compress.tasks.infer_code import CLASSIFY, OUTPUTS


@pytest.mark.parametrize("code", [CLASSIFY, OUTPUTS])
def test_the_source_is_python_and_its_help_names_the_command(code) -> None:
    compile(code.source, "infer.py", "exec")
    assert "python infer.py" in code.purpose


@pytest.mark.parametrize("task", names("task"))
def test_a_task_imports_only_what_the_script_needs_anyway(task: str) -> None:
    tree = ast.parse(lookup("task", task).load()().infer_code.source)
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert modules <= {"numpy", "PIL"}
