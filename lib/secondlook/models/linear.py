"""Softmax regression's net, or a support vector machine's: one linear map from the pixels to the scores."""

from torch import Tensor, nn

from .layers import Net, check_images


class LinearClassifier(Net):
    """Scores of the classes as weighted sums of the pixels; its features are the pixels themselves, flattened.

    30,730 parameters for CIFAR-10. It has no maps: a pixel's contribution to a score is its value times its weight.
    """

    def __init__(self, *, image_size: int = 32, num_classes: int = 10, in_channels: int = 3):
        super().__init__()
        self.in_channels, self.image_size = in_channels, image_size
        self.output = nn.Linear(in_channels * image_size**2, num_classes)

    def features(self, x: Tensor) -> Tensor:
        check_images(x, self.in_channels, self.image_size)
        return x.flatten(1)

    def cam_layers(self) -> dict[str, nn.Module]:
        return {}
