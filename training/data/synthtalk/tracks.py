"""Column order of the parameter tracks: one row per video frame at 25 fps, float32.

All lengths are in frame units (1.0 = the layout unit of ``geometry.Layout``, the frame height of a
square frame); angles are radians, positive = clockwise on screen; y grows downwards.
"""

TRACK_COLUMNS: tuple[str, ...] = (
    "openness",  # 0 closed lips .. 1 wide open
    "width",  # 0 narrow .. 1 spread; 0.5 at rest
    "rounding",  # 0 flat .. 1 protruded round lips
    "teeth",  # 0 hidden .. 1 upper teeth fully shown
    "tongue",  # 0 low .. 1 between the teeth
    "head_x",  # head offset from the rest position
    "head_y",
    "head_roll",
    "head_scale",  # 1 at rest
    "blink",  # 0 open eyes .. 1 closed
    "brow",  # 0 at rest .. 1 fully raised
    "gaze_x",  # -1 .. 1
    "gaze_y",
    "hand_l_x",  # left side of the picture; offset from the rest position
    "hand_l_y",
    "hand_l_angle",
    "hand_r_x",
    "hand_r_y",
    "hand_r_angle",
    "energy",  # loudness of the speech around the frame, 0 .. 1
)

TRACK_INDEX: dict[str, int] = {name: column for column, name in enumerate(TRACK_COLUMNS)}
MOUTH_COLUMNS = slice(0, 5)
