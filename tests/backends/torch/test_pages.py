"""Pages against a plain account of who holds what: none is given twice, none is lost, none is read as another."""

from hypothesis import given, settings
from hypothesis import strategies as st

from anubhav.backends.torch.sampling.pages import PAGE, Pages, names_of, pages_for

COUNT = 9
TEXTS = [(1,) * 64, (1,) * 32 + (2,) * 32, (3,) * 48, (1,) * 16 + (4,) * 20]


class Account:
    """Who holds what, and what a page would hold were it one."""

    def __init__(self) -> None:
        self.pages = Pages(COUNT)
        self.content: dict[int, tuple[int, ...]] = {}
        self.held: list[list[int]] = []

    def read(self, text: tuple[int, ...]) -> None:
        names = names_of(text, b"salt")
        found = self.pages.find(names)
        for place, page in enumerate(found):
            assert self.content[page] == text[: (place + 1) * PAGE]
        more = pages_for(len(text)) - len(found)
        if more > self.pages.room:
            self.pages.let_go(found)
            return
        taken = [page for page in (self.pages.take() for _ in range(more)) if page is not None]
        strand = [*found, *taken]
        assert len(set(strand)) == pages_for(len(text))
        assert self.all_held().isdisjoint(taken)
        for place in range(len(found), len(names)):
            self.content[strand[place]] = text[: (place + 1) * PAGE]
            self.pages.name(strand[place], names[place])
        self.held.append(strand)

    def all_held(self) -> set[int]:
        return {page for strand in self.held for page in strand}


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(["read", "leave", "forget"]), st.integers(0, 99)), max_size=60))
def test_pages_are_held_by_whom_they_were_given_to(steps: list[tuple[str, int]]) -> None:
    account = Account()
    for what, number in steps:
        if what == "read":
            account.read(TEXTS[number % len(TEXTS)])
        elif what == "leave" and account.held:
            account.pages.let_go(account.held.pop(number % len(account.held)))
        elif what == "forget" and not account.held:
            account.pages.forget()
        assert account.pages.room == COUNT - len(account.all_held())


def test_what_was_left_longest_ago_goes_first() -> None:
    pages = Pages(2)
    for text in (TEXTS[0][:PAGE], TEXTS[2][:PAGE]):
        page = pages.take()
        assert page is not None
        pages.name(page, names_of(text, b"")[0])
        pages.let_go([page])
    assert pages.take() is not None
    assert not pages.find(names_of(TEXTS[0][:PAGE], b""))
    assert pages.find(names_of(TEXTS[2][:PAGE], b""))


def test_a_name_is_of_all_that_came_before() -> None:
    one, two = names_of(TEXTS[0], b"a"), names_of(TEXTS[1], b"a")
    assert one[:2] == two[:2]
    assert one[2] != two[2]
    assert not set(one) & set(names_of(TEXTS[0], b"b"))
    assert names_of(TEXTS[0], one[1], 32) == one[2:]
