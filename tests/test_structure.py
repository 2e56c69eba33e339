"""The house: what may import what, what is public, and what the wheel contains."""

import ast
import importlib
import pathlib
import sys
import tomllib
import types

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("hjpde", "solvers", "problems")
LINKS = ("solvers", "problems")
PUBLIC_MODULES = ("cli", "estimators")
MAX_LINES = 400

# From the top; a module imports only from steps below its own. Names are relative to `hjpde`, and the longest one
# that fits a module decides, so a folder stands for all that is in it.
STAIR = (
    ("__main__",),
    ("__init__", "cli"),
    ("commands",),
    ("_solve_points_report",),
    ("_claims_report", "_compare_report", "_demo_report", "_fit_report", "_solve_report"),
    ("_comparison_table",),
    ("_solve_pictures", "_solve_points_job"),
    ("_claims_job", "_compare_job", "explore"),
    ("_demo", "_fit_job", "_networks_by_name", "_solve_job"),
    ("_demo_networks",),
    ("_demo_models",),
    ("estimators", "problems.claims"),
    ("_compare", "_fit", "analysis", "landscape", "problems", "training"),
    ("_fit_atoms", "_compare_layer", "_network_measures", "_operator_gap", "inverse"),
    ("_fitted",),
    ("_rollout", "_solve"),
    ("_choose_solver", "_network_value", "_solvers_by_name", "_value_problem"),
    ("solvers",),
    ("_problem", "_solution"),
    ("_atom_model", "_observations"),
    ("architectures",),
    ("_constraint", "_domain", "_viscosity", "hamiltonians", "initial_data"),
    ("_log_sum_exp",),
    ("_log_sum_exp_rules", "_training_loop"),
    ("_animation", "_comparison", "_terminal"),
    ("_plotting_comparison", "_plotting_fit", "_plotting_solution"),
    ("_datasets", "_plotting", "_progress", "_report", "_serialisation", "_training_step"),
    (
        "_cifar10",
        "_compilation",
        "_export",
        "_extremum",
        "_formula",
        "_idx",
        "_machine",
        "_convergence",
        "_memory",
        "_output_folder",
        "_sets",
        "_streaming",
        "_structure",
        "_sums",
        "_tables",
    ),
    ("_jaxlib", "_types"),
)

# Modules that may use less than what is below them.
ONLY = {
    "architectures": {"hamiltonians", "_types"},
    "training": {"hamiltonians", "_compilation", "_plotting", "_progress", "_training_loop", "_types"},
    "landscape": {"hamiltonians", "_compilation", "_plotting", "_progress", "_types"},
}

PLACES = {name: rank for rank, names in enumerate(reversed(STAIR)) for name in names}


def is_reached_by_link(file):
    return file.parts[0] == "hjpde" and file.parts[1] in LINKS


def sources():
    """Module name -> file, both relative, of every file that the package installs."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            file = path.relative_to(ROOT)
            if not is_reached_by_link(file):
                parts = file.with_suffix("").parts
                parts = parts if folder == "hjpde" else ("hjpde", *parts)
                found[".".join(parts)] = file
    return found


SOURCES = sources()
PACKAGES = {name.removesuffix(".__init__") for name in SOURCES if name.endswith(".__init__")}


def place(module):
    """The name in `STAIR` that decides for a module, or `None`."""
    parts = module.split(".")[1:] or ["__init__"]
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in PLACES:
            return ".".join(parts[:length])
    return None


def folder_of(module):
    return module.rpartition(".")[0]


def imported(module, node):
    """The modules of hjpde that an import statement names, absolute."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name.split(".")[0] == "hjpde"]
    if node.level:
        base = ".".join(module.split(".")[: -node.level])
        base = f"{base}.{node.module}" if node.module else base
    else:
        base = node.module
    if base.split(".")[0] != "hjpde":
        return []
    submodules = [f"{base}.{alias.name}" for alias in node.names]
    known = [name for name in submodules if name in SOURCES or name in PACKAGES]
    return known if len(known) == len(submodules) else [base, *known]


def imports():
    """(module, statement, imported module, whether inside a function) for every import of every file."""
    for module, file in SOURCES.items():
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        hidden = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield module, node, imported(module, node), node in hidden


IMPORTS = list(imports())


def where(module, node):
    return f"{SOURCES[module]}:{node.lineno}"


def report(problems):
    assert not problems, "\n" + "\n".join(problems)


def test_every_module_has_a_place():
    report(
        [
            f"{file} has no place on the stair: add `{module.split('.')[1]}` to STAIR in tests/test_structure.py, "
            "above everything that it imports."
            for module, file in SOURCES.items()
            if place(module) is None
        ]
    )


