// Convolution layers by ONNX Runtime in f32: the operators Conv and ConvTranspose.
//
//     cd DIR && npm install --ignore-scripts --no-audit onnxruntime-node
//     node .../tests/oracle/frameworks_onnx.mjs > .../tests/oracle/frameworks_onnx.txt
//     node .../tests/oracle/frameworks_onnx.mjs 2000 5 > OTHER/frameworks_onnx.txt          2,000 random ones of seed 5
//
// Legal is what ONNX Runtime loads and runs.
import {createRequire} from 'node:module';
import {count, putArray, putCase, randomNumbers} from './fixture.mjs';

const ort = createRequire(process.cwd() + '/')('onnxruntime-node');
const [randomCases, seed] = [Number(process.argv[2] ?? 0), Number(process.argv[3] ?? 1)];
const r = randomNumbers(seed);

// ---- protocol buffers, as far as a model of one node needs them (onnx.proto) ----

function varint(value) {
    const bytes = [];
    let v = BigInt.asUintN(64, BigInt(value));
    for (; v > 127n; v >>= 7n) bytes.push(Number(v & 127n) | 128);
    return [...bytes, Number(v)];
}

const number = (field, value) => [...varint(field << 3), ...varint(value)];
const bytes = (field, content) => [...varint((field << 3) | 2), ...varint(content.length), ...content];
const text = (field, value) => bytes(field, [...Buffer.from(value)]);

function attribute(name, value) {
    const content = typeof value === 'string' ? [...text(4, value), ...number(20, 3)]
        : Array.isArray(value) ? [...value.flatMap((v) => number(8, v)), ...number(20, 7)]
        : [...number(3, value), ...number(20, 2)];
    return bytes(5, [...text(1, name), ...content]);
}

// a tensor of floats with sizes that are not known yet
function value(field, name, rank) {
    const shape = Array.from({length: rank}, (_, i) => bytes(1, text(2, `${name}${i}`))).flat();
    return bytes(field, [...text(1, name), ...bytes(2, bytes(1, [...number(1, 1), ...bytes(2, shape)]))]);
}

function model(operator, inputs, attributes, opset) {
    const node = [...inputs.flatMap((name) => text(1, name)), ...text(2, 'y'), ...text(4, operator),
                  ...Object.entries(attributes).flatMap(([name, v]) => attribute(name, v))];
    const graph = [...bytes(1, node), ...text(2, 'layer'),
                   ...inputs.flatMap((name) => value(11, name, name === 'b' ? 1 : 4)), ...value(12, 'y', 4)];
    return Uint8Array.from([...number(1, 8), ...bytes(7, graph), ...bytes(8, [...text(1, ''), ...number(2, opset)])]);
}

// ---- layers ----

function attributes(c) {
    const a = {strides: c.stride, dilations: c.dilation, group: c.groups};
    if (c.padding !== 'explicit') a.auto_pad = c.padding.toUpperCase();
    if (c.padding === 'explicit' || c.pads.some((p) => p > 0)) a.pads = c.pads;
    if (c.outputPadding) a.output_padding = c.outputPadding;
    if (c.outputSize) a.output_shape = c.outputSize;
    return a;
}

// y, or the message of the refusal
async function run(c, arrays) {
    let session;
    try {
        const bytes = model(c.transpose ? 'ConvTranspose' : 'Conv', Object.keys(arrays), attributes(c), c.opset);
        session = await ort.InferenceSession.create(bytes, {logSeverityLevel: 4, intraOpNumThreads: 1});
        const feeds = Object.entries(arrays).map(([name, a]) => [name, new ort.Tensor('float32', a.values, a.shape)]);
        const {y} = await session.run(Object.fromEntries(feeds));
        return {y: {shape: y.dims, values: y.data}};
    } catch (error) {
        return {why: error.message.replace(/^.*(Status Message: |model because )/s, '')};
    } finally {
        await session?.release();
    }
}

function draw(c) {
    const [C, O] = c.channels;
    const arrays = {x: r.array([c.N, C, ...c.size], c.whole),
                    w: r.array([...(c.transpose ? [C, O / c.groups] : [O, C / c.groups]), ...c.kernel], c.whole)};
    return c.bias ? {...arrays, b: r.array([O], c.whole)} : arrays;
}

async function put(c, refused = true) {
    const arrays = draw(c), {y, why} = await run(c, arrays);
    if (y?.values.length === 0) return; // an empty result
    if (why !== undefined && !refused) return;
    putCase(`onnx.${count.legal + count.refused}`, {
        framework: 'onnx', transpose: c.transpose, type: 'f32', whole: c.whole, bias: c.bias, stride: c.stride,
        dilation: c.dilation, groups: c.groups, padding: c.padding, pads: c.pads, output_padding: c.outputPadding,
        output_size: c.outputSize, x: arrays.x.shape, w: arrays.w.shape, legal: why === undefined, why});
    if (y) Object.entries({...arrays, y}).forEach(([name, a]) => putArray(name, a));
}

