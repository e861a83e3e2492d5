"""The residual form of the VGG-19-BN: one long skip around each of its five blocks (after He et al. 2016)."""

from .conv_vgg import ConvVGG


class ResNet(ConvVGG):
    """ConvVGG with a normalised 1×1 convolution added to each block's output.

    39,363,650 parameters at 32 pixels, 45,655,106 at 64. Options, initialisation and class activation maps as ConvVGG.
    """

    residual = True
