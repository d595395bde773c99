import pytest

from anubhav.errors import Busy
from anubhav.serving import lines
from anubhav.serving.lines import Lines


def test_a_place_tells_who_is_ahead() -> None:
    line = Lines()
    first, second, third = (line.join("ada") for _ in range(3))
    stranger = line.join("eve")
    assert [line.ahead(place) for place in (first, second, third, stranger)] == [(0, 1), (1, 1), (2, 1), (0, 3)]
    line.begin(first)
    line.begin(first)
    assert [line.ahead(place) for place in (second, third, stranger)] == [(0, 1), (1, 1), (0, 2)]
    line.leave(second)
    line.leave(first)
    line.leave(stranger)
    assert line.ahead(third) == (0, 0)


def test_one_tenant_cannot_fill_the_line_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_OPEN", 2)
    line = Lines()
    first, _ = line.join("ada"), line.join("ada")
    with pytest.raises(Busy):
        line.join("ada")
    line.join("eve")
    line.leave(first)
    line.join("ada")
