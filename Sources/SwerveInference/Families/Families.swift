extension ModelFamily {
  /// Every family there is, in the order of the table of supported models.
  package static let all: [ModelFamily] = [.llama, .mistral, .qwen2, .qwen3]

  /// The family of one `architectures` entry.
  package static func named(architecture: String) -> ModelFamily? {
    all.first { $0.architectures.contains(architecture) }
  }

  package static func named(modelType: String) -> ModelFamily? { all.first { $0.modelType == modelType } }

  /// Every architecture name that loads, for messages.
  package static var architectureNames: [String] { all.flatMap(\.architectures) }

  /// The table of supported models as Markdown, for the README.
  package static var table: String {
    var lines = ["| family | architectures | models | notes |", "|---|---|---|---|"]
    for family in all {
      let architectures = family.architectures.map { "`\($0)`" }.joined(separator: ", ")
      lines.append(
        "| \(family.name) | \(architectures) | \(family.examples.joined(separator: ", ")) | \(family.notes) |")
    }
    return lines.joined(separator: "\n") + "\n"
  }
}
