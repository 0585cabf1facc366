"""Lists of torch operations, by how results depend on arguments (for `Models/flow_kinds.py`)."""

from __future__ import annotations

# Operations that place, add up, or average numbers: applied to what is reached, they give what is reached.
PLACING = frozenset({
    "_unsafe_view", "_reshape_copy", "clone", "_to_copy", "contiguous", "cat", "stack", "index", "index_select", "gather", "take",
    "repeat", "roll", "flip", "rot90", "tril", "triu", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d",
    "reflection_pad3d", "replication_pad1d", "replication_pad2d", "replication_pad3d", "pixel_shuffle", "pixel_unshuffle",
    "channel_shuffle", "native_channel_shuffle", "im2col", "col2im", "cumsum", "_unsafe_index", "avg_pool1d", "avg_pool2d",
    "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d", "upsample_nearest1d",
    "upsample_nearest2d", "upsample_nearest3d", "upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d",
    "_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "_upsample_bilinear2d_aa",
    "index_put", "_unsafe_index_put", "scatter_add", "scatter", "index_add",
    "index_copy", "slice_scatter", "select_scatter", "diagonal_scatter",
    "block_diag", "diag_embed", "repeat_interleave", "unsafe_split", "unsafe_split_with_sizes", "copy",
})  # fmt: skip
JOINING = frozenset({"cat", "stack"})  # of these the ones that join tensors
# Of these the ones that read places from a tensor -> the argument with the places.
INDEXED = {
    "index": 1, "_unsafe_index": 1, "gather": 2, "take": 1, "index_select": 2, "repeat_interleave": -1, "index_put": 1,
    "_unsafe_index_put": 1, "scatter_add": 2, "scatter": 2,
    "index_add": 2, "index_copy": 2,
}  # fmt: skip
# Functions of one number in, one number out, that torch does not mark as such in each of its versions.
POINTWISE = frozenset({
    "abs", "fill", "gelu", "glu", "hardswish", "heaviside", "log_sigmoid_forward", "masked_fill", "mish", "native_dropout",
    "prelu", "_prelu_kernel", "rsub", "threshold", "where", "lerp", "zero", "hardtanh", "clip", "rrelu_with_noise",
})  # fmt: skip
# Functions of all numbers along some dimensions, which are gone afterwards.
REDUCING = frozenset({
    "sum", "nansum", "mean", "nanmean", "amax", "amin", "max", "min", "argmax", "argmin", "var", "std", "var_mean", "std_mean",
    "prod", "logsumexp", "norm", "linalg_vector_norm", "all", "any", "aminmax", "median", "nanmedian", "mode", "kthvalue",
    "count_nonzero", "topk",
})  # fmt: skip
# Functions of all numbers along a dimension, which stays: operation -> the place of the dimension among its arguments.
SPREADING = {
    "_softmax": 1, "_log_softmax": 1, "_safe_softmax": 1, "sort": 1, "argsort": 1, "cumprod": 1, "cummax": 1, "cummin": 1,
    "logcumsumexp": 1, "renorm": 2,
}  # fmt: skip
GATES = frozenset({"sigmoid", "hardsigmoid", "_softmax", "_safe_softmax"})  # functions above zero everywhere
# The pooling by averages over the same windows, for each pooling by maxima.
AVERAGING = {
    "max_pool1d": "avg_pool1d", "max_pool2d_with_indices": "avg_pool2d", "max_pool3d_with_indices": "avg_pool3d",
    "mkldnn_max_pool2d": "avg_pool2d", "mkldnn_max_pool3d": "avg_pool3d",
    "adaptive_max_pool1d": "adaptive_avg_pool1d", "adaptive_max_pool2d": "_adaptive_avg_pool2d",
    "adaptive_max_pool3d": "_adaptive_avg_pool3d",
}  # fmt: skip
# Operations on weights alone of which a zero stays a zero.
ZERO_KEEPING = PLACING | {"mul", "div", "neg", "relu", "abs", "mm", "bmm", "convolution", "sum", "mean"}
# Views that share all numbers of their tensor, which autograd would not follow.
SAME = frozenset({"detach", "alias", "lift_fresh", "view_as"})
# Operations that take no more than shape and type from a tensor.
MAKING = frozenset({
    "zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "randint_like", "new_zeros", "new_ones",
    "new_full", "new_empty", "new_empty_strided", "sym_size",
})  # fmt: skip
