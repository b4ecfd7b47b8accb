"""A synthetic CRM with a known ground truth, for the first run, tests and benchmarks.

It imports nothing of the rest of the project. One module per concern:

- `world`: the parameters of the company, its market and its CRM
- `draws`: random numbers that belong to a lead
- `arrivals`: which leads arrive, when, and with which traits
- `attributes`: columns of leads beside those of the contract, and what they do
- `state`: the state of each lead at a moment, and the part of it that a rep sees
- `policy`: the probabilities of a rep's actions, from what the rep sees
- `dynamics`: how leads react to what reps do
- `engine`: the order of events
- `scenarios`: changes of the company from some day on
- `clientele`: the parameters of the customers
- `customers`: what happens after a lead is won
- `setting`: the arguments of a simulation
- `facts`: the events, as rows
- `recording`: the events as the CRM records them: late, twice, wrong, and only up to now
- `deals`: the histories of deals
- `contacts`: the contact data of people who do not exist
- `columns`: columns of Arrow
- `export`: the files, and the truth beside them
- `shapes`: the export in the tables and columns of other CRMs
- `truth`: the true conversion probability of a lead at a moment, and of a policy
- `best`: the best action by what a rep can see
- `ceiling`: how well the next action can be predicted at best
"""

from simulation.export import SimulationSummary, simulate

__all__ = ["SimulationSummary", "simulate"]
