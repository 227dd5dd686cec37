"""Owen's nested uniform scramble of the digits of a point, by a hash: `owen_hash` of `src/mcgrad/noise/sobol.py`.

Points come with their digits in reverse order: so a digit is changed by those before it, as products carry upwards.
"""

from mcgrad.kernels.formats import uint
from mcgrad.kernels.intrinsics import reverse_bits
from mcgrad.kernels.widths import by_width, each_width

FIRST, SECOND, THIRD = (
    by_width(0x3D20ADEA, 0xECC847B93D20ADEA),
    by_width(0x05526C56, 0x46E2578905526C56),
    by_width(0x53A22864, 0xB9D2F21953A22864),
)
HIGH = by_width(0, 0xFFFFFFFF00000000)
LOW_HALF, HALF_OF_LOW = 0xFFFFFFFF, 16


@each_width
def scrambled(x, key):
    """Scramble digits that come in reverse order, under the key of a coordinate, and put them in order."""
    low = uint(uint(key & uint(LOW_HALF)) >> uint(HALF_OF_LOW))
    factor = uint(uint(uint(key & uint(HIGH)) | low) | uint(1))
    x = uint(x ^ uint(x * uint(FIRST)))
    x = uint(uint(x + key) * factor)
    x = uint(x ^ uint(x * uint(SECOND)))
    return reverse_bits(uint(x ^ uint(x * uint(THIRD))))
