"""What the names of metrics, settings, optimisers and variants are in words: code has underscores, a page has none."""

VARIANTS = {"as_published": "as published", "as_coded": "as coded", "custom": "your own settings"}
OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "adamax": "Adamax", "nadam": "Nadam",
              "amsgrad": "AMSGrad", "rmsprop": "RMSprop", "rmsprop_inner_eps": "RMSprop, ε inside the root",
              "adam_uncorrected": "Adam without correction"}  # fmt: skip
METRICS = {
    "gradient_noise_final": "noise of the gradient",
    "train_accuracy": "training accuracy",
    "test_top5_accuracy": "top-5 test accuracy",
    "test_accuracy_small": "test accuracy (draws of 1,000 images)",
    "train_loss": "training loss",
    "svm_accuracy": "accuracy of the linear head",
    "linear_svc_accuracy": "accuracy of a linear SVC",
    "kmeans_accuracy": "accuracy of k-means",
    "train_limit": "training images",
    "train_kl": "KL divergence",
    "train_reconstruction": "reconstruction error",
}


def name(metric: str) -> str:
    """A metric's or a setting's name in words; of a path, its last part."""
    last = metric.split(".")[-1]
    return METRICS.get(last, last.replace("_", " "))
