#!/usr/bin/env python3
"""How much the privileged task should weigh: sweeps of ε, λ, β and T, each beside its shuffled twin.

ε is swept in two forms: as the authors have it, where the learned σ absorbs it, and on a fixed weight. All values of
all sweeps are rows of one design table. Results go to results/weights-<study>/.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import utils
from studies.folders import results_folder
from studies.options import GROUPS as SHARED
from studies.options import defaults_of, fitted_to, study_options, sweep_options, with_defaults
from studies.parsing import parse

if TYPE_CHECKING:
    from lupi.data.privileged_data import PrivilegedData
    from lupi.methods.options import StudyOptions

EPILOG = """examples:
  python MT_weightP.py --dataset diabetes
  python MT_weightP.py --dataset diabetes --methods MT MT-PFD --epsilons 0.25 1 5 20 --imitations --repulsions --temperatures
  python MT_weightP.py --dataset wine --epsilons 0.25 1 5 20 --fixed-epsilons --patience 400
"""  # noqa: E501

SWEEP_OPTIONS = sweep_options()
GROUPS = {"sweeps": SWEEP_OPTIONS, **with_defaults(SHARED, methods=["MT", "MT-TPD"])}


def main(argv: Sequence[str] | None = None) -> int:
    with utils.errors_to_exit("MT_weightP.py"):
        values = parse(__doc__ or "", argv, GROUPS, EPILOG)
        data = utils.load_data(values)
        options = sweeping(values, fitted_to(study_options(values), data))
        from studies import run

        run.check(data, options)
        if values["dry_run"]:
            print(utils.estimate(data, options))
            return 0
        study(values, data, options, utils.command_line("MT_weightP.py", argv))
    return 0


def sweeping(values: dict[str, Any], options: StudyOptions) -> StudyOptions:
    """The options with their sweeps, the bounds to compare with, and shuffled twins."""
    from lupi.methods.design import responds
    from lupi.methods.twins import SHUFFLED

    if options.sweeps or options.train_sizes:
        raise ValueError("--epochs with several numbers and --train-sizes belong to MT_main.py; here one --epochs.")
    asked = [method for method in options.weighed_methods if method.name not in ("lower", "upper")]
    sweeps = tuple((o.name.removesuffix("s"), tuple(values[o.name])) for o in SWEEP_OPTIONS if values[o.name])
    sweeps = tuple((name, swept) for name, swept in sweeps if any(responds(method, name) for method in asked))
    if not sweeps:
        given = ", ".join(method.name for method in asked) or "the bounds"
        raise ValueError(f"nothing is left to sweep: {given} read none of the options that have values. See --help.")
    names = tuple(dict.fromkeys(("lower", "upper", *(method.base for method in asked))))
    twins = (SHUFFLED,) if options.twins else ()
    return dataclasses.replace(options, methods=names, sweeps=sweeps, twins=twins)


def study(values: dict[str, Any], data: Sequence[PrivilegedData], options: StudyOptions, command: str) -> None:
    """Train what is not in the store yet, then write and print the results."""
    from studies import run
    from studies.report import files
    from studies.report.findings import findings
    from studies.views import curves

    usual = defaults_of(GROUPS)
    plain = sweeping(usual, fitted_to(study_options(usual), data, warn=False))
    folder = results_folder(values, data, options, plain, "weights-")
    with run.open_store(folder, data, options, command, force=values["force"]) as results:
        study_findings = findings(run.complete(results, data, options), values["metric"])
        files.write(study_findings)
        results.finish()
    for dataset, name, table in study_findings.curves:
        print(curves.grid(table, f"{dataset}: {curves.titles()[name]}").console(), end="\n\n")
        if name == "epsilon":
            print("\n".join(curves.absorbed(table, study_findings.study.results)), end="\n\n")
    print(f"Results: {folder}/ (report.html first; figures/, table.csv, verdicts.csv, study.sqlite, config.json)")


if __name__ == "__main__":
    sys.exit(main())
