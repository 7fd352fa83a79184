import logging

from jax231.optim import catalog
from jax231.optim.noise_note import noise_note, note_once


def test_it_is_for_methods_that_need_the_same_function_in_every_step():
    noted = {entry.name for entry in catalog.ENTRIES if noise_note(entry, ("mini-batches",))}
    assert {"newton", "newton_cg", "bfgs", "sr1", "lbfgs"} <= noted
    assert not noted & {"sgd", "adam", "schedule_free", "kfac", "lbfgs_overlap", "newton_cg_subsampled"}
    assert noise_note(catalog.entry("lbfgs"), ()) is None


def test_it_says_what_the_course_says_and_what_there_is_instead():
    note = noise_note(catalog.entry("lbfgs"), ("mini-batches", "dropout"))
    assert note is not None
    assert note.startswith("lbfgs needs the same function in every step, and here it changes with mini-batches and dro")
    assert "disable all sources of noise" in note
    assert note.endswith("lbfgs_overlap.")


def test_it_is_logged_once(caplog):
    with caplog.at_level(logging.WARNING, "jax231"):
        for _ in range(3):
            note_once(catalog.entry("sr1"), ("augmentation",))
            note_once(catalog.entry("adam"), ("augmentation",))
    assert [record.getMessage() for record in caplog.records] == [noise_note(catalog.entry("sr1"), ("augmentation",))]
