"""A synthetic CRM with a known ground truth, for the first run, tests and benchmarks.

It imports nothing of the rest of the project. One module per concern:

- `world`: the parameters of the company, its market and its CRM
- `draws`: random numbers that belong to a lead
- `arrivals`: who comes, when, and with what in mind
- `state`: what is so about each lead at a moment, and what of it a rep sees
- `policy`: from what a rep sees to the probabilities of the actions
- `dynamics`: how leads take what is done to them
- `engine`: from one event to the next
- `scenarios`: what can happen to the company from some day on
- `setting`: what a simulation is made from
- `facts`: what has happened, as rows
- `recording`: what the CRM makes of it: late, twice, wrong, and only up to now
- `contacts`: the contact data of people who do not exist
- `export`: the files, and the truth beside them
- `truth`: the true conversion probability of a lead at a moment, and of a policy
- `best`: the best action on what can be seen
- `ceiling`: how well the next action can be predicted at all
"""

from simulation.export import SimulationSummary, simulate

__all__ = ["SimulationSummary", "simulate"]
