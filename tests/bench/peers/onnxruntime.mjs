// ONNX Runtime's Conv and ConvTranspose, forward only, as a server: README.md has what it reads and answers.
//
// usage: onnxruntime.mjs FOLDER THREADS          FOLDER has node_modules/onnxruntime-node
//
// The weights are constants of the model, so that they are packed once, and the result is written where the caller says. The
// native session is called directly: the public one comes back through the event loop, which costs more than a small layer. What
// a call costs nevertheless is timed with a model that has next to nothing to do, and subtracted.
import {createRequire} from 'node:module';
import {resolve} from 'node:path';
import {createInterface} from 'node:readline';

const [folder, threads] = [process.argv[2], Number(process.argv[3])];
const require = createRequire(`${resolve(folder)}/`);
const {Tensor} = require('onnxruntime-node');
const {binding, initOrt} = require('onnxruntime-node/dist/binding.js');

// ---- protocol buffers, as far as a model of one node needs them (onnx.proto) ----

function varint(value) {
    const bytes = [];
    for (; value > 127; value = Math.floor(value / 128)) bytes.push(value % 128 + 128);
    return Buffer.from([...bytes, value]);
}

const number = (field, value) => Buffer.concat([varint(field * 8), varint(value)]);
const bytes = (field, ...content) => {
    const whole = Buffer.concat(content);
    return Buffer.concat([varint(field * 8 + 2), varint(whole.length), whole]);
};
const text = (field, value) => bytes(field, Buffer.from(value));

function attribute(name, value) {
    return Array.isArray(value) ? bytes(5, text(1, name), ...value.map((v) => number(8, v)), number(20, 7))
        : bytes(5, text(1, name), number(3, value), number(20, 2));
}

// an input or a result of floats
function value(field, name, shape) {
    const sizes = shape.map((n) => bytes(1, number(1, n)));
    return bytes(field, text(1, name), bytes(2, bytes(1, number(1, 1), bytes(2, ...sizes))));
}

function constant(name, shape, floats) {
    return bytes(5, ...shape.map((n) => number(1, n)), number(2, 1), text(8, name), bytes(9, Buffer.from(floats.buffer)));
}

function model(l) {
    const node = bytes(1, text(1, 'x'), text(1, 'w'), text(2, 'y'), text(4, l.operator),
                       ...Object.entries(l.attributes).map(([name, v]) => attribute(name, v)));
    const graph = bytes(7, node, text(2, 'layer'), constant('w', l.w, random(l.w)), value(11, 'x', l.x), value(12, 'y', l.y));
    return Buffer.concat([number(1, 8), graph, bytes(8, text(1, ''), number(2, 17))]);
}

// ---- layers ----

const random = (shape) => Float32Array.from({length: shape.reduce((a, b) => a * b)}, () => Math.random() - 0.5);

function layer(row) {
    const [, op, ...sizes] = row.split(',');
    const [n, cin, h, w, cout, kh, kw, stride, pad, dil, group, outpad] = sizes.map(Number);
    const transposed = op === 'deconv';
    const out = (size, kernel) => {
        const extent = dil * (kernel - 1) + 1;
        return transposed ? (size - 1) * stride + extent + outpad - 2 * pad : Math.floor((size + 2 * pad - extent) / stride) + 1;
    };
    const attributes = {strides: [stride, stride], dilations: [dil, dil], pads: [pad, pad, pad, pad], group};
    if (transposed) attributes.output_padding = [outpad, outpad];
    return {operator: transposed ? 'ConvTranspose' : 'Conv', attributes, x: [n, cin, h, w],
            w: transposed ? [cin, cout / group, kh, kw] : [cout, cin / group, kh, kw], y: [n, cout, out(h, kh), out(w, kw)]};
}

// The forward pass as a function.
function prepare(l) {
    const session = new binding.InferenceSession();
    const bytes = new Uint8Array(model(l));
    session.loadModel(bytes.buffer, 0, bytes.length, {intraOpNumThreads: threads, interOpNumThreads: 1,
                                                      graphOptimizationLevel: 'all', logSeverityLevel: 3});
    const tensor = (shape, data) => new Tensor('float32', data, shape);
    const feeds = {x: tensor(l.x, random(l.x))}, fetches = {y: tensor(l.y, new Float32Array(l.y.reduce((a, b) => a * b)))};
    const body = () => session.run(feeds, fetches, {});
    return {body, release: () => session.dispose()};
}

// ---- time, as in timing.c ----

const now = () => Number(process.hrtime.bigint()) * 1e-6;

function medianMs(body, seconds, warm = 0.03) {
    const samples = [];
    body();
    body();
    for (let start = now(); now() - start < 1e3 * warm;) body();
    for (let start = now(); samples.length < 5 || now() - start < 1e3 * seconds;) {
        const begin = now();
        body();
        samples.push(now() - begin);
    }
    return samples.sort((a, b) => a - b)[samples.length >> 1];
}

initOrt();
const empty = prepare(layer('empty,conv,1,1,1,1,1,1,1,1,0,1,1,0'));
console.log(`ready ONNX Runtime ${require('onnxruntime-node/package.json').version}`);
for await (const line of createInterface({input: process.stdin})) {
    const [seconds, warm, row] = line.split(' ');
    try {
        const {body, release} = prepare(layer(row));
        const ms = medianMs(body, Number(seconds), Number(warm));
        const own = ms - medianMs(empty.body, 0.05);
        console.log(own > 0.2 * ms ? own.toFixed(7) : 'error too short beside an empty call');
        release();
    } catch (error) {
        console.log(`error ${error.message.split('\n')[0]}`);
    }
}
