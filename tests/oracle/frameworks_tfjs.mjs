// Convolution layers by TensorFlow.js in f32, with gradients: those of TensorFlow and of Keras.
//
//     cd DIR && npm install --ignore-scripts --no-audit @tensorflow/tfjs
//     node .../tests/oracle/frameworks_tfjs.mjs > .../tests/oracle/frameworks_tfjs.txt
//     node .../tests/oracle/frameworks_tfjs.mjs 2000 5 > OTHER/frameworks_tfjs.txt          2,000 random ones of seed 5
//
// TensorFlow.js does not check the output_shape of a transposed convolution. TensorFlow asks that its convolution takes an
// image of this shape to the input's size; that is done here with the convolution of TensorFlow.js.
import {createRequire} from 'node:module';
import {count, putArray, putCase, randomNumbers} from './fixture.mjs';

const tf = createRequire(process.cwd() + '/')('@tensorflow/tfjs');
const [randomCases, seed] = [Number(process.argv[2] ?? 0), Number(process.argv[3] ?? 1)];
const r = randomNumbers(seed);

// ---- layers ----

// w [R,S,..] with d - 1 zeros between its pixels: neither dilated transposes nor dilation beside stride are known.
function stuffed(w, d) {
    const [R, S, A, B] = w.shape;
    const apart = tf.pad(w.reshape([R, 1, S, 1, A * B]), [[0, 0], [0, d[0] - 1], [0, 0], [0, d[1] - 1], [0, 0]]);
    const whole = apart.reshape([R * d[0], S * d[1], A, B]);
    return tf.slice(whole, [0, 0, 0, 0], [(R - 1) * d[0] + 1, (S - 1) * d[1] + 1, A, B]);
}

function tfPads(c) {
    const [t, l, b, right] = c.pads;
    return c.padding === 'explicit' ? [[0, 0], [t, b], [l, right], [0, 0]] : c.padding;
}

// x [N,H,W,C] and w [R,S,C/G,O] or, of a transpose, [R,S,O,C]
function convolve(c, x, w) {
    const kernel = stuffed(w, c.dilation);
    if (c.transpose) return tf.conv2dTranspose(x, kernel, [c.N, ...c.out, w.shape[2]], c.stride, tfPads(c));
    const part = (t, i) => {
        const share = t.shape[3] / c.groups;
        return tf.slice(t, [0, 0, 0, i * share], [...t.shape.slice(0, 3), share]);
    };
    return tf.concat(Array.from({length: c.groups}, (_, i) => tf.conv2d(part(x, i), part(kernel, i), c.stride, tfPads(c))), 3);
}

function layer(c, x, w, b) {
    const order = c.channelsLast ? [0, 1, 2, 3] : [0, 2, 3, 1];
    const y = convolve(c, x.transpose(order), w).add(b ?? 0);
    return c.channelsLast ? y : y.transpose([0, 3, 1, 2]);
}

// What TensorFlow asks of the size of a transpose; of a convolution, that there is a result.
function refusal(c) {
    const image = c.transpose ? c.out : c.size;
    if (Math.min(...image) < 1) return 'the output_shape is not positive';
    const kernel = c.kernel.map((k, i) => (k - 1) * c.dilation[i] + 1);
    try {
        const [, P, Q] = tf.conv2d(tf.zeros([1, ...image, 1]), tf.zeros([...kernel, 1, 1]), c.stride, tfPads(c)).shape;
        if (Math.min(P, Q) < 1) return 'the result would be empty';
        if (c.transpose && (P !== c.size[0] || Q !== c.size[1])) return `conv2d takes the output_shape to ${P},${Q}`;
    } catch (error) {
        return error.message;
    }
}

const asArray = (t) => ({shape: t.shape, values: t.dataSync()});

function same(a, b, what) {
    if (tf.any(tf.abs(a.sub(b)).greater(1e-4)).dataSync()[0]) throw Error(`${what}: ${a} is not ${b}`);
}

