"""Classes of work, read from the name of an operator or, where no operator is known, of a kernel."""

from __future__ import annotations

import re
from functools import lru_cache

CONVOLUTION, BACKWARD, MATMUL, NORM, POOLING = "convolution", "convolution backward", "matmul, linear", "BatchNorm", "pooling"
LOSS, ELEMENTWISE, COPIES, OTHER = "softmax, loss", "elementwise", "copies, memory", "other"
# An instant in which several classes run counts once, for the class that comes first in this order.
CLASSES = (CONVOLUTION, BACKWARD, MATMUL, NORM, POOLING, LOSS, ELEMENTWISE, COPIES, OTHER)
CONVOLUTIONS = (CONVOLUTION, BACKWARD)

_CONVOLUTION = re.compile(r"(^|_)q?conv(olution|\d|_|$)")
_OPERATORS = (
    (NORM, r"(batch|group|layer|instance|rms)_norm|native_norm"),
    (LOSS, r"softmax|loss|cross_entropy|kl_div|logsumexp"),
    (POOLING, r"pool"),
    (MATMUL, r"^_?(addmm|mm|bmm|baddbmm|addbmm|matmul|linear|addmv|mv|addr|dot|vdot|einsum|bilinear|scaled_mm|grouped_mm|int_mm"
             r"|scaled_dot_product|flash_attention|efficient_attention|native_multi_head|addmm_activation)(_|$)"),
    (COPIES, r"^_?(copy|to|to_copy|clone|contiguous|cat|stack|fill|zero|zeros|ones|full|empty|pad|constant_pad_nd|item"
             r"|local_scalar_dense|pin_memory|repeat|roll|flip|foreach_copy|foreach_zero|copy_from|copy_from_and_resize)"
             r"(_|_like|_strided)?$"),
    (ELEMENTWISE, r"^_?(foreach_|fused_|native_|amp_)*(add|sub|rsub|mul|div|true_divide|floor_divide|remainder|fmod|pow|square"
                  r"|sqrt|rsqrt|exp|expm1|log|log1p|log2|log10|neg|abs|sign|reciprocal|sin|cos|tanh|atan|erf|sigmoid|logit|relu"
                  r"|relu6|hardtanh|hardswish|hardsigmoid|leaky_relu|rrelu|prelu|elu|selu|celu|gelu|glu|silu|mish|softplus"
                  r"|threshold|clamp|clip|maximum|minimum|where|lerp|addcmul|addcdiv|eq|ne|lt|le|gt|ge|isnan|isinf|isfinite"
                  r"|logical|bitwise|masked_fill|dropout|alpha_dropout|bernoulli|normal|uniform|random|round|floor|ceil|trunc"
                  r"|frac|nan_to_num|foreach_non_finite|adam|adamw|sgd|adagrad)(_|$)"),
)  # fmt: skip
# Kernels of cuDNN, cuBLAS, CUTLASS, MIOpen, Triton and ATen. A fused kernel gets the first class here that its name matches.
_KERNELS = (
    (NORM, r"batch_?norm|layer_?norm|group_?norm|instance_?norm|rms_?norm|bn_(fw|bw|inf)|welford"),
    (POOLING, r"pool"),
    (LOSS, r"softmax|nll_loss|cross_entropy|loss"),
    (ELEMENTWISE, r"^triton_(poi|per|red)_"),
    (CONVOLUTION, r"conv(?!ert|ex)|winograd|implicit_?gemm|fprop|dgrad|wgrad|bprop|cudnn|im2col|col2im|fft2d|flip_filter"
                  r"|nchwtonhwc|nhwctonchw|nchwaddpadding|igemm_(fwd|bwd|wrw)|miopen|xmma(?!_gemm)"),
    (MATMUL, r"gemm|gemv|cublas|cutlass|nvjet|cijk_|splitk|dot_kernel|attention|fmha|flash"),
    (COPIES, r"copy|memset|memcpy|fill|catarray|transpose"),
    (ELEMENTWISE, r"elementwise|multi_tensor_apply|^triton_|dropout"),
)  # fmt: skip
_OPERATORS = tuple((work, re.compile(pattern)) for work, pattern in _OPERATORS)
_KERNELS = tuple((work, re.compile(pattern)) for work, pattern in _KERNELS)


@lru_cache(maxsize=65536)
def of_operator(name: str) -> str | None:
    """Return the class of an operator such as `aten::conv2d`.

    OTHER stands for an operator of PyTorch's own that is in no other class. None stands for a name that gives no class: functions
    of the user, nodes of autograd (which surround operators that give one), compiled regions.
    """
    space, separator, word = name.rpartition("::")
    word = word.lower().partition(".")[0]
    if not separator or space.startswith("autograd"):
        return None
    if _CONVOLUTION.search(word):
        return BACKWARD if "backward" in word else CONVOLUTION
    found = next((work for work, pattern in _OPERATORS if pattern.search(word)), None)
    return found or (OTHER if space == "aten" else None)


@lru_cache(maxsize=65536)
def of_kernel(name: str) -> str:
    """Return the class of a kernel of which only the name is known."""
    low = name.lower()
    found = next((work for work, pattern in _KERNELS if pattern.search(low)), OTHER)
    if found == CONVOLUTION and re.search(r"dgrad|wgrad|bprop|backward|bwd|wrw", low):
        return BACKWARD
    return found if found != OTHER else of_operator(name) or OTHER
