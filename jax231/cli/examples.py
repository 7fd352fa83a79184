"""Examples that the help of each command opens with: commands as they are typed, with what they do."""

TRAIN = """\
Examples:

  jax231 train --model lenet --data mnist --epochs 10
  jax231 train --recipe mnist-convnet --epochs 5      a recipe, but shorter
  jax231 train --config runs/lenet-mnist/config.toml --seed 1 --name again
  jax231 train --resume runs/lenet-mnist              after an interruption
  jax231 train --data fashion_mnist --from runs/convnet-mnist --freeze "conv*"
  jax231 train --model resnet20 --data cifar10 --devices 0    all devices
"""

EVALUATE = """\
Examples:

  jax231 evaluate runs/lenet-mnist                    best checkpoint, test
  jax231 evaluate runs/lenet-mnist --which newest --split validation
  jax231 evaluate runs/convnet-cifar10 --views flip   the mirror image too
"""

PREDICT = """\
Examples:

  jax231 predict runs/lenet-mnist digit.png           the five likeliest classes
  jax231 predict runs/lenet-mnist scans/ --top 1 --corrupt skip --json
  jax231 predict runs/segnet-nuclei cells.png --masks masks/
"""

ENSEMBLE = """\
Examples:

  jax231 ensemble runs/a runs/b runs/c                alone and together
  jax231 ensemble runs/members --split validation     the members of one run
"""

SAMPLE = """\
Examples:

  jax231 sample runs/char_lstm-tiny_shakespeare
  jax231 sample runs/char_lstm-tiny_shakespeare --prompt "ROMEO:" --seed 1
"""

RECIPES = """\
Examples:

  jax231 recipes                                      for jax231 train --recipe
"""

DOCTOR = """\
Examples:

  jax231 doctor --model lenet --data mnist
  jax231 doctor --model mlp --arguments.widths "[64, 32]" --layers
"""

TUNE = """\
Examples:

  jax231 tune lenet mnist                             step size and L2 penalty
  jax231 tune two_layer digits --rate 0.001 0.1 --width 32 64 128
  jax231 tune mlp digits --settings 16 --epochs 8 --halving 2
"""

REPORT = """\
Examples:

  jax231 report runs/lenet-mnist                      report.html in the folder
  jax231 report runs/lenet-mnist --split validation --picture curves.png
  jax231 report runs/compare-digits                   of a comparison
"""

COMPARE = """\
Examples:

  jax231 compare                                      nine on four problems
  jax231 compare --problems softmax --optimizers adam lbfgs
  jax231 compare --data fashion_mnist --problems softmax --examples 5000
"""

OPTIMIZERS = """\
Examples:

  jax231 optimizers                                   what can be compared
  jax231 optimizers --all --json
"""

PROBLEMS = """\
Examples:

  jax231 problems                                     for jax231 compare
"""

MODELS = """\
Examples:

  jax231 models                                       all names
  jax231 models lenet                                 the layers of one
  jax231 models resnet18 --shape 96x96x3 --figure resnet18.svg
"""

DATA = """\
Examples:

  jax231 data list                                    what is there, and where
  jax231 data fetch mnist
  jax231 data check photos/                           decodes every image
"""

KERNELS = """\
Examples:

  jax231 kernels                                      which are used, and why
"""
