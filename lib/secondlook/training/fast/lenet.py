"""A training step of LeNet under cross-entropy, by SGD or AdamW, as one compiled function.

At batch 4 a framework spends most of a step between its operations. Here the convolutions run over whole planes, rows
one after the other, and the backward pass through a pooled convolution visits only the pixels that won their pool.
Weights, and what the optimiser remembers, lie as torch has them, each flat. NaN is passed on, as torch does.
"""

import math

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

SIDE, TAPS, BLOCK, LANES = (
    32,
    5,
    4,
    8,
)  # images that go through the dense layers together; floats that are added at once
C0, C1, C2, P1, P2, D1, D2 = 3, 6, 16, 14, 5, 120, 84  # channels, sides after the poolings, dense widths
LONG1, LONG2 = 28 * SIDE, 144  # of a plane that is convolved, with columns that nobody reads
PLANE0, PLANE1 = 1040, 208  # floats from plane to plane: vectors read past the end of an image
ZERO, NEGATIVE = np.float32(0), np.int32(-1)
FAST = {"reassoc", "contract", "nsz", "arcp"}  # NaN and infinity stay what they are

# Inlined by force: a call would be linked to one code when it is compiled, to another when it comes from the cache.
inner = numba.njit(fastmath=FAST, error_model="numpy", forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)


@intrinsic
def add(context, y, i, factors, x, places):
    """y[i : i + 8] += Σ factors[k] · x[places[k] : places[k] + 8], as vectors: no compiler knows y and x apart."""

    def generate(target, builder, signature, arguments):
        vector = ir.VectorType(ir.FloatType(), LANES)

        def at(k, index):
            data = target.make_array(signature.args[k])(target, builder, arguments[k]).data
            return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())

        here = at(0, arguments[1])
        total = builder.load(here, align=4)
        for factor, place in zip(*(cgutils.unpack_tuple(builder, arguments[k]) for k in (2, 4)), strict=True):
            one = builder.insert_element(ir.Constant(vector, ir.Undefined), factor, ir.IntType(32)(0))
            all_of_it = builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))
            product = builder.fmul(all_of_it, builder.load(at(3, place), align=4), flags=("contract",))
            total = builder.fadd(total, product, flags=("contract",))
        builder.store(total, here, align=4)
        return target.get_dummy_value()

    return types.void(y, i, factors, x, places), generate


@inner
def convolve(x, w, b, out, pitch):
    """out (channels, length) of the planes x (channels, plane), whose rows are `pitch` floats apart."""
    inputs, (outputs, length) = len(x), out.shape
    for o in range(0, outputs, 2):
        first, second = out[o], out[o + 1]
        for i in range(length):
            first[i], second[i] = b[o], b[o + 1]
        for c in range(inputs):
            for ky in range(TAPS):
                row = x[c, ky * pitch :]
                k, m = w[((o * inputs + c) * TAPS + ky) * TAPS :], w[(((o + 1) * inputs + c) * TAPS + ky) * TAPS :]
                k0, k1, k2, k3, k4 = k[0], k[1], k[2], k[3], k[4]
                m0, m1, m2, m3, m4 = m[0], m[1], m[2], m[3], m[4]
                for i in range(length):
                    x0, x1, x2, x3, x4 = row[i], row[i + 1], row[i + 2], row[i + 3], row[i + 4]
                    first[i] += k0 * x0 + k1 * x1 + k2 * x2 + k3 * x3 + k4 * x4
                    second[i] += m0 * x0 + m1 * x1 + m2 * x2 + m3 * x3 + m4 * x4


@inner
def larger(best, at, value, place):
    """The larger of two with its place, the first of equals."""
    above = (value > best) | (value != value)
    return (value, place) if above else (best, at)


@inner
def pool(x, pitch, side, y, won):
    """Planes x after ReLU and 2×2 max-pooling, and which pixel each pool took: its place, or -1 where ReLU is shut."""
    right, down, across = np.int32(1), np.int32(pitch), np.int32(pitch + 1)
    for o in range(len(x)):
        for py in range(side):
            upper, lower = x[o, 2 * py * pitch :], x[o, (2 * py + 1) * pitch :]
            for px in range(side):
                best, at = larger(upper[2 * px], np.int32(0), upper[2 * px + 1], right)
                best, at = larger(best, at, lower[2 * px], down)
                best, at = larger(best, at, lower[2 * px + 1], across)
                shut = best <= ZERO
                y[o, py * side + px] = ZERO if shut else best
                won[o, py * side + px] = NEGATIVE if shut else np.int32(2 * (py * pitch + px)) + at


@inner
def listed(gradient, won, count, places, values):
    """How many pools pass a gradient on; they stand in the lists, filled up to a multiple of four. Without a branch."""
    n = 0
    for at in range(count):
        places[n], values[n] = won[at], gradient[at]
        n += won[at] >= 0
    for k in range(n, n + 3):
        places[k], values[k] = 0, ZERO
    return n


