// Clusters of one to a thousand nodes: the real scheduler and block pool over modelled workers and links, beside the
// planner's formulas. Prints a table, and writes plots. It must not hold anything that the product needs.
//
//   scale-benchmark [FOLDER]     table; with a folder also placement-capacity.svg and placement-throughput.svg there
//   scale-benchmark --planning   time of planning a step for 40 workers and 4,096 sequences; bytes of the block manager

import Glibc
import SwerveCore
import SwervePlacement
import SwerveScheduling
import SwerveSimulation

func fail(_ message: String) -> Never {
  let line = message + "\n"
  _ = line.withCString { write(2, $0, strlen($0)) }
  exit(2)
}

func save(_ text: String, to path: String) {
  guard let file = fopen(path, "w") else { fail("\(path) cannot be written") }
  fputs(text, file)
  fclose(file)
}

func percent(_ found: Double, of formula: Double) -> String {
  Decimals.fixed(100 * (found / formula - 1), 2) + " %"
}

let nodeCounts = [1, 2, 4, 8, 16, 40, 80, 200, 400, 1000]

func doubling() throws {
  let load = Load(sequences: 256, promptTokens: 1024, outputTokens: 512, chunkTokens: 2048)
  let (one, two) = ScaleModel.doubling(weightShare: 11.9 / 12.9, load: load)
  var model = ScaleModel(model: .llama70B, hardware: .accelerators, load: load)
  model.requestsPerSequence = 3
  let blocks = (ScaleModel.blocksGivenOut(one), ScaleModel.blocksGivenOut(two))
  let speed = try [one, two].map { cluster in
    let report = try model.simulate(cluster)
    return Double(report.outputTokens) / report.seconds
  }
  let formula = [one, two].map { $0.cost.estimate($0.placement).tokensPerSecond }
  print("70B, weights fill 92 % of one device; a second device, tensor parallel:")
  print(
    "  blocks \(blocks.0) -> \(blocks.1): \(Decimals.fixed(Double(blocks.1) / Double(blocks.0), 2)) times "
      + "(formula \(Decimals.fixed(CostModel.capacityRatio(devices: 2, weightShare: 11.9 / 12.9), 2)))")
  print(
    "  tokens/s \(Decimals.fixed(speed[0], 1)) -> \(Decimals.fixed(speed[1], 1)): "
      + "\(Decimals.fixed(speed[1] / speed[0], 2)) times (formula \(Decimals.fixed(formula[1] / formula[0], 2)))")
}

func scale(_ folder: String?) throws {
  try doubling()
  let load = Load(sequences: 4096, promptTokens: 512, outputTokens: 128, chunkTokens: 8192)
  var capacity: [Chart.Series] = []
  var throughput: [Chart.Series] = []
  let colors = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd"]
  for (model, hardware) in [
    (ModelShape.llama70B, ScaleModel.Hardware.accelerators), (.llama70B, .mixed), (.llama405B, .accelerators),
    (.llama405B, .mixed),
  ] {
    let scale = ScaleModel(model: model, hardware: hardware, load: load)
    print("\(model.name), \(hardware.name):")
    print("  nodes  placement        groups        blocks  formula     tok/s  formula")
    var points: [ScaleModel.Point] = []
    for nodes in nodeCounts {
      guard let point = try scale.point(nodes: nodes) else {
        print("  \(nodes): the model does not fit")
        continue
      }
      points.append(point)
      let cells = [
        ("\(point.nodes)", 5), (point.placement.title, 15), ("\(point.groups)", 6), ("\(point.blocks)", 12),
        (percent(Double(point.blocks), of: point.formulaBlocks), 8),
        (Decimals.fixed(point.tokensPerSecond, 0), 9),
        (percent(point.tokensPerSecond, of: point.formulaTokensPerSecond), 8),
      ]
      print("  " + cells.map { String(repeating: " ", count: max(0, $1 - $0.count)) + $0 }.joined(separator: "  "))
    }
    let color = colors[capacity.count / 2]
    let name = "\(model.name), \(hardware.dataNode == nil ? "equal nodes" : "data on hosts")"
    func series(_ name: String, _ isDashed: Bool, _ value: (ScaleModel.Point) -> Double) -> Chart.Series {
      Chart.Series(
        name: name, color: color, isDashed: isDashed, points: points.map { (Double($0.nodes), value($0)) })
    }
    capacity.append(series(name, false) { Double($0.blocks * load.blockTokens) })
    capacity.append(series(name + ", formula", true) { $0.formulaBlocks * Double(load.blockTokens) })
    throughput.append(series(name, false) { $0.tokensPerSecond })
    throughput.append(series(name + ", formula", true) { $0.formulaTokensPerSecond })
  }
  guard let folder else { return }
  save(
    Chart(
      title: "Room for keys and values", xLabel: "nodes", yLabel: "tokens", series: capacity
    ).svg, to: folder + "/placement-capacity.svg")
  save(
    Chart(
      title: "Output of a saturating load (prompts of 512, outputs of 128 tokens)", xLabel: "nodes",
      yLabel: "tokens a second", series: throughput
    ).svg, to: folder + "/placement-throughput.svg")
}

