# SPDX-License-Identifier: Apache-2.0
"""Say which package to install where one is not there.

The coder needs numpy alone, so that whoever wants no more may have installed no more.
"""

from importlib.util import find_spec
from types import MappingProxyType

__all__ = ["PACKAGES", "advice"]

PACKAGES = MappingProxyType(
    {
        "numpy": "numpy",
        "torch": "torch",
        "PIL": "Pillow",
        "safetensors": "safetensors",
        "huggingface_hub": "huggingface_hub",
        "yaml": "PyYAML",
        "typer": "typer",
        "rich": "rich",
    }
)
"""What glc depends on: the name to import, and the one to install."""

_OF_SOME_VERBS = MappingProxyType(
    {
        "pytest": "pytest",
        "pytest_benchmark": "pytest-benchmark",
        "torchmetrics": "torchmetrics",
        "torchvision": "torchvision",
        "torch_fidelity": "torch-fidelity",
        "bjontegaard": "bjontegaard",
        "matplotlib": "matplotlib",
        "onnx": "onnx",
        "onnxscript": "onnxscript",
    }
)


def advice(error: ImportError) -> str | None:
    """What to install, if that is what an import came to grief over."""
    name = (error.name or "").partition(".")[0]
    package = PACKAGES.get(name) or _OF_SOME_VERBS.get(name)
    if package is None or not isinstance(error, ModuleNotFoundError):
        return None
    if find_spec(name) is not None:  # a part of it is what is missing
        return f"{package} here has no {error.name}: pip install --upgrade {package}"
    return f"{package} is not installed: pip install {package}"
