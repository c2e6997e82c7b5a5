#!/usr/bin/env node
// What llama.cpp makes of a GGUF file; exports.py calls it.
//
//     llama_cpp.js JOB RESULT
//
// JOB is a JSON file: `gguf`, a path; `positions`; `texts` to tokenise; `prompts`, token ids that are continued greedily
// by `new_tokens`; `blocks`, token ids whose mean loss is measured; `messages`, which the file's chat template renders.
// RESULT gets the same names with what came out. Keys and values of the attention are kept in float32, so that only the
// file's own numbers are rounded.

import { readFileSync, writeFileSync } from "node:fs";
import { getLlama, JinjaTemplateChatWrapper, LlamaLogLevel } from "node-llama-cpp";

const [jobPath, resultPath] = process.argv.slice(2);
const job = JSON.parse(readFileSync(jobPath, "utf8"));

const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.warn, maxThreads: 2 });
const model = await llama.loadModel({ modelPath: job.gguf });
const context = await model.createContext({
    contextSize: job.positions,
    batchSize: job.positions,
    sequences: 1,
    threads: 2,
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
    // The target's logit, the largest, and the sum of exponentials under it.
    const asked = block.slice(0, -1).map((token, index) => [
        token,
        { generateNext: { logits: { filter: { tokens: [block[index + 1]], includeMax: true } }, totalLogitWeight: true } },
    ]);
    const found = await sequence.controlledEvaluate(asked);
    for (const [index, { next }] of found.entries()) {
        const largest = Math.max(...next.logits.values());
        loss += largest + Math.log(next.totalLogitWeight) - next.logits.get(block[index + 1]);
        count += 1;
    }
}

const template = model.fileInfo.metadata.tokenizer.chat_template;
const wrapper = new JinjaTemplateChatWrapper({ template, tokenizer: model.tokenizer });
const messages = wrapper.generateContextState({ chatHistory: job.messages }).contextText.toString();

writeFileSync(resultPath, JSON.stringify({ texts, prompts, loss: loss / count, messages, release: llama.llamaCppRelease }));
await llama.dispose();
