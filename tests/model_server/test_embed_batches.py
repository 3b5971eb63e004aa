"""How inputs are put into batches."""

from hypothesis import given
from hypothesis import strategies as st

from springtide_server.engine.embed import BATCH_ROWS, BATCH_TOKENS, batches


@given(st.lists(st.integers(1, 2 * BATCH_TOKENS), max_size=300))
def test_every_input_is_in_one_bounded_batch(lengths: list[int]) -> None:
    made = list(batches(lengths))
    assert sorted(index for batch in made for index in batch) == list(range(len(lengths)))
    for batch in made:
        padded = len(batch) * max(lengths[index] for index in batch)
        assert len(batch) <= BATCH_ROWS
        assert padded <= BATCH_TOKENS or len(batch) == 1


def test_similar_lengths_go_together() -> None:
    assert list(batches([5000, 10, 5000, 10])) == [[1, 3], [0], [2]]
