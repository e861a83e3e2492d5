"""Images: where they come from, their canonical order and digests, splits by hash, and draws that need no memory."""

from secondlook.data.folder import square, with_images
from secondlook.data.images import DATA_SETS, DataError, Images, MissingDataError, canonical
from secondlook.data.names import SUPERCLASSES
from secondlook.data.sources import fetch, known, load, summary
from secondlook.data.splits import Duplicates, Split, duplicates, hash_draws, split

__all__ = [
    "DATA_SETS",
    "SUPERCLASSES",
    "DataError",
    "Duplicates",
    "Images",
    "MissingDataError",
    "Split",
    "canonical",
    "duplicates",
    "fetch",
    "hash_draws",
    "known",
    "load",
    "split",
    "square",
    "summary",
    "with_images",
]
