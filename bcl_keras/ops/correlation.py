"""Distance correlation between all pairs of fields in a few matrix products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

Tensor = Any

# Largest number of distances held at once (64 MiB of float32); more songs are worked off in blocks of rows.
BLOCK_ELEMENTS = 2**24
# Block of rows where the number of songs is not known while tracing.
DYNAMIC_BLOCK_ROWS = 256
# Squared distances and variances below this share of the terms they come from are rounding, not signal.
ROUNDING = 1e-6


def distance_correlation(
    fields: Sequence[Tensor], *, mask: Tensor | None = None, unbiased: bool = False, block_rows: int | None = None
) -> Tensor:
    """Compute the distance correlation between every pair of fields over a batch of songs.

    With `a_kl = ||x_k - x_l||` and `A = a - row means - column means + grand mean` for each field,

        dCov2(f, g) = mean(A * B),    dCor(f, g) = sqrt(dCov2(f, g) / sqrt(dCov2(f, f) dCov2(g, g))),    0/0 := 0.

    All pairs come from one product `V V^T` of the stacked `vec(A)`. With a mask, the correlation of two fields uses
    the songs that have both: products of the same size give what centring on those songs alone takes away.

    Args:
        fields: F tensors `(n, d_f)` or `(n,)`; the same n, any d_f. Computed in float32.
        mask: Presence `(n, F)`, boolean or 0/1; absent values may be anything, NaN too. Defaults to all present.
        unbiased: Use U-centred distances (bias-corrected; needs 4 songs), which do not drift upwards for small n.
            Negative estimates, which speak against any dependence, are returned as 0. Defaults to `False`.
        block_rows: Rows of a distance matrix held at once. Defaults to what keeps F * rows * n within 2**24.

    Returns:
        `(F, F)` symmetric float32 matrix in [0, 1], ones on the diagonal except 0 for constant fields.

    Raises:
        ValueError: If `fields` is empty or of unequal n, if n is too small, or if `mask` is not `(n, F)`.

    References:
        Zhao et al., WWW'23 Companion, section 3.1.1; Szekely, Rizzo and Bakirov, Annals of Statistics 35(6), 2007;
        Szekely and Rizzo, Annals of Statistics 42(6), 2014 (U-centring).
    """
    fields = [ops.convert_to_tensor(field) for field in fields]
    num_rows = _check(fields, mask, unbiased)
    total = ops.shape(fields[0])[0] if num_rows is None else num_rows
    columns, order = _stack_by_width(fields)
    if mask is None:
        present = ops.ones((len(fields), total), "float32")
    else:
        present = ops.take(ops.transpose(ops.cast(mask, "float32")), ops.convert_to_tensor(order, "int32"), axis=0)
    stacks = [_standardize(*pair) for pair in _with_presence(columns, present)]
    batch = _Distances(stacks, present, total, masked=mask is not None or num_rows is None)
    rows = block_rows or _default_block_rows(num_rows, len(fields))
    sums = _sum_over_blocks(
        lambda start, size: ops.sum(batch(start, size), axis=1), ops.zeros_like(present), total, rows
    )
    offsets = _own_centring(sums, present, unbiased)

    def products(start: Any, size: int) -> Tensor:
        return _joint_products(_centre(batch, offsets, unbiased, start, size), batch, start, size)

    zeros = ops.zeros((5 if batch.masked else 1, len(fields), len(fields)), "float32")
    matrix = _correlate(_sum_over_blocks(products, zeros, total, rows), present, unbiased)
    inverse = ops.convert_to_tensor([order.index(field) for field in range(len(order))], "int32")
    return ops.take(ops.take(matrix, inverse, axis=0), inverse, axis=1)


def _check(fields: Sequence[Tensor], mask: Tensor | None, unbiased: bool) -> int | None:
    """Return the number of songs where it is known while tracing."""
    if not fields:
        raise ValueError("Argument `fields` must hold at least one tensor. Received: an empty list")
    shapes = [tuple(field.shape) for field in fields]
    if any(len(shape) not in (1, 2) for shape in shapes) or len({shape[0] for shape in shapes}) > 1:
        raise ValueError(f"Argument `fields` must hold tensors (n, d) or (n,) of one n. Received: shapes {shapes}")
    num_rows: int | None = shapes[0][0]
    if mask is not None and tuple(mask.shape) not in ((num_rows, len(fields)), (None, len(fields))):
        raise ValueError(
            f"Argument `mask` must have shape (n, F) = {(num_rows, len(fields))}. Received: {tuple(mask.shape)}"
        )
    smallest = 4 if unbiased else 2
    if num_rows is not None and num_rows < smallest:
        raise ValueError(f"Argument `fields` must hold at least {smallest} songs. Received: {num_rows}")
    return num_rows


def _stack_by_width(fields: Sequence[Tensor]) -> tuple[list[Tensor], list[int]]:
    """Stack fields of one width as `(G, n, d)`, so that each width is one matrix product; return the new order too."""
    widths = [1 if len(field.shape) == 1 else field.shape[1] for field in fields]
    stacks, order = [], []
    for width in dict.fromkeys(widths):
        members = [index for index, other in enumerate(widths) if other == width]
        stacks.append(ops.stack([ops.reshape(ops.cast(fields[i], "float32"), (-1, width)) for i in members]))
        order += members
    return stacks, order


def _with_presence(stacks: list[Tensor], present: Tensor) -> list[tuple[Tensor, Tensor]]:
    pairs, start = [], 0
    for stack in stacks:
        pairs.append((stack, present[start : start + stack.shape[0]]))
        start += stack.shape[0]
    return pairs


def _standardize(stack: Tensor, present: Tensor) -> Tensor:
    """Centre and scale each field over its present songs: the correlation does not change, the rounding shrinks."""
    weight = present[:, :, None]
    count = ops.maximum(ops.sum(weight, axis=1, keepdims=True), 1.0)
    values = ops.where(weight > 0, stack, ops.zeros_like(stack))
    largest = ops.max(ops.abs(values), axis=(1, 2), keepdims=True)
    values = values / ops.where(largest > 0, largest, ops.ones_like(largest))  # so that squares cannot overflow
    values = (values - ops.sum(values, axis=1, keepdims=True) / count) * weight
    scale = ops.sqrt(_positive(ops.sum(ops.square(values), axis=(1, 2), keepdims=True) / count))
    return values / scale


def _positive(values: Tensor) -> Tensor:
    """Return values with 1 in place of 0 and below, for a division or a root whose result is not used there."""
    return ops.where(values > 0, values, ops.ones_like(values))


class _Distances:
    """Distance matrices `(F, size, n)` of all fields for a block of rows, 0 where a song lacks the field."""

    def __init__(self, stacks: list[Tensor], present: Tensor, total: Any, masked: bool) -> None:
        self.stacks, self.present, self.total, self.masked = stacks, present, total, masked

    def __call__(self, start: Any, size: int) -> Tensor:
        index, _ = self.rows(start, size)
        distances = ops.concatenate([_distances(ops.take(stack, index, axis=1), stack) for stack in self.stacks])
        return distances * self.weights(start, size) if self.masked else distances

    def rows(self, start: Any, size: int) -> tuple[Tensor, Tensor]:
        """Return row indices and whether each lies within the batch: the last block may reach beyond it."""
        index = start + ops.arange(size, dtype="int32")
        return ops.minimum(index, self.total - 1), index < self.total

    def row_presence(self, start: Any, size: int) -> Tensor:
        index, valid = self.rows(start, size)
        return ops.take(self.present, index, axis=1) * ops.cast(valid, "float32")  # (F, size)

    def weights(self, start: Any, size: int) -> Tensor:
        return self.row_presence(start, size)[:, :, None] * self.present[:, None, :]


def _distances(rows: Tensor, columns: Tensor) -> Tensor:
    """Return Euclidean distances `(G, size, n)`, exactly 0 between equal rows, with finite gradients there."""
    if rows.shape[-1] == 1:
        return ops.abs(rows - ops.transpose(columns, (0, 2, 1)))
    row_norms = ops.sum(ops.square(rows), axis=2)[:, :, None]
    column_norms = ops.sum(ops.square(columns), axis=2)[:, None, :]
    norms = row_norms + column_norms
    squared = norms - 2.0 * ops.matmul(rows, ops.transpose(columns, (0, 2, 1)))
    apart = squared > ROUNDING * norms
    return ops.where(apart, ops.sqrt(ops.where(apart, squared, ops.ones_like(squared))), ops.zeros_like(squared))


def _default_block_rows(num_rows: int | None, num_fields: int) -> int:
    if num_rows is None:
        return DYNAMIC_BLOCK_ROWS
    return max(1, min(num_rows, BLOCK_ELEMENTS // (num_fields * num_rows)))


def _sum_over_blocks(term: Callable[[Any, int], Tensor], zeros: Tensor, total: Any, rows: int) -> Tensor:
    """Add up `term(start, size)` over blocks of rows; unrolled where their number is known."""
    if isinstance(total, int):
        result = zeros
        for start in range(0, total, rows):
            result = result + term(start, min(rows, total - start))
        return result
    return ops.fori_loop(0, (total + rows - 1) // rows, lambda i, result: result + term(i * rows, rows), zeros)


def _own_centring(sums: Tensor, present: Tensor, unbiased: bool) -> Tensor:
    """Return offsets c `(F, n)` such that `a_kl - c_k - c_l` is (U-)centred over the songs that have the field."""
    count = ops.sum(present, axis=1, keepdims=True)
    grand = ops.sum(sums, axis=1, keepdims=True)
    if unbiased:
        inner, outer = ops.maximum(count - 2.0, 1.0), ops.maximum((count - 1.0) * (count - 2.0), 1.0)
    else:
        inner, outer = ops.maximum(count, 1.0), ops.maximum(ops.square(count), 1.0)
    return sums / inner - grand / (2.0 * outer)


def _centre(batch: _Distances, offsets: Tensor, unbiased: bool, start: Any, size: int) -> Tensor:
    index, _ = batch.rows(start, size)
    centred = batch(start, size) - ops.take(offsets, index, axis=1)[:, :, None] - offsets[:, None, :]
    if unbiased:  # U-centred matrices are hollow
        off_diagonal = index[:, None] != ops.arange(batch.total, dtype="int32")[None, :]
        centred = centred * ops.cast(off_diagonal, "float32")[None]
    return centred * batch.weights(start, size) if batch.masked else centred


def _joint_products(centred: Tensor, batch: _Distances, start: Any, size: int) -> Tensor:
    """Return the sums over a block of rows that the covariances on the songs of both fields are made of.

    S1 = sum A B; and, where songs lack fields, with R[f, k, g] = sum of A_kl over the songs l that have g:
    S2 = sum R[f, k, g] R[g, k, f]; T = sum of R over the songs k that have g; Q1 and Q2 as S1 and S2 of A with itself.
    """
    num_fields = centred.shape[0]
    flat = ops.reshape(centred, (num_fields, -1))
    s1 = ops.matmul(flat, ops.transpose(flat))
    if not batch.masked:
        return s1[None]
    present = ops.transpose(batch.present)  # (n, F)
    rows = ops.transpose(batch.row_presence(start, size))  # (size, F)
    sums = ops.matmul(centred, present)  # (F, size, F)
    s2 = ops.sum(sums * ops.transpose(sums, (2, 1, 0)), axis=1)
    t = ops.sum(sums * rows, axis=1)
    q1 = ops.sum(ops.matmul(ops.square(centred), present) * rows, axis=1)
    q2 = ops.sum(ops.square(sums) * rows, axis=1)
    return ops.stack([s1, s2, t, q1, q2])


def _correlate(products: Tensor, present: Tensor, unbiased: bool) -> Tensor:
    """Turn the sums into distance correlations, 0 where a variance is 0."""
    count = ops.matmul(present, ops.transpose(present))  # songs that have both fields
    if products.shape[0] == 1:
        covariance = products[0]
        own = ops.broadcast_to(ops.diagonal(covariance)[:, None], covariance.shape)
        own_terms = own
    else:
        s1, s2, t, own_terms, q2 = ops.unstack(products, num=5, axis=0)
        covariance = _recentre(s1, s2, t * ops.transpose(t), count, unbiased)
        own = _recentre(own_terms, q2, ops.square(t), count, unbiased)
    varies = (own > ROUNDING * own_terms) & (count >= (4.0 if unbiased else 2.0))
    varies = varies & ops.transpose(varies)
    # Two roots, not the root of a product, which underflows.
    ratio = covariance / (ops.sqrt(_positive(own)) * ops.sqrt(_positive(ops.transpose(own))))
    known = varies & (ratio > 0)
    return ops.where(known, ops.sqrt(ops.where(known, ops.minimum(ratio, 1.0), ops.ones_like(ratio))), 0.0)


def _recentre(s1: Tensor, s2: Tensor, tt: Tensor, count: Tensor, unbiased: bool) -> Tensor:
    if unbiased:
        inner, outer = ops.maximum(count - 2.0, 1.0), ops.maximum((count - 1.0) * (count - 2.0), 1.0)
    else:
        inner, outer = ops.maximum(count, 1.0), ops.maximum(ops.square(count), 1.0)
    return s1 - 2.0 * s2 / inner + tt / outer