@inner
def back_weights(gradient, won, count, x, plane, pitch, sums, bias, lists):
    """Adds to the gradients of a convolution's weights, five taps and three floats nobody reads, and biases."""
    places, values = lists
    rows = len(sums) // (len(won) * LANES)
    for o in range(len(won)):
        n = listed(gradient[o], won[o], count, places, values)
        for k in range(0, n, 4):
            p, q, r, s = places[k], places[k + 1], places[k + 2], places[k + 3]
            four = values[k], values[k + 1], values[k + 2], values[k + 3]
            bias[o] += four[0] + four[1] + four[2] + four[3]
            for row in range(rows):
                j = row // TAPS * plane + row % TAPS * pitch
                add(sums, (o * rows + row) * LANES, four, x, (p + j, q + j, r + j, s + j))


@inner
def back_planes(gradient, won, kernels, planes, lists):
    """What reaches the planes that the second convolution reads, through its kernels: five taps and three zeros."""
    places, values = lists
    for i in range(len(planes)):
        planes[i] = ZERO
    for o in range(C2):
        for k in range(listed(gradient[o], won[o], P2 * P2, places, values)):
            for row in range(C1 * TAPS):
                j = row // TAPS * PLANE1 + row % TAPS * P1 + places[k]
                add(planes, j, (values[k],), kernels, ((o * C1 * TAPS + row) * LANES,))


@inner
def dense(w, b, x, y, rectified):
    """y of a dense layer for four images x."""
    inputs, outputs = x.shape[1], y.shape[1]
    x0, x1, x2, x3 = x[0], x[1], x[2], x[3]
    for o in range(outputs):
        row = w[o * inputs :]
        s0 = s1 = s2 = s3 = ZERO
        for i in range(inputs):
            s0 += row[i] * x0[i]
            s1 += row[i] * x1[i]
            s2 += row[i] * x2[i]
            s3 += row[i] * x3[i]
        y[0, o], y[1, o], y[2, o], y[3, o] = s0 + b[o], s1 + b[o], s2 + b[o], s3 + b[o]
        for k in range(BLOCK):
            if rectified and y[k, o] <= ZERO:
                y[k, o] = ZERO


@inner
def back_dense(w, gw, gb, x, dx, dy):
    """Adds to a dense layer's gradients, and gives what reaches its four images x through their ReLU."""
    inputs, outputs = x.shape[1], dy.shape[1]
    x0, x1, x2, x3 = x[0], x[1], x[2], x[3]
    e0, e1, e2, e3 = dx[0], dx[1], dx[2], dx[3]
    for i in range(inputs):
        e0[i] = e1[i] = e2[i] = e3[i] = ZERO
    for o in range(outputs):
        d0, d1, d2, d3 = dy[0, o], dy[1, o], dy[2, o], dy[3, o]
        gb[o] += d0 + d1 + d2 + d3
        row, g = w[o * inputs :], gw[o * inputs :]
        for i in range(inputs):
            g[i] += d0 * x0[i] + d1 * x1[i] + d2 * x2[i] + d3 * x3[i]
        for i in range(inputs):
            e0[i] += d0 * row[i]
            e1[i] += d1 * row[i]
            e2[i] += d2 * row[i]
            e3[i] += d3 * row[i]
    for k in range(BLOCK):
        for i in range(inputs):
            dx[k, i] = ZERO if x[k, i] == ZERO else dx[k, i]


@inner
def entropy(z, d, label, share):
    """Loss of one image's logits, whether its label has the largest, and `share` times the gradient in d."""
    best, total = 0, ZERO
    for c in range(1, len(z)):
        if z[c] > z[best]:
            best = c
    for c in range(len(z)):
        d[c] = math.exp(z[c] - z[best])
        total += d[c]
    for c in range(len(z)):
        d[c] *= share / total
    d[label] -= share
    return np.float64(math.log(total) + z[best] - z[label]), best == label


