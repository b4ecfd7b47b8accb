"""The command line of the simulated CRM."""

import argparse
import sys
from datetime import date
from pathlib import Path

from simulation.export import CONTRACT, FORMATS, SimulationSummary, simulate
from simulation.scenarios import CUSTOMER_SCENARIOS, SCENARIOS, Scenario
from simulation.shapes import SHAPES
from simulation.truth import POLICIES, Truth
from simulation.world import COMPANIES

_DESCRIPTION = """\
Simulate a CRM and write its export: leads, interactions, appointments and projects, a mapping.yml that tells Leadline
how to read them, and in truth/ what a CRM does not know: each decision of a rep with the probability of every possible
action, and each lead's hidden intent, budget, patience and end.

Leads arrive by source, season, weekday and hour. Reps follow a playbook by what they can see, and deviate from it in
one case of ten (company chaotic: in one of two). E-mails are opened and answered later; appointments are kept, missed
and moved; proposals are won, lost or left open. Some facts are recorded days late, some twice, a few wrongly.
The same arguments give the same rows.

python -m simulation truth --in DIR tells what share of such leads each way of treating them would win."""

_TRUTH_DESCRIPTION = """\
Simulate fresh leads of a simulated company under each way of treating them, and print the share that is won within 90
days of the creation: as the reps do, deviations included (company); as their playbook says (playbook); any possible
action with the same probability (uniform); the best action by what a rep can see (best)."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulation", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder to write; an earlier simulation there is replaced, nothing else is",
    )
    parser.add_argument(
        "--leads", type=int, default=10_000, metavar="N", help="leads that arrive (default: %(default)s)"
    )
    parser.add_argument(
        "--months",
        type=int,
        default=18,
        metavar="N",
        help="months over which they arrive, and of the export (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=22, metavar="N", help="seed (default: %(default)s)")
    parser.add_argument(
        "--start",
        type=date.fromisoformat,
        default=date(2025, 1, 1),
        metavar="DATE",
        help="first day (default: %(default)s)",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="parquet",
        help="format of the CRM's tables; the truth is always Parquet (default: %(default)s)",
    )
    parser.add_argument(
        "--shape",
        choices=(CONTRACT, *SHAPES),
        default=CONTRACT,
        help="whose tables and columns the export has; contract is Leadline's own (default: %(default)s)",
    )
    parser.add_argument(
        "--company",
        choices=sorted(COMPANIES),
        default="default",
        help="how closely the reps follow their playbook (default: %(default)s)",
    )
    parser.add_argument(
        "--scenario",
        metavar="NAME@DATE",
        help=f"a change of the company from a day on: {', '.join(SCENARIOS)}; with customers "
        f"{', '.join(CUSTOMER_SCENARIOS)} (default: nothing)",
    )
    parser.add_argument(
        "--attributes",
        action="store_true",
        help="leads have attributes (industry, landing page, a questionnaire, ...) that act on what they do",
    )
    parser.add_argument(
        "--deals",
        action="store_true",
        help="the CRM keeps histories of deals: stages, expected close dates and amounts",
    )
    parser.add_argument(
        "--customers",
        action="store_true",
        help="won leads become customers, who buy, ask for support, log in, get offers, and silently stop buying",
    )
    parser.add_argument(
        "--contractual", action="store_true", help="customers have contracts with plans, and close them"
    )
    parser.add_argument("--customers-only", action="store_true", help="the same customers, without the tables of leads")
    return parser


def _truth_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulation truth",
        description=_TRUTH_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--in", dest="export", type=Path, required=True, metavar="DIR", help="folder of a simulated export"
    )
    parser.add_argument(
        "--leads", type=int, default=20_000, metavar="N", help="fresh leads for each policy (default: %(default)s)"
    )
    return parser


def _report(summary: SimulationSummary) -> str:
    lines = [f"{name:<20}{count:>12,} rows" for name, count in summary.rows.items()]
    faults = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in summary.faults.items())
    rate = "not known: no lead is 90 days old" if summary.conversion_rate is None else f"{summary.conversion_rate:.1%}"
    return "\n".join(
        [
            f"Company {summary.company}, {summary.start} to {summary.end}, in {summary.out}",
            *([] if summary.scenario is None else [f"Scenario {summary.scenario} from {summary.scenario_date} on"]),
            *lines,
            f"Won within 90 days: {rate}",
            f"Faulty rows planted in interactions: {faults}",
        ]
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["truth"]:
        _print_truth(arguments[1:])
    else:
        _simulate(arguments)


def _simulate(arguments: list[str]) -> None:
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    try:
        if options["scenario"] is not None:
            scenario = Scenario.parse(options["scenario"])
            options |= {"scenario": scenario.name, "scenario_date": scenario.since}
        summary = simulate(options.pop("out"), **options)
    except (ValueError, FileExistsError) as error:
        parser.error(str(error))
    sys.stdout.write(_report(summary) + "\n")


def _print_truth(arguments: list[str]) -> None:
    parser = _truth_parser()
    options = parser.parse_args(arguments)
    try:
        truth = Truth.of(options.export)
        rates = {policy: truth.play(policy, leads=options.leads) for policy in POLICIES}
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    lines = [f"Won within 90 days, of {options.leads:,} fresh leads of company {truth.setting.company.name}:"]
    lines += [f"{name:<10}{rate.rate:>7.1%}, standard error {rate.standard_error:.1%}" for name, rate in rates.items()]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
