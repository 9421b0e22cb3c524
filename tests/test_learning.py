"""Each backend learns: on a part of the real data, and on the drawn garments."""

from conftest import subset

from lenet_multi.architecture import lenet
from lenet_multi.data import Dataset, Split, synthetic


def learned(backend, dataset: Dataset) -> float:
    """Test accuracy after a few epochs with an activation and rate that get off the plateau at once."""
    net = backend.LeNet(lenet(activation="tanh"), device="cpu")
    recorder = backend.train(net, dataset.train, dataset.test, num_epochs=3, lr=0.1, batch_size=32)
    assert recorder.points[-1].train_loss < recorder.points[0].train_loss
    return recorder.points[-1].test_acc


def test_every_backend_learns_on_a_part_of_fashion_mnist(backend, fashion_mnist):
    assert learned(backend, subset(fashion_mnist, 6000, 2000)) > 0.70


def test_every_backend_learns_on_the_drawn_garments(backend):
    train_images, train_labels, test_images, test_labels = synthetic.generate(6000, 2000)
    drawn = Dataset(
        "synthetic",
        Split(train_images[:, None], train_labels),
        Split(test_images[:, None], test_labels),
        tuple(map(str, range(10))),
    )
    assert 0.70 < learned(backend, drawn) < 0.97


def test_an_untrained_network_knows_nothing(backend, fashion_mnist):
    """What the two above would see if training did nothing."""
    net = backend.LeNet(lenet(activation="tanh"), device="cpu")
    assert backend.evaluate_accuracy(net, backend.batches(fashion_mnist.test)) < 0.3
