"""Looks at a page with RapidLayout and the model it ships."""

import cv2
import numpy as np
from rapid_layout import ModelType, RapidLayout, RapidLayoutInput

page = np.full((800, 600, 3), 255, np.uint8)
for line in range(12):
    cv2.putText(page, "lorem ipsum dolor sit", (40, 200 + 40 * line), 0, 1, (0, 0, 0), 2)
cv2.putText(page, "A Title", (150, 80), 0, 2, (0, 0, 0), 4)
cv2.rectangle(page, (60, 690), (540, 780), (90, 90, 90), -1)
found = RapidLayout(RapidLayoutInput(model_type=ModelType.PP_LAYOUT_CDLA, conf_thresh=0.05))(page)
print(found.class_names, [repr(score) for score in found.scores], np.asarray(found.boxes).tolist())
