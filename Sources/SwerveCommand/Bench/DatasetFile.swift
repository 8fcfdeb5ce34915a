import SwerveCore

/// Data sets in files, read into text prompts with the wanted output.
enum DatasetFile {
  struct Entry: Sendable, Hashable {
    var prompt: String
    /// The reply in the data, whose length is the output's; nil where the file says a number or nothing.
    var reply: String?
    var outputTokens: Int?
  }

  /// ShareGPT: a JSON list of `{"conversations": [{"from": "human", "value": …}, {"from": "gpt", "value": …}, …]}`. The
  /// first two turns of each conversation that has them.
  static func shareGPT(_ path: String) throws -> [Entry] {
    let json: JSON
    do { json = try JSON(parsing: try TextFile.read(path)) } catch let error as JSONError {
      throw CommandError(.usage, "--dataset-path \(path) is \(error).")
    }
    let entries = (json.array ?? []).compactMap { item -> Entry? in
      guard let turns = item["conversations"]?.array ?? item["conversation"]?.array, turns.count >= 2,
        let prompt = turns[0]["value"]?.string, let reply = turns[1]["value"]?.string, !prompt.isEmpty, !reply.isEmpty
      else { return nil }
      return Entry(prompt: prompt, reply: reply)
    }
    return try require(entries, path, "a list of conversations")
  }

  /// JSON lines: `{"prompt": "…", "output_tokens": 32}`, the number optional.
  static func custom(_ path: String) throws -> [Entry] {
    var entries: [Entry] = []
    for (place, line) in try TextFile.read(path).split(whereSeparator: \.isNewline).enumerated() {
      let json: JSON
      do { json = try JSON(parsing: String(line)) } catch {
        throw CommandError(.usage, "--dataset-path \(path), line \(place + 1), is \(error).")
      }
      guard let prompt = json["prompt"]?.string else {
        throw CommandError(.usage, "--dataset-path \(path), line \(place + 1), has no string \"prompt\".")
      }
      entries.append(Entry(prompt: prompt, outputTokens: json["output_tokens"]?.int))
    }
    return try require(entries, path, "lines with a \"prompt\"")
  }

  private static func require(_ entries: [Entry], _ path: String, _ what: String) throws -> [Entry] {
    if entries.isEmpty { throw CommandError(.usage, "--dataset-path \(path) holds no prompts: it must be \(what).") }
    return entries
  }
}
