// Generates from the embedded model: one prompt at once, several in a batch, a conversation, and a stream.

import Swerve

let prompt = CommandLine.arguments.dropFirst().joined(separator: " ")
let llm = try await LLM()

let greedy = SamplingParams(temperature: 0, maxTokens: 24)
let output = try await llm.generate(.text(prompt.isEmpty ? "Once upon a time" : prompt), greedy)
print(output.outputs[0].text)

let outputs = try await llm.generate(["The fox said", "The king had"], greedy)
for output in outputs { print(output.promptTokenIds.count, output.outputs[0].tokenIds.count, output.outputs[0].text) }

let answer = try await llm.chat([.user("Hello!")], greedy)
print(answer.outputs[0].text)
await llm.shutdown()

let stream = try await AsyncLLM()
for try await output in try await stream.generate(
  "In the forest", SamplingParams(temperature: 0.8, seed: 7, maxTokens: 16))
{
  if output.finished { print(output.outputs[0].text, output.outputs[0].finishReason?.rawValue ?? "") }
}
await stream.shutdown()
