import ast
import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator

from compress.profile.remote.agent_zip import agent, loader

BLOCKED = """
import sys
for name in ("pydantic", "torch", "onnx", "yaml", "rich", "scipy", "psutil", "onnxscript", "sklearn"):
    sys.modules[name] = None
"""
CONVERTED = {"MNN", "ai_edge_litert", "coremltools", "executorch", "ncnn", "torch"}
"""Imported when a file of that runtime is loaded."""
ON_A_DEVICE = {"numpy", "onnxruntime", "openvino", "tensorrt", "pynvml", "compress", *CONVERTED}
HERE_ALONE = {"compress.backends.open_runner", "compress.core.registry"}
"""What the memory probe imports for a runtime of the registry, which the agent does not ask for."""


class WithoutTypeChecking(ast.NodeTransformer):
    """Leaves out what only a type checker imports."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        is_guard = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return node.orelse if is_guard else self.generic_visit(node)


def imported(source: str) -> Iterator[str]:
    for node in ast.walk(WithoutTypeChecking().visit(ast.parse(source))):
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_the_agent_imports_itself_numpy_and_runtimes_alone() -> None:
    with zipfile.ZipFile(io.BytesIO(agent())) as archive:
        sources = {name: archive.read(name).decode() for name in archive.namelist()}
    modules = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in sources}
    imports = {module for source in sources.values() for module in imported(source)}
    assert "numpy" in imports
    roots = {module.partition(".")[0] for module in imports} - set(sys.stdlib_module_names)
    assert roots <= ON_A_DEVICE
    own = {module for module in imports if module.startswith("compress.")}
    assert own - HERE_ALONE <= modules
    reader = next(source for name, source in sources.items() if name.endswith("memory/probe.py"))
    assert set(imported(reader)) >= HERE_ALONE


def test_the_bundle_needs_numpy_and_the_runtime_only(tmp_path):
    (tmp_path / "agent.pyz").write_bytes(agent())
    names = [name for name in zipfile.ZipFile(io.BytesIO(agent())).namelist() if name.startswith("compress")]
    modules = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in names]
    code = f"{BLOCKED}\nsys.path[:0] = [{str(tmp_path / 'agent.pyz')!r}]\n" + "\n".join(f"import {name}" for name in modules)
    code += "\nimport compress; assert 'agent.pyz' in compress.core.errors.__file__"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_bundle_is_the_same_file_each_time_and_python_3_10():
    first = agent()
    assert agent() == first
    archive = zipfile.ZipFile(io.BytesIO(first))
    for name in archive.namelist():
        ast.parse(archive.read(name), name, feature_version=(3, 10))
    ast.parse(loader(), feature_version=(3, 7))
