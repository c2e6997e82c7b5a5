#!/usr/bin/env node
// The pace at which llama.cpp goes on with a prompt of 24 tokens by 128, greedily, on two threads: beside
// `gptneo-lora bench generate`, which asks the same of this program.
//
//     llama_cpp_speed.js MODEL.gguf
//
// Prints a line of JSON: tokens a second of each of four rounds, the prompt's time in them.

import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const NEW_TOKENS = 128;
const [gguf] = process.argv.slice(2);
const threads = 2;
const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: threads });
const model = await llama.loadModel({ modelPath: gguf });
const context = await model.createContext({ contextSize: 512, batchSize: 512, sequences: 1, threads, flashAttention: false });
const sequence = context.getSequence();
const prompt = Array.from({ length: 24 }, (_, index) => 100 + 17 * index);

const rates = [];
for (let round = 0; round < 4; round += 1) {
    await sequence.clearHistory();
    const start = performance.now();
    let made = 0;
    for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
        made += 1;
        if (made === NEW_TOKENS) break;
    }
    rates.push(NEW_TOKENS / ((performance.now() - start) / 1000));
}
console.log(JSON.stringify({ tokens_per_second: rates, release: llama.llamaCppRelease.release }));
await llama.dispose();
