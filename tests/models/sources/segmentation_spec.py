"""What a network for segmentation of small images must fit."""

from compress.core.network_spec import image_spec
from compress.tasks.segmentation import Segmentation

TASK = Segmentation()
SPEC = TASK.complete_spec(
    image_spec(channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.2,) * 3, classes=("ground", "road", "car"), outputs=())
)
