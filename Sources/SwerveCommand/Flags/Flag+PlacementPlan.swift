extension Flag {
  /// `placement`: what is planned for, and where the plan goes.
  static let placementPlan: [Flag] = [
    .string("output", .placement, \.placement.output, short: ["o"], "file for the plan; without it nothing is written"),
    .string(
      "machine", .placement, \.placement.machine, default: "this one, measured",
      "JSON file that describes another machine: devices, link, disk"),
    .int("input-len", .placement, \.placement.inputLength, default: 512, "prompt tokens of a request"),
    .int("output-len", .placement, \.placement.outputLength, default: 128, "tokens to generate of a request"),
  ]
}
