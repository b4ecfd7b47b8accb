"""Names, addresses and numbers of invented people: a real CRM holds such columns, and a feature store must not.

The e-mail domains are reserved for examples (RFC 2606) and the telephone numbers for fiction (555-0100 to 555-0199).
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulation.draws import Draws, Floats, Ints

_FIRST_NAMES = (
    "Ada",
    "Amir",
    "Anna",
    "Aylin",
    "Ben",
    "Bianca",
    "Carlos",
    "Chiara",
    "Daniel",
    "Dilara",
    "Elena",
    "Emil",
    "Eva",
    "Farid",
    "Finn",
    "Grace",
    "Hanna",
    "Hugo",
    "Ida",
    "Igor",
    "Jana",
    "Jonas",
    "Karim",
    "Klara",
    "Lea",
    "Liam",
    "Lina",
    "Luca",
    "Maja",
    "Marta",
    "Mateo",
    "Mia",
    "Nadia",
    "Noah",
    "Olga",
    "Oskar",
    "Paula",
    "Rafael",
    "Sofia",
    "Tom",
)
_LAST_NAMES = (
    "Abel",
    "Adler",
    "Bauer",
    "Becker",
    "Berger",
    "Brandt",
    "Costa",
    "Demir",
    "Dietrich",
    "Engel",
    "Fischer",
    "Fontana",
    "Garcia",
    "Graf",
    "Haas",
    "Hansen",
    "Hoffmann",
    "Ivanov",
    "Jansen",
    "Kaiser",
    "Keller",
    "Koch",
    "Kowalski",
    "Lang",
    "Lehmann",
    "Lopez",
    "Maier",
    "Moreau",
    "Nguyen",
    "Novak",
    "Olsen",
    "Petrov",
    "Richter",
    "Romano",
    "Sato",
    "Schmidt",
    "Silva",
    "Vogel",
    "Weber",
    "Winter",
)
_DOMAINS = ("example.com", "example.net", "example.org")


def contacts(numbers: Ints, seed: int) -> dict[str, pa.Array]:
    """Return the columns `name`, `email` and `phone` for the leads of the given numbers."""
    rows = np.arange(len(numbers))
    draws = Draws(seed, "contacts", numbers)

    def one_of(names: tuple[str, ...], uniform: Floats) -> pa.Array:
        return pa.array(names).take(pa.array((uniform * len(names)).astype(np.int64)))

    first, last = one_of(_FIRST_NAMES, draws.uniform(rows)), one_of(_LAST_NAMES, draws.uniform(rows))
    mailbox = pc.utf8_lower(pc.binary_join_element_wise(first, last, pc.cast(pa.array(numbers + 1), pa.string()), "."))
    area = pc.cast(pa.array(200 + (draws.uniform(rows) * 790).astype(np.int64)), pa.string())
    line = pc.cast(pa.array(100 + (draws.uniform(rows) * 100).astype(np.int64)), pa.string())
    return {
        "name": pc.binary_join_element_wise(first, last, " "),
        "email": pc.binary_join_element_wise(mailbox, one_of(_DOMAINS, draws.uniform(rows)), "@"),
        "phone": pc.binary_join_element_wise("+1", area, "555", pc.binary_join_element_wise("0", line, ""), "-"),
    }
