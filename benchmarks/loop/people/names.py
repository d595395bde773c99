"""Names and amounts that no model has read about, drawn from the seed."""

from random import Random

BUSINESSES = (" Bakery", " Hotel", " Garage", " Gallery", " Cinema", " Library", " Nursery", " Dairy")
_FIRST = ("Zor", "Bel", "Quil", "Mar", "Tev", "Ond", "Kar", "Vil", "Sev", "Ral", "Dun", "Fen", "Hol", "Jas", "Lom")
_SECOND = ("vane", "dora", "bert", "mira", "lund", "wick", "tessa", "rino", "gard", "lio", "nex", "sum", "dell")
_COLOURS = ("Copper", "Amber", "Silver", "Crimson", "Ivory", "Velvet", "Golden", "Cobalt", "Scarlet", "Indigo")
_THINGS = ("Heron", "Lantern", "Falcon", "Willow", "Anchor", "Badger", "Comet", "Orchid", "Maple", "Raven", "Otter")


def name_of(chance: Random) -> str:
    return chance.choice(_FIRST) + chance.choice(_SECOND)


def title(chance: Random) -> str:
    """Two words, such as Copper Heron."""
    return f"{chance.choice(_COLOURS)} {chance.choice(_THINGS)}"


def amount(chance: Random, kind: str) -> str:
    """A number of `days`, of `euros`, of a `room`."""
    if kind == "euros":
        return f"{chance.randint(2, 38)}.{chance.choice((20, 30, 40, 60, 70, 80))}"
    return str(chance.randint(13, 89) if kind == "days" else chance.randint(110, 890))
