"""Lists of torch operations, by how results depend on arguments (for `Models/reach.py`)."""

from __future__ import annotations

# Operations that place, add up, average, or choose the largest of numbers: of zeros and ones they make what is reached.
PLACING = frozenset({
    "_unsafe_view", "_reshape_copy", "clone", "_to_copy", "contiguous", "cat", "stack", "index", "index_select", "gather", "take",
    "repeat", "roll", "flip", "tril", "triu", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d",
    "replication_pad1d", "replication_pad2d", "replication_pad3d", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
    "native_channel_shuffle", "im2col", "col2im", "cumsum", "_unsafe_index", "avg_pool1d", "avg_pool2d", "avg_pool3d",
    "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d", "max_pool2d_with_indices", "max_pool3d_with_indices",
    "adaptive_max_pool2d", "adaptive_max_pool3d", "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d",
    "upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "_upsample_nearest_exact2d", "_upsample_bilinear2d_aa",
})  # fmt: skip
# Functions of one number in, one number out, that torch does not mark as such in each of its versions.
POINTWISE = frozenset({
    "abs", "fill", "gelu", "hardswish", "heaviside", "log_sigmoid_forward", "masked_fill", "mish", "native_dropout", "prelu",
    "_prelu_kernel", "rsub", "threshold", "where",
})  # fmt: skip
# Functions of all numbers along some dimensions, which are gone afterwards.
REDUCING = frozenset({
    "sum", "mean", "amax", "amin", "max", "min", "argmax", "argmin", "var", "std", "var_mean", "prod", "logsumexp", "norm",
    "linalg_vector_norm", "all", "any",
})  # fmt: skip
# Functions of all numbers along the dimension that is their second argument.
SPREADING = frozenset({
    "_softmax", "_log_softmax", "_safe_softmax",
})  # fmt: skip
