// SPDX-License-Identifier: Apache-2.0
// One call of the Vercel AI SDK: what to do is JSON on stdin, what came of it is JSON on stdout. An error
// of the SDK is a result like any other; only a mistake of ours ends this with another status.
"use strict";

const { createRequire } = require("node:module");
const path = require("node:path");

// The packages lie below build/, not beside this file.
const sdk = createRequire(path.join(process.env.VERCEL_AI_SDK, "package.json"));
const { generateObject, generateText, jsonSchema, stepCountIs, streamObject, streamText, tool } = sdk("ai");

const doors = {
    compatible: ({ url, key, model }) =>
        sdk("@ai-sdk/openai-compatible").createOpenAICompatible({
            name: "penstock",
            baseURL: `${url}/v1`,
            apiKey: key,
            includeUsage: true,
            supportsStructuredOutputs: true,
        })(model),
    openai: ({ url, key, model }) =>
        sdk("@ai-sdk/openai").createOpenAI({ baseURL: `${url}/v1`, apiKey: key }).chat(model),
    responses: ({ url, key, model }) =>
        sdk("@ai-sdk/openai").createOpenAI({ baseURL: `${url}/v1`, apiKey: key }).responses(model),
    anthropic: ({ url, key, model }) =>
        sdk("@ai-sdk/anthropic").createAnthropic({ baseURL: `${url}/v1`, apiKey: key })(model),
};

function weather(ran) {
    return tool({
        description: "Tells the weather.",
        inputSchema: jsonSchema({
            type: "object",
            properties: { city: { type: "string" } },
            required: ["city"],
            additionalProperties: false,
        }),
        execute: async (input) => {
            ran.push(input);
            return { sky: "clear", city: input.city };
        },
    });
}

function errorOf(error) {
    // The SDK wraps the last error of its retries.
    const found = error.lastError ?? error;
    return {
        name: found.name,
        message: found.message ?? String(found),
        status: found.statusCode ?? null,
        retryable: found.isRetryable ?? null,
        data: found.data ?? null,
        body: found.responseBody ?? null,
        // Of an error event of a stream only the value comes, which need not be an Error.
        value: found instanceof Error ? null : found,
    };
}

function usageOf(usage) {
    return { input: usage.inputTokens, output: usage.outputTokens, total: usage.totalTokens };
}

const actions = {
    async text(settings, ran) {
        const answer = await generateText(settings);
        return {
            text: answer.text,
            finish: answer.finishReason,
            usage: usageOf(answer.totalUsage),
            steps: answer.steps.map((step) => step.finishReason),
            calls: answer.steps.flatMap((step) => step.toolCalls.map((call) => [call.toolName, call.input])),
            model: answer.response.modelId,
            reasoning: answer.reasoningText ?? null,
            ran,
        };
    },

    // abort_after: how many pieces of text are read before the client leaves. tell: each is a line of its own.
    async stream(settings, ran, order) {
        const controller = new AbortController();
        const errors = [];
        const answer = streamText({
            ...settings,
            abortSignal: controller.signal,
            onError: ({ error }) => errors.push(errorOf(error)),
        });
        const kinds = [];
        const texts = [];
        const finishes = [];
        let usage = null;
        for await (const part of answer.fullStream) {
            if (kinds.at(-1) !== part.type) {
                kinds.push(part.type);
            }
            if (part.type === "text-delta") {
                texts.push(part.text);
                if (order.tell) {
                    process.stdout.write(`${JSON.stringify(part.text)}\n`);
                }
                if (texts.length === order.abort_after) {
                    controller.abort();
                }
            } else if (part.type === "finish-step") {
                finishes.push(part.finishReason);
            } else if (part.type === "finish") {
                usage = usageOf(part.totalUsage);
            }
        }
        return { texts, text: texts.join(""), kinds, finishes, usage, errors, ran };
    },

    async object(settings, ran, order) {
        const answer = await generateObject({ ...settings, schema: jsonSchema(order.schema) });
        return { object: answer.object, finish: answer.finishReason, usage: usageOf(answer.usage) };
    },

    async stream_object(settings, ran, order) {
        const errors = [];
        const answer = streamObject({
            ...settings,
            schema: jsonSchema(order.schema),
            onError: ({ error }) => errors.push(errorOf(error)),
        });
        const seen = [];
        for await (const part of answer.partialObjectStream) {
            seen.push(part);
        }
        return { object: errors.length > 0 ? null : await answer.object, seen, errors };
    },
};

async function main() {
    let input = "";
    for await (const piece of process.stdin) {
        input += piece;
    }
    const order = JSON.parse(input);
    const ran = [];
    const settings = { model: doors[order.door](order), maxRetries: 0, ...order.settings };
    if (order.weather) {
        settings.tools = { weather: weather(ran) };
        settings.stopWhen = stepCountIs(4);
    }
    let result;
    try {
        result = await actions[order.action](settings, ran, order);
    } catch (error) {
        if (!(error instanceof Error) || !/^AI_|AbortError/.test(error.name)) {
            throw error;
        }
        result = { error: errorOf(error) };
    }
    process.stdout.write(`${JSON.stringify(result)}\n`);
}

globalThis.AI_SDK_LOG_WARNINGS = false;
main();