@inner
def spread(short, wide, back):
    """Rows of five taps to rows of eight floats, or back."""
    for r in range(len(short) // TAPS):
        for k in range(TAPS):
            if back:
                short[r * TAPS + k] = wide[r * LANES + k]
            else:
                wide[r * LANES + k] = short[r * TAPS + k]


@inner
def gradients(stored, levels, x, labels, rows, w, g, sums):
    """Adds the gradients of the mean loss to g, and loss and right answers to `sums`."""
    batch, classes, f4 = len(rows), len(w[9]), np.float32
    image, p1, planes = np.empty((BLOCK, C0, PLANE0), f4), np.zeros((BLOCK, C1, PLANE1), f4), np.empty((C1, PLANE1), f4)
    a1, a2 = np.empty((C1, LONG1), f4), np.empty((C2, LONG2), f4)
    won1, won2 = np.empty((BLOCK, C1, P1 * P1), np.int32), np.empty((BLOCK, C2, P2 * P2), np.int32)
    flat, h1, h2 = np.zeros((BLOCK, C2 * P2 * P2), f4), np.empty((BLOCK, D1), f4), np.empty((BLOCK, D2), f4)
    dflat, dh1, dh2 = np.empty((BLOCK, C2 * P2 * P2), f4), np.empty((BLOCK, D1), f4), np.empty((BLOCK, D2), f4)
    p2, dp2 = flat.reshape(BLOCK, C2, P2 * P2), dflat.reshape(BLOCK, C2, P2 * P2)
    kernels, sums2 = np.zeros(C2 * C1 * TAPS * LANES, f4), np.zeros(C2 * C1 * TAPS * LANES, f4)
    sums1 = np.zeros(C1 * C0 * TAPS * LANES, f4)
    lists = np.empty(P1 * P1 + 4, np.int64), np.empty(P1 * P1 + 4, f4)
    spread(w[2], kernels, False)
    for first in range(0, batch, BLOCK):
        n, z, dz = min(BLOCK, batch - first), np.empty((BLOCK, classes), f4), np.zeros((BLOCK, classes), f4)
        for k in range(n):
            for c in range(C0):
                for i in range(SIDE * SIDE):
                    image[k, c, i] = levels[c, stored[rows[first + k], c, i]] if len(levels) else x[first + k, c, i]
            convolve(image[k], w[0], w[1], a1, SIDE)
            pool(a1, SIDE, P1, p1[k], won1[k])
            convolve(p1[k], w[2], w[3], a2, P1)
            pool(a2, P1, P2, p2[k], won2[k])
        dense(w[4], w[5], flat, h1, True)
        dense(w[6], w[7], h1, h2, True)
        dense(w[8], w[9], h2, z, False)
        for k in range(n):  # where a block is not full, the rest of it has no gradient
            loss, right = entropy(z[k], dz[k], labels[rows[first + k]], f4(1 / batch))
            sums[0] += loss
            sums[1] += right
        back_dense(w[8], g[8], g[9], h2, dh2, dz)
        back_dense(w[6], g[6], g[7], h1, dh1, dh2)
        back_dense(w[4], g[4], g[5], flat, dflat, dh1)
        for k in range(n):
            back_weights(dp2[k], won2[k], P2 * P2, p1[k].reshape(C1 * PLANE1), PLANE1, P1, sums2, g[3], lists)
            back_planes(dp2[k], won2[k], kernels, planes.reshape(C1 * PLANE1), lists)
            back_weights(planes, won1[k], P1 * P1, image[k].reshape(C0 * PLANE0), PLANE0, SIDE, sums1, g[1], lists)
    spread(g[0], sums1, True)
    spread(g[2], sums2, True)


@inner
def sgd(w, g, m, rate, decay, momentum, nesterov):
    """As torch.optim.SGD. Leaves g at zero; the sum of its squares."""
    squares, old, new = ZERO, momentum if nesterov else np.float32(1), np.float32(1) if nesterov else ZERO
    for i in range(len(w)):
        squares += g[i] * g[i]
        d = g[i] + decay * w[i]
        m[i] = momentum * m[i] + d
        w[i] -= rate * (new * d + old * m[i])
        g[i] = ZERO
    return squares


@inner
def adamw(w, g, m, v, rate, kept, beta1, new1, beta2, new2, scale, eps):
    """As torch.optim.AdamW. Leaves g at zero; the sum of its squares."""
    squares = ZERO
    for i in range(len(w)):
        squares += g[i] * g[i]
        m[i] = beta1 * m[i] + new1 * g[i]
        v[i] = beta2 * v[i] + new2 * g[i] * g[i]
        w[i] = kept * w[i] - rate * m[i] / (math.sqrt(v[i]) * scale + eps)
        g[i] = ZERO
    return squares


def step(stored, levels, x, labels, rows, w, g, first, second, steps, how, sums, finite):
    """One step on `rows` of the labels and of the `stored` pixels (n, 3, 1024) with `levels` (3, 256), or on x.

    w, g (zeros), `first` and `second` are ten flat arrays each, in torch's order; `how` is whether by AdamW, learning
    rate, weight decay, then momentum, nesterov and nothing, or two betas and eps. Adds loss, right answers, the
    gradient's norm and the sum of its tensors' norms to `sums`, and to `finite` 1 while these are finite.
    """
    f4, (by_adamw, rate, decay, a, b, eps), squares, norms = np.float32, how, 0.0, 0.0
    gradients(stored, levels, x, labels, rows, w, g, sums)
    for t in range(10):
        if by_adamw:
            steps[t] += 1
            corrected, scale = rate / (1 - a ** steps[t]), 1 / math.sqrt(1 - b ** steps[t])
            one = adamw(w[t], g[t], first[t], second[t], f4(corrected), f4(1 - rate * decay), f4(a), f4(1 - a), f4(b),
                        f4(1 - b), f4(scale), f4(eps))  # fmt: skip
        else:
            one = sgd(w[t], g[t], first[t], f4(rate), f4(decay), f4(a), b != 0)
        squares += one
        norms += math.sqrt(one)
    sums[2] += math.sqrt(squares)
    sums[3] += norms
    finite[0] += math.isfinite(sums[0] + sums[1] + sums[2] + sums[3])