// Where TensorFlow.js has the layer as a whole, it must agree with the spelled-out one.
function checkNative(c, x, w, y) {
    const plain = Math.max(...c.dilation) === 1;
    if (!c.transpose && c.channelsLast && c.groups === 1 && (plain || Math.max(...c.stride) === 1))
        same(tf.conv2d(x, w, c.stride, tfPads(c), 'NHWC', c.dilation), y, 'dilation');
    if (c.framework !== 'keras' || c.groups > 1 || (c.transpose && (!plain || c.outputPadding))) return;
    const options = {filters: y.shape[c.channelsLast ? 3 : 1], kernelSize: c.kernel, strides: c.stride, useBias: false,
                     padding: c.padding, dataFormat: c.channelsLast ? 'channelsLast' : 'channelsFirst'};
    const l = c.transpose ? tf.layers.conv2dTranspose(options)
                          : tf.layers.conv2d({...options, dilationRate: c.dilation});
    l.apply(x); // makes the weights
    l.setWeights([w]);
    same(l.apply(x), y, 'tf.layers');
}

function put(c, refused = true) {
    if (c.unsettled) return;
    const why = c.refused ?? refusal(c);
    if (why !== undefined && !refused) return;
    const [C, O] = c.channels;
    const x = r.array(c.channelsLast ? [c.N, ...c.size, C] : [c.N, C, ...c.size], c.whole);
    const w = r.array([...c.kernel, ...(c.transpose ? [O, C] : [C / c.groups, O])], c.whole);
    const words = {framework: c.framework, transpose: c.transpose, type: 'f32', whole: c.whole, bias: c.bias,
                   stride: c.stride, dilation: c.dilation, groups: c.groups, padding: c.padding, pads: c.pads,
                   output_size: c.framework === 'tensorflow' && c.transpose ? c.out : undefined,
                   output_padding: c.outputPadding, channels_last: c.channelsLast, x: x.shape, w: w.shape,
                   legal: why === undefined, why};
    putCase(`${c.framework}.${count.legal + count.refused}`, words);
    if (why !== undefined) return;
    tf.tidy(() => {
        const arrays = {x, w, ...(c.bias ? {b: r.array([O], c.whole)} : {})};
        const inputs = Object.values(arrays).map((a) => tf.tensor(a.values, a.shape));
        const y = layer(c, ...inputs);
        if (!c.bias) checkNative(c, ...inputs, y);
        const u = r.array(y.shape, c.whole);
        const grads = tf.grads((...xs) => layer(c, ...xs))(inputs, tf.tensor(u.values, u.shape));
        Object.entries({...arrays, u, y: asArray(y)}).forEach(([name, a]) => putArray(name, a));
        ['gx', 'gw', 'gb'].slice(0, grads.length).forEach((name, i) => putArray(name, asArray(grads[i])));
    });
}

// ---- geometries ----

const kernelSize = (a) => (a.k - 1) * a.d + 1;
const natural = (a) => (a.size - 1) * a.s + kernelSize(a);

// Keras 3: the output_shape that it hands to tf.nn.conv2d_transpose (compute_conv_transpose_output_shape).
function kerasSize(a, padding, extra) {
    if (padding === 'valid') return natural(a) + (extra ?? Math.max(kernelSize(a), a.s) - kernelSize(a));
    return extra === undefined ? a.size * a.s : (a.size - 1) * a.s + kernelSize(a) % 2 + extra;
}

// A case from an axis along H and one along W: {size, k, s, d, pads: [before, after], out, extra}.
function made(framework, transpose, padding, a, b, more = {}) {
    const both = (key) => [a[key], b[key]];
    const c = {framework, transpose, padding, N: 1, channels: [1, 1], groups: 1, whole: true, bias: false,
               channelsLast: true, size: both('size'), kernel: both('k'), stride: both('s'), dilation: both('d'),
               pads: [a.pads[0], b.pads[0], a.pads[1], b.pads[1]], out: both('out'), ...more};
    if (framework === 'keras' && transpose) {
        if (a.extra !== undefined && b.extra !== undefined) c.outputPadding = both('extra');
        c.out = [a, b].map((axis, i) => kerasSize(axis, padding, c.outputPadding?.[i]));
    }
    if (framework === 'keras' && Math.max(...c.stride) > 1 && Math.max(...c.dilation) > 1)
        c.refused = 'Keras: strides > 1 not supported in conjunction with dilation_rate > 1';
    if (framework === 'keras' && c.outputPadding?.some((extra, i) => extra >= c.stride[i]))
        c.refused = 'Keras: output_padding must be < strides';
    // (in - 1) * s pixels: Keras computes them on JAX, and TensorFlow refuses them
    c.unsettled = framework === 'keras' && transpose && c.outputPadding !== undefined && padding === 'same' &&
        [a, b].some((axis, i) => kernelSize(axis) % 2 + c.outputPadding[i] === 0);
    return c;
}