// ---- geometries ----

// A case from an axis along H and one along W: {size, k, s, d, pads: [before, after], extra, out}; extra is its
// output_padding, and out its output_shape, where both axes have one.
function made(transpose, padding, a, b, more = {}) {
    const both = (key) => [a[key], b[key]];
    const given = (key) => transpose && a[key] !== undefined && b[key] !== undefined ? both(key) : undefined;
    return {transpose, padding, N: 1, channels: [1, 1], groups: 1, whole: true, bias: false, opset: 18, size: both('size'),
            kernel: both('k'), stride: both('s'), dilation: both('d'), outputPadding: given('extra'), outputSize: given('out'),
            pads: [a.pads[0], b.pads[0], a.pads[1], b.pads[1]], ...more};
}

const natural = (a) => (a.size - 1) * a.s + (a.k - 1) * a.d + 1;
const PADDINGS = ['explicit', 'valid', 'same_upper', 'same_lower'];
const KINDS = [[1, 1, 1], [1, 2, 1], [1, 3, 1], [2, 3, 1], [2, 2, 1], [3, 1, 1], [3, 2, 1], [4, 2, 1], [5, 2, 1],
               [2, 1, 2], [2, 2, 3], [1, 2, 2]];

function* axes(transpose, padding) {
    for (const [k, s, d] of KINDS)
        for (const size of [1, 4]) {
            const pads = padding === 'explicit' ? (k > 1 && size > 1 ? [1, 0] : [0, size > 1 ? 1 : 0]) : [0, 0];
            const a = {size, k, s, d, pads};
            yield a;
            if (!transpose) continue;
            for (let extra = 0; extra <= s; extra++) yield {...a, extra};
            for (let out = 1; out <= natural(a) + s; out++)
                if (size === 1 || Math.abs(out - natural(a)) <= s || (k === 3 && out > size)) yield {...a, out};
            yield {...a, extra: s - 1, out: natural(a) - 1 || 1};
        }
    // a stride that skips 1 to 7 pixels between its kernels and at the end
    for (let s = 2; s <= 8 && !transpose; s++) yield {size: 8, k: 1, s, d: 1, pads: [0, 0]};
    for (const [size, k, s] of [[4, 2, 4], [8, 2, 4], [6, 2, 5], [8, 2, 8]])
        if (!transpose) yield {size, k, s, d: 1, pads: [0, 0]};
}

const kind = (a) => `${a.extra !== undefined}${a.out !== undefined}`;

async function isLegal(c) { return (await run(c, draw(c))).why === undefined; }

// Each axis along H, beside a legal one of its kind along W.
async function edges() {
    for (const transpose of [false, true])
        for (const padding of PADDINGS) {
            const all = [...axes(transpose, padding)], legal = [];
            for (const a of all) if (await isLegal(made(transpose, padding, a, a))) legal.push(a);
            for (const a of all) {
                const b = r.pick(legal.filter((x) => kind(x) === kind(a)));
                if (!transpose || a.out === undefined || padding === 'explicit' || r.chance(0.5))
                    await put(made(transpose, padding, a, b));
            }
            const one = {size: 3, k: 2, s: 2, d: 1, pads: [0, 0]};
            await put(made(transpose, padding, one, {...one, pads: [1, 0]}));
            await put(made(transpose, padding, one, {...one, s: 0}));
            await put(made(transpose, padding, one, {...one, d: 0}));
            await put(made(transpose, padding, one, {...one, pads: [3, 3]}));
            await put(made(transpose, padding, {...one, out: 4}, {...one, out: 4, pads: [1, 0]}));
        }
}

function randomCase() {
    const transpose = r.chance(0.6), padding = r.pick(PADDINGS), groups = r.pick([1, 1, 2, 3]);
    const extra = r.chance(0.4), out = r.chance(0.4), dilated = padding.startsWith('same') ? r.chance(0.2) : true;
    const axis = () => {
        const a = {size: r.between(1, 5), k: r.between(1, 4), s: r.between(1, 4), d: dilated ? r.pick([1, 1, 2, 3]) : 1,
                   pads: [0, 0]};
        if (padding === 'explicit') a.pads = [r.between(0, 2), r.between(0, 2)];
        if (extra) a.extra = r.between(0, a.s - (r.chance(0.9) ? 1 : 0));
        if (out) a.out = r.between(1, natural(a) + a.s - (r.chance(0.95) ? 1 : 0));
        return a;
    };
    return made(transpose, padding, axis(), axis(), {
        N: r.pick([1, 1, 2]), groups, channels: [groups * r.between(1, 2), groups * r.between(1, 2)],
        whole: r.chance(0.75), bias: r.chance(0.4), opset: r.pick([11, 18])});
}

if (!randomCases) await edges();
const wanted = count.legal + count.refused + (randomCases || 100);
while (count.legal + count.refused < wanted) await put(randomCase(), r.chance(0.2));
console.error(`${count.legal} legal, ${count.refused} refused`);
