"""Variational autoencoders (Kingma & Welling 2013) with a linear head on the latent space."""

import torch
from torch import Tensor, nn

from .layers import check_images, check_size, conv_block, one_of, scaled

RANGES = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "linear": nn.Identity}


class VAE(nn.Module):
    """What both forms share. Subclasses define `encoder` (images to hidden), `hidden`, and `decoder` (latents to flat
    images without the last activation), then call `_heads`.

    `decoder` names the activation that ends it: images live in [-1, 1], which "tanh" covers and "sigmoid" does not.
    """

    def __init__(self, latent_size: int, num_classes: int, decoder: str, image_size: int, in_channels: int):
        super().__init__()
        one_of("decoder", decoder, tuple(RANGES))
        self.latent_size, self.num_classes = latent_size, num_classes
        self.image_size, self.in_channels = image_size, in_channels
        self.range = RANGES[decoder]()

    def _heads(self, hidden: int) -> None:
        self.mu = nn.Linear(hidden, self.latent_size)
        self.log_var = nn.Linear(hidden, self.latent_size)
        self.head = nn.Linear(self.latent_size, self.num_classes) if self.num_classes else None

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), each (batch, latent_size)."""
        check_images(x, self.in_channels, self.image_size)
        hidden = self.encoder(x)
        return self.mu(hidden), self.log_var(hidden)

    def decode(self, z: Tensor) -> Tensor:
        """Images (batch, in_channels, image_size, image_size) from latents (batch, latent_size)."""
        return self.range(self.decoder(z)).reshape(-1, self.in_channels, self.image_size, self.image_size)

    def latent(self, x: Tensor, how: str = "sample", noise: Tensor | None = None) -> Tensor:
        """A draw from q(z|x), with `noise` in place of the default generator's where given, or its "mean"."""
        one_of("latent", how, ("sample", "mean"))
        mu, log_var = self.encode(x)
        return mu if how == "mean" else self.draw(mu, log_var, noise)

    def draw(self, mu: Tensor, log_var: Tensor, noise: Tensor | None = None) -> Tensor:
        """z = μ + σ·ε, differentiable in μ and σ; ε is standard normal unless given."""
        noise = torch.randn_like(mu) if noise is None else noise
        return mu + torch.exp(0.5 * log_var) * noise

    def classify(self, z: Tensor) -> Tensor:
        """The linear head's scores (batch, num_classes) of latents."""
        return self.head(z)

    def features(self, x: Tensor) -> Tensor:
        """The means of the latents; what an embedding is drawn from."""
        return self.encode(x)[0]

    def forward(self, x: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction of one draw, mean, log-variance."""
        mu, log_var = self.encode(x)
        return self.decode(self.draw(mu, log_var, noise)), mu, log_var

    def cam_layers(self) -> dict[str, nn.Module]:
        return {}


class MLPVAE(VAE):
    """Two hidden layers of 1024 in the encoder, three in the decoder.

    5,273,634 parameters at 32 pixels and 11,568,162 at 64, the head of two outputs included; `num_classes` 0 leaves it
    out. `width` scales the hidden layers. No layer suits class activation maps.
    """

    def __init__(
        self,
        *,
        image_size: int = 64,
        width: float = 1.0,
        latent_size: int = 8,
        num_classes: int = 2,
        in_channels: int = 1,
        decoder: str = "sigmoid",
    ):
        super().__init__(latent_size, num_classes, decoder, image_size, in_channels)
        hidden, pixels = scaled(1024, width), in_channels * image_size**2
        self.encoder = nn.Sequential(nn.Flatten(), *_dense(pixels, hidden), *_dense(hidden, hidden))
        hiddens = _dense(latent_size, hidden) + _dense(hidden, hidden) + _dense(hidden, hidden)
        self.decoder = nn.Sequential(*hiddens, nn.Linear(hidden, pixels))
        self._heads(hidden)


class ConvVAE(VAE):
    """Four normalised 3×3 convolution blocks with max-pooling (32, 64, 128, 256 channels), mirrored in the decoder.

    `image_size` is a multiple of 16. `bottleneck` is what the latents are computed from: "flatten" the last map, or
    its "channel_mean", one number a position.
    Class activation maps: block1 … block4, each before its pooling.
    """

    def __init__(
        self,
        *,
        image_size: int = 64,
        width: float = 1.0,
        latent_size: int = 8,
        num_classes: int = 2,
        in_channels: int = 1,
        decoder: str = "tanh",
        bottleneck: str = "flatten",
    ):
        check_size("conv_vae", image_size, multiple=16, least=16)
        one_of("bottleneck", bottleneck, ("flatten", "channel_mean"))
        super().__init__(latent_size, num_classes, decoder, image_size, in_channels)
        channels, side = [scaled(c, width) for c in (32, 64, 128, 256)], image_size // 16
        self.blocks = nn.ModuleList(
            conv_block(a, b, 1) for a, b in zip([in_channels, *channels[:-1]], channels, strict=True)
        )
        down = [layer for block in self.blocks for layer in (block, nn.MaxPool2d(2))]
        mean = bottleneck == "channel_mean"
        self.encoder = nn.Sequential(*down, ChannelMean() if mean else nn.Identity(), nn.Flatten())
        up: list[nn.Module] = [nn.Linear(latent_size, channels[-1] * side**2), nn.ReLU()]
        up.append(nn.Unflatten(-1, (channels[-1], side, side)))
        for a, b in zip(channels[::-1], [*channels[-2::-1], channels[0]], strict=True):
            up += [nn.ConvTranspose2d(a, b, 2, 2), conv_block(b, b, 1)]
        self.decoder = nn.Sequential(*up, nn.Conv2d(channels[0], in_channels, 1))
        self._heads(side**2 * (1 if mean else channels[-1]))

    def cam_layers(self) -> dict[str, nn.Module]:
        return {f"block{i}": block for i, block in enumerate(self.blocks, 1)}


class ChannelMean(nn.Module):
    """The mean over channels, kept as one channel."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(-3, keepdim=True)


def _dense(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs), nn.ReLU()]
