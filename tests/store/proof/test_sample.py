"""Which part of a store the proof replays."""

from __future__ import annotations

from store.proof.sample import with_parents


def test_rows_are_added_for_each_row_of_the_table_that_they_tell_of() -> None:
    """A project tells of a lead: of an entity with the key of a project the leads cannot tell which one is meant."""
    assert with_parents(["projects"], "project_id") == [("raw", "leads"), ("raw", "projects")]
    assert with_parents(["leads"], "lead_id") == [("raw", "leads")]


def test_an_interaction_is_about_a_lead_or_a_customer() -> None:
    """The replays of customers add some for each customer."""
    assert with_parents(["interactions"], "lead_id") == [("raw", "interactions"), ("raw", "leads")]
    assert with_parents(["interactions"], "customer_id") == [("raw", "customers"), ("raw", "interactions")]
