"""LeNet-5 in Keras."""

import keras
from keras import layers

# Both layers default to Xavier-uniform weights (kernel_initializer="glorot_uniform")
# and zero biases (bias_initializer="zeros").
net = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        layers.Conv2D(6, kernel_size=5, padding="same", activation="sigmoid"),
        layers.AveragePooling2D(pool_size=2, strides=2),
        layers.Conv2D(16, kernel_size=5, activation="sigmoid"),
        layers.AveragePooling2D(pool_size=2, strides=2),
        layers.Flatten(),
        layers.Dense(120, activation="sigmoid"),
        layers.Dense(84, activation="sigmoid"),
        layers.Dense(10),
    ]
)
