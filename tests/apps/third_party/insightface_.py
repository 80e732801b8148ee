"""Faces with InsightFace: analysis, swapping, pickled sessions, a package with SHA-256 sums."""

import hashlib
import pickle
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import cv2
import insightface
import numpy as np
from insightface.app import FaceAnalysis
from insightface.model_zoo import get_model
from insightface.model_zoo.package_manifest import load_model_package

warnings.filterwarnings("ignore")
CPU = ["CPUExecutionProvider"]


def digest(*arrays):
    data = b"".join(np.ascontiguousarray(each).tobytes() for each in arrays)
    return hashlib.sha256(data).hexdigest()


root = sys.argv[1]
app = FaceAnalysis(name="toy", root=root, providers=CPU)
app.prepare(ctx_id=0, det_thresh=0.4, det_size=(640, 640))
picture = cv2.imread(insightface.__path__[0] + "/data/images/t1.jpg")
if picture is None:
    picture = np.random.default_rng(0).integers(0, 255, (640, 640, 3), dtype=np.uint8)
faces = app.get(picture, max_num=3)
print(len(faces), digest(*[f.bbox for f in faces], *[f.embedding for f in faces]))
for name, model in sorted(app.models.items()):
    print(name, type(model).__name__, model.input_mean, model.input_std)
swapper = get_model(root + "/models/inswapper_128.onnx", providers=CPU)
print(digest(swapper.emap), digest(swapper.get(picture, faces[0], faces[0], paste_back=True)))
with ThreadPoolExecutor(8) as pool:
    print({digest(p) for p in pool.map(lambda _: swapper.get(picture, *faces[:1] * 2), range(12))})
print(type(pickle.loads(pickle.dumps(app.models["recognition"].session))).__name__)
package = load_model_package(root + "/pkg")
print([package.verify_task(task).sha256 for task in package.tasks])
print(type(get_model(root + "/pkg", model_task="recognition", providers=CPU)).__name__)