/// Bytes of this process that are resident.
func residentBytes() -> Int {
  guard let file = fopen("/proc/self/statm", "r") else { return 0 }
  defer { fclose(file) }
  var text = [CChar](repeating: 0, count: 128)
  guard fgets(&text, 128, file) != nil else { return 0 }
  let fields = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).split(
    separator: " ")
  return fields.count > 1 ? (Int(fields[1]) ?? 0) * 4096 : 0
}

func planning() throws {
  let load = Load(sequences: 4096, promptTokens: 512, outputTokens: 1024, chunkTokens: 16_384)
  let scale = ScaleModel(model: .llama70B, hardware: .accelerators, load: load)
  guard let cluster = scale.group(nodes: 40) else { fail("40 nodes do not hold the model") }
  var configuration = cluster.scheduler
  configuration.enablePrefixCaching = true
  let before = residentBytes()
  var scheduler = try Scheduler(configuration: configuration, policy: FirstComeFirstServed())
  let empty = residentBytes() - before
  for id in 0..<load.sequences {
    var params = SamplingParams()
    params.maxTokens = load.outputTokens
    try scheduler.add(
      WaitingRequest(
        request: RequestID(rawValue: UInt64(id)),
        promptTokens: (0..<load.promptTokens).map { TokenID(($0 &* 31 &+ id &* 7919) & 0xffff) },
        sampling: SamplingState(params: params, seed: 0, badWordTokens: [], terminators: []), priority: 0, arrival: 0))
  }
  var plan = StepPlan()
  var result = StepResult()
  var outputs: [SequenceOutput] = []
  var expired: [RequestID] = []
  var seconds: [Double] = []
  let clock = ContinuousClock()
  var now: UInt64 = 0
  while scheduler.hasWork {
    let begin = clock.now
    scheduler.schedule(into: &plan, now: now, expired: &expired)
    let cost = cluster.nanoseconds(of: plan)
    result.removeAll()
    for index in 0..<plan.sequences.count where plan.sequences[index].samples {
      result.samples.append(Sample(sequenceIndex: Int32(index), token: TokenID(Int(now) & 0xfff)))
    }
    scheduler.apply(plan, result, into: &outputs)
    if plan.sequences.count == load.sequences { seconds.append((clock.now - begin) / .seconds(1)) }
    now += cost
  }
  seconds.sort()
  let blocks = configuration.blockCount
  print("40 nodes, \(blocks) blocks, 4,096 sequences: \(seconds.count) full steps")
  if let worst = seconds.last {
    print(
      "planning a step (schedule, cost, apply): median \(Decimals.fixed(seconds[seconds.count / 2] * 1e3, 2)) ms, worst "
        + "\(Decimals.fixed(worst * 1e3, 2)) ms")
  }
  let cached = scheduler.statistics.blocksCached
  print("block manager and scheduler, empty: \(Decimals.fixed(Double(empty) / Double(blocks), 1)) bytes a block")
  print(
    "with \(cached) blocks in the prefix cache: \(Decimals.fixed(Double(residentBytes() - before) / Double(blocks), 1)) bytes a "
      + "block, buffers of the run included")
}

do {
  if CommandLine.arguments.contains("--planning") {
    try planning()
  } else {
    try scale(CommandLine.arguments.dropFirst().first)
  }
} catch {
  fail("\(error)")
}
