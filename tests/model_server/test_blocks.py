"""Blocks of the KV cache: who holds which, and what is known of beginnings."""

import random

from springtide_server.engine.blocks import BlockPool, Copy, digest


def names(tokens: list[int], size: int = 4) -> list[bytes]:
    found: list[bytes] = []
    for start in range(0, len(tokens) - size + 1, size):
        found.append(digest(found[-1] if found else b"", tokens[start : start + size]))
    return found


def fill(pool: BlockPool, tokens: list[int]) -> list[int]:
    """Blocks of a sequence that was computed, some of them shared."""
    known = pool.find(names(tokens))
    blocks = known + pool.allocate(pool.blocks(len(tokens)) - len(known))
    for block, name in zip(blocks, names(tokens), strict=False):
        pool.publish(block, name)
    return blocks


def test_equal_beginnings_share_blocks() -> None:
    pool = BlockPool(8, 4)
    first = fill(pool, [1, 2, 3, 4, 5, 6, 7, 8, 9])
    second = fill(pool, [1, 2, 3, 4, 5, 6, 7, 8, 10, 11])
    assert first[:2] == second[:2] and first[2] != second[2]
    assert pool.free == 8 - 4
    pool.release(first)
    assert pool.free == 8 - 3, "the second still holds what they share"
    pool.release(second)
    assert pool.free == 8


def test_a_block_counts_with_all_before_it() -> None:
    pool = BlockPool(8, 4)
    fill(pool, [1, 2, 3, 4, 5, 6, 7, 8])
    assert pool.find(names([0, 2, 3, 4, 5, 6, 7, 8])) == []
    assert len(pool.find(names([1, 2, 3, 4, 0, 6, 7, 8]))) == 1


def test_nothing_is_shared_when_it_is_off() -> None:
    pool = BlockPool(8, 4, share=False)
    pool.release(fill(pool, [1, 2, 3, 4]))
    assert pool.find(names([1, 2, 3, 4])) == []


def test_what_is_longest_unused_goes_first_and_a_sequence_from_its_end() -> None:
    pool = BlockPool(5, 4)
    old, new = [1, 2, 3, 4, 5, 6, 7, 8], [9] * 8
    pool.release(fill(pool, old))
    pool.release(fill(pool, new))
    pool.allocate(2)  # one was never used, the other is the end of what is older
    assert len(pool.find(names(old))) == 1
    assert len(pool.find(names(new))) == 2


def test_what_is_used_again_stays() -> None:
    pool = BlockPool(4, 4)
    old, new = [1, 2, 3, 4], [9] * 4
    pool.release(fill(pool, old))
    pool.release(fill(pool, new))
    pool.release(pool.find(names(old)))
    pool.allocate(3)
    assert pool.find(names(old)) and not pool.find(names(new))


def test_the_host_keeps_what_leaves_the_device() -> None:
    pool = BlockPool(2, 4, host=2)
    tokens = [1, 2, 3, 4, 5, 6, 7, 8]
    blocks = fill(pool, tokens)
    pool.release(blocks)
    taken = pool.allocate(2)
    assert [copy.to_host for copy in pool.copies] == [True, True]
    where = {copy.block: copy.slot for copy in pool.copies}
    pool.copies.clear()
    pool.release(taken)
    found = pool.find(names(tokens))
    assert len(found) == 2
    assert pool.copies == [Copy(new, where[old], to_host=False) for new, old in zip(found, blocks, strict=True)]


def test_copies_in_their_order_give_back_what_was_there() -> None:
    """Against a model: a device and a host that hold the names themselves."""
    chance = random.Random(5)  # noqa: S311
    pool = BlockPool(6, 4, host=3)
    device: list[bytes | None] = [None] * 6
    host: list[bytes | None] = [None] * 3
    held: list[list[int]] = []
    brought = 0
    for _ in range(2000):
        if held and (len(held) > 2 or chance.random() < 0.4):
            pool.release(held.pop(chance.randrange(len(held))))
        tokens = [chance.randrange(2) for _ in range(chance.choice([4, 8]))]
        before = len(pool.copies)
        known = pool.find(names(tokens))
        brought += sum(not copy.to_host for copy in pool.copies[before:])
        if pool.blocks(len(tokens)) - len(known) > pool.free:
            pool.release(known)
            blocks = None
        else:
            blocks = known + pool.allocate(pool.blocks(len(tokens)) - len(known))
        for copy in pool.copies:
            if copy.to_host:
                host[copy.slot] = device[copy.block]
            else:
                device[copy.block] = host[copy.slot]
        pool.copies.clear()
        for block, name in zip(known, names(tokens), strict=False):
            assert device[block] == name
        if blocks is not None:
            for block, name in zip(blocks, names(tokens), strict=True):
                device[block] = name
                pool.publish(block, name)
            held.append(blocks)
    assert brought > 20, "the host was of use"
    for blocks in held:
        pool.release(blocks)
    assert pool.free == 6
