"""The order machine: every pair of state and event, and the ids by which a venue knows an order."""

import string
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import IllegalTransitionError
from penstock.core.orders import (
    TRANSITIONS,
    EndCause,
    OrderEventKind,
    OrderState,
    Phase,
    client_order_id,
    next_cause,
    next_state,
)

S, E, C = OrderState, OrderEventKind, EndCause
SLOT = datetime(2024, 3, 1, tzinfo=UTC)

#: The machine once more, written the other way round: for each state the events it takes and where
#: they lead.
EXPECTED = {
    S.PLANNED: {E.SUBMIT: S.SUBMITTING, E.ABANDON: S.CANCELED},
    S.SUBMITTING: {
        E.LOSE_TRACK: S.UNKNOWN,
        E.ACCEPT: S.OPEN,
        E.PARTIAL_FILL: S.PARTIALLY_FILLED,
        E.FILL: S.FILLED,
        E.REJECT: S.REJECTED,
        E.CANCEL: S.CANCELED,
        E.EXPIRE: S.EXPIRED,
        E.ABANDON: S.CANCELED,
    },
    S.OPEN: {
        E.ACCEPT: S.OPEN,
        E.PARTIAL_FILL: S.PARTIALLY_FILLED,
        E.FILL: S.FILLED,
        E.REQUEST_CANCEL: S.PENDING_CANCEL,
        E.CANCEL: S.CANCELED,
        E.EXPIRE: S.EXPIRED,
    },
    S.PENDING_CANCEL: {
        E.ACCEPT: S.PENDING_CANCEL,
        E.REQUEST_CANCEL: S.PENDING_CANCEL,
        E.PARTIAL_FILL: S.PENDING_CANCEL,
        E.FILL: S.FILLED,
        E.CANCEL: S.CANCELED,
        E.EXPIRE: S.EXPIRED,
    },
    S.FILLED: {E.ACCEPT: S.FILLED, E.PARTIAL_FILL: S.FILLED, E.FILL: S.FILLED},
    S.CANCELED: {
        E.ACCEPT: S.CANCELED,
        E.CANCEL: S.CANCELED,
        E.EXPIRE: S.CANCELED,
        E.PARTIAL_FILL: S.CANCELED,
        E.FILL: S.FILLED,
    },
    S.EXPIRED: {
        E.ACCEPT: S.EXPIRED,
        E.CANCEL: S.CANCELED,
        E.EXPIRE: S.EXPIRED,
        E.PARTIAL_FILL: S.EXPIRED,
        E.FILL: S.FILLED,
    },
    S.REJECTED: {
        E.REJECT: S.REJECTED,
        E.ACCEPT: S.OPEN,
        E.PARTIAL_FILL: S.PARTIALLY_FILLED,
        E.FILL: S.FILLED,
        E.CANCEL: S.CANCELED,
        E.EXPIRE: S.EXPIRED,
    },
}
EXPECTED[S.UNKNOWN] = {
    event: state for event, state in EXPECTED[S.SUBMITTING].items() if event is not E.ABANDON
}
EXPECTED[S.PARTIALLY_FILLED] = EXPECTED[S.OPEN] | {E.ACCEPT: S.PARTIALLY_FILLED}


@pytest.mark.parametrize(("state", "event"), list(product(S, E)))
def test_pair_leads_where_the_table_says_or_is_illegal(
    state: OrderState, event: OrderEventKind
) -> None:
    """Each of the 100 pairs is either in the table with one outcome, or raises."""
    expected = EXPECTED[state].get(event)
    if expected is None:
        with pytest.raises(IllegalTransitionError, match=event.value):
            next_state(state, event)
    else:
        assert next_state(state, event) is expected


def test_rejected_comes_only_from_a_request_without_an_answer() -> None:
    """REJECTED is the answer to a request: nothing that worked or ended can become rejected."""
    before = {state for (state, event), after in TRANSITIONS.items() if after is S.REJECTED}
    assert before == {S.SUBMITTING, S.UNKNOWN, S.REJECTED}


def test_lost_order_is_never_final_by_itself() -> None:
    """Losing track leads to UNKNOWN, which is not final. Only an answer of the venue ends it."""
    assert next_state(S.SUBMITTING, E.LOSE_TRACK) is S.UNKNOWN
    assert not S.UNKNOWN.is_final


def test_order_whose_request_may_have_left_cannot_be_abandoned() -> None:
    """Only the sender, before the request left, may call an order abandoned; an UNKNOWN one may be
    working.
    """
    assert {state for (state, event) in TRANSITIONS if event is E.ABANDON} == {
        S.PLANNED,
        S.SUBMITTING,
    }


def test_rejected_gives_way_only_to_the_venue_showing_the_order() -> None:
    """Only proof that the order exists corrects a REJECTED order. Nothing that we do ourselves
    corrects it.
    """
    proofs = {
        event
        for (state, event), after in TRANSITIONS.items()
        if state is S.REJECTED and after is not S.REJECTED
    }
    assert proofs == {E.ACCEPT, E.PARTIAL_FILL, E.FILL, E.CANCEL, E.EXPIRE}


