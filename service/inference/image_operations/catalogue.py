"""All image operations, in the order in which light, lens, sensor and file come one after the other."""

from .geometry import CROP, OCCLUSION, ROTATION, SHIFT_X, SHIFT_Y, TRANSLATION
from .light import BRIGHTNESS, CAST, CONTRAST, FOG, GAMMA
from .operation import Operation
from .optics import BLUR, MOTION, RESOLUTION
from .sensor import JPEG, NOISE

OPERATIONS: tuple[Operation, ...] = (
    OCCLUSION,
    ROTATION,
    SHIFT_X,
    SHIFT_Y,
    TRANSLATION,
    CROP,
    BRIGHTNESS,
    FOG,
    CAST,
    BLUR,
    MOTION,
    RESOLUTION,
    NOISE,
    CONTRAST,
    GAMMA,
    JPEG,
)
SEARCHABLE: tuple[Operation, ...] = tuple(operation for operation in OPERATIONS if operation.grid)
REHEARSED: tuple[Operation, ...] = tuple(operation for operation in OPERATIONS if any(operation.severities))
