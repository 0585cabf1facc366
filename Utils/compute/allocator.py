"""The memory allocator: memory that is freed stays with the process.

By default glibc returns every large block to the system at once and asks for it again in the next step. The pages that the system
then clears cost as much as the arithmetic of small networks.
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # glibc's names and numbers (malloc.h)


def keep_freed_memory() -> bool:
    """Tell the C library to keep freed memory for the next request; False where the library is not glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 64 << 20))
    return all(mallopt(name, value) for name, value in settings)


def give_back_freed_memory() -> bool:
    """Return the memory that is kept to the system, once.

    The result is False where the allocator returned nothing, or the C library is not glibc.
    """
    try:
        return bool(ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0)))
    except (OSError, AttributeError):
        return False
