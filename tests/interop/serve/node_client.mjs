// The official Node client, in short: a list, a completion, a stream, a chat, a refusal. `node node_client.mjs URL KEY`
// prints a line of JSON for each check.
import OpenAI from "openai";

const [url, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
const say = (what, holds) => console.log(JSON.stringify([`node: ${what}`, Boolean(holds)]));

const models = (await client.models.list()).data.map(model => model.id);
say("models are listed", models.length === 2);
const asked = { model: models[0], prompt: "What is rest?", max_tokens: 12, temperature: 0 };
const whole = (await client.completions.create(asked)).choices[0].text;
let joined = "";
for await (const piece of await client.completions.create({ ...asked, stream: true })) joined += piece.choices[0].text;
say("a stream is the whole in pieces", whole && joined === whole);
const messages = [{ role: "user", content: "What is rest?" }];
const chat = await client.chat.completions.create({ model: models[1], messages, max_tokens: 12, temperature: 0 });
say("a chat", chat.choices[0].message.role === "assistant" && chat.usage.completion_tokens > 0);
const refused = await client.completions.create({ ...asked, model: "gpt-4" }).catch(error => error);
say("a refusal", refused instanceof OpenAI.NotFoundError && refused.param === "model");
