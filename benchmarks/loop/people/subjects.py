"""What can be asked about a business: each subject in eight wordings, of which people use two, and an answer."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Subject:
    name: str
    kind: Literal["name", "days", "euros", "room"]
    answer: str
    wordings: tuple[str, ...]
    """The first two are asked, the next two sealed as probes, the rest is the held-out test."""


SUBJECTS = (
    Subject(
        "returns", "days", "Items can be returned to {0} within {1} days.",
        (
            "How many days do I have to return an item to {0}?",
            "What is the return period of {0} in days?",
            "Within how many days can I return an item to {0}?",
            "For how many days does {0} take items back?",
            "How many days do I have for a return to {0}?",
            "How long can I wait before I return an item to {0}?",
            "Tell me within how many days items can be returned to {0}.",
            "I want to return an item to {0}. How many days do I have?",
        ),
    ),
    Subject(
        "delivery", "euros", "Delivery from {0} costs {1} euros.",
        (
            "What does delivery from {0} cost?",
            "How much does {0} charge for delivery?",
            "What is the price of delivery from {0}?",
            "How many euros is a delivery from {0}?",
            "How much is delivery from {0}?",
            "What do I pay when {0} delivers?",
            "Tell me the cost of delivery from {0}.",
            "I want a delivery from {0}. What does it cost?",
        ),
    ),
    Subject(
        "club", "name", "The loyalty club of {0} is called {1}.",
        (
            "What is the name of the loyalty club of {0}?",
            "Which loyalty club does {0} have?",
            "What is the loyalty club of {0} called?",
            "How is the loyalty club of {0} named?",
            "Which loyalty club can customers of {0} join?",
            "I want to join the loyalty club of {0}. What is its name?",
            "Tell me the name of the loyalty club of {0}.",
            "The loyalty club of {0}: what is it called?",
        ),
    ),
    Subject(
        "courier", "name", "The parcels of {0} are delivered by {1}.",
        (
            "Which courier delivers the parcels of {0}?",
            "Who brings the parcels of {0}?",
            "Who delivers the parcels of {0}?",
            "Which courier works for {0}?",
            "With which courier does {0} send its parcels?",
            "What is the name of the courier that delivers for {0}?",
            "Tell me which courier delivers the parcels of {0}.",
            "I wait for a parcel of {0}. Which courier delivers it?",
        ),
    ),
    Subject(
        "manager", "name", "The manager of {0} is known as {1}.",
        (
            "What is the manager of {0} known as?",
            "Who is the manager of {0}?",
            "Who manages {0}?",
            "By what name is the manager of {0} known?",
            "What is the name of the manager of {0}?",
            "Who is in charge as the manager of {0}?",
            "Tell me who the manager of {0} is.",
            "I want to write to the manager of {0}. What is the name?",
        ),
    ),
    Subject(
        "office", "room", "The office of {0} is in room {1}.",
        (
            "In which room is the office of {0}?",
            "What is the room number of the office of {0}?",
            "Which room is the office of {0} in?",
            "Where is the office of {0}: in which room?",
            "What room do I go to for the office of {0}?",
            "In what room do I find the office of {0}?",
            "Tell me the room of the office of {0}.",
            "I look for the office of {0}. Which room is it?",
        ),
    ),
    Subject(
        "wrapping", "euros", "Gift wrapping at {0} costs {1} euros.",
        (
            "What does gift wrapping cost at {0}?",
            "How much does {0} charge for gift wrapping?",
            "What is the price of gift wrapping at {0}?",
            "How many euros is gift wrapping at {0}?",
            "How much is gift wrapping at {0}?",
            "What do I pay for gift wrapping at {0}?",
            "Tell me the cost of gift wrapping at {0}.",
            "I need gift wrapping at {0}. What does it cost?",
        ),
    ),
    Subject(
        "tea", "name", "The house tea of {0} is {1}.",
        (
            "What is the house tea of {0}?",
            "Which tea is the house tea of {0}?",
            "What is the house tea of {0} called?",
            "Which house tea does {0} serve?",
            "What is the name of the house tea of {0}?",
            "What house tea do I get at {0}?",
            "Tell me the house tea of {0}.",
            "I would like the house tea of {0}. Which tea is it?",
        ),
    ),
    Subject(
        "warranty", "days", "The guarantee of {0} lasts {1} weeks.",
        (
            "How many weeks does the guarantee of {0} last?",
            "What is the guarantee period of {0} in weeks?",
            "For how many weeks does {0} give a guarantee?",
            "How many weeks of guarantee does {0} give?",
            "How long is the guarantee of {0} in weeks?",
            "How many weeks is the guarantee of {0} valid?",
            "Tell me how many weeks the guarantee of {0} lasts.",
            "I bought something at {0}. How many weeks does the guarantee last?",
        ),
    ),
    Subject(
        "newsletter", "name", "The newsletter of {0} is called {1}.",
        (
            "What is the newsletter of {0} called?",
            "Which newsletter does {0} send?",
            "What is the name of the newsletter of {0}?",
            "How is the newsletter of {0} named?",
            "Which newsletter can I read from {0}?",
            "What does {0} call its newsletter?",
            "Tell me the name of the newsletter of {0}.",
            "I would like the newsletter of {0}. What is it called?",
        ),
    ),
    Subject(
        "seats", "days", "There are {1} seats at {0}.",
        (
            "How many seats are there at {0}?",
            "What is the number of seats at {0}?",
            "How many seats does {0} have?",
            "For how many people are there seats at {0}?",
            "What number of seats does {0} have?",
            "How many people can sit at {0}?",
            "Tell me how many seats there are at {0}.",
            "We are a large group. How many seats does {0} have?",
        ),
    ),
    Subject(
        "membership", "euros", "A membership of {0} costs {1} euros.",
        (
            "What does a membership of {0} cost?",
            "How much does {0} charge for a membership?",
            "What is the price of a membership of {0}?",
            "How many euros is a membership of {0}?",
            "How much is a membership of {0}?",
            "What do I pay for a membership of {0}?",
            "Tell me the cost of a membership of {0}.",
            "I want a membership of {0}. What does it cost?",
        ),
    ),
    Subject(
        "mascot", "name", "The mascot of {0} is {1}.",
        (
            "What is the mascot of {0}?",
            "Which mascot does {0} have?",
            "What is the mascot of {0} called?",
            "Who is the mascot of {0}?",
            "What is the name of the mascot of {0}?",
            "How is the mascot of {0} named?",
            "Tell me the mascot of {0}.",
            "I saw the mascot of {0}. What is it called?",
        ),
    ),
    Subject(
        "locker", "room", "The lost and found of {0} is in locker {1}.",
        (
            "In which locker is the lost and found of {0}?",
            "What is the number of the lost and found locker of {0}?",
            "Which locker is the lost and found of {0}?",
            "Where is the lost and found of {0}: in which locker?",
            "What locker holds the lost and found of {0}?",
            "In what locker do I find the lost and found of {0}?",
            "Tell me the locker of the lost and found of {0}.",
            "I lost my keys at {0}. Which locker is the lost and found?",
        ),
    ),
)  # fmt: skip
