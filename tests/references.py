"""Definitions as plain NumPy loops: slow and obviously right, in float64."""

import numpy as np


def conv2d(x, kernel, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    """Every output is one inner product of a filter with the pixels below it."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    kh, kw, cin, cout = kernel.shape
    x = np.pad(x, ((0, 0), *padding, (0, 0)))
    height, width = [
        (x.shape[1 + a] - (kernel.shape[a] - 1) * dilation[a] - 1) // stride[a] + 1 for a in (0, 1)
    ]  # fmt: skip
    y = np.zeros((x.shape[0], height, width, cout))
    for i in range(height):
        for j in range(width):
            top, left = i * stride[0], j * stride[1]
            for o in range(cout):
                first = o // (cout // groups) * cin
                for a in range(kh):
                    for b in range(kw):
                        pixels = x[:, top + a * dilation[0], left + b * dilation[1], first : first + cin]
                        y[:, i, j, o] += pixels @ kernel[a, b, :, o]
    return y


def conv2d_transpose(v, kernel, size, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    """Every input entry adds its multiple of a filter to the pixels that the filter saw."""
    v, kernel = np.asarray(v, np.float64), np.asarray(kernel, np.float64)
    kh, kw, cin, cout = kernel.shape
    (top, bottom), (left, right) = padding
    u = np.zeros((v.shape[0], size[0] + top + bottom, size[1] + left + right, cin * groups))
    for i in range(v.shape[1]):
        for j in range(v.shape[2]):
            for o in range(cout):
                first = o // (cout // groups) * cin
                for a in range(kh):
                    for b in range(kw):
                        row, column = i * stride[0] + a * dilation[0], j * stride[1] + b * dilation[1]
                        u[:, row, column, first : first + cin] += v[:, i, j, o, None] * kernel[a, b, :, o]
    return u[:, top : top + size[0], left : left + size[1]]


def windows(size, window, stride, padding):
    """For each output (i, j) the pixels (row, column) of the image that its window covers, in row-major order."""
    (top, bottom), (left, right) = padding
    for i in range((size[0] + top + bottom - window[0]) // stride[0] + 1):
        for j in range((size[1] + left + right - window[1]) // stride[1] + 1):
            rows = range(i * stride[0] - top, i * stride[0] - top + window[0])
            columns = range(j * stride[1] - left, j * stride[1] - left + window[1])
            yield i, j, [(r, c) for r in rows for c in columns if 0 <= r < size[0] and 0 <= c < size[1]]


def max_pool(x, window, stride, padding=((0, 0), (0, 0))):
    """The maximum of each window and the flat index of its first pixel that holds it."""
    x = np.asarray(x)
    places = list(windows(x.shape[1:3], window, stride, padding))
    y = np.zeros((x.shape[0], places[-1][0] + 1, places[-1][1] + 1, x.shape[3]), x.dtype)
    switches = np.zeros(y.shape, np.int32)
    for i, j, pixels in places:
        values = np.stack([x[:, r, c] for r, c in pixels])
        winner = values.argmax(0)
        y[:, i, j] = values.max(0)
        switches[:, i, j] = np.array([r * x.shape[2] + c for r, c in pixels])[winner]
    return y, switches


def avg_pool(x, window, stride, padding=((0, 0), (0, 0)), count_padding=False):
    """The sum of each window over the number of its pixels, or over all its places."""
    x = np.asarray(x, np.float64)
    places = list(windows(x.shape[1:3], window, stride, padding))
    y = np.zeros((x.shape[0], places[-1][0] + 1, places[-1][1] + 1, x.shape[3]))
    for i, j, pixels in places:
        count = window[0] * window[1] if count_padding else len(pixels)
        y[:, i, j] = sum(x[:, r, c] for r, c in pixels) / count
    return y


def max_unpool(y, switches, size):
    """Each pixel holds the mean of the entries whose switch names it."""
    y = np.asarray(y, np.float64)
    n, oh, ow, c = y.shape
    named = [[[[] for _ in range(c)] for _ in range(size[0] * size[1])] for _ in range(n)]
    for m, i, j, k in np.ndindex(n, oh, ow, c):
        named[m][switches[m, i, j, k]][k].append(y[m, i, j, k])
    x = np.array([[[np.mean(v) if v else 0.0 for v in pixel] for pixel in image] for image in named])
    return x.reshape(n, *size, c)
