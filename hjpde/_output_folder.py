"""A folder of results that appears complete or not at all."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

# Of what is written; a folder with such a name would be in its way.
_SUFFIXES = (".csv", ".hjpde", ".html", ".png")


@contextlib.contextmanager
def output_folder(path: str | os.PathLike[str] | None) -> Iterator[Path | None]:
    """A temporary folder to write into; what it holds moves to `path` when the block ends without an error.

    That it can be written is found out at once, before any work. After an error, `path` is as it was.

    **Arguments:**

    - `path`: the folder, made if there is none; files of the same names in it are replaced. `None` for no output.

    **Raises:** `ValueError` if something on the way is a file or may not be written.
    """
    if path is None:
        yield None
        return
    target = Path(os.path.realpath(path))
    existing = _nearest_existing(target, path)
    for inner in existing.iterdir() if existing == target else ():
        if inner.is_dir() and inner.suffix in _SUFFIXES:
            raise ValueError(f"The output folder {os.fspath(path)} cannot be written: {inner} is a folder, not a file.")
    temporary = existing / f".hjpde-{secrets.token_hex(4)}.tmp"
    try:
        temporary.mkdir()
    except OSError as error:
        raise ValueError(f"The output folder {os.fspath(path)} cannot be written: {error.strerror}.") from error
    try:
        yield temporary
        _move(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_writable_file(path: str | os.PathLike[str]) -> None:
    """**Raises:** `ValueError` if no file can be written at `path`; found out by making one beside it."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise ValueError(f"{os.fspath(path)} is a folder, not a file to write to.")
    if not target.parent.is_dir():
        raise ValueError(f"{os.fspath(path)} cannot be written: there is no folder {target.parent}.")
    trial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        trial.touch(exist_ok=False)
    except OSError as error:
        raise ValueError(f"{os.fspath(path)} cannot be written: {error.strerror}.") from error
    trial.unlink()


def _nearest_existing(target: Path, given: str | os.PathLike[str]) -> Path:
    for folder in (target, *target.parents):
        if folder.is_dir():
            return folder
        if folder.exists():
            raise ValueError(f"The output folder {os.fspath(given)} cannot be written: {folder} is a file.")
    raise ValueError(f"The output folder {os.fspath(given)} cannot be written: there is no such place.")


def _move(temporary: Path, target: Path) -> None:
    """All at once where there was no folder; file by file into an older one."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary, target)
        return
    for file in sorted(temporary.iterdir()):
        os.replace(file, target / file.name)
