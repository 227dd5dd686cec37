"""The draw contract (`noise_fill.py`, version 1) in plain NumPy, which the kernels and every backend must reproduce.

Words and uniforms agree bit for bit. Normals use NumPy's own log, sin and cos (float32: in float64, then rounded); a
kernel's normal is within `NORMAL_ULPS` units in the last place of them.
"""

import numpy as np

NORMAL_ULPS = {np.dtype(np.float32): 4, np.dtype(np.float64): 4}
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_INCREMENTS = 0x9E3779B9, 0xBB67AE85


def philox4x32(counter, key, rounds=10):
    """Philox4x32 of four uint64 arrays with 32-bit values and two Python integers; four such arrays of one shape."""
    c0, c1, c2, c3 = np.broadcast_arrays(*counter)
    k0, k1 = key
    for _ in range(rounds):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c2 = (p1 >> _HALF) ^ c1 ^ np.uint64(k0), (p0 >> _HALF) ^ c3 ^ np.uint64(k1)
        c1, c3 = p1 & _LOW, p0 & _LOW
        k0, k1 = (k0 + _INCREMENTS[0]) & 0xFFFFFFFF, (k1 + _INCREMENTS[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


def words(seed, stream, component, groups):
    """Four uint32 arrays of the broadcast shape of `component` and `groups` (uint64).

    seed: integer in [0, 2**64); stream: integer in [0, 2**32).
    """
    groups = np.asarray(groups, np.uint64)
    counter = np.asarray(component, np.uint64), groups >> _HALF, np.uint64(stream), groups & _LOW
    return tuple(word.astype(np.uint32) for word in philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32)))


def uniforms(seed, stream, components, first, n, dtype):
    """Uniforms of draws first .. first + n - 1: array (len(components), n), in the order of the draws."""
    return _draws(seed, stream, components, first, n, dtype, _uniforms32, _uniforms64)


def normals(seed, stream, components, first, n, dtype):
    """Make standard normals of draws first .. first + n - 1: array (len(components), n), in the order of the draws."""
    return _draws(seed, stream, components, first, n, dtype, _normals32, _normals64)


def _draws(seed, stream, components, first, n, dtype, of_words32, of_words64):
    """Draws of every group that [first, first + n) touches, cut to that range."""
    dtype = np.dtype(dtype)
    each, of_words = (4, of_words32) if dtype == np.float32 else (2, of_words64)
    components = np.asarray(components, np.uint64).reshape(-1, 1)
    start, stop = first // each, -(-(first + n) // each)
    groups = np.uint64(start) + np.arange(stop - start, dtype=np.uint64)
    out = np.empty((len(components), stop - start, each), dtype)
    for k, values in enumerate(of_words(*words(seed, stream, components, groups))):
        out[:, :, k] = values
    return out.reshape(len(components), -1)[:, first - each * start :][:, :n]


def _uniforms32(*four):
    for word in four:
        k = word >> np.uint32(8)
        yield np.where(k == 0, np.float32(2.0**-25), k.astype(np.float32) * np.float32(2.0**-24))


def _uniform64(low, high):
    k = (high.astype(np.uint64) << np.uint64(21)) | (low >> np.uint32(11)).astype(np.uint64)
    return np.where(k == 0, 2.0**-54, k.astype(np.float64) * 2.0**-53)


def _uniforms64(w0, w1, w2, w3):
    return _uniform64(w0, w1), _uniform64(w2, w3)


def _polar(radius, quarters, angle):
    """Radius times cos and sin of quarters * pi/2 + angle."""
    cos, sin = np.cos(angle), np.sin(angle)
    odd = quarters & 1 == 1
    yield radius * (np.where(odd, sin, cos) * np.where((quarters + 1) & 2, -1.0, 1.0))
    yield radius * (np.where(odd, cos, sin) * np.where(quarters & 2, -1.0, 1.0))


def _normals32(*four):
    for radial, angular in (four[:2], four[2:]):
        u = ((radial >> np.uint32(1)).astype(np.float32) + np.float32(1)) * np.float32(2.0**-31)
        radius = np.sqrt(-2.0 * np.log(u.astype(np.float64)))
        quarters = (angular + np.uint32(0x20000000)) >> np.uint32(30)
        rest = (angular - (quarters << np.uint32(30))).view(np.int32)
        yield from _polar(radius, quarters, rest * (2.0 * np.pi / 2.0**32))


def _normals64(w0, w1, w2, w3):
    radius = np.sqrt(-2.0 * np.log(_uniform64(w0, w1)))
    eighths = w3 + np.uint32(0x20000000)
    fraction = ((eighths & np.uint32(0x3FFFFFFF)).astype(np.int64) << 22) | (w2 >> np.uint32(10)).astype(np.int64)
    angle = (fraction - (1 << 51)).astype(np.float64) * 2.0**-52
    return _polar(radius, eighths >> np.uint32(30), angle * (0.5 * np.pi))
