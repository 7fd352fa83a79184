"""Event files, read back."""

import pytest

from jax231.train.events import EventWriter


def test_event_files_hold_the_numbers(tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto import event_pb2

    writer = EventWriter(tmp_path)
    assert not list(tmp_path.iterdir())
    writer.scalars(3, {"loss": 0.5, "accuracy": 0.25})
    writer.scalars(6, {"loss": 0.125})
    writer.close()
    (path,) = tmp_path.glob("events.out.tfevents.*")
    content, found = path.read_bytes(), []
    while content:
        length = int.from_bytes(content[:8], "little")
        event = event_pb2.Event.FromString(content[12 : 12 + length])
        found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
        content = content[16 + length :]
    assert found == [(3, "loss", 0.5), (3, "accuracy", 0.25), (6, "loss", 0.125)]
