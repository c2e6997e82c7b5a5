#!/usr/bin/env node
// What llama.cpp makes of a GGUF file; exports.py calls it.
//
//     llama_cpp.js JOB RESULT
//
// JOB is a JSON file: `gguf`, a path; `positions`; `texts` to tokenise; `prompts`, token ids that are continued greedily
// by `new_tokens`; `blocks`, token ids whose mean loss is measured.
// RESULT gets the same names with what came out. Keys and values of the attention are kept in float32, so that only the
// file's own numbers are rounded.

import { readFileSync, writeFileSync } from "node:fs";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const [jobPath, resultPath] = process.argv.slice(2);
const job = JSON.parse(readFileSync(jobPath, "utf8"));

const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.warn, maxThreads: 1 });
const model = await llama.loadModel({ modelPath: job.gguf });
const context = await model.createContext({
    contextSize: job.positions,
    batchSize: job.positions,
    sequences: 1,
    threads: 1,
    flashAttention: false,
    experimentalKvCacheKeyType: "F32",
    experimentalKvCacheValueType: "F32",
});
const sequence = context.getSequence();

const texts = job.texts.map((text) => Array.from(model.tokenize(text)));

const prompts = [];
for (const prompt of job.prompts) {
    await sequence.clearHistory();
    const made = [];
    for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
        made.push(token);
        if (made.length === job.new_tokens) break;
    }
    prompts.push(made);
}

let [loss, count] = [0, 0];
for (const block of job.blocks) {
    await sequence.clearHistory();
    const asked = block.slice(0, -1).map((token) => [token, { generateNext: { logits: true } }]);
    const onTokenResult = (index, { next: { logits } }) => {
        let [largest, total] = [-Infinity, 0];
        for (const logit of logits.values()) largest = Math.max(largest, logit);
        for (const logit of logits.values()) total += Math.exp(logit - largest);
        loss += largest + Math.log(total) - logits.get(block[index + 1]);
        count += 1;
    };
    await sequence.controlledEvaluate(asked, { onTokenResult });
}

const chat_template = model.fileInfo.metadata.tokenizer.chat_template;
const release = llama.llamaCppRelease.release;
writeFileSync(resultPath, JSON.stringify({ texts, prompts, loss: loss / count, chat_template, release }));
await llama.dispose();
