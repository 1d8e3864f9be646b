"""Weight clustering in Keras on the LeNet-5 of `npm run example -- compress-models`, beside `npm run bench -- compress`. Optional: needs TensorFlow.

    npx tfjs-weight-sharing decompress examples/out/compress-models/lenet5.tfws lenet5
    pip install tensorflow && python benchmarks/keras_clustering.py lenet5 MNIST

What TensorFlow Model Optimization's clustering does (tfmot.clustering.keras, its guide's settings), written out, since that package needs an older
Keras: 16 centroids for each kernel, begun linearly or by k-means++; each step every weight takes the nearest centroid, centroids get the sum of their
weights' gradients, weights theirs straight through; one epoch, Adam at 1e-5, batches of 500; then the .h5 file without optimizer, zipped. With
6 000 images, the first of the training file.
"""
import gzip
import json
import os
import struct
import sys
import tempfile
import zipfile

import numpy as np
import tensorflow as tf

CLUSTERS, EPOCHS, BATCH, RATE, IMAGES = 16, 1, 500, 1e-5, 6000
folder, data = sys.argv[1:3]
layers = tf.keras.layers


def idx(name):
    path = os.path.join(data, name)
    raw = gzip.open(path + '.gz').read() if os.path.exists(path + '.gz') else open(path, 'rb').read()
    shape = struct.unpack(f'>{raw[3]}I', raw[4:4 + 4 * raw[3]])
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def lenet():
    with open(os.path.join(folder, 'model.json')) as file:
        manifest = json.load(file)['weightsManifest'][0]
    raw = b''.join(open(os.path.join(folder, path), 'rb').read() for path in manifest['paths'])
    weights, at = [], 0
    for spec in manifest['weights']:
        count = int(np.prod(spec['shape']))
        weights.append(np.frombuffer(raw, np.float32, count, at).reshape(spec['shape']))
        at += 4 * count
    model = tf.keras.Sequential([
        layers.Input((28, 28, 1)),
        layers.Conv2D(20, 5, activation='relu'), layers.MaxPooling2D(),
        layers.Conv2D(50, 5, activation='relu'), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dense(500, activation='relu'), layers.Dense(10, activation='softmax'),
    ])
    model.set_weights(weights)
    return model


def begin(kernel, how, rng):
    """Linear: equally spaced over the range. k-means++: drawn by squared distance (Arthur & Vassilvitskii 2007), as TFMOT does, from all weights."""
    flat = kernel.numpy().flatten()
    if how == 'linear':
        return np.linspace(flat.min(), flat.max(), CLUSTERS, dtype=np.float32)
    centres = [rng.choice(flat)]
    while len(centres) < CLUSTERS:
        distance = np.min((flat[:, None] - np.array(centres)[None, :]) ** 2, axis=1).astype(np.float64)
        centres.append(rng.choice(flat, p=distance / distance.sum()))
    return np.sort(np.array(centres, np.float32))


def nearest(kernel, centres):
    order = tf.sort(centres)
    rank = tf.searchsorted((order[1:] + order[:-1]) / 2, tf.reshape(kernel, [-1]))
    return tf.gather(tf.argsort(centres), rank)


def points(model):
    return 100 * float(np.mean(model.predict(test, batch_size=500, verbose=0).argmax(1) == test_labels))


def sizes(model):
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, 'model.h5')
        model.save(path, include_optimizer=False)
        with zipfile.ZipFile(path + '.zip', 'w', compression=zipfile.ZIP_DEFLATED) as archive:
            archive.write(path)
        return os.path.getsize(path + '.zip')


train = idx('train-images-idx3-ubyte')[:IMAGES, ..., None].astype(np.float32) / 255
labels = idx('train-labels-idx1-ubyte')[:IMAGES]
test = idx('t10k-images-idx3-ubyte')[..., None].astype(np.float32) / 255
test_labels = idx('t10k-labels-idx1-ubyte')

for how in ['linear', 'kMeansPlusPlus']:
    tf.keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    model = lenet()
    before, raw = points(model), 4 * model.count_params()
    kernels = [layer.kernel for layer in model.layers if hasattr(layer, 'kernel')]
    others = [layer.bias for layer in model.layers if hasattr(layer, 'kernel')]
    centres = [tf.Variable(begin(kernel, how, rng)) for kernel in kernels]
    free = [tf.Variable(kernel) for kernel in kernels]
    optimizer = tf.keras.optimizers.Adam(RATE)

    def cluster():
        indices = [nearest(w, c) for w, c in zip(free, centres)]
        for kernel, c, i in zip(kernels, centres, indices):
            kernel.assign(tf.reshape(tf.gather(c, i), kernel.shape))
        return indices

    cluster()
    clustered = points(model)
    for _ in range(EPOCHS):
        order = rng.permutation(IMAGES)
        for start in range(0, IMAGES, BATCH):
            part = order[start:start + BATCH]
            indices = cluster()
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.keras.losses.sparse_categorical_crossentropy(labels[part], model(train[part], training=True)))
            gradients = tape.gradient(loss, [k.value for k in kernels] + [b.value for b in others])
            own = gradients[:len(kernels)]
            sums = [tf.math.unsorted_segment_sum(tf.reshape(g, [-1]), i, CLUSTERS) for g, i in zip(own, indices)]
            optimizer.apply_gradients(zip(sums + list(own) + list(gradients[len(kernels):]), centres + free + others))
    cluster()
    zipped = sizes(model)
    print(json.dumps({'init': how, 'testPoints': round(before, 2), 'clusteredLoss': round(before - clustered, 2), 'lossPoints': round(before - points(model), 2), 'zippedBytes': zipped, 'ratio': round(raw / zipped, 2)}))