def test_imports_run_downwards():
    problems = []
    for module, node, targets, _ in IMPORTS:
        here = place(module)
        for target in targets:
            there = place(target)
            if here in (None, "__init__") or there is None or folder_of(target) == folder_of(module) != "hjpde":
                continue
            if here != there and there != "__init__" and PLACES[there] >= PLACES[here]:
                problems.append(f"{where(module, node)} imports {target}, which stands no lower on the stair.")
            if here in ONLY and here != there and there not in ONLY[here]:
                problems.append(f"{where(module, node)} imports {target}; `{here}` may use only {sorted(ONLY[here])}.")
    report(problems)


def test_imports_have_no_cycle():
    below = {module: set() for module in SOURCES}
    for module, _, targets, _ in IMPORTS:
        for target in targets:
            target = f"{target}.__init__" if target in PACKAGES else target
            if target in SOURCES and target != module:
                below[module].add(target)
    done, problems = set(), []

    def visit(module, path):
        if module in path:
            problems.append("cycle: " + " -> ".join([*path[path.index(module) :], module]))
        elif module not in done:
            for target in sorted(below[module]):
                visit(target, [*path, module])
            done.add(module)

    for module in below:
        visit(module, [])
    report(problems)


def test_the_face_is_not_imported():
    report(
        [
            f"{where(module, node)} imports the face `hjpde`: import from the module that defines the name."
            for module, node, _, _ in IMPORTS
            if module not in ("hjpde.cli", "hjpde.__main__")
            and (
                (isinstance(node, ast.Import) and any(alias.name == "hjpde" for alias in node.names))
                or (isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == "hjpde")
            )
        ]
    )


def test_relative_inside_a_folder_and_absolute_across():
    problems = []
    for module, node, targets, _ in IMPORTS:
        is_face = module.endswith(".__init__")
        level = node.level if isinstance(node, ast.ImportFrom) else 0
        relative = level > 0
        if level > 1:
            problems.append(f"{where(module, node)} climbs out of its folder: import from `hjpde...`.")
        for target in targets:
            # In `hjpde` itself both forms are at home.
            same = folder_of(target) == folder_of(module) and target not in PACKAGES
            if relative and not same and not is_face and target != folder_of(module):
                problems.append(f"{where(module, node)} imports {target} across folders: write `from {target} import`.")
            if not relative and same and folder_of(module) != "hjpde":
                problems.append(f"{where(module, node)} imports {target} from its own folder: import it relatively.")
    report(problems)


def test_functions_hide_no_import():
    problems = []
    for module, node, targets, hidden in IMPORTS:
        if not hidden or folder_of(module) == "hjpde.commands":
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        if targets:
            problems.append(f"{where(module, node)} imports hjpde inside a function: move it to the top.")
        elif any(name.split(".")[0] in sys.stdlib_module_names for name in names):
            problems.append(
                f"{where(module, node)} imports the standard library inside a function: move it to the top."
            )
    report(problems)


def test_modules_are_private():
    report(
        [
            f"{file} is public: modules are `_name.py`, except {PUBLIC_MODULES}."
            for module, file in SOURCES.items()
            if not file.stem.startswith("_") and module.removeprefix("hjpde.") not in PUBLIC_MODULES
        ]
    )


def test_files_are_short():
    lengths = {file: len((ROOT / file).read_text(encoding="utf-8").splitlines()) for file in SOURCES.values()}
    report(
        [
            f"{file} has {n} lines, more than {MAX_LINES}: does it hold one idea?"
            for file, n in lengths.items()
            if n > MAX_LINES
        ]
    )


def test_packages_are_the_folders():
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = configuration["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(PACKAGES), (
        "`packages` in pyproject.toml differs from the folders with an __init__.py"
    )
    folders = {folder_of(module) for module in SOURCES}
    assert folders == PACKAGES, f"folders without an __init__.py: {sorted(folders - PACKAGES)}"


@pytest.mark.parametrize("name", LINKS)
def test_links(name):
    link = ROOT / "hjpde" / name
    assert link.is_symlink(), f"hjpde/{name} must be a link to ../{name}"
    assert link.readlink() == pathlib.Path("..", name)


def public_names():
    """(package, name, object) of everything that a face re-exports."""
    for package in sorted(PACKAGES):
        face = importlib.import_module(package)
        names = getattr(face, "__all__", None) or [name for name in vars(face) if not name.startswith("_")]
        for name in names:
            yield package, name, getattr(face, name)


def test_public_names_have_docstrings():
    problems = []
    for package, name, value in public_names():
        if isinstance(value, types.FunctionType | type):
            text = value.__doc__ or ""
            # A dataclass without a docstring is given its own signature as one.
            if not text.strip() or text.startswith(f"{name}("):
                problems.append(f"{package}.{name} has no docstring.")
    report(problems)


def test_no_public_module_shares_its_name_with_a_public_function():
    modules = set(PUBLIC_MODULES) | {package.removeprefix("hjpde.") for package in PACKAGES}
    report(
        [
            f"{package}.{name} is a {type(value).__name__} and has a public module's name."
            for package, name, value in public_names()
            if name in modules and not isinstance(value, types.ModuleType)
        ]
    )