@given(st.lists(st.sampled_from(list(E)), max_size=30))
def test_filled_is_never_left(events: list[OrderEventKind]) -> None:
    """Whatever arrives in whatever order, FILLED stays FILLED."""
    state, ended = S.PLANNED, False
    for event in events:
        try:
            state = next_state(state, event)
        except IllegalTransitionError:
            continue
        assert not ended or state is S.FILLED
        ended = state is S.FILLED


def test_id_is_the_same_for_the_same_decision_and_legal_at_the_venues() -> None:
    """32 lower-case hexadecimal digits, equal for equal inputs."""
    name = client_order_id("main", "trend/1", SLOT, "BTC/USDT", Phase.SELLS, 0, 0)
    assert name == client_order_id("main", "trend/1", SLOT, "BTC/USDT", Phase.SELLS, 0, 0)
    assert len(name) == 32
    assert set(name) <= set(string.hexdigits.lower())


def test_id_changes_with_every_part_of_the_decision() -> None:
    """Account, version, slot, symbol, phase, child and attempt each give another id."""
    names = {
        client_order_id(*parts)
        for parts in [
            ("main", "trend/1", SLOT, "BTC/USDT", Phase.SELLS, 0, 0),
            ("other", "trend/1", SLOT, "BTC/USDT", Phase.SELLS, 0, 0),
            ("main", "trend/2", SLOT, "BTC/USDT", Phase.SELLS, 0, 0),
            ("main", "trend/1", SLOT + timedelta(minutes=1), "BTC/USDT", Phase.SELLS, 0, 0),
            ("main", "trend/1", SLOT, "ETH/USDT", Phase.SELLS, 0, 0),
            ("main", "trend/1", SLOT, "BTC/USDT", Phase.BUYS, 0, 0),
            ("main", "trend/1", SLOT, "BTC/USDT", Phase.SELLS, 1, 0),
            ("main", "trend/1", SLOT, "BTC/USDT", Phase.SELLS, 0, 1),
        ]
    }
    assert len(names) == 8


@pytest.mark.parametrize(
    ("before", "cause", "event", "named", "expected"),
    [
        (S.SUBMITTING, None, E.REJECT, None, C.REFUSED),
        (S.UNKNOWN, None, E.REJECT, C.NEVER_ARRIVED, C.NEVER_ARRIVED),
        (S.PLANNED, None, E.ABANDON, None, C.NEVER_SENT),
        (S.SUBMITTING, None, E.ABANDON, C.STOPPED, C.STOPPED),
        (S.OPEN, None, E.REQUEST_CANCEL, C.NOT_FILLED_IN_TIME, C.NOT_FILLED_IN_TIME),
        (S.PENDING_CANCEL, C.NOT_FILLED_IN_TIME, E.CANCEL, None, C.NOT_FILLED_IN_TIME),
        (S.PENDING_CANCEL, C.NOT_FILLED_IN_TIME, E.PARTIAL_FILL, None, C.NOT_FILLED_IN_TIME),
        (S.PENDING_CANCEL, C.NOT_FILLED_IN_TIME, E.EXPIRE, None, C.EXPIRED),
        (S.PENDING_CANCEL, C.NOT_FILLED_IN_TIME, E.FILL, None, C.FILLED),
        (S.OPEN, None, E.CANCEL, None, C.CANCELLED),
        (S.CANCELED, C.STOPPED, E.EXPIRE, None, C.STOPPED),
        (S.CANCELED, C.CANCELLED, E.PARTIAL_FILL, None, C.CANCELLED),
        (S.REJECTED, C.NEVER_ARRIVED, E.ACCEPT, None, None),
        (S.REJECTED, C.NEVER_ARRIVED, E.PARTIAL_FILL, None, None),
        (S.REJECTED, C.NEVER_ARRIVED, E.CANCEL, None, C.CANCELLED),
        (S.SUBMITTING, None, E.ACCEPT, None, None),
    ],
)
def test_cause_of_an_end_is_what_ended_the_order(
    before: OrderState,
    cause: EndCause | None,
    event: OrderEventKind,
    named: EndCause | None,
    expected: EndCause | None,
) -> None:
    """A cause that the event names holds; a cancellation keeps that of its request."""
    assert next_cause(before, cause, event, named, next_state(before, event)) is expected


@given(
    events=st.lists(
        st.tuples(
            st.sampled_from(E),
            st.sampled_from([None, *(cause for cause in C if cause != C.FILLED)]),
        )
    )
)
def test_order_has_a_cause_exactly_when_it_ended_or_is_being_cancelled(
    events: list[tuple[OrderEventKind, EndCause | None]],
) -> None:
    """Whatever comes in whatever order: an order that works never says why it ended."""
    state: OrderState = S.PLANNED
    cause: EndCause | None = None
    for kind, named in events:
        try:
            after = next_state(state, kind)
        except IllegalTransitionError:
            continue
        state, cause = after, next_cause(state, cause, kind, named, after)
        assert (cause is not None) is (state.is_final or state is S.PENDING_CANCEL)
        assert (cause is C.FILLED) is (state is S.FILLED)
