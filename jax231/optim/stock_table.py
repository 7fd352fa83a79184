"""The other optimizers that Optax has; `stock` builds them.

Those with a builder of their own here (`adam`, `lion`, `muon`, ...) are not repeated. Left out are: Optax's `lbfgs`,
which is another than ours, `dpsgd`, which wants the gradient of every example, the deprecated `optimistic_adam`, and
what is no optimizer by itself (`reduce_on_plateau`, `split_real_and_imaginary`). Importing the table imports no JAX, so
that listings answer at once.
"""

import functools
from typing import Literal, NamedTuple

FACTOR = "factor of the step that it finds, usually 1"
LARGEST = "largest step"


class Stock(NamedTuple):
    """One optimizer of Optax.

    `home` is the module that has it, `rate` what the number that it is built from means, `needs` the extra arguments of
    ``update`` that it uses, and `gradients` those it takes a step, the one it is handed included.
    """

    name: str
    title: str
    source: str
    home: Literal["optax", "optax.contrib"] = "optax"
    rate: str = "step size"
    needs: tuple[str, ...] = ()
    gradients: int = 1


_contrib = functools.partial(Stock, home="optax.contrib")

STOCK = (
    Stock("adabelief", "AdaBelief", "Zhuang et al. 2020 (arXiv:2010.07468)"),
    Stock("adadelta", "AdaDelta", "Zeiler 2012 (arXiv:1212.5701)"),
    Stock("adafactor", "Adafactor", "Shazeer & Stern 2018 (arXiv:1804.04235)"),
    Stock("adamax", "AdaMax", "Kingma & Ba 2015 (arXiv:1412.6980), algorithm 2"),
    Stock("adamaxw", "AdaMaxW", "Kingma & Ba 2015, algorithm 2; Loshchilov & Hutter 2019"),
    Stock("adan", "Adan", "Xie et al. 2022 (arXiv:2208.06677)"),
    Stock("amsgrad", "AMSGrad", "Reddi et al. 2018 (arXiv:1904.09237)"),
    Stock("fromage", "Fromage", "Bernstein et al. 2020 (arXiv:2002.03432)"),
    Stock("lamb", "LAMB", "You et al. 2020 (arXiv:1904.00962)"),
    Stock("lars", "LARS", "You et al. 2017 (arXiv:1708.03888)"),
    Stock("nadamw", "NAdamW", "Dozat 2016; Loshchilov & Hutter 2019"),
    Stock("noisy_sgd", "SGD with noise", "Neelakantan et al. 2015 (arXiv:1511.06807)"),
    Stock("novograd", "NovoGrad", "Ginsburg et al. 2019 (arXiv:1905.11286)"),
    Stock("optimistic_adam_v2", "Optimistic Adam", "Daskalakis et al. 2018 (arXiv:1711.00141)"),
    Stock("optimistic_gradient_descent", "Optimistic gradient descent", "Mokhtari et al. 2020 (arXiv:1901.08511)"),
    Stock("polyak_sgd", "SGD with Polyak's step", "Loizou et al. 2021 (arXiv:2002.10542)", rate=LARGEST,
          needs=("value",)),
    Stock("radam", "RAdam", "Liu et al. 2020 (arXiv:1908.03265)"),
    Stock("rprop", "Rprop", "Riedmiller & Braun 1993"),
    Stock("sign_sgd", "Sign SGD", "Bernstein et al. 2018 (arXiv:1802.04434)"),
    Stock("signum", "Signum", "Bernstein et al. 2018 (arXiv:1802.04434)"),
    Stock("sm3", "SM3", "Anil et al. 2019 (arXiv:1901.11150)"),
    Stock("yogi", "Yogi", "Zaheer et al. 2018"),
    _contrib("acprop", "ACProp", "Zhuang et al. 2021 (arXiv:2110.05454)"),
    _contrib("ademamix", "AdEMAMix", "Pagliardini et al. 2024 (arXiv:2409.03137)"),
    _contrib("adopt", "ADOPT", "Taniguchi et al. 2024 (NeurIPS)"),
    _contrib("cocob", "COCOB", "Orabona & Tommasi 2017 (arXiv:1705.07795)", rate=FACTOR),
    _contrib("dadapt_adamw", "D-adapted AdamW", "Defazio & Mishchenko 2023 (arXiv:2301.07733)", rate=FACTOR),
    _contrib("dog", "DoG", "Ivgi et al. 2023 (arXiv:2302.12022)", rate=FACTOR),
    _contrib("dowg", "DoWG", "Khaled et al. 2023 (arXiv:2305.16284)", rate=FACTOR),
    _contrib("galore", "GaLore", "Zhao et al. 2024 (arXiv:2403.03507)"),
    _contrib("madgrad", "MADGRAD", "Defazio & Jelassi 2021 (arXiv:2101.11075)"),
    _contrib("mechanize", "Mechanic", "Cutkosky et al. 2023 (arXiv:2306.00144)", rate=FACTOR),
    _contrib("momo", "MoMo", "Schaipp et al. 2023 (arXiv:2305.07583)", rate=LARGEST, needs=("value",)),
    _contrib("momo_adam", "MoMo-Adam", "Schaipp et al. 2023 (arXiv:2305.07583)", rate=LARGEST, needs=("value",)),
    _contrib("prodigy", "Prodigy", "Mishchenko & Defazio 2023 (arXiv:2306.06101)", rate=FACTOR),
    _contrib("sam", "SAM", "Foret et al. 2021 (arXiv:2010.01412)", needs=("value_fn",), gradients=2),
    _contrib("simplified_ademamix", "Simplified AdEMAMix", "Morwani et al. 2025 (arXiv:2502.02431)"),
    _contrib("sophia", "Sophia", "Liu et al. 2023 (arXiv:2305.14342)", needs=("value_fn",)),
)  # fmt: skip

NAMES = tuple(row.name for row in STOCK)
