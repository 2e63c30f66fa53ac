"""The TFX pipeline around bcl_keras: songs and plays in, a pushed model and target listeners out."""

import os

# tensorflow_recommenders refuses to import without it, and tensorflow_transform sets it in any case: it must stand
# before TensorFlow is first imported. TensorFlow's own alias is Keras 2 then; `import keras` stays Keras 3.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
