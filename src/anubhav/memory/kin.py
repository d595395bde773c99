"""Kin: words of people's lives that stand for one another, so that "my boss" is found when "my manager" is asked for.

A short list of English, of what people usually tell of themselves; what is not in it is kin to itself alone.
"""

from anubhav.memory.words import stem

_GROUPS = """
boss manager
supervisor advisor
employer job company work workplace
home house flat apartment live lives address reside
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
salary pay payday paid
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
""".strip().splitlines()
_OF = {stem(word): stem(group.split()[0]) for group in reversed(_GROUPS) for word in group.split()}


def kin(word: str) -> str:
    """A stem that stands for all of its group; of what is in several, the first one's."""
    return _OF.get(word, word)
