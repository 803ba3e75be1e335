"""Many small least squares problems at once, none of whose coefficients may be negative."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

LEAST_GRADIENT = 1e-13
"""Of a coefficient that is worth raising from zero, over the norm of the target: less is rounding."""
STEPS_EACH = 10
"""Steps per coefficient after which a solution is taken as it is; hardly any takes more than two."""


def solve_nonnegative(rows: "Array", target: "Array") -> "Array":
    """Coefficients of least |rows @ coefficients - target|, none below zero, of each of m problems.

    By the active sets of Lawson and Hanson (Solving Least Squares Problems, 1974, chapter 23): coefficients are let go
    of zero one by one, the one of steepest descent first, and put back where the others would push it below. All
    problems take each step together: scipy, which solves one at a time, takes longer to import than all of this.

    Args:
        rows: (m, n, p). Rows of zeros change nothing, so problems may have fewer rows than n.
        target: (m, n).

    Returns:
        (m, p).
    """
    import numpy as np

    size = np.linalg.norm(rows, axis=1, keepdims=True)
    size[size == 0] = 1.0
    # Rotated into a triangle, n rows become p + 1 and the sums of squares stay what they are.
    triangle = _triangle(np.concatenate([rows / size, target[:, :, None]], axis=2))
    rows, target = triangle[:, :, :-1], triangle[:, :, -1]
    least = LEAST_GRADIENT * np.linalg.norm(target, axis=1)
    solution = np.zeros((len(rows), rows.shape[2]))
    free = np.zeros(solution.shape, bool)
    for _ in range(STEPS_EACH * rows.shape[2]):
        misfit = target - np.einsum("mnp,mp->mn", rows, solution)
        gradient = np.where(free, 0.0, np.einsum("mnp,mn->mp", rows, misfit))
        moving = np.flatnonzero(gradient.max(axis=1) > least)
        if not len(moving):
            break
        free[moving, gradient[moving].argmax(axis=1)] = True
        solution[moving], free[moving] = _settled(rows[moving], target[moving], solution[moving], free[moving])
    found: Array = solution / size[:, 0]
    return found


def _settled(rows: "Array", target: "Array", solution: "Array", free: "Array") -> tuple["Array", "Array"]:
    """Least squares over the free coefficients, with those put back to zero that would fall below it."""
    import numpy as np

    wanted = _least_squares(rows, target, free)
    while (below := free & (wanted <= 0)).any():
        way = np.where(below, solution - wanted, 1.0)
        # The whole way, or until the first coefficient arrives at zero.
        reach = np.where(below, solution / np.where(way > 0, way, 1.0), 1.0)
        first = reach.min(axis=1, keepdims=True)
        solution = solution + first * (wanted - solution)
        free = free & ~(below & (reach <= first))
        solution = np.where(free, solution, 0.0)
        wanted = _least_squares(rows, target, free)
    return wanted, free


def _least_squares(rows: "Array", target: "Array", free: "Array") -> "Array":
    """Coefficients (m, p), zero where not free. Free columns do not depend on each other: each had a gradient left."""
    import numpy as np

    count, height, width = rows.shape
    # A column that is not free is one of its own, for a coefficient that shall be zero.
    extended = np.zeros((count, height + width, width + 1))
    extended[:, :height, :width] = np.where(free[:, None, :], rows, 0.0)
    extended[:, :height, width] = target
    extended[:, height:, :width] = np.where(free[:, None, :], 0.0, np.eye(width))
    triangle = _triangle(extended)
    solved = np.linalg.solve(triangle[:, :width, :width], triangle[:, :width, width:])[:, :, 0]
    found: Array = np.where(free, solved, 0.0)
    return found


def _triangle(matrices: "Array") -> "Array":
    import numpy as np

    triangle: Array = np.linalg.qr(matrices, mode="r")  # type: ignore[assignment]
    return triangle
