"""Finds the cells of a table with RapidTable, which compares the SHA-256 of its model."""

import cv2
import numpy as np
from rapid_table import ModelType, RapidTable, RapidTableInput

picture = np.full((200, 300, 3), 255, np.uint8)
for place in range(0, 200, 50):
    cv2.line(picture, (0, place), (300, place), (0, 0, 0), 2)
read = RapidTable(RapidTableInput(model_type=ModelType.SLANETPLUS, use_ocr=False))
found = read(picture)
print([cells.tolist() for cells in found.cell_bboxes], [p.tolist() for p in found.logic_points])