const KINDS = [[1, 1, 1], [1, 2, 1], [1, 3, 1], [2, 3, 1], [2, 2, 1], [3, 1, 1], [3, 2, 1], [4, 2, 1], [5, 2, 1],
               [2, 1, 2], [2, 2, 3], [3, 1, 2]];

// The output sizes that may be legal, and one more on either side.
function outputs(a, padding) {
    const least = padding === 'same' ? (a.size - 1) * a.s + 1 : natural(a) - a.pads[0] - a.pads[1];
    return Array.from({length: a.s + 2}, (_, i) => ({...a, out: least - 1 + i})).filter((x) => x.out > 0);
}

function axes(transpose, padding) {
    const pads = padding === 'explicit' ? [[0, 1], [1, 0], [2, 1]] : [[0, 0]];
    const list = [];
    for (const [k, s, d] of KINDS)
        for (const size of padding === 'explicit' ? [3] : [1, 4])
            for (const pad of pads) {
                const a = {size, k, s, d, pads: pad};
                list.push(...(transpose ? outputs(a, padding) : [a]));
            }
    return list;
}

function edges() {
    for (const padding of ['same', 'valid', 'explicit'])
        for (const transpose of [false, true]) {
            const all = axes(transpose, padding);
            const legal = all.filter((a) => refusal(made('tensorflow', transpose, padding, a, a)) === undefined);
            for (const a of padding === 'explicit' && transpose ? all.filter((_, i) => i % 3 === 0) : all)
                put(made('tensorflow', transpose, padding, a, r.pick(legal), {channels: [r.between(1, 2), 1]}));
        }
    for (const padding of ['same', 'valid'])
        for (const [k, s, d] of KINDS)
            for (const size of [1, 3]) {
                const a = {size, k, s, d, pads: [0, 0]}, b = {...a, k: 3, s: Math.min(s, 2), size: 3};
                put(made('keras', false, padding, a, b), false);
                put(made('keras', true, padding, a, b));
                for (let extra = 0; extra <= s && size === 3; extra++)
                    put(made('keras', true, padding, {...a, extra}, {...b, extra: b.s - 1}));
            }
}

function randomCase() {
    const framework = r.pick(['tensorflow', 'tensorflow', 'keras']), transpose = r.chance(0.6);
    const padding = r.pick(framework === 'keras' ? ['same', 'valid'] : ['same', 'valid', 'explicit']);
    const one = framework === 'keras' && r.chance(0.9), dilated = r.chance(0.3), extra = r.chance(0.5);
    const axis = () => {
        const a = {size: r.between(1, 5), k: r.between(1, 4), s: one && dilated ? 1 : r.between(1, 4),
                   d: dilated ? r.between(1, 3) : 1, pads: [0, 0]};
        const most = kernelSize(a) - 1;
        if (padding === 'explicit') a.pads = [r.between(0, most), r.between(0, most)];
        a.out = transpose ? r.pick(outputs(a, padding))?.out ?? 1 : 0;
        if (extra) a.extra = r.between(0, a.s - 1);
        return a;
    };
    const groups = framework === 'tensorflow' && !transpose ? r.pick([1, 1, 2, 3]) : 1;
    return made(framework, transpose, padding, axis(), axis(), {
        N: r.pick([1, 1, 2]), groups, channels: [groups * r.between(1, 2), groups * r.between(1, 2)],
        whole: r.chance(0.75), bias: r.chance(0.4), channelsLast: r.chance(0.8)});
}

await tf.setBackend('cpu');
if (!randomCases) edges();
const wanted = count.legal + count.refused + (randomCases || 100);
while (count.legal + count.refused < wanted) tf.tidy(() => put(randomCase(), r.chance(0.2)));
console.error(`${count.legal} legal, ${count.refused} refused`);
