// What ONNX Runtime makes of the nodes that `deconv vectors --framework onnx --onnx --output NODES` wrote.
//
//     cd DIR && npm install --ignore-scripts --no-audit onnxruntime-node@1.30.0
//     node .../tests/oracle/onnx_nodes.mjs NODES
//
// Prints the nodes that it refuses or computes otherwise, by reason, and counts. Exit status 1 if there are any.
import {createRequire} from 'node:module';
import {readFileSync} from 'node:fs';

const ort = createRequire(process.cwd() + '/')('onnxruntime-node');
const nodes = process.argv[2];

// a TensorProto: dims 1, data_type 2, name 8, raw_data 9
function tensor(path) {
    const b = readFileSync(path);
    let at = 0;
    const varint = () => {
        let v = 0n;
        for (let shift = 0n;; shift += 7n) {
            const byte = BigInt(b[at++]);
            v |= (byte & 127n) << shift;
            if (byte < 128n) return Number(v);
        }
    };
    const t = {dims: []};
    while (at < b.length) {
        const tag = varint();
        if (tag === 1 << 3) t.dims.push(varint());
        else if (tag === 2 << 3) t.type = varint() === 11 ? 'float64' : 'float32';
        else {
            const n = varint();
            if (tag >> 3 === 8) t.name = b.subarray(at, at + n).toString();
            if (tag >> 3 === 9) t.raw = b.slice(at, at + n);
            at += n;
        }
    }
    const raw = new Uint8Array(t.raw).buffer;
    return {...t, values: t.type === 'float64' ? new Float64Array(raw) : new Float32Array(raw)};
}

async function run(folder, single) {
    let session;
    try {
        session = await ort.InferenceSession.create(`${folder}/model.onnx`, {logSeverityLevel: 4, intraOpNumThreads: 1});
        const feeds = {};
        for (const k of [0, 1, 2]) {
            const t = tensor(`${folder}/test_data_set_0/input_${k}.pb`);
            feeds[t.name] = new ort.Tensor(t.type, t.values, t.dims);
        }
        const {Y} = await session.run(feeds), wanted = tensor(`${folder}/test_data_set_0/output_0.pb`);
        if (String(Y.dims) !== String(wanted.dims)) return `another shape: [${Y.dims}], not [${wanted.dims}]`;
        const scale = Math.max(...wanted.values.map(Math.abs)), bound = single ? 0 : scale * (wanted.type === 'float64' ? 1e-12 : 1e-5);
        return wanted.values.every((v, i) => Math.abs(v - Y.data[i]) <= bound) ? 'agrees' : 'other values';
    } catch (error) {
        return 'refused: ' + error.message.replace(/^.*(Status Message: |model because )/s, '').replace(/node with name '' /, '').slice(0, 150);
    } finally {
        await session?.release();
    }
}

const counts = new Map();
for (const line of readFileSync(`${nodes}/manifest.jsonl`, 'utf8').trim().split('\n')) {
    const c = JSON.parse(line), found = await run(`${nodes}/${c.folder}`, c.integers);
    counts.set(found.replace(/\d+/g, 'N'), (counts.get(found.replace(/\d+/g, 'N')) ?? 0) + 1);
    if (found !== 'agrees') console.log(`${c.folder}: ${found}    ${c.options}; kernel ${c.kernel}, input ${c.input_size}`);
}
for (const [reason, n] of counts) console.log(`${n}  ${reason}`);
process.exitCode = counts.size === 1 && counts.has('agrees') ? 0 : 1;
