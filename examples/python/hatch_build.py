"""Hatchling's hook for the wheel: has cargo build the library, and puts it beside the module.

The library depends on the platform but on no version of Python: the wheel's tag is py3-none-PLATFORM. cargo's own
environment is heard, such as CARGO_TARGET_DIR, where a library that is built already is taken as it is.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sysconfig
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Hook(BuildHookInterface):  # type: ignore[misc,type-arg,unused-ignore]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            raise RuntimeError("not as an editable installation: set PYTHONPATH=examples/python and VFS_LIBRARY")
        build_data["force_include"][str(self._library())] = "vfs/libvfs.so"
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-" + sysconfig.get_platform().replace("-", "_").replace(".", "_")

    def _library(self) -> pathlib.Path:
        """Builds libvfs.so; tells where cargo put it."""
        build = [os.environ.get("CARGO", "cargo"), "build", "--release", "--locked", "--lib", "--package=libvfs"]
        command = [*build, "--message-format=json-render-diagnostics"]
        told = subprocess.run(command, cwd=self.root, stdout=subprocess.PIPE, check=True, text=True).stdout
        for message in map(json.loads, told.splitlines()):
            if message["reason"] == "compiler-artifact" and message["target"]["name"] == "vfs":
                return next(pathlib.Path(name) for name in message["filenames"] if name.endswith(".so"))
        raise RuntimeError("cargo built no libvfs.so")
