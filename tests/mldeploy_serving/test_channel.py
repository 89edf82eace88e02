"""Frames between the supervisor and a worker."""

from __future__ import annotations

from mldeploy_serving.channel import Unpacker, pack


def test_frames_come_whole_however_they_are_cut() -> None:
    frames = [(("answer", number, None), b"x" * number) for number in (0, 1, 300, 70_000)]
    sent = b"".join(pack(head, len(body)) + body for head, body in frames)
    for size in (1, 7, 4096, len(sent)):
        unpacker = Unpacker()
        came = [frame for at in range(0, len(sent), size) for frame in unpacker.feed(sent[at : at + size])]
        assert came == frames
        assert not unpacker.begun


def test_a_body_may_be_larger_than_4_gib() -> None:
    unpacker = Unpacker()
    prefix = pack(("answer",), 5 << 30)
    assert unpacker.feed(prefix) == []
    assert unpacker.needed == len(prefix) + (5 << 30)
