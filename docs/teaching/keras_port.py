"""A port of torch_original.py to Keras, with one mistake. As a program, it prints its accuracy on the test set."""

import keras
import numpy as np
from safetensors.numpy import load_file

from lenet_multi import load_dataset


def net() -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(6, 5, padding="same", activation="sigmoid", name="conv1"),
            keras.layers.AveragePooling2D(2, name="pool1"),
            keras.layers.Conv2D(16, 5, activation="sigmoid", name="conv2"),
            keras.layers.AveragePooling2D(2, name="pool2"),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(120, activation="sigmoid", name="dense1"),
            keras.layers.Dense(84, activation="sigmoid", name="dense2"),
            keras.layers.Dense(10, name="dense3"),
        ]
    )
    parameters = load_file("runs/first/model.safetensors")

    def set_weights(name: str, weight: np.ndarray) -> None:
        model.get_layer(name).set_weights([weight, parameters[f"{name}.bias"]])

    set_weights("conv1", parameters["conv1.weight"].transpose(2, 3, 1, 0))
    set_weights("conv2", parameters["conv2.weight"].transpose(3, 2, 1, 0))
    # The inputs of dense1 in the order of Keras: channels last.
    set_weights("dense1", parameters["dense1.weight"].reshape(120, 16, 5, 5).transpose(2, 3, 1, 0).reshape(400, 120))
    set_weights("dense2", parameters["dense2.weight"].T)
    set_weights("dense3", parameters["dense3.weight"].T)
    return model


if __name__ == "__main__":
    test = load_dataset("auto").test
    logits = net().predict(test.scaled().transpose(0, 2, 3, 1), batch_size=256, verbose=0)
    print(f"accuracy on {len(test):,} test images: {(logits.argmax(axis=1) == test.labels).mean():.3f}")
