"""The TFX pipeline around bcl_keras: songs and plays in, a pushed model and target listeners out."""

import os

# tensorflow_recommenders refuses to import without it, and tensorflow_transform sets it in any case: it must stand
# before TensorFlow is first imported. It moves tf.keras to Keras 2; `import keras` stays Keras 3.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
