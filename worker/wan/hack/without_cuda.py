"""Makes the CUDA build of PyTorch importable on a machine that has none of NVIDIA's libraries.

The registry's Linux wheel of PyTorch is linked against several gigabytes of CUDA libraries. The tests run on the CPU
and call none of them, so that `make test-worker` leaves them out and puts empty ones in their place: each has the
name that the loader looks for, and every function that PyTorch imports from it answers "no device". `torch.cuda`
then says that it is not available, and everything else is PyTorch's own code, untouched. Images get the real ones.

    python hack/without_cuda.py            in the virtual environment to be mended; needs gcc and binutils
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

# libcuda.so.1 is the driver's own: what needs it is loaded on demand only.
NVIDIA = re.compile(
    r"^lib(cudart|cublas|cublasLt|cudnn|cufft|cufile|cupti|cusolver|cusparse|cusparseLt|nccl|nvrtc|nvshmem_host|nvToolsExt)\.so"
)
FUNCTION = re.compile(r"^(__)?(cu|nccl|nvrtc|nvshmem|nvtx)[A-Za-z_]\w*$")
NO_DEVICE = 100  # cudaErrorNoDevice


def needed(library: Path) -> list[str]:
    listing = subprocess.run(["readelf", "-d", library], check=True, capture_output=True, text=True).stdout
    return re.findall(r"\(NEEDED\).*\[(.*)\]", listing)


def versions(library: Path) -> dict[str, str]:
    """The library that defines each symbol version that another one asks for."""
    listing = subprocess.run(["readelf", "-W", "-V", library], check=True, capture_output=True, text=True).stdout
    found, file = {}, ""
    for line in listing.splitlines():
        if match := re.search(r"File: (\S+)", line):
            file = match[1]
        elif (match := re.search(r"Name: (\S+)\s+Flags", line)) and NVIDIA.match(file):
            found[match[1]] = file
    return found


def imported(library: Path) -> list[tuple[str, str]]:
    """Functions and their versions, empty where they have none."""
    listing = subprocess.run(["nm", "-D", "--undefined-only", library], check=True, capture_output=True, text=True).stdout
    symbols = (line.split()[-1].partition("@") for line in listing.splitlines())
    return [(name, version.lstrip("@")) for name, _, version in symbols if FUNCTION.match(name)]


def answer(name: str) -> str:
    if name.startswith("__"):  # registration of kernels when the library is loaded
        return f"void *{name}(void) {{ return 0; }}"
    if "String" in name or "ErrorName" in name:
        return f'const char *{name}(void) {{ return "no CUDA on this machine"; }}'
    return f"long {name}(void) {{ return {NO_DEVICE}; }}"


def main() -> None:
    folder = Path(sysconfig.get_path("purelib")) / "torch" / "lib"
    libraries = sorted(folder.glob("lib*.so"))
    if not libraries:
        sys.exit(f"without_cuda: no PyTorch in {folder}")
    names = {name for library in libraries for name in needed(library) if NVIDIA.match(name)}
    home = {version: file for library in libraries for version, file in versions(library).items()}
    functions = {symbol for library in libraries for symbol in imported(library)}
    # The loader insists that versioned symbols come from the library they are versioned by, and looks for the others in all.
    anywhere = min(names - set(home.values()))
    with tempfile.TemporaryDirectory() as scratch:
        for file in sorted(names):
            own = sorted((name, version) for name, version in functions if home.get(version, anywhere) == file)
            write_library(folder / file, own, Path(scratch))
    print(f"without_cuda: {len(names)} empty libraries with {len(functions)} functions in {folder}")


def write_library(target: Path, functions: list[tuple[str, str]], scratch: Path) -> None:
    source, script = scratch / "none.c", scratch / "none.map"
    source.write_text("\n".join(answer(name) for name, _ in functions))
    by_version: dict[str, list[str]] = {}
    for name, version in functions:
        if version:
            by_version.setdefault(version, []).append(name)
    script.write_text("\n".join(f"{version} {{ {'; '.join(names)}; }};" for version, names in by_version.items()))
    arguments = ["gcc", "-w", "-fno-builtin", "-shared", "-fPIC", f"-Wl,-soname,{target.name}", "-o", str(target), str(source)]
    subprocess.run(arguments + ([f"-Wl,--version-script={script}"] if by_version else []), check=True)


if __name__ == "__main__":
    main()
