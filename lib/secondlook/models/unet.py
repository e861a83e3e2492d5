"""A UNet as classifier (after Ronneberger et al. 2015) on the residual encoder, and one with a frozen encoder."""

import torch
from torch import Tensor, nn

from .conv_vgg import Encoder
from .layers import Net, check_size, conv_block, one_of, scaled
from .resnet import ResNet

DECODER = (512, 512, 256, 128, 64)


class Up(nn.Module):
    """Doubles the side by a transposed convolution, joins the encoder's map; a convolution block, BN and ReLU again."""

    def __init__(self, inputs: int, skip: int, outputs: int):
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, 2, 2)
        self.block = nn.Sequential(conv_block(outputs + skip, outputs, 1), nn.BatchNorm2d(outputs), nn.ReLU())

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.block(torch.cat((self.up(x), skip), -3))


class UNet(Net):
    """The residual encoder, a 1024-channel bottleneck, five decoder blocks, the mean of the full-size map, one layer.

    40,022,850 parameters, whatever the size; images of any side that is a multiple of 32. PyTorch's own initialisation.
    Class activation maps: encoder block1 … block5, bottleneck, up5 (coarse) … up1 (full size).
    """

    def __init__(self, *, width: float = 1.0, num_classes: int = 2, in_channels: int = 1):
        super().__init__()
        self.encoder = Encoder(in_channels, width, residual=True)
        channels = scaled(1024, width)
        self.bottleneck = conv_block(self.encoder.channels[-1], channels, 1)
        self.decoder = nn.ModuleList()
        for skip, outputs in zip(reversed(self.encoder.channels), DECODER, strict=True):
            self.decoder.append(Up(channels, skip, scaled(outputs, width)))
            channels = scaled(outputs, width)
        self.output = nn.Linear(channels, num_classes)

    def features(self, x: Tensor) -> Tensor:
        check_size("unet", x.shape[-1], multiple=32, least=32)
        x, skips = self.encoder(x)
        x = self.bottleneck(x)
        for up, skip in zip(self.decoder, reversed(skips), strict=True):
            x = up(x, skip)
        return x.mean((-2, -1))

    def cam_layers(self) -> dict[str, nn.Module]:
        ups = {f"up{5 - i}": up for i, up in enumerate(self.decoder)}
        return {**self.encoder.cam_layers(), "bottleneck": self.bottleneck, **ups}


class FrozenUNet(UNet):
    """A UNet whose encoder is taken from a trained ResNet and never changes; call `take_encoder` before training.

    `encoder_batch_norm`: "eval" always normalises by what the ResNet gathered; "train" does so in evaluation, and in
    training by the batch at hand, of which it gathers nothing. Parameters are counted as in UNet, the frozen ones
    included.
    """

    def __init__(
        self, *, width: float = 1.0, num_classes: int = 2, in_channels: int = 1, encoder_batch_norm: str = "eval"
    ):
        super().__init__(width=width, num_classes=num_classes, in_channels=in_channels)
        self.encoder_batch_norm = one_of("encoder_batch_norm", encoder_batch_norm, ("eval", "train"))
        self.encoder.requires_grad_(False)
        for module in self.encoder.modules():
            if isinstance(module, nn.BatchNorm2d) and encoder_batch_norm == "train":
                module.momentum = 0.0  # otherwise training would change the ResNet's statistics
        self.train(self.training)

    def train(self, mode: bool = True) -> "FrozenUNet":
        """As `nn.Module.train`, but an encoder that never changes mode stays in evaluation."""
        super().train(mode)
        self.encoder.train(mode and self.encoder_batch_norm == "train")
        return self

    def take_encoder(self, resnet: ResNet) -> "FrozenUNet":
        """This net, with a copy of the encoder's weights and statistics of `resnet`.

        Raises ValueError where the encoders differ in width or image channels, or it is another kind of net.
        """
        theirs = resnet.encoder.state_dict() if isinstance(resnet, ResNet) else {}
        ours = self.encoder.state_dict()
        if {k: v.shape for k, v in theirs.items()} != {k: v.shape for k, v in ours.items()}:
            raise ValueError(
                f"the encoder of this {type(resnet).__name__} does not fit; "
                "build both with the same width and in_channels, and take it from a ResNet"
            )
        self.encoder.load_state_dict(theirs)
        return self
