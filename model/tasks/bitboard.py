"""Sets of cells as the bits of one int: to step to every neighbour of a whole set takes four shifts.

Bit r * (columns + 1) + c is the cell in row r, column c. The column that is too many is always empty, so that no
step leads from the end of one row to the start of the next.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def bitboards(masks: NDArray[np.bool_]) -> list[int]:
    """One set for each mask of [n, R, C]."""
    guarded = np.pad(masks, ((0, 0), (0, 0), (0, 1)))
    packed = np.packbits(guarded.reshape(len(masks), math.prod(guarded.shape[1:])), axis=1, bitorder="little")
    return [int.from_bytes(row, "little") for row in packed]


def cells(board: int, columns: int) -> list[int]:
    """The cells of a set as r * columns + c, in order."""
    bits = [i for i, bit in enumerate(reversed(f"{board:b}")) if bit == "1"]
    return [bit // (columns + 1) * columns + bit % (columns + 1) for bit in bits]


def neighbours(board: int, columns: int) -> int:
    """Every cell beside, above or below a cell of the set; bits outside the grid are for the caller to mask."""
    width = columns + 1
    return board << 1 | board >> 1 | board << width | board >> width


def distance(free: int, start: int, goal: int, columns: int) -> int | None:
    """Steps of the shortest way from `start` to `goal` through `free` cells; None where there is no way."""
    seen, front, steps = 0, start, 0
    while front:
        if front & goal:
            return steps
        seen |= front
        front = neighbours(front, columns) & free & ~seen
        steps += 1
    return None


def follow(path: int, start: int, columns: int) -> tuple[int, int, int]:
    """Walk through `path` from `start` for as long as there is exactly one way on.

    Returns the cells walked, the last of them, and the cells ahead of it: none at a dead end, several at a fork.
    """
    walked = last = start
    while (ahead := neighbours(last, columns) & path & ~walked) and not ahead & (ahead - 1):
        walked |= ahead
        last = ahead
    return walked, last, ahead
