"""Finding a cap on simultaneous requests, from refusals alone."""

from __future__ import annotations

from aiai_async.policy.caps import CapFinder


class TestCapFinder:
    """A cap on simultaneous requests."""

    def test_nothing_is_capped_before_a_refusal(self) -> None:
        """Nor does a refusal count where no cap is known."""
        caps = CapFinder()
        caps.send(100)
        caps.admit(100)
        assert caps.allows(10**6)
        assert not caps.refuse(100)
        assert caps.cap is None

    def test_what_a_completion_lets_in_is_capped(self) -> None:
        """By as many as were in flight when the lockout began."""
        caps = CapFinder()
        caps.suspect(8)
        assert (caps.is_suspected, caps.held) == (True, 8)
        assert caps.confirm()
        assert caps.cap == 8
        assert not caps.is_suspected
        assert caps.allows(7)
        assert not caps.allows(8)

    def test_where_nothing_else_was_in_flight_there_is_no_cap(self) -> None:
        """Nothing could end."""
        caps = CapFinder()
        caps.suspect(0)
        assert not caps.is_suspected
        assert not caps.confirm()
        caps.suspect(2)
        caps.held = 0
        assert not caps.confirm()
        assert caps.cap is None

    def test_one_more_is_tried_now_and_then(self) -> None:
        """After twelve; where it is let in the cap is raised, twice as far each time."""
        caps = CapFinder()
        caps.suppose(8)
        for _ in range(12):
            assert not caps.allows(8)
            caps.send(7)
        assert caps.allows(8)
        assert not caps.allows(9)
        caps.send(8)
        assert not caps.allows(8)
        caps.admit(8)
        assert caps.cap == 9
        assert caps.allows(9), "it goes on at once"
        caps.admit(9)
        assert caps.cap == 11
        assert caps.refuse(11)
        assert (caps.cap, caps.allows(9)) == (9, False), "that was too much"

    def test_tries_that_are_refused_are_farther_apart(self) -> None:
        """A cap rarely changes."""
        caps = CapFinder()
        caps.suppose(8)
        gaps = []
        for _ in range(4):
            gap = 0
            while not caps.allows(8):
                caps.send(7)
                gap += 1
            caps.send(8)
            assert caps.refuse(8)
            assert caps.cap == 8
            gaps.append(gap)
        assert gaps == [12, 48, 192, 300]
        caps.suppose(8)
        assert not caps.allows(8)
        caps.suppose(9)
        for _ in range(12):
            caps.send(8)
        assert caps.allows(9), "another cap begins anew"

    def test_it_falls_to_what_is_let_in(self) -> None:
        """A refusal beside nearly as many is the cap's."""
        caps = CapFinder()
        caps.suppose(8)
        assert caps.refuse(7)
        assert caps.cap == 7
        caps.suppose(1)
        assert caps.refuse(1)
        assert caps.cap == 1

    def test_a_refusal_beside_few_refutes_it(self) -> None:
        """Three times, and it is a rate for good."""
        caps = CapFinder()
        for _ in range(3):
            caps.suspect(8)
            assert caps.is_suspected
            assert caps.confirm()
            assert not caps.refuse(2)
            assert caps.cap is None
        caps.suspect(8)
        assert not caps.is_suspected

    def test_refusals_in_a_row_refute_it(self) -> None:
        """It is something else that refuses."""
        caps = CapFinder()
        caps.suppose(8)
        assert caps.refuse(8)
        assert caps.refuse(8)
        assert caps.refuse(8)
        assert not caps.refuse(8)
        assert caps.cap is None
