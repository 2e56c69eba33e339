"""Settings of every test: float64, annotations checked at run time, compiled programs kept between runs.

`HJPDE_TEST_X64=0` runs the same tests in jax's default precision.
"""

import gc
import os
import pathlib
import zlib

os.environ["MPLBACKEND"] = "Agg"
# XLA prints an error for each program read from the cache because its own tuning hints
# (`prefer-no-gather`) are no feature of any processor.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import hypothesis
import jax
import jaxtyping
import pytest

jax.config.update("jax_enable_x64", os.environ.get("HJPDE_TEST_X64", "1") != "0")
jax.config.update("jax_numpy_rank_promotion", "raise")
# A GPU would multiply float32 matrices with 10 bits.
jax.config.update("jax_default_matmul_precision", "highest")

# Compilation is most of the tests' time, and is the same in the next run.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _root = os.environ.get("XDG_CACHE_HOME") or pathlib.Path(__file__).resolve().parent.parent / ".cache"
    jax.config.update("jax_compilation_cache_dir", str(pathlib.Path(_root) / "hjpde-tests-jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)

# Holds for every module imported from here on whose name starts with `hjpde.`, so for `hjpde.solvers`
# and `hjpde.problems` too.
jaxtyping.install_import_hook("hjpde", "beartype.beartype")

hypothesis.settings.register_profile("local", deadline=None, max_examples=20)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=20, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


_MOST_MAPPINGS = 25_000
"""Each compiled program maps some pieces of memory, of which Linux allows a process 65,530 in all."""


@pytest.fixture(autouse=True, scope="module")
def few_programs():
    """Drops compiled programs between files where many have gathered."""
    yield
    try:
        with open("/proc/self/maps", "rb") as maps:
            many = sum(1 for _ in maps) > _MOST_MAPPINGS
    except OSError:
        many = False
    if many:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def getkey(request):
    """A function that returns a fresh jax key at every call; the seed depends on the test's name only."""
    key = jax.random.key(zlib.crc32(request.node.name.encode()))
    calls = iter(range(1_000_000))
    return lambda: jax.random.fold_in(key, next(calls))


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """The test runs in an empty folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    """Runs a command of hjpde; returns its exit code and what it printed on both streams."""
    from hjpde import cli

    def call(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call
