from __future__ import annotations

from embedkit.workflows.attributed_notes import attributed


def test_a_note_is_said_once_and_names_its_features_unless_it_is_about_all():
    said = [("a", "shared"), ("b", "shared"), ("b", "2 images"), ("b", "2 images"), ("a", "3 images")]
    assert attributed(said) == ["shared", "b: 2 images", "a: 3 images"]
    assert attributed([("a", "one"), ("b", "")]) == ["a: one"]
    assert attributed([("a", "one"), ("a", "one")]) == ["one"]
