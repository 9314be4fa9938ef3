// Cases of convolution layers as text, and the random numbers they are made of. README.md describes the format.

export const count = {legal: 0, refused: 0};

// words: an object whose values are numbers, truth values, strings or arrays of numbers; why comes last.
export function putCase(name, words) {
    const line = [`case ${name}`];
    const {why, ...others} = words;
    for (const [key, value] of Object.entries(others)) {
        if (value === undefined) continue;
        line.push(`${key}=${typeof value === 'boolean' ? Number(value) : value}`);
    }
    if (why !== undefined) line.push(`why=${String(why).replace(/\s+/g, ' ').slice(0, 80).trim()}`);
    console.log(line.join(' '));
    count[words.legal ? 'legal' : 'refused']++;
}

// An array {shape, values}; 8 digits tell numbers of f32 apart well enough for the tolerance of the tests.
export function putArray(name, {shape, values}) {
    const text = Array.from(values, (v) => String(Number(v.toPrecision(8)))).join(' ');
    console.log(`${name} ${shape.length} ${shape.join(' ')} : ${text}`.trim());
}

// mulberry32
export function randomNumbers(seed) {
    const next = () => {
        seed = (seed + 0x6d2b79f5) | 0;
        let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    const r = {
        uniform: next,
        between: (low, high) => low + Math.floor(next() * (high - low + 1)),
        chance: (p) => next() < p,
        pick: (list) => list[Math.floor(next() * list.length)],
    };
    // whole numbers without zero, which proves little
    r.array = (shape, whole) => {
        const n = shape.reduce((a, b) => a * b, 1);
        const one = () => whole ? r.between(1, 4) * r.pick([-1, 1]) : Math.round((next() - 0.5) * 400) / 100;
        return {shape, values: Float32Array.from({length: n}, one)};
    };
    return r;
}
