"""The two small Keras-style CNNs of the optimiser comparison, with Keras' initialisation and normalisation."""

from torch import Tensor, nn

from .layers import Net, check_images, initialise, one_of, scaled

BATCH_NORM = {"momentum": 0.01, "eps": 1e-3}  # Keras counts momentum 0.99 from the other end


class KerasCNN(Net):
    """A CNN for images of 32 pixels, in three stages.

    Stage 1: convolutions 32, 64, 64 without padding, the first two pooled, dense 64 (122,570 parameters at 10 classes).
    Stage 2: the same with dropout 0.2, 0.3 after the poolings and 0.4 before the last layer. Stage 3: 2 × 32, 2 × 64,
    2 × 128, the first of each pair padded, batch normalisation after each ReLU, dropout 0.2, 0.3, 0.4 after the
    poolings, dense 128 with dropout 0.5 (354,858 trainable parameters). `batch_norm` and `dropout` switch either on or
    off against the stage (stage 1 with dropout is stage 2); None is as the stage. Glorot uniform, zero biases.
    `dense` is the layer whose weights stage 3 penalises by 0.01·Σw² in the loss.
    Class activation maps: conv1 … conv3 or conv6, each after its ReLU (and normalisation).
    """

    def __init__(
        self,
        *,
        stage: int = 1,
        batch_norm: bool | None = None,
        dropout: bool | None = None,
        width: float = 1.0,
        num_classes: int = 10,
        in_channels: int = 3,
    ):
        super().__init__()
        deep = one_of("stage", stage, (1, 2, 3)) == 3
        self.in_channels = in_channels
        normed = deep if batch_norm is None else batch_norm
        dropped = stage > 1 if dropout is None else dropout
        layout = (32, 32, 64, 64, 128, 128) if deep else (32, 64, 64)
        rates = (0.2, 0.3, 0.4, 0.5) if deep else (0.2, 0.3, 0.0, 0.4)
        self.convs, self.pools = nn.ModuleList(), nn.ModuleList()
        channels = in_channels
        for i, outputs in enumerate(scaled(c, width) for c in layout):
            pair, second = (i // 2, i % 2 == 1) if deep else (i, i < 2)
            self.convs.append(_unit(channels, outputs, padding=int(deep and not second), normed=normed))
            pool = [nn.MaxPool2d(2), nn.Dropout(rates[pair] if dropped else 0.0)] if second else []
            self.pools.append(nn.Sequential(*pool))
            channels = outputs
        hidden = scaled(128 if deep else 64, width)
        self.dense = nn.Linear(channels * (4 if deep else 16), hidden)
        self.head = nn.Sequential(nn.Flatten(), self.dense, nn.ReLU(), nn.Dropout(rates[3] if dropped else 0.0))
        self.output = nn.Linear(hidden, num_classes)
        initialise(self, "glorot")

    def features(self, x: Tensor) -> Tensor:
        check_images(x, self.in_channels, 32)
        for conv, pool in zip(self.convs, self.pools, strict=True):
            x = pool(conv(x))
        return self.head(x)

    def cam_layers(self) -> dict[str, nn.Module]:
        return {f"conv{i}": conv for i, conv in enumerate(self.convs, 1)}


def _unit(inputs: int, outputs: int, padding: int, normed: bool) -> nn.Sequential:
    norm = [nn.BatchNorm2d(outputs, **BATCH_NORM)] if normed else []
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=padding), nn.ReLU(), *norm)
