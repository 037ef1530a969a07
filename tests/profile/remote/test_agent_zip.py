import ast
import io
import sys
import zipfile
from collections.abc import Iterator

from compress.profile.remote.agent_zip import agent

ON_A_DEVICE = {"numpy", "onnxruntime", "openvino", "tensorrt", "pynvml", "compress"}


def imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
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
    assert {module for module in imports if module.startswith("compress.")} <= modules


def test_the_same_sources_give_the_same_bytes() -> None:
    first = agent()
    agent.cache_clear()
    assert agent() == first
