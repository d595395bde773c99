"""Kin: words of people's lives that stand for one another, so that "my boss" is found when "my manager" is asked for.

A short list of English, of what people usually tell of themselves; what is not in it is kin to itself alone.
"""

from anubhav.memory.words import stem

_GROUPS = """
boss manager report
supervisor advisor
employer job company work workplace काम नौकरी
home house flat apartment live lives settled settle address reside रहता रहती रहते घर
doctor physician
dentist appointment
phone mobile telephone
password passcode passphrase
code pin keypad
accountant taxes tax
teacher tutor instructor coach
mother mum mom mama
father dad papa
kid child son daughter
wife husband spouse partner
birthday born
anniversary married wedding
salary wage payday
loan instalment mortgage
savings saving save
bank account
allergy allergic allergies
medicine dose tablet pill medication
weight weigh scale
breakfast morning
restaurant eatery diner
flight fly flying plane
hotel staying stay
booking reservation reference
departure leave leaving depart
project codename
school academy
major degree study studying
locker combination
instrument practise practice lesson play
colour paint painted
car drive
dog puppy
cat kitten
plumber pipe
rent landlord
wifi router network
exam परीक्षा
rent किराया
door दरवाज़ा दरवाज़े
sister बहन
brother भाई
mother माँ
father पिता
doctor डॉक्टर
city शहर
birthday जन्मदिन
number नंबर
code कोड
name नाम
salary तनख्वाह वेतन
""".strip().splitlines()
_ENDINGS = ("ations", "ation", "ors", "ers", "ing", "ions", "ion", "or", "er", "ed", "es", "s", "e")
_ROOT = 5
"""Letters that have to be left of a word."""


def _root(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _ROOT:
            return word[: -len(ending)]
    return word


_OF = {_root(stem(word)): stem(group.split()[0]) for group in reversed(_GROUPS) for word in group.split()}


def kin(word: str) -> str:
    """A stem that stands for all of its group, of what is in several the first one's; else the word's root."""
    return _OF.get(_root(word), _root(word))
